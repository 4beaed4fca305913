#!/usr/bin/env python3
"""Checks our C++ code: format, layers, a few rules of the house, clang-tidy; cargo's own for Rust.

    lint.py [--fix] [--no-tidy] [--minutes N] [--record] [FILE...]

--fix formats and stops. --minutes N ends clang-tidy after N minutes and says what was not reached;
files changed last in git come first. A file that passed before is looked at again only when it, a
header that is looked at through it, or .clang-tidy has changed: tools/tidy_passed.txt says what
passed, and --record writes there what passes now. So CI looks at all that a change touches.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ["include", "src", "cli", "pretrain", "bench", "tests", "fuzz", "python"]
SPARED = ("tests/", "bench/", "fuzz/")  # by the static analyser
TIDY = ROOT / "build" / "tidy"
RECORD = ROOT / "tools" / "tidy_passed.txt"


def our_files():
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")
             if path.suffix in (".cc", ".h")]
    return sorted(files)


def relative(path):
    return str(Path(path).relative_to(ROOT))


def pinned(tool):
    """Our own version of a tool, from tools/requirements-lint.txt."""
    local = ROOT / "build" / "venv" / "bin" / tool
    if not local.exists():
        sys.exit(f"lint: no {local}; run `python3 tools/setup.py build lint`")
    return str(local)


def check_format(files, fix):
    options = ["-i"] if fix else ["--dry-run", "-Werror"]
    result = subprocess.run([pinned("clang-format"), "--style=file", *options, *map(str, files)], cwd=ROOT,
                            stderr=subprocess.PIPE, text=True)
    bad = sorted(set(re.findall(r"^(?:" + re.escape(str(ROOT)) + r"/)?(\S+?):\d+:\d+: error",
                                result.stderr, re.MULTILINE)))
    if result.returncode != 0 and not bad:
        return [result.stderr.strip()]
    return [f"{name}: not formatted; run `make format`" for name in bad]


def allowed_layers():
    """folder -> folders it may include, from the DEPENDS of CMakeLists.txt."""
    text = (ROOT / "CMakeLists.txt").read_text()
    direct = {}
    for folder, rest in re.findall(r"^engram_add_library\((\w+)([^)]*)\)", text, re.MULTILINE):
        match = re.search(r"DEPENDS([\sa-z]*)", rest)
        direct[folder] = set(match.group(1).split()) if match else set()
    closed = {}
    for folder in direct:
        seen, todo = set(), [folder]
        while todo:
            part = todo.pop()
            if part not in seen:
                seen.add(part)
                todo += direct.get(part, ())
        closed[folder] = seen
    return closed


def room_file(name):
    """Where a file of src/experiments belongs: to the store, the run or the report."""
    if not name.startswith("src/experiments/"):
        return name
    file = Path(name).name
    part = ("run" if file.startswith("experiment") else
            "store" if file.startswith(("rows.", "tables.")) else "report")
    return f"src/{part}/{file}"


def check_rules(files):
    """The layers, and the few rules that no other tool sees."""
    layers = allowed_layers()
    problems = []
    for path in files:
        name = relative(path)
        text = path.read_text()
        place = re.match(r"(?:include/engram|src)/(\w+)/", room_file(name))
        if place and place.group(1) not in layers:
            problems.append(f"{name}: folder '{place.group(1)}' is not in CMakeLists.txt")
            continue
        for number, line in enumerate(text.splitlines(), 1):
            where = f"{name}:{number}"
            include = re.match(r'\s*#include "(?:engram/)?(\w+)/', line)
            if place and include and include.group(1) in layers and \
                    include.group(1) not in layers[place.group(1)]:
                problems.append(f"{where}: {place.group(1)} must not use {include.group(1)}")
            if include and "nlohmann" in line and path.suffix == ".h":
                problems.append(f"{where}: nlohmann::json belongs in .cc files only")
            if re.search(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b", line):
                problems.append(f"{where}: unfinished work is not left in the code")
            if name.startswith(("src/", "include/")) and \
                    re.search(r"\b(std::cout|std::cerr|std::exit|abort\(\)|printf)\b", line) and \
                    "snprintf" not in line:
                problems.append(f"{where}: the library neither prints nor exits")
        if path.suffix == ".h" and "#pragma once" not in text:
            problems.append(f"{name}: no #pragma once")
    return problems


def tidy_files(chosen):
    """Our translation units, those changed last first."""
    with open(TIDY / "compile_commands.json", encoding="utf-8") as file:
        units = {Path(entry["file"]) for entry in json.load(file)}
    units = {unit for unit in units if str(unit).startswith(tuple(f"{ROOT}/{f}/" for f in FOLDERS))}
    if chosen:
        units &= set(chosen)
    log = subprocess.run(["git", "log", "--name-only", "--format=", "-n", "400"], cwd=ROOT,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    order = {}
    for name in log.split("\n"):
        order.setdefault(name, len(order))
    return sorted(units, key=lambda unit: (order.get(relative(unit), -1), relative(unit)))


class TidyKeys:
    """What a file's result hangs on: its text, that of the headers that are looked at through it,
    the rules. A header is looked at through one of the files that include it: that of its own name,
    else the first one."""

    def __init__(self, units):
        self.included = {}
        self.rules = (ROOT / ".clang-tidy").read_bytes() + \
            (ROOT / "tools" / "requirements-lint.txt").read_bytes()
        through = {}
        for unit in sorted(units, reverse=True):
            for header in self.reached(unit):
                if header not in through or through[header].stem != header.stem:
                    through[header] = unit
        self.headers_of = {unit: [] for unit in units}
        for header, unit in through.items():
            self.headers_of[unit].append(header)

    def headers(self, path):
        """Of ours that `path` includes itself."""
        if path not in self.included:
            found = []
            for name in re.findall(r'^\s*#include "([^"]+)"', path.read_text(), re.MULTILINE):
                places = [path.parent / name, *(ROOT / f / name for f in ("", "include", "src", "tests", "rust"))]
                found += [place.resolve() for place in places if place.exists()][:1]
            self.included[path] = found
        return self.included[path]

    def reached(self, unit):
        """Of ours that `unit` includes, by others as well."""
        seen, waiting = set(), self.headers(unit)[:]
        while waiting:
            path = waiting.pop()
            if path not in seen:
                seen.add(path)
                waiting += self.headers(path)
        return seen

    def key(self, unit):
        hashed = hashlib.sha256(self.rules)
        for path in [unit, *sorted(self.headers_of[unit])]:
            hashed.update(relative(path).encode() + b"\0" + path.read_bytes())
        return hashed.hexdigest()[:32]


def read_record():
    """The keys of what passed."""
    if not RECORD.exists():
        return set()
    return {line.split()[0] for line in RECORD.read_text().splitlines() if line.strip()}


def check_tidy(chosen, minutes, record):
    """Problems found by clang-tidy; prints what was not reached in time."""
    tool = pinned("clang-tidy")
    result = subprocess.run(["cmake", "--preset", "tidy"], cwd=ROOT, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        return [f"cmake --preset tidy failed:\n{result.stdout}"]
    units = tidy_files(chosen)
    passed = TIDY / "passed"
    passed.mkdir(exist_ok=True)
    keys = TidyKeys(tidy_files(None))
    key_of = {unit: keys.key(unit) for unit in units}
    recorded = read_record()
    deadline = time.monotonic() + 60 * minutes if minutes else float("inf")

    def one(unit):
        mark = passed / key_of[unit]
        if mark.exists() or key_of[unit] in recorded:
            return "same", ""
        if time.monotonic() > deadline:
            return "late", ""
        spared = ["--checks=-clang-analyzer-*"] if relative(unit).startswith(SPARED) else []
        result = subprocess.run([tool, "-p", str(TIDY), "--quiet", *spared,
                                 "--extra-arg=-Wno-unknown-warning-option", str(unit)], cwd=ROOT,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if result.returncode == 0:
            mark.touch()
            return "good", ""
        return "bad", result.stdout.strip() or result.stderr.strip()

    counts = {"same": 0, "late": 0, "good": 0, "bad": 0}
    problems = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for unit, (kind, text) in zip(units, pool.map(one, units)):
            counts[kind] += 1
            if kind == "bad":
                problems.append(f"{relative(unit)}: clang-tidy\n{text}")
            if kind == "late":
                print(f"lint: clang-tidy did not reach {relative(unit)} in {minutes} minutes")
    if record:
        good = {key for key in key_of.values() if key in recorded or (passed / key).exists()}
        RECORD.write_text("".join(f"{key_of[unit]} {relative(unit)}\n" for unit in sorted(tidy_files(None))
                                  if key_of.setdefault(unit, keys.key(unit)) in good | recorded))
        print(f"lint: {RECORD.name} is written")
    print(f"lint: clang-tidy: {len(units)} files, {counts['good']} passed, {counts['same']} passed "
          f"before, {counts['bad']} with problems, {counts['late']} not reached")
    return problems


def check_rust(fix=False):
    manifest = ROOT / "rust" / "Cargo.toml"
    cargo = shutil.which("cargo") or shutil.which("cargo", path=str(Path.home() / ".cargo/bin"))
    problems = []
    if not manifest.exists() or not cargo:
        print("lint: Rust skipped: no cargo on PATH or no rust/Cargo.toml")
        return problems
    environment = dict(os.environ, CARGO_TARGET_DIR=str(ROOT / "build" / "cargo"))
    environment["CARGO_TERM_COLOR"] = "never"
    for tool, options in (("fmt", [] if fix else ["--check", "--", "--color=never"]), ("clippy", ["--release", "--locked", "--quiet",
                                                           "--", "-D", "warnings"])):
        if fix and tool != "fmt":
            continue
        if subprocess.run([cargo, tool, "--version"], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode != 0:
            print(f"lint: cargo {tool} skipped: not installed")
            continue
        result = subprocess.run([cargo, tool, "--manifest-path", str(manifest), *options],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                env=environment)
        if result.returncode != 0:
            problems.append(f"cargo {tool}:\n{result.stdout.strip()}")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fix", action="store_true", help="format in place and stop")
    parser.add_argument("--no-tidy", action="store_true", help="without clang-tidy")
    parser.add_argument("--record", action="store_true", help="write what passes to tools/tidy_passed.txt")
    parser.add_argument("--minutes", type=float, default=0, help="budget of clang-tidy")
    parser.add_argument("files", nargs="*", type=Path, help="only these")
    options = parser.parse_args()
    files = [path.resolve() for path in options.files] or our_files()
    if not files:
        print("lint: no C++ files")
        return 0
    problems = check_format(files, options.fix)
    if options.fix:
        problems += check_rust(fix=True)
        print(f"lint: formatted {len(files)} files")
    else:
        problems += check_rules(files)
        if not options.files:
            problems += check_rust()
        print(f"lint: format and rules: {len(files)} files, {len(problems)} problems", flush=True)
        if not options.no_tidy:
            problems += check_tidy(options.files and files, options.minutes, options.record)
    for problem in problems:
        print(problem)
    print(f"lint: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
