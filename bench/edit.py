"""Time of edits on a checkpoint, beside reading it once.

  build/venv/bin/python bench/edit.py [--engram build/release/bin/engram] CHECKPOINT

CHECKPOINT is a BERT-base-shaped one with facts.jsonl (`make bench` leaves build/bench/checkpoint).
Each figure is the median of --repeat runs of the command, its start included; `engram edit list`
shows what a start alone costs. Prints a table as in docs/performance.md.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path


def read_all(folder: Path, cold: bool) -> float:
    """Seconds to read the weights' files; `cold`: out of the page cache first."""
    files = sorted(folder.glob("*.safetensors"))
    if cold:
        for file in files:
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
    buffer = bytearray(1 << 20)
    start = time.perf_counter()
    for file in files:
        with open(file, "rb", buffering=0) as stream:
            while stream.readinto(buffer):
                pass
    return time.perf_counter() - start


def some_facts(checkpoint: Path, target: Path) -> None:
    """Facts with three prompts each, as locating needs them, out of facts that have one."""
    facts = [json.loads(line) for line in (checkpoint / "facts.jsonl").read_text().splitlines()]
    lines = []
    for i in range(0, 9, 3):
        fact = dict(facts[i], relation="R0", prompts=[f["prompts"][0] for f in facts[i : i + 3]])
        lines.append(json.dumps(fact))
    target.write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--engram", default="build/release/bin/engram")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="engram-bench-edit-", dir=options.checkpoint.parent))

    def edit(*arguments: object) -> float:
        start = time.perf_counter()
        subprocess.run([options.engram, "edit", *map(str, arguments)], check=True,
                       stdout=subprocess.DEVNULL)
        return time.perf_counter() - start

    try:
        model, copy, plain = options.checkpoint, work / "copy", work / "plain"
        facts, delta = work / "facts.jsonl", work / "delta.safetensors"
        some_facts(model, facts)
        edit("erase", model, "--facts", facts, "--relation", "R0", "--neurons", 20, "--others", 0,
             "--out", delta, "--quiet")
        times: dict[str, list[float]] = {}
        for _ in range(options.repeat):
            for folder in (copy, plain):
                shutil.rmtree(folder, ignore_errors=True)
            os.sync()
            took = {
                "reading the checkpoint, cold": read_all(model, cold=True),
                "reading the checkpoint, cached": read_all(model, cold=False),
                "a new working copy with an edit": edit("apply", model, delta, "--to", copy),
                "list (what a start costs)": edit("list", copy),
                "one more edit": edit("apply", model, delta, "--to", copy),
                "undo": edit("undo", copy),
                "diff with the model": edit("diff", model, copy),
                "export": edit("export", copy, "--to", plain),
            }
            for name, seconds in took.items():
                times.setdefault(name, []).append(seconds)
        median = {name: statistics.median(seconds) for name, seconds in times.items()}
        start = median["list (what a start costs)"]
        print("| | s | without the start |\n|---|---|---|")
        for name, seconds in median.items():
            net = "" if name.startswith(("reading", "list")) else f"{seconds - start:.3f}"
            print(f"| {name} | {seconds:.3f} | {net} |")
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
