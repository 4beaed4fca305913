"""The bench's tables of decoders: SmolLM2's shape with random weights, and SmolLM2-135M itself."""

import json
from pathlib import Path

import numpy as np
from measuring import AGREE, Bench, Failure, Row, difference, histogram
from tokenizers import Tokenizer

STEPS = ("--rule", "linspace", "--steps", 20)
TOKENS = 12  # of a prompt of real weights
# On real weights F of the lowest layer jumps near t = 0, and float32 with it.
AGREE_REAL = 2e-3
# Nodes that the errors are measured to. In the lowest layer of real weights 64 are off themselves.
TRUTH, TRUTH_REAL = 64, 256


def measure(bench: Bench) -> None:
    options = bench.options
    bench.begin_table("decoder of SmolLM2's shape", "decoder_", AGREE)
    small = bench.scratch / "decoder-small"
    bench.make_checkpoint("make_decoder.py", "decoder", "--small", small)
    figures(bench, TRUTH, small)
    if bench.has_real(options.real_decoder, options.pararel):
        facts = pararel_facts(options.pararel, options.prompts, options.real_decoder)
        bench.link_model(options.real_decoder, "real-decoder", facts)
        bench.begin_table(f"{options.real_decoder.name}, {len(facts)} prompts of ParaRel",
                          "decoder_real_", AGREE_REAL)
        figures(bench, TRUTH_REAL, None)


def figures(bench: Bench, nodes: int, small: Path | None) -> None:
    """Compares the outputs, then times; fills the table."""
    usual = bench.reference("usual", 2, "decoder_usual")
    truth = bench.reference("truth", 1, "decoder_truth")
    count = bench.options.error_prompts

    def ours(prompts: int, name: str, *extra, keep: str = "") -> dict:
        return bench.attribute(bench.checkpoint, "facts.jsonl", prompts, scores=name, extra=extra,
                               keep=keep)
    theirs = ours(count, "linspace", *STEPS)
    gauss = ours(len(truth["scores"]), "gauss", "--rule", "gauss-legendre", "--steps", 64)
    bench.agrees([
        ("ours by linspace 20 and usual", theirs["scores"], usual["scores"]),
        ("ours by 64 Gauss-Legendre nodes and PyTorch's", gauss["scores"], truth["scores"])])
    exact = ours(count, "exact", "--rule", "gauss-legendre", "--steps", nodes)
    bench.say(f"ours, {nodes} Gauss-Legendre nodes: {exact['seconds_per_prompt']:.2f} s a prompt")

    before = bench.ours("sgemm", "--threads", bench.threads, keep="sgemm_before")
    runs = [ours(bench.options.prompts, "default", keep="default") for _ in range(3)]
    after = bench.ours("sgemm", "--threads", bench.threads, keep="sgemm_after")
    best = sorted(runs, key=lambda run: run["seconds"])[1]
    sgemm = max(before["best_gflops"], after["best_gflops"])
    seconds = best["seconds_per_prompt"]
    our_errors = difference(best["scores"], exact["scores"])
    their_errors = difference(theirs["scores"], exact["scores"])
    gaps = np.array(best["relative_gaps"])
    bench.rows += [
        Row("speed against usual", usual["seconds_per_prompt"] / seconds, "speedup_vs_usual",
            "{:.0f}x", (">=", 100), (">=", 400)),
        Row("our error / theirs, median", float(np.median(our_errors / their_errors)),
            "error_ratio", "{:.2g}", ("<", 0.05), ("<", 0.005)),
        Row("ours, s a prompt", seconds, "seconds_ours", "{:.3g}", ("<", 0.25), ("<", 0.1)),
        Row("share of the best sgemm rate", best["gflops"] / sgemm, "roofline_fraction", "{:.2f}",
            (">=", 0.5), (">=", 0.8)),
        *memory(bench, small),
        Row("relative gap, 95th percentile", float(np.percentile(gaps, 95)), "gap_p95", "{:.2g}"),
        Row("neurons", f"{best['layers'] * best['d_ff']:,}"),
        Row("usual, s a prompt", usual["seconds_per_prompt"], "seconds_usual"),
        Row("usual, TFLOP a prompt", usual["flops_per_prompt"] / 1e12, "tflop_usual"),
        Row("ours, GFLOP needed a prompt", best["flops"] / best["prompts"] / 1e9, "gflop_ours"),
        Row("best sgemm rate, GFLOP/s", sgemm, "sgemm_gflops", "{:.0f}"),
        Row(f"our error, median of {count}", float(np.median(our_errors)), "error_ours", "{:.1e}"),
        Row("linspace's error, median", float(np.median(their_errors)), "error_usual", "{:.1e}"),
        Row(f"gap of {nodes} Gauss-Legendre nodes, largest", max(exact["relative_gaps"]),
            "gap_truth", "{:.1e}"),
        Row("nodes: (prompt, layer) pairs", histogram(best["nodes"])),
        Row("nodes of layer 0, of the others, mean", " / ".join(
            f"{np.mean(of):.1f}" for of in (best["nodes_of_layer"][:1],
                                            best["nodes_of_layer"][1:]))),
        Row("pairs over the tolerance", best["unconverged"], "unconverged", "{:d}"),
    ]


def memory(bench: Bench, small: Path | None) -> list[Row]:
    """Peak memory with many prompts over that with few, on the small decoder."""
    if small is None:
        return []
    few, many = (bench.attribute(small, "facts.jsonl", prompts, scores="memory",
                                 keep=f"memory_{prompts}")
                 for prompts in (100, bench.options.memory_prompts))
    (bench.scratch / "memory.f32").unlink(missing_ok=True)
    bench.say(f"peak memory {few['peak_bytes'] / 1e6:.0f} MB with 100 prompts, "
              f"{many['peak_bytes'] / 1e6:.0f} MB with {bench.options.memory_prompts}")
    return [Row("memory, 10,000 prompts / 100", many["peak_bytes"] / few["peak_bytes"],
                "memory_ratio", "{:.3f}x", ("<", 1.2), ("<", 1.05))]


def pararel_facts(folder: Path, count: int, model: Path) -> list[dict]:
    """Facts of one prompt each of TOKENS tokens whose answer stands last and is one token, the
    relations in turn."""
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    random = np.random.Generator(np.random.PCG64(0))

    def lines(kind: str, relation: str) -> list[dict]:
        text = (folder / kind / f"{relation}.jsonl").read_text("utf-8")
        return [json.loads(line) for line in text.splitlines()]
    relations, read = [], {}
    for relation in sorted(path.stem for path in (folder / "patterns").glob("*.jsonl")):
        patterns = [p["pattern"] for p in lines("patterns", relation)
                    if p["pattern"].rstrip(" .").endswith("[Y]")]
        if patterns and (folder / "facts" / f"{relation}.jsonl").exists():
            relations.append(relation)
            read[relation] = (patterns, lines("facts", relation))

    def draw(relation: str) -> dict | None:
        patterns, known = read[relation]
        fact = known[random.integers(len(known))]
        pattern = patterns[random.integers(len(patterns))]
        text = pattern[:pattern.index("[Y]")].rstrip(" ").replace("[X]", fact["sub_label"])
        ids = tokenizer.encode(text).ids
        whole = tokenizer.encode(f"{text} {fact['obj_label']}").ids
        if len(ids) != TOKENS or whole[:-1] != ids:
            return None
        return {"relation": relation, "subject": fact["sub_label"], "object": fact["obj_label"],
                "held_out": [], "prompts": [f"{text} [MASK]"]}
    facts: list[dict] = []
    for turn in range(100 * count):
        if len(facts) == count:
            break
        tries = (draw(relations[turn % len(relations)]) for _ in range(50))
        facts += [fact for fact in [next((t for t in tries if t), None)] if fact]
    if len(facts) < count:
        raise Failure(f"{folder}: {len(facts)} prompts of {TOKENS} tokens, expected {count}")
    # Whoever groups facts by relation keeps their order.
    return sorted(facts, key=lambda fact: relations.index(fact["relation"]))
