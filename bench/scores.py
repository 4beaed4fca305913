#!/usr/bin/env python3
"""Which cheap score is nearest to exact ablation? One prompt a fact; every score of all neurons.

Truth is F(a) - F(a with one neuron alone at zero), for every neuron. Against it: Spearman's rank
correlation over all neurons, and how many of the ten largest are among the ten of exact ablation.
Means over facts with 95 % intervals (bootstrap over facts); differences from integrated gradients use
the same draws. The ablations are kept in --scratch and used again.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SCORES = [
    ("integrated gradients", ["--score", "ig"]),
    ("20 left steps", ["--score", "ig", "--rule", "riemann-left", "--steps", "20"]),
    ("relp", ["--score", "relp"]),
    ("attribution patching", ["--score", "attribution-patching"]),
    ("activation", ["--score", "activation"]),
    ("activation x value norm", ["--score", "activation-norm"]),
]
TOP = 10


def choose(options) -> list[dict]:
    """Seeded facts whose answer is one token, each with its shortest prompt."""
    found = subprocess.run(
        [options.engram, "locate", options.model, "--facts", options.facts, "--held-out-share", "0",
         "--score", "activation", "--limit", str(4 * options.prompts), "--seed", str(options.seed),
         "--quiet", "--json"], check=True, capture_output=True, text=True)
    chosen = []
    for line in found.stdout.splitlines():
        fact = json.loads(line)
        if fact.get("record") != "fact" or fact["answer_tokens"] != 1:
            continue
        # What the model does not know at all has nothing to ablate.
        known = [p for p in fact["prompts"] if p["p"] >= options.least_p]
        if known:
            shortest = min(known, key=lambda p: len(p["prompt"]))
            chosen.append({name: fact[name] for name in ("relation", "subject", "object")} |
                          {"prompts": [shortest["prompt"]], "p": shortest["p"]})
    order = np.random.default_rng(options.seed).permutation(len(chosen))
    if len(chosen) < options.prompts:
        sys.exit(f"scores.py: got {len(chosen)} facts with P >= {options.least_p}, "
                 f"expected {options.prompts}")
    # Reading a fact set groups it by relation: the rows of the scores shall keep this order.
    return sorted((chosen[i] for i in order[:options.prompts]), key=lambda fact: fact["relation"])


class Measure:
    def __init__(self, options):
        self.options = options
        options.scratch.mkdir(parents=True, exist_ok=True)

    def run(self, facts: list[dict], arguments: list[str]) -> tuple[np.ndarray, float]:
        """-> scores [facts, neurons] and seconds a prompt."""
        file, raw = self.options.scratch / "facts.jsonl", self.options.scratch / "scores.raw"
        lines = [json.dumps({k: v for k, v in fact.items() if k != "p"}) for fact in facts]
        file.write_text("".join(line + "\n" for line in lines), "utf-8")
        done = subprocess.run(
            [self.options.bench, "attribute", self.options.model, "--facts", file, "--prompts",
             str(len(facts)), "--scores", raw, *arguments],
            check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
        if not np.allclose(found["p"], [fact["p"] for fact in facts], rtol=1e-3):
            sys.exit("scores.py: the prompts came back in another order or with another P")
        scores = np.fromfile(raw, np.float32).reshape(len(facts), -1)
        raw.unlink()
        return scores, found["seconds"] / len(facts)

    def truth(self, facts: list[dict]) -> tuple[np.ndarray, float]:
        rows, seconds = [], []
        for i, fact in enumerate(facts):
            name = str(self.options.model.resolve()) + json.dumps(fact)
            key = hashlib.sha256(name.encode()).hexdigest()[:16]
            kept = self.options.scratch / f"ablation-{key}.npz"
            if not kept.exists():
                row, took = self.run([fact], ["--score", "ablation"])
                beside = kept.with_suffix(".part.npz")
                np.savez(beside, scores=row[0], seconds=took)
                beside.rename(kept)
                print(f"ablation {i + 1} of {len(facts)}: {took:.1f} s", file=sys.stderr, flush=True)
            found = np.load(kept)
            rows.append(found["scores"])
            seconds.append(float(found["seconds"]))
        return np.stack(rows), float(np.mean(seconds))


def ranks(x: np.ndarray) -> np.ndarray:
    """Mean ranks; equal values share theirs."""
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def compare(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """[facts, 2]: rank correlation, share of the ten largest in common."""
    rows = []
    for mine, exact in zip(scores, truth):
        correlation = np.corrcoef(ranks(mine), ranks(exact))[0, 1]
        top = [set(np.argsort(x)[-TOP:]) for x in (mine, exact)]
        rows.append((correlation, len(top[0] & top[1]) / TOP))
    return np.array(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("facts", type=Path)
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--least-p", type=float, default=0.05,
                        help="P of the answer on the chosen prompt")
    parser.add_argument("--scratch", type=Path, default=ROOT / "build/bench/scores")
    parser.add_argument("--json", type=Path, help="also write the table to this file")
    parser.add_argument("--engram", type=Path, default=ROOT / "build/release/bin/engram")
    parser.add_argument("--bench", type=Path, default=ROOT / "build/release/bin/engram-bench")
    options = parser.parse_args()
    facts = choose(options)
    measure = Measure(options)
    truth, ablation_seconds = measure.truth(facts)
    found, seconds = {}, {}
    for name, arguments in SCORES:
        scores, seconds[name] = measure.run(facts, arguments)
        found[name] = compare(scores, truth)
    draws = np.random.default_rng(options.seed).integers(len(facts), size=(2000, len(facts)))
    reference = SCORES[0][0]

    def measured(values: np.ndarray) -> dict:
        low, high = np.percentile(values[draws].mean(1), [2.5, 97.5])
        return {"value": values.mean(), "low": low, "high": high}

    def text(one: dict) -> str:
        return f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"

    print(f"{len(facts)} facts, one prompt each, {truth.shape[1]:,} neurons; "
          f"exact ablation {ablation_seconds:.3g} s a prompt\n")
    print(f"{'score':<24} {'s a prompt':>10}  {'rank correlation':<21}  {'top 10 in common':<21}  "
          f"{'minus ig: correlation':<22}  {'top 10'}")
    result = {"facts": len(facts), "seconds_ablation": ablation_seconds, "scores": {}}
    for name, _ in SCORES:
        mine = found[name]
        less = mine - found[reference]
        one = {"seconds": seconds[name], "correlation": measured(mine[:, 0]),
               "top": measured(mine[:, 1]), "correlation_less_ig": measured(less[:, 0]),
               "top_less_ig": measured(less[:, 1])}
        result["scores"][name] = one
        line = f"{name:<24} {one['seconds']:>10.3g}  {text(one['correlation']):<21}  "
        line += f"{text(one['top']):<21}"
        if name != reference:
            line += f"  {text(one['correlation_less_ig']):<22}  {text(one['top_less_ig'])}"
        print(line.rstrip())
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
