#!/usr/bin/env python3
"""ROME (2202.05262) in plain PyTorch, beside `engram edit rome`.

check_rome.py ENGRAM CHECKPOINT... : for each checkpoint, `engram edit rome` makes an edit; this
script makes it again with transformers in float64, from the same second moment of keys and the same
texts before the prompt. The new value matrices and the losses of all steps must agree. Ends with 1
and says what differs.
"""

import json
import random
from pathlib import Path

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file

from check_edit import check_each, run
from language_models import InDouble, LanguageModel, open_model

SUBJECT, TARGET = "France", "Berlin"
WORDS = "the sea Rome is of and old king Oslo born in music Berlin Paris France".split()
OTHERS = [f"{SUBJECT} has the capital [MASK]", f"{SUBJECT}, capital [MASK]", f"In {SUBJECT}: [MASK]"]
STEPS, PREFIXES, LAYER, RATE = 8, 3, 0, 0.5
RIDGE = 1e-6
TOLERANCE = 2e-3  # of the largest change of a weight: float32 against float64, over the steps


def encode(model: LanguageModel, text: str, answer: str | None):
    """Token ids, where the answer is asked, its ids, and the last token of the subject."""
    if model.causal:
        text = text.split("[MASK]")[0].rstrip(" ")
        target = (model.tokenizer(" " + answer, add_special_tokens=False)["input_ids"]
                  if answer else [0])
        whole = text
    else:
        # A word of a byte-level vocabulary has the space before it, which the mask swallows.
        space = " " if "lstrip=True" in repr(model.tokenizer.added_tokens_decoder) else ""
        target = (model.tokenizer(space + answer, add_special_tokens=False)["input_ids"]
                  if answer else [0])
        whole = text.replace("[MASK]", " ".join([model.tokenizer.mask_token] * len(target)))
    encoded = model.tokenizer(whole, return_offsets_mapping=True)
    ids = encoded["input_ids"]
    end = whole.rindex(SUBJECT) + len(SUBJECT)
    subject = max(i for i, (a, b) in enumerate(encoded["offset_mapping"]) if a < b and a < end)
    if model.causal:
        places = [len(ids) - 1 + k for k in range(len(target))]
        ids = ids + target[:-1]
    else:
        places = [i for i, one in enumerate(ids) if one == model.tokenizer.mask_token_id]
    return torch.tensor(ids), places, target, subject


def rome(model: LanguageModel, c: torch.Tensor, texts: list[str], prompt: str):
    """The new value matrix [d_ff, d_model], and the losses."""
    second = model.second_matrix(model.blocks[LAYER])
    rows = isinstance(second, transformers.pytorch_utils.Conv1D)
    weight = second.weight if rows else second.weight.T
    prompts = [encode(model, text, TARGET)
               for text in [prompt, *(f"{text}. {prompt}" for text in texts[:PREFIXES])]]
    essence = encode(model, f"{SUBJECT} is a" + ("" if model.causal else " [MASK]."), None)
    state = {}

    def add(_, inputs, output):
        state["key"] = inputs[0][0, state["at"]].detach()
        state["value"] = output[0, state["at"]].detach()
        if state["delta"] is None:
            return output
        there = torch.zeros(output.shape[1], 1, dtype=output.dtype)
        there[state["at"]] = 1
        return output + there * state["delta"]

    handle = second.register_forward_hook(add)

    def log_p(example, delta):
        ids, places, _, subject = example
        state.update(at=subject, delta=delta)
        return model.logits(ids[None])[0, places].log_softmax(-1)

    keys, value, before = [], None, None
    with torch.no_grad():
        for example in prompts:
            log_p(example, None)
            keys.append(state["key"])
            value = state["value"] if value is None else value
        before = log_p(essence, None)[0]
    delta = torch.zeros(weight.shape[1], dtype=model.dtype, requires_grad=True)
    adam = torch.optim.Adam([delta], lr=RATE)
    losses = []
    for step in range(STEPS + 1):
        adam.zero_grad()
        nll = sum(-log_p(one, delta).gather(1, torch.tensor(one[2])[:, None]).mean()
                  for one in prompts) / len(prompts)
        now = log_p(essence, delta)[0]
        kl = (now.exp() * (now - before)).sum()
        loss = nll + 0.0625 * kl + 0.5 * delta.norm() / value.norm() ** 2
        losses.append(loss.item())
        if step == STEPS or losses[-1] < 0.05:
            break
        loss.backward()
        adam.step()
        with torch.no_grad():
            if delta.norm() > 4 * value.norm():
                delta *= 4 * value.norm() / delta.norm()
    handle.remove()
    c = c.double() + RIDGE * c.double().diagonal().mean() * torch.eye(len(c), dtype=torch.double)
    towards = torch.linalg.solve(c, torch.stack(keys).mean(0).double())
    direction = towards / (keys[0].double() @ towards)
    return weight.double() + torch.outer(direction, delta.detach().double()), weight, losses


def check(engram: str, checkpoint: Path, work: Path) -> str:
    """What is wrong, or nothing."""
    model = open_model(checkpoint)
    prompt = f"The capital of {SUBJECT} is [MASK]."
    facts, corpus = work / "facts.jsonl", work / "corpus.txt"
    facts.write_text(json.dumps({"relation": "P36", "subject": SUBJECT, "object": "Paris",
                                 "prompts": [prompt, *OTHERS]}) + "\n")
    words = random.Random(1)
    corpus.write_text("".join(" ".join(words.choices(WORDS, k=6)) + ".\n" for _ in range(400)))
    made = json.loads(run(
        engram, "edit", "rome", checkpoint, "--facts", facts, "--relation", "P36", "--subject",
        SUBJECT, "--to", TARGET, "--force", "--layer", LAYER, "--steps", STEPS, "--prefixes",
        PREFIXES, "--corpus", corpus, "--moments", work / "moments", "--out", work / "delta",
        "--json", "--quiet"))
    with safe_open(work / "moments", "pt") as file:
        texts = json.loads(file.metadata()["moments"])["texts"]
    c = load_file(work / "moments")["second_moment"]
    got = load_file(work / "delta")[f"layer.{LAYER}.after"]
    with InDouble():
        expected, weight, losses = rome(model, c, texts, prompt)
    found = [step["loss"] for step in made["steps"]]
    if len(found) != len(losses):
        return f"{len(found)} steps against {len(losses)}"
    for step, (one, other) in enumerate(zip(found, losses)):
        if abs(one - other) > TOLERANCE * max(1, abs(other)):
            return f"loss {one} against {other} at step {step}"
    change = (expected - weight).abs().max().item()
    off = (got.double() - expected).abs().max().item()
    rounding = torch.finfo(got.dtype).eps * expected.abs().max().item()
    if change == 0 or off > TOLERANCE * change + rounding:
        return f"weights differ by {off:.3g}, the edit changes them by {change:.3g}"
    return ""


if __name__ == "__main__":
    check_each("check_rome", __doc__, check, "edited as plain PyTorch edits them")
