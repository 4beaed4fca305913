#!/usr/bin/env python3
"""Whole data sets: rate and memory of runs, and the rate of attribution at real prompt lengths.

    scale.py runs  [--pararel DIR] [--facts 2000]     shipped model, locate + suppress + amplify
    scale.py texts [--wiki DIR] [--words 60000000]    shipped model, texts that activate neurons
    scale.py paper [--pararel DIR] [--prompts 500]    BERT-base's shape, prompts of ParaRel's lengths

`runs` does N facts and then all of ParaRel that the shipped model's vocabulary covers, checks that
every fact is in both runs' tables, and compares rate and peak memory. The run files stay in
build/scale; with --resume what was stopped goes on (its seconds are summed over the sessions, its
peak memory is not known then). `texts` streams a tenth of the words and then all of them through
`engram texts` (the folder's files again and again until there are enough) and compares the same.
`paper` attributes prompts whose lengths are a seeded sample of ParaRel's (in tokens of the shipped
model's tokenizer: those of BERT's own vocabulary cannot be had offline) with the weights of `make
bench`, checks the gaps, and extrapolates to the paper's 253,448 prompts. Needs `make bench` before
(its checkpoint). Results are printed and written to build/scale.json.
"""

import argparse
import itertools
import json
import lzma
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from measuring import PAPER_PROMPTS

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "models/engram-base"
# What a fact's effects are measured on beside its own prompts, fewer than the defaults: the rate of
# a run with the defaults is in docs/results.md.
FEW = ["--draws", 1, "--same-relation", 5, "--other-relations", 10, "--sentences", 5]


def run(arguments):
    """Output, seconds and peak resident memory (bytes) of a program that must succeed."""
    begin = time.perf_counter()
    process = subprocess.Popen([str(a) for a in arguments], stdout=subprocess.PIPE)
    try:
        output = process.stdout.read()
    except KeyboardInterrupt:
        process.wait()
        sys.exit("scale: interrupted; `runs --resume` goes on")
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"scale: status {status}: {' '.join(map(str, arguments))}")
    return output, time.perf_counter() - begin, usage.ru_maxrss * 1024


def measure_run(program, pararel, limit, folder, resume):
    file = folder / f"{limit or 'all'}.db"
    if not resume:
        for old in folder.glob(file.name + "*"):
            old.unlink()
    command = [program, "reproduce", MODEL, "--facts", pararel, "--run", file, "--only",
               "locate,effects", *FEW, "--quiet", "--json"]
    if limit:
        command += ["--limit", limit]
    output, _, peak = run(command)
    done = json.loads(output)
    database = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    one = lambda query: database.execute(query).fetchone()[0]
    facts, prompts = one("SELECT count(*) FROM fact"), one(
        "SELECT count(*) FROM prompt WHERE held_out = 0")
    located = one("SELECT count(DISTINCT fact) FROM attribution WHERE method = 'ig'")
    treated = one("SELECT count(DISTINCT fact) FROM effect WHERE source = 'ig'")
    wanted = one("SELECT count(*) FROM fact WHERE copies = 0")
    if facts != done["facts"] or located != facts or treated != wanted:
        sys.exit(f"scale: {file}: {facts} facts, {located} located, {treated} of {wanted} "
                 "treated")
    seconds, sessions = one("SELECT sum(seconds) FROM session"), one("SELECT count(*) FROM session")
    return {"facts": facts, "prompts": prompts, "seconds": seconds, "sessions": sessions,
            "peak_bytes": peak if sessions == 1 else None,
            "facts_per_second": facts / seconds, "file_bytes": file.stat().st_size,
            "unusable": done["problems"]}


def measure_runs(options):
    folder = ROOT / "build/scale"
    folder.mkdir(parents=True, exist_ok=True)
    result = {name: measure_run(options.program, options.pararel, limit, folder, options.resume)
              for name, limit in (("part", options.facts), ("all", 0))}
    part, whole = result["part"], result["all"]
    result["rate_ratio"] = whole["facts_per_second"] / part["facts_per_second"]
    known = part["peak_bytes"] and whole["peak_bytes"]
    result["memory_ratio"] = whole["peak_bytes"] / part["peak_bytes"] if known else None
    for name, one in (("part", part), ("all", whole)):
        print(f"{name:5} {one['facts']:6,} facts, {one['prompts']:7,} prompts: {one['seconds']:7.1f} s, "
              f"{one['facts_per_second']:.2f} facts/s" +
              (f", {one['peak_bytes'] / 2**20:.0f} MiB" if one["peak_bytes"] else
               f", {one['sessions']} sessions"))
    print(f"all against part: rate x {result['rate_ratio']:.2f}, memory " +
          (f"x {result['memory_ratio']:.3f} (must be under 1.2)" if known else "not measured"))
    return result


def write_corpus(pipe, folder, words, written):
    """Lines of the folder's texts into a pipe, from the first again after the last."""
    left = words
    with open(pipe, "wb") as out:
        for path in itertools.cycle(sorted(folder.glob("*.xz"))):
            with lzma.open(path, "rb") as lines:
                for line in lines:
                    out.write(line)
                    written["lines"] += 1
                    left -= len(line.split())
                    if left <= 0:
                        return


def measure_corpus(options, words):
    with tempfile.TemporaryDirectory() as scratch:
        pipe = Path(scratch) / "corpus.txt"
        os.mkfifo(pipe)
        written = {"lines": 0}
        writer = threading.Thread(target=write_corpus, args=(pipe, options.wiki, words, written),
                                  daemon=True)
        writer.start()
        output, seconds, peak = run([options.program, "texts", MODEL, "--corpus", pipe, "--neurons",
                                     options.neurons, "--quiet", "--json"])
        writer.join()
    found = json.loads(output)
    if found["lines"] != written["lines"] or found["words"] > words * 1.01:
        sys.exit(f"scale: wrote {words} words in {written['lines']} lines, the program saw "
                 f"{found['words']} in {found['lines']}")
    # Words of sentences that are longer than the model takes are read and not run.
    return {"neurons": options.neurons, "read_words": words, "words": found["words"],
            "texts": found["texts"], "seconds": seconds, "peak_bytes": peak,
            "words_per_second": found["words"] / seconds}


def measure_texts(options):
    if not any(options.wiki.glob("*.xz")):
        sys.exit(f"scale: there is no .xz file in {options.wiki}: give a folder with --wiki")
    result = {}
    for name, words in (("part", options.words // 10), ("all", options.words)):
        one = result[name] = measure_corpus(options, words)
        print(f"{name:5} {one['read_words']:,} words read, {one['words']:,} run: "
              f"{one['seconds']:.1f} s, "
              f"{one['words_per_second']:,.0f} words/s, {one['peak_bytes'] / 2**20:.0f} MiB",
              flush=True)
    part, whole = result["part"], result["all"]
    result["rate_ratio"] = whole["words_per_second"] / part["words_per_second"]
    result["memory_ratio"] = whole["peak_bytes"] / part["peak_bytes"]
    print(f"all against part: rate x {result['rate_ratio']:.2f}, memory x "
          f"{result['memory_ratio']:.3f}")
    return result


def real_lengths(pararel, count):
    """Tokens of `count` of ParaRel's prompts, [CLS] and [SEP] included."""
    from tokenizers import BertWordPieceTokenizer
    tokenizer = BertWordPieceTokenizer(str(MODEL / "vocab.txt"), lowercase=False)
    prompts = []
    for path in sorted((pararel / "patterns").glob("P*.jsonl")):
        patterns = [json.loads(line)["pattern"] for line in path.open(encoding="utf-8")]
        facts = [json.loads(line) for line in
                 (pararel / "facts" / path.name).open(encoding="utf-8")]
        prompts += [(pattern, fact["sub_label"]) for fact in facts for pattern in patterns]
    chosen = random.Random(0).sample(prompts, count)
    return [len(tokenizer.encode(p.replace("[X]", s).replace("[Y]", "[MASK]")).ids)
            for p, s in chosen], len(prompts)


def measure_paper(options):
    checkpoint = ROOT / "build/bench/checkpoint"
    if not (checkpoint / "vocab.txt").exists():
        sys.exit(f"scale: there is no {checkpoint}: run `make bench` first")
    lengths, total = real_lengths(options.pararel, options.prompts)
    import make_checkpoint
    import transformers
    words = (checkpoint / "vocab.txt").read_text("utf-8").split("\n")
    words = [w for w in words if w and not w.startswith("[")]
    model = transformers.BertForMaskedLM.from_pretrained(checkpoint).eval()
    with tempfile.TemporaryDirectory() as scratch:
        facts = Path(scratch) / "facts.jsonl"
        with facts.open("w", encoding="utf-8") as file:
            for number, length in enumerate(lengths):
                fact = make_checkpoint.make_prompts(model, words, max(length, 5), 1, number)[0]
                file.write(json.dumps(fact | {"subject": f"s{number}"}) + "\n")
        bench = options.program.parent / "engram-bench"
        output, _, peak = run([bench, "attribute", checkpoint, "--facts", facts, "--prompts",
                               len(lengths)])
    found = json.loads(output)
    gaps = sorted(found["relative_gaps"])
    seconds = found["seconds"] / len(lengths)
    result = {"prompts": len(lengths), "of": total, "mean_tokens": sum(lengths) / len(lengths),
              "longest": max(lengths), "seconds_per_prompt": seconds,
              "gap_p95": gaps[int(0.95 * (len(gaps) - 1))], "unconverged": found["unconverged"],
              "peak_bytes": peak, "paper_hours": seconds * PAPER_PROMPTS / 3600}
    if result["gap_p95"] >= 0.01:
        sys.exit(f"scale: the 95th percentile of the gaps is {result['gap_p95']}")
    print(f"{len(lengths)} prompts of {result['mean_tokens']:.1f} tokens (up to {max(lengths)}): "
          f"{seconds:.3f} s a prompt (must 0.3, aim 0.2), gap p95 {result['gap_p95']:.4f}\n"
          f"extrapolated to the paper's {PAPER_PROMPTS:,} prompts: {result['paper_hours']:.1f} h")
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["runs", "texts", "paper"])
    parser.add_argument("--program", type=Path, default=ROOT / "build/release/bin/engram")
    parser.add_argument("--pararel", type=Path, default=ROOT.parent / "shared/data/pararel")
    parser.add_argument("--wiki", type=Path, default=ROOT.parent / "shared/data/wiki")
    parser.add_argument("--facts", type=int, default=2000)
    parser.add_argument("--words", type=int, default=60_000_000)
    parser.add_argument("--prompts", type=int, default=500)
    parser.add_argument("--neurons", default="1:9,2:5,3:17", help="of `texts`: layers up to the "
                        "highest one are computed")
    parser.add_argument("--resume", action="store_true", help="go on with the runs of build/scale")
    options = parser.parse_args()
    if options.what != "texts" and not options.pararel.is_dir():
        sys.exit(f"scale: there is no {options.pararel}: give ParaRel's folder with --pararel")
    out = ROOT / "build/scale.json"
    results = json.loads(out.read_text("utf-8")) if out.exists() else {}
    measure = {"runs": measure_runs, "texts": measure_texts, "paper": measure_paper}
    results[options.what] = measure[options.what](options)
    out.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
