"""What the tables of the bench share: rows, references and engram-bench run, scores compared."""

import dataclasses
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
# Largest difference between two programs that should compute the same, over the largest |score| of
# the prompt: float32 through twelve layers.
AGREE = 1e-4
AGREE_REAL = 4e-4  # on real weights float32 gradients of P are off by up to 1.2e-4, PyTorch's as well
PAPER_PROMPTS = 253_448  # of Dai et al., on BERT-base


class Failure(Exception):
    pass


@dataclasses.dataclass
class Row:
    """A line of the table. `must` and `aim` are (sign, value)."""
    label: str
    value: float | str
    key: str = ""
    form: str = "{:.3g}"
    must: tuple[str, float] | None = None
    aim: tuple[str, float] | None = None

    def meets(self, limit) -> bool:
        sign, bound = limit
        return self.value >= bound if sign == ">=" else self.value < bound

    def cells(self) -> list[str]:
        text = self.value if isinstance(self.value, str) else self.form.format(self.value)
        marks = [f"{l[0]} {self.form.format(l[1])} {'yes' if self.meets(l) else 'NO'}" if l else ""
                 for l in (self.must, self.aim)]
        return [self.label, text, *marks]


class Bench:
    def __init__(self, options):
        self.options = options
        self.threads = len(os.sched_getaffinity(0))
        self.scratch = options.scratch
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.checkpoint = self.scratch / "checkpoint"
        self.rows: list[Row] = []
        self.tables: list[tuple[str, str, list[Row]]] = []  # titles, prefixes, rows
        self.prefix = ""  # of the keys in the result
        self.agree = AGREE
        self.result: dict = {"schema": "engram.bench/1"}
        self.start = time.monotonic()

    def begin_table(self, title: str, prefix: str, agree: float) -> None:
        self.rows, self.prefix, self.agree = [], prefix, agree
        self.tables.append((title, prefix, self.rows))

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.start:6.0f} s] {text}", flush=True)

    def run(self, command: list) -> tuple[str, int]:
        """-> stdout and the peak resident memory in bytes."""
        process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True)
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise Failure(f"exit code {process.returncode}: {' '.join(map(str, command))}")
        return output, usage.ru_maxrss * 1024

    def reference(self, name: str, prompts: int, script: str = "") -> dict:
        """Runs reference/SCRIPT.py, or NAME.py."""
        scores = self.scratch / f"{name}.safetensors"
        output, _ = self.run([sys.executable, BENCH / "reference" / f"{script or name}.py",
                              self.checkpoint, "--prompts", prompts, "--scores", scores])
        found = json.loads(output)
        found["scores"] = load_file(scores)["scores"]
        rate = found["flops_per_prompt"] / found["seconds_per_prompt"] / 1e9
        self.say(f"{name}: {found['seconds_per_prompt']:.2f} s a prompt of "
                 f"{found['flops_per_prompt'] / 1e12:.2f} TFLOP, {rate:.0f} GFLOP/s")
        self.result[self.prefix + name] = {k: v for k, v in found.items() if k != "scores"}
        return found

    def ours(self, *arguments, keep: str = "") -> dict:
        output, peak = self.run([self.options.program, *arguments])
        found = json.loads(output)
        found["peak_bytes"] = peak
        if keep:
            self.result[self.prefix + keep] = {k: v for k, v in found.items()
                                               if k not in ("relative_gaps", "p")}
        return found

    def attribute(self, model: Path, facts: str, prompts: int, *, threads=None, scores="",
                  keep="", extra=()) -> dict:
        file = self.scratch / f"{scores}.f32"
        found = self.ours("attribute", model, "--facts", model / facts, "--prompts", prompts,
                          "--threads", threads or self.threads, *extra,
                          *(["--scores", file] if scores else []), keep=keep)
        if found["prompts"] != prompts:
            raise Failure(f"engram-bench took {found['prompts']} prompts instead of {prompts}")
        found["seconds_per_prompt"] = found["seconds"] / prompts
        found["gflops"] = found["flops"] / found["seconds"] / 1e9
        if scores and prompts <= 1000:
            found["scores"] = np.fromfile(file, "<f4").reshape(
                prompts, found["layers"], found["d_ff"])
            file.unlink()
        return found

    def make_checkpoint(self, script: str = "make_checkpoint.py", into: str = "checkpoint",
                        *options) -> None:
        """Runs bench/SCRIPT where it or the options have changed; scratch/INTO is the model."""
        made = BENCH / script
        self.checkpoint = self.scratch / into
        stamp = self.scratch / f"{into}.sha256"
        digest = hashlib.sha256(made.read_bytes()).hexdigest()
        if not stamp.exists() or stamp.read_text() != digest:
            self.run([sys.executable, made, self.checkpoint, *options])
            stamp.write_text(digest)
        self.say(f"checkpoint in {self.checkpoint}")

    def link_model(self, model: Path, into: str, facts: list[dict]) -> None:
        """A folder with the model's files and facts.jsonl, which is the checkpoint from here on."""
        self.checkpoint = self.scratch / into
        self.checkpoint.mkdir(exist_ok=True)
        for file in model.iterdir():
            link = self.checkpoint / file.name
            link.unlink(missing_ok=True)
            link.symlink_to(file.resolve())
        (self.checkpoint / "facts.jsonl").write_text(
            "".join(json.dumps(fact) + "\n" for fact in facts), "utf-8")

    def agrees(self, pairs) -> None:
        """Throws where two of (label, scores, scores) differ by more than self.agree."""
        for label, one, other in pairs:
            worst = float(difference(one, other).max())
            self.say(f"{label}: differ by {worst:.1e}")
            if not worst <= self.agree:
                raise Failure(f"{label} differ by {worst:.1e}, allowed {self.agree:.0e}")

    def has_real(self, model: Path, pararel: Path) -> bool:
        for need, how in ((model, "make real-models"), (pararel, "--pararel names ParaRel")):
            if not need.exists():
                self.say(f"no table of real weights: {need} is not there ({how})")
                return False
        return True

    def finish(self) -> bool:
        missed = []
        for title, prefix, rows in self.tables:
            self.result |= {prefix + row.key: row.value for row in rows if row.key}
            missed += [prefix + r.key for r in rows if r.must and not r.meets(r.must)]
            print_table([[title, "measured", "must", "aim"], *(row.cells() for row in rows)])
            print()
        self.result["missed"] = missed
        self.write()
        self.say(f"missed: {', '.join(missed)}" if missed else "every must is met")
        return not missed

    def write(self) -> None:
        self.result |= {"cores": self.threads, "machine": processor(),
                        "seconds_in_all": time.monotonic() - self.start}
        temporary = self.options.out.with_suffix(".part")
        temporary.write_text(json.dumps(without_nan(self.result), indent=1) + "\n", "utf-8")
        temporary.replace(self.options.out)
        self.say(f"wrote {self.options.out}")


def difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[prompts] largest difference over the largest |score|, for the prompts that both have."""
    count = min(len(one), len(other))
    one, other = (a[:count].reshape(count, -1).astype(np.float64) for a in (one, other))
    return np.abs(one - other).max(1) / np.abs(other).max(1)


def histogram(counts: dict) -> str:
    return ", ".join(f"{n}: {counts[n]}" for n in sorted(counts, key=int)) or "none"


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def without_nan(value):
    """JSON has no NaN: what was not measured is null."""
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if isinstance(value, dict):
        return {k: without_nan(v) for k, v in value.items()}
    return [without_nan(v) for v in value] if isinstance(value, list) else value


def print_table(lines: list[list[str]]) -> None:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for number, line in enumerate(lines):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
        if number == 0:
            print("  ".join("-" * width for width in widths))
