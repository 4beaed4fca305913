#!/usr/bin/env python3
"""`make bench`: ours against the references, outputs compared first; see README.md."""

import argparse
import json
import os
import sys
from pathlib import Path

import decoder
import numpy as np
from measuring import (AGREE, AGREE_REAL, BENCH, ROOT, Bench, Failure, Row, difference,
                       histogram)


class BertBench(Bench):
    """Masked models: the tables of BERT's shape and of bert-base-cased."""

    def use_real_model(self) -> bool:
        """From here on bert-base-cased and prompts of ParaRel, in a table of their own."""
        model, pararel = self.options.real, self.options.pararel
        if not self.has_real(model, pararel):
            return False
        facts = pararel_facts(pararel, self.options.prompts, model)
        self.link_model(model, "real", facts)
        self.begin_table(f"{model.name}, {len(facts)} prompts of ParaRel", "real_", AGREE_REAL)
        return True

    def compare(self) -> None:
        """Everything that must agree, before ours is timed."""
        usual = self.reference("usual", 3)
        truth = self.reference("truth", 1)
        released = self.reference("released", self.options.released_prompts)
        errors = self.options.error_prompts
        left = self.attribute(self.checkpoint, "facts.jsonl", errors, scores="left",
                              extra=("--rule", "riemann-left", "--steps", 20))
        self.say(f"ours, riemann-left 20: {left['seconds_per_prompt']:.2f} s a prompt")
        exact = self.attribute(self.checkpoint, "facts.jsonl", errors, scores="exact",
                               extra=("--rule", "gauss-legendre", "--steps", 64))
        self.say(f"ours, gauss-legendre 64: {exact['seconds_per_prompt']:.2f} s a prompt")
        self.agrees([
            ("released and usual", released["scores"], usual["scores"]),
            ("ours by riemann-left 20 and usual", left["scores"], usual["scores"]),
            ("ours by 64 Gauss-Legendre nodes and PyTorch's", exact["scores"], truth["scores"])])
        self.usual, self.released, self.left, self.exact = usual, released, left, exact

    def main_figures(self) -> None:
        before = self.ours("sgemm", "--threads", self.threads, keep="sgemm_before")
        runs = [self.attribute(self.checkpoint, "facts.jsonl", self.options.prompts,
                               scores="default", keep="default") for _ in range(3)]
        after = self.ours("sgemm", "--threads", self.threads, keep="sgemm_after")
        ours = sorted(runs, key=lambda r: r["seconds"])[1]
        sgemm = max(before["best_gflops"], after["best_gflops"])
        seconds = ours["seconds_per_prompt"]
        count = len(self.exact["scores"])
        our_errors = difference(ours["scores"], self.exact["scores"])
        their_errors = difference(self.left["scores"], self.exact["scores"])
        ratio = float(np.median(our_errors / their_errors))
        gap = float(np.percentile(ours["relative_gaps"], 95))
        real = bool(self.prefix)
        memory, shipped_rows = (None, []) if real else self.shipped_model()
        self.rows += [
            Row("speed against released", self.released["seconds_per_prompt"] / seconds,
                "speedup_vs_released", "{:.0f}x", (">=", 250), (">=", 500)),
            Row("speed against usual", self.usual["seconds_per_prompt"] / seconds,
                "speedup_vs_usual", "{:.1f}x", (">=", 15), (">=", 30)),
            Row("our error / theirs, median", ratio, "error_ratio", "{:.2g}", ("<", 0.1),
                ("<", 0.01)),
            Row("relative gap, 95th percentile", gap, "gap_p95", "{:.2g}", ("<", 0.01),
                ("<", 0.003)),
            Row("share of the best sgemm rate", ours["gflops"] / sgemm, "roofline_fraction",
                "{:.2f}", (">=", 0.70), (">=", 0.85 if real else 0.90)),
            *([] if real else [Row("memory, 10,000 prompts / 100", memory, "memory_ratio",
                                   "{:.3f}x", ("<", 1.2), ("<", 1.05))]),
            Row("released, s a prompt", self.released["seconds_per_prompt"],
                "seconds_released"),
            Row("released, TFLOP a prompt", self.released["flops_per_prompt"] / 1e12,
                "tflop_released"),
            Row("usual, s a prompt", self.usual["seconds_per_prompt"], "seconds_usual"),
            Row("usual, TFLOP a prompt", self.usual["flops_per_prompt"] / 1e12, "tflop_usual"),
            Row("ours, s a prompt", seconds, "seconds_ours", aim=("<", 0.15) if real else None),
            Row("ours, GFLOP needed a prompt", ours["flops"] / ours["prompts"] / 1e9,
                "gflop_ours"),
            Row("best sgemm rate, GFLOP/s", sgemm, "sgemm_gflops", "{:.0f}"),
            Row(f"our error, median of {count}", float(np.median(our_errors)), "error_ours",
                "{:.1e}"),
            Row("riemann-left's error, median", float(np.median(their_errors)), "error_released",
                "{:.1e}"),
            Row("exact nodes: (prompt, layer) pairs", histogram(ours["nodes"])),
            Row("cheap nodes: (prompt, layer) pairs", histogram(ours["cheap_nodes"])),
            Row("pairs over the tolerance", ours["unconverged"], "unconverged", "{:d}"),
            *shipped_rows,
        ]
        self.sgemm = sgemm

    def shipped_model(self) -> tuple[float, list[Row]]:
        """-> the memory ratio, and what else is measured on the way."""
        model = self.options.model
        if not (model / "facts.jsonl").exists():
            self.say(f"{model} has no facts.jsonl: memory is not measured")
            return float("nan"), []
        few = self.attribute(model, "facts.jsonl", 100, scores="memory", keep="memory_100")
        many = self.attribute(model, "facts.jsonl", self.options.memory_prompts,
                              scores="memory", keep="memory_10000")
        (self.scratch / "memory.f32").unlink(missing_ok=True)
        self.say(f"peak memory {few['peak_bytes'] / 1e6:.0f} MB with 100 prompts, "
                 f"{many['peak_bytes'] / 1e6:.0f} MB with {self.options.memory_prompts}")
        return many["peak_bytes"] / few["peak_bytes"], [
            Row("shipped model, ms a prompt", 1e3 * many["seconds_per_prompt"],
                "milliseconds_shipped"),
            Row("shipped model, exact nodes", histogram(many["nodes"]))]

    def further_figures(self) -> None:
        for workers in (1, 2):
            found = self.attribute(self.checkpoint, "facts.jsonl", 32, threads=workers,
                                   keep=f"workers_{workers}")
            self.rows.append(Row(f"{workers} worker(s), s a prompt", found["seconds_per_prompt"],
                                 f"seconds_{workers}_workers"))
        for tokens, prompts in ((64, 8), (128, 4)):
            found = self.attribute(self.checkpoint, f"facts-{tokens}.jsonl", prompts,
                                   keep=f"tokens_{tokens}")
            self.rows.append(Row(f"{tokens} tokens, s a prompt", found["seconds_per_prompt"],
                                 f"seconds_{tokens}_tokens"))
            self.rows.append(Row(f"{tokens} tokens, share of sgemm",
                                 found["gflops"] / self.sgemm, f"roofline_{tokens}_tokens",
                                 "{:.2f}"))
        found = self.ours("ablation", self.checkpoint, "--facts", self.checkpoint / "facts.jsonl",
                          "--threads", self.threads, keep="ablation")
        rate = found["flops"] / found["seconds"] / 1e9
        self.rows.append(Row(f"exact ablation of {found['neurons']:,} neurons, s",
                             found["seconds"], "seconds_ablation"))
        self.rows.append(Row("exact ablation, share of sgemm", rate / self.sgemm,
                             "roofline_ablation", "{:.2f}"))
        found = self.ours("load", self.checkpoint, keep="load")
        self.rows.append(Row("loading, ms", 1e3 * found["seconds"], "milliseconds_load"))
        self.rows.append(Row("loading, MB mapped / copied",
                             f"{found['mapped_bytes'] / 1e6:.0f} / "
                             f"{found['copied_bytes'] / 1e6:.0f}"))

    def scores(self) -> None:
        """Every score of the shipped model beside exact ablation."""
        facts = self.options.model / "facts.jsonl"
        if not facts.exists():
            return
        out = self.scratch / "scores.json"
        table, _ = self.run([sys.executable, BENCH / "scores.py", self.options.model,
                                        facts, "--bench", self.options.program, "--json", out])
        self.result["scores"] = json.loads(out.read_text("utf-8"))
        print(table, flush=True)


def pararel_facts(folder: Path, count: int, model: Path) -> list[dict]:
    """Facts of one prompt each, the relations in turn, whose objects are one token of `model`."""
    words = set((model / "vocab.txt").read_text("utf-8").splitlines())
    random = np.random.Generator(np.random.PCG64(0))
    relations = sorted(path.stem for path in (folder / "facts").glob("*.jsonl")
                       if (folder / "patterns" / path.name).exists())
    read = {}
    for kind in ("facts", "patterns"):
        for relation in relations:
            lines = (folder / kind / f"{relation}.jsonl").read_text("utf-8").splitlines()
            read[kind, relation] = [json.loads(line) for line in lines]
    facts = []
    for number in range(count):
        relation = relations[number % len(relations)]
        known = [f for f in read["facts", relation] if f["obj_label"] in words]
        fact = known[random.integers(len(known))]
        patterns = read["patterns", relation]
        pattern = patterns[random.integers(len(patterns))]["pattern"]
        facts.append({"relation": relation, "subject": fact["sub_label"],
                      "object": fact["obj_label"], "held_out": [],
                      "prompts": [pattern.replace("[X]", fact["sub_label"])
                                  .replace("[Y]", "[MASK]")]})
    # Whoever groups facts by relation keeps their order.
    return sorted(facts, key=lambda fact: relations.index(fact["relation"]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build/bench.json")
    parser.add_argument("--program", type=Path, default=ROOT / "build/release/bin/engram-bench")
    parser.add_argument("--model", type=Path, default=ROOT / "models/engram-base")
    parser.add_argument("--real", type=Path, default=ROOT / "build/real/bert-base-cased")
    parser.add_argument("--pararel", type=Path, default=ROOT.parent / "shared/data/pararel")
    parser.add_argument("--real-decoder", type=Path, default=ROOT / "build/real/smollm2-135m")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--only-real", action="store_true",
                      help="the table of bert-base-cased alone")
    only.add_argument("--only-decoder", action="store_true", help="the tables of decoders alone")
    parser.add_argument("--scratch", type=Path, default=ROOT / "build/bench")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--error-prompts", type=int, default=32,
                        help="prompts with 64 Gauss-Legendre nodes")
    parser.add_argument("--released-prompts", type=int, default=2)
    parser.add_argument("--memory-prompts", type=int, default=10_000)
    parser.add_argument("--require", action="store_true", help="exit 1 when a must is missed")
    options = parser.parse_args()
    if options.error_prompts > options.prompts:
        parser.error("--error-prompts is larger than --prompts")
    if not os.access(options.program, os.X_OK):
        print(f"bench: {options.program} is not built (make build)", file=sys.stderr)
        return 4
    bench = BertBench(options)
    try:
        if not options.only_real and not options.only_decoder:
            bench.begin_table("", "", AGREE)
            bench.make_checkpoint()
            bench.compare()
            bench.main_figures()
            bench.further_figures()
            bench.scores()
        if not options.only_decoder and bench.use_real_model():
            bench.compare()
            bench.main_figures()
        if not options.only_real:
            decoder.measure(bench)
    except Failure as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    met = bench.finish()
    return 1 if options.require and not met else 0


if __name__ == "__main__":
    sys.exit(main())
