#!/usr/bin/env python3
"""Writes what transformers computes for a checkpoint: expected.json and expected.safetensors.

Token ids, logits, FFN activations, gradients of P with respect to them, and the scores of every
attribution rule and target; read by tests/support/oracle.cc.
"""

import argparse
import json
import logging
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

import attribution as attr
from language_models import LanguageModel, open_model

# Prompts with one [MASK], and for each the rank of the token taken as the answer. Between them they
# hold accents, CJK, emoji, both cases, unknown words, a mask at either end.
PROMPTS = [
    ("The capital of France is [MASK].", 0),
    ("Élodie, née à ORLÉANS, [MASK] naïve café!", 1),
    ("[MASK] 東京 is in 日本 🗼😀", 0),
    ("Müller don't XyZq [MASK]", 3),
]

# Of causal models: they end where the answer begins. Spaces in front, a line end behind.
OPENINGS = [
    ("The capital of France is", 0),
    ("Élodie, née à ORLÉANS, a naïve café", 1),
    ("  東京 is in 日本 🗼😀", 0),
    ("Müller don't XyZq\n", 3),
]

# For the tokenizer only.
TEXTS = [
    "", " ", "Paris", "The capital of France is Paris.", "the CAPITAL of france IS pARIS",
    "  leading and   inner\tspaces\nand a newline  ", "Cafe\u0301 = Caf\u00e9; ﬁn, Ｗｉｄｅ, İstanbul",
    "東京は日本の首都です。서울 한국 Москва Αθήνα", "I love 🍕🍣😀 and 👩‍👩‍👧 and 🇫🇷",
    "don't, they'll; it's \"quoted\" (2021/05/17) 12,345.67% #hash_tag e-mail: a@b.org",
    "zero\u200bwidth, soft\u00adhyphen, no\u00a0break, bell\u0007, \ufffd",
    "supercalifragilisticexpialidocious " + "x" * 120, "עברית العربية हिन्दी ไทย",
    "[MASK] and [UNK] and [CLS]", "<mask> and <s> </s>", "##ing un##der", "a[MASK]b", "a <mask>b",
]

# (case, score, rule, steps, target)
SMALL_RUNS = [
    *[(0, "ig", rule, steps, "prob") for rule, steps in [
        ("riemann-left", 20), ("riemann-right", 20), ("trapezoid", 20), ("linspace", 20),
        ("gauss-legendre", 1), ("gauss-legendre", 2), ("gauss-legendre", 5),
        ("gauss-radau", 2), ("gauss-radau", 4), ("gauss-lobatto", 2), ("gauss-lobatto", 5),
        ("gauss-legendre", 64)]],
    *[(1, "ig", rule, steps, target) for target in ("prob", "logprob", "logit-diff")
      for rule, steps in [("riemann-left", 20), ("gauss-radau", 3), ("gauss-legendre", 64)]],
    *[(2, "ig", "gauss-legendre", 64, "prob"), (3, "ig", "gauss-legendre", 64, "prob")],
    *[(case, "ig", rule, steps, "logprob") for case in (4, 5)
      for rule, steps in [("riemann-left", 20), ("gauss-lobatto", 4), ("gauss-legendre", 64)]],
    *[(case, score, "", 0, target) for score in ("activation", "gradient-x-activation", "ablation", "relp")
      for case, target in [(0, "prob"), (1, "logit-diff"), (3, "logprob"), (4, "logprob")]],
]
CAUSAL_RUNS = [
    *[(0, "ig", rule, steps, "prob") for rule, steps in [
        ("riemann-left", 20), ("linspace", 20), ("gauss-legendre", 3), ("gauss-legendre", 64)]],
    (1, "ig", "gauss-legendre", 64, "logit-diff"), (4, "ig", "gauss-lobatto", 4, "logprob"),
    (4, "ig", "gauss-legendre", 64, "logprob"),
    *[(case, score, "", 0, target) for score in ("gradient-x-activation", "ablation", "relp")
      for case, target in [(0, "prob"), (5, "logprob")]],
    (3, "activation", "", 0, "logprob"),
]
# Of a BERT-base-sized model; the rest would take minutes.
LARGE_RUNS = [(0, "ig", "gauss-legendre", 2, "prob"), (0, "gradient-x-activation", "", 0, "prob"),
              (0, "relp", "", 0, "prob")]


def expand_mask(ids: list[int], mask: int, masks: int):
    at = ids.index(mask)
    return ids[:at] + [mask] * masks + ids[at + 1:], list(range(at, at + masks))


def make_causal_cases(lm: LanguageModel) -> list[dict]:
    """Parity cases with an answer of one token, then two of two and three. An answer's later tokens
    are picked behind its first ones, which the model reads."""
    specials = torch.tensor(lm.tokenizer.all_special_ids)
    cases = []
    for (prompt, rank), count in [*((p, 1) for p in OPENINGS), (OPENINGS[0], 2), (OPENINGS[2], 3)]:
        ids = lm.tokenizer(prompt)["input_ids"]
        first = len(ids) - 1
        answer, contrast = [], []
        for j in range(count):
            with torch.no_grad():
                logits = lm.logits(torch.tensor([ids + answer]))[0, -1]
            logits[specials] = -torch.inf
            order = logits.argsort(-1, descending=True)
            contrast.append(int(order[rank + 7]))
            answer.append(int(order[rank + j]))
        cases.append({"prompt": prompt, "text": prompt, "ids": ids + answer[:-1],
                      "positions": list(range(first, first + count)), "answer": answer,
                      "contrast": contrast, "parity": count == 1})
    return cases


def make_cases(lm: LanguageModel) -> list[dict]:
    """Parity cases with one mask, then two with answers of two and three tokens."""
    if lm.causal:
        return make_causal_cases(lm)
    mask = lm.tokenizer.mask_token_id
    specials = torch.tensor(lm.tokenizer.all_special_ids)
    cases = []
    for (prompt, rank), masks in [*((p, 1) for p in PROMPTS), (PROMPTS[0], 2), (PROMPTS[2], 3)]:
        text = prompt.replace("[MASK]", lm.tokenizer.mask_token)
        ids, positions = expand_mask(lm.tokenizer(text)["input_ids"], mask, masks)
        with torch.no_grad():
            logits = lm.logits(torch.tensor([ids]))[0, positions]
        logits[:, specials] = -torch.inf
        order = logits.argsort(-1, descending=True)
        answer = [int(row[rank + j]) for j, row in enumerate(order)]
        case = {"prompt": prompt, "text": text, "ids": ids, "positions": positions,
                "answer": answer, "contrast": [int(row[rank + 7]) for row in order],
                "parity": masks == 1}
        cases.append(case)
    return cases


def run_case(lm: LanguageModel, case: dict, tensors: dict, name: str, every_row: bool) -> None:
    """Adds p, and for parity cases logits (at the positions `rows`), activations and gradients."""
    ids = torch.tensor(case["ids"])
    with torch.no_grad():
        logits = lm.logits(ids[None])[0]
    log_p = logits[case["positions"]].log_softmax(-1)
    case["p"] = float(log_p[torch.arange(len(case["answer"])), case["answer"]].mean().exp())
    if not case["parity"]:
        return
    activations = lm.activations(ids)
    target = attr.make_target("prob", case["answer"])
    gradient = attr.gradients(lm, ids, case["positions"], activations, target)[:, 0]
    last = len(case["ids"]) - 1
    case["rows"] = (list(range(last + 1)) if every_row else
                    sorted({0, last, *case["positions"]}))
    tensors[name + ".logits"] = logits[case["rows"]]
    tensors[name + ".activations"] = activations
    tensors[name + ".gradients"] = gradient


def run_attribution(lm: LanguageModel, case: dict, score, rule, steps, target_name):
    ids, positions = torch.tensor(case["ids"]), case["positions"]
    activations = lm.activations(ids)
    at_masks = activations[:, positions]                          # [layers, masks, d_ff]
    target = attr.make_target(target_name, case["answer"], case["contrast"])
    if score == "activation":
        scores = at_masks.mean(1)
    elif score == "gradient-x-activation":
        scores = (at_masks * attr.gradients(lm, ids, positions, activations, target)).sum(1)
    elif score == "relp":
        scores = attr.relevance(lm, ids, positions, activations, target)
    elif score == "ablation":
        scores = attr.ablation(lm, ids, positions, activations, target)
    else:
        scores = attr.integrated_gradients(lm, ids, positions, activations, target, rule, steps)
    if (rule, target_name, len(positions)) == ("riemann-left", "prob", 1):
        released = attr.released_procedure(lm, ids, positions[0], activations, case["answer"][0],
                                           steps)
        assert (released - scores).abs().max() < 1e-12 * scores.abs().max()
        scores = released
    with torch.no_grad():
        f = float(target(lm.logits(ids[None])[:, positions]))
    return scores, f, attr.deltas(lm, ids, positions, activations, target)


def float32_error(lm: LanguageModel, folder: Path, cases: list[dict], tensors: dict) -> float:
    """transformers' own error in float32, relative to the largest logit."""
    single = open_model(folder, torch.float32)
    worst = 0.0
    for index, case in enumerate(cases):
        if case["parity"]:
            with torch.no_grad():
                logits = single.logits(torch.tensor([case["ids"]]))[0, case["rows"]].double()
            exact = tensors[f"case.{index}.logits"]
            worst = max(worst, float((logits - exact).abs().max() / exact.abs().max()))
    return worst


def relative_error(found, exact) -> float:
    """The largest over layers, of the layer's largest."""
    return max(float((f - e).abs().max() / e.abs().max()) for f, e in zip(found.double(), exact))


def add_gradient_errors(folder: Path, cases: list[dict], tensors: dict) -> None:
    """transformers' own error in float32: real weights cancel more than random ones."""
    single = open_model(folder, torch.float32)
    for index, case in enumerate(cases):
        if not case["parity"]:
            continue
        ids = torch.tensor(case["ids"])
        found = attr.gradients(single, ids, case["positions"], single.activations(ids),
                               attr.make_target("prob", case["answer"]))[:, 0]
        exact = tensors[f"case.{index}.gradients"]
        case["gradient_error"] = relative_error(found, exact)


def add_relevance_errors(folder: Path, cases: list[dict], attributions: list[dict],
                         tensors: dict) -> None:
    """The same of relevance propagation, whose float32 is less exact."""
    single = open_model(folder, torch.float32)
    for one in attributions:
        if one["score"] == "relp":
            scores = run_attribution(single, cases[one["case"]], "relp", "", 0, one["target"])[0]
            one["float32_error"] = relative_error(scores, tensors[one["tensor"]])


def expect(folder: Path, into: Path, brief: bool) -> None:
    lm = open_model(folder)
    texts = []
    for text in TEXTS:
        ids = lm.tokenizer(text)["input_ids"]
        texts.append({"text": text, "ids": ids,
                      "tokens": lm.tokenizer.convert_ids_to_tokens(ids)})
    tensors, attributions = {}, []
    cases = make_cases(lm)
    for index, case in enumerate(cases):
        run_case(lm, case, tensors, f"case.{index}", every_row=index == 0 or not brief)
    large = lm.layers * lm.d_ff > 10_000
    runs = LARGE_RUNS if large else CAUSAL_RUNS if lm.causal else SMALL_RUNS
    for index, (case, score, rule, steps, target) in enumerate(runs):
        scores, f, deltas = run_attribution(lm, cases[case], score, rule, steps, target)
        name = f"attribution.{index}"
        tensors[name] = scores
        attributions.append({"case": case, "score": score, "rule": rule, "steps": steps,
                             "target": target, "f": f, "deltas": deltas,
                             "sums": scores.sum(1).tolist(), "tensor": name})
    error = float32_error(lm, folder, cases, tensors)
    if large:
        add_gradient_errors(folder, cases, tensors)
        add_relevance_errors(folder, cases, attributions, tensors)
    into.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().float().contiguous() for k, v in tensors.items()},
              into / "expected.safetensors")
    lines = ['{"schema": "engram.oracle/1",', '"texts": [']
    lines += [",\n".join(json.dumps(t, ensure_ascii=True) for t in texts) + "],", '"cases": [']
    lines += [",\n".join(json.dumps(c, ensure_ascii=True) for c in cases) + "],"]
    lines += ['"attributions": [', ",\n".join(json.dumps(a) for a in attributions) + "]}"]
    (into / "expected.json").write_text("\n".join(lines) + "\n", "utf-8")
    p = ", ".join(f"{case['p']:.3f}" for case in cases)
    print(f"{folder.name}: {len(attributions)} attributions; P {p}; "
          f"float32 error of transformers {error:.1e}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--into", type=Path, help="folder of folders; default: beside the weights")
    parser.add_argument("--brief", action="store_true",
                        help="logits at all positions of the first case only (what is stored)")
    options = parser.parse_args()
    for folder in options.checkpoints:
        expect(folder, options.into / folder.name if options.into else folder, options.brief)


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    main()
