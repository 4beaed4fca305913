#!/usr/bin/env python3
"""Compares checkpoints and expected results made anew with the stored ones.

Token ids, names, weights and text files must be the same; what was computed may differ by what
another processor's sums may differ in float64, rounded to float32.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

TOLERANCE = 1e-6       # of the largest value of a tensor
# Written by transformers and depend on nothing else.
IGNORED_FIELDS = {"transformers_version"}


def differing(stored, made, where: str) -> list[str]:
    """Paths of JSON values that differ; floats by TOLERANCE."""
    if isinstance(stored, float) and isinstance(made, (int, float)):
        close = abs(stored - made) <= TOLERANCE * max(1e-3, abs(stored))
        return [] if close else [f"{where}: {stored} is now {made}"]
    if type(stored) is not type(made):
        return [f"{where}: {stored!r} is now {made!r}"]
    if isinstance(stored, dict):
        found = []
        for key in sorted((stored.keys() | made.keys()) - IGNORED_FIELDS):
            if key not in stored or key not in made:
                found.append(f"{where}.{key}: {'new' if key in made else 'gone'}")
            else:
                found += differing(stored[key], made[key], f"{where}.{key}")
        return found
    if isinstance(stored, list):
        if len(stored) != len(made):
            return [f"{where}: {len(stored)} entries are now {len(made)}"]
        return [d for i, pair in enumerate(zip(stored, made))
                for d in differing(*pair, f"{where}[{i}]")]
    return [] if stored == made else [f"{where}: {stored!r} is now {made!r}"]


def compare_tensors(stored: Path, made: Path, exact: bool) -> list[str]:
    before, after = load_file(stored), load_file(made)
    if before.keys() != after.keys():
        return [f"{stored.name}: other tensors: {sorted(before.keys() ^ after.keys())}"]
    found = []
    for name, tensor in before.items():
        other = after[name]
        if tensor.shape != other.shape or tensor.dtype != other.dtype:
            found.append(f"{stored.name}: {name}: another shape or type")
            continue
        difference = (tensor.double() - other.double()).abs().max().item()
        allowed = 0.0 if exact else TOLERANCE * tensor.double().abs().max().item()
        if not difference <= allowed:
            found.append(f"{stored.name}: {name}: differs by {difference:.2e}, "
                         f"allowed {allowed:.2e}")
    return found


def compare_folder(stored: Path, made: Path) -> list[str]:
    names = {f.name for f in stored.iterdir()}
    if names != {f.name for f in made.iterdir()}:
        return [f"other files: {sorted(names ^ {f.name for f in made.iterdir()})}"]
    found = []
    for name in sorted(names):
        if name.endswith(".safetensors"):
            found += compare_tensors(stored / name, made / name, exact=name.startswith("model"))
        elif name.endswith(".json"):
            found += differing(json.loads((stored / name).read_text("utf-8")),
                               json.loads((made / name).read_text("utf-8")), name)
        elif (stored / name).read_bytes() != (made / name).read_bytes():
            found.append(f"{name}: differs")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stored", type=Path)
    parser.add_argument("made", type=Path)
    options = parser.parse_args()
    failed = False
    names = sorted(f.name for f in options.stored.iterdir())
    if names != sorted(f.name for f in options.made.iterdir()):
        print(f"compare: other checkpoints than {', '.join(names)}", file=sys.stderr)
        return 1
    for name in names:
        found = compare_folder(options.stored / name, options.made / name)
        failed = failed or bool(found)
        print(f"{name}: {'as stored' if not found else 'DIFFERS'}")
        for line in found[:20]:
            print(f"  {line}", file=sys.stderr)
        if len(found) > 20:
            print(f"  and {len(found) - 20} more", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
