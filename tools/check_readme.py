#!/usr/bin/env python3
"""Runs the ```sh blocks of README.md (or of the files given) in the repository root.

A block fails when one of its commands does. `<!-- not run: REASON -->` on the line before a block
keeps it from running, and the reason is printed. build/release/bin is on PATH.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def blocks(text):
    """(line, code, reason not to run or None) of each sh block."""
    lines = text.splitlines()
    index = 0
    while index < len(lines):
        if re.fullmatch(r"```(sh|bash|shell)\s*", lines[index]):
            before = lines[index - 1] if index else ""
            reason = re.fullmatch(r"<!--\s*not run:\s*(.+?)\s*-->", before)
            end = index + 1
            while end < len(lines) and not lines[end].startswith("```"):
                end += 1
            code = "\n".join(lines[index + 1:end]) + "\n"
            yield index + 1, code, reason.group(1) if reason else None
            index = end
        index += 1


def main(names):
    environment = dict(os.environ)
    environment["PATH"] = f"{ROOT}/build/release/bin:{environment.get('PATH', '')}"
    run = skipped = failed = 0
    for name in names or ["README.md"]:
        for line, code, reason in blocks((ROOT / name).read_text(encoding="utf-8")):
            if reason:
                skipped += 1
                print(f"{name}:{line}: not run: {reason}", flush=True)
                continue
            run += 1
            start = time.monotonic()
            result = subprocess.run(["bash", "-euo", "pipefail", "-c", code], cwd=ROOT,
                                    env=environment, stdin=subprocess.DEVNULL,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                    errors="replace")
            seconds = time.monotonic() - start
            if result.returncode != 0:
                failed += 1
                print(f"{name}:{line}: FAILED with exit code {result.returncode} after "
                      f"{seconds:.1f} s:\n{code}--- its output:\n{result.stdout[-4000:]}", flush=True)
            else:
                print(f"{name}:{line}: passed in {seconds:.1f} s", flush=True)
    print(f"README: {run} blocks run, {failed} failed, {skipped} not run")
    return 1 if failed or not run else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
