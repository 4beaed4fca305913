#!/usr/bin/env python3
"""Edits in transformers: an exported checkpoint is the original with the delta's columns.

check_edit.py ENGRAM CHECKPOINT... : for each checkpoint a delta is made (`engram edit update`),
applied and exported. transformers must load the export and compute, from its file, the logits of
the original in which this script has put the delta's values; `engram predict` on the working copy
must give the same probabilities. Ends with 1 and says what differs.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors import safe_open

from language_models import LanguageModel, open_model

PROMPTS = ["The capital of France is [MASK].", "France has the capital [MASK].",
           "[MASK] is the capital of France.", "In France, the capital is [MASK]."]
ENDING = ["The capital of France is [MASK].", "France has the capital", "Paris is in", "France and"]
TOLERANCE = 1e-5  # of a probability: float32 against float64


def run(engram: str, *arguments: object) -> str:
    done = subprocess.run([engram, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"check_edit: {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done.stdout


def logits(model: LanguageModel, prompt: str) -> torch.Tensor:
    """[vocabulary] at the mask; of a causal model behind the text that stands before it."""
    if model.causal:
        text = prompt.split("[MASK]")[0].rstrip(" ")
        ids = torch.tensor(model.tokenizer(text)["input_ids"])
        at = len(ids) - 1
    else:
        mask = model.tokenizer.mask_token
        ids = torch.tensor(model.tokenizer(prompt.replace("[MASK]", mask))["input_ids"])
        at = (ids == model.tokenizer.mask_token_id).nonzero().item()
    with torch.no_grad():
        return model.logits(ids[None])[0, at]


def put_values(model: LanguageModel, delta: Path) -> int:
    """Writes the delta's new values into the model; returns the number of neurons."""
    count = 0
    with safe_open(delta, "pt") as file:
        for entry in json.loads(file.metadata()["edit"])["layers"]:
            second = model.second_matrix(model.blocks[entry["layer"]])
            rows = isinstance(second, transformers.pytorch_utils.Conv1D)  # [d_ff, d_model]
            values = second.weight if rows else second.weight.T
            after = file.get_tensor(f"layer.{entry['layer']}.after").to(model.dtype)
            for row, neuron in enumerate(entry["neurons"]):
                values[neuron] = after[row]
            count += len(entry["neurons"])
    return count


def check(engram: str, checkpoint: Path, work: Path) -> str:
    """What is wrong, or nothing."""
    facts, delta = work / "facts.jsonl", work / "delta.safetensors"
    expected, original = open_model(checkpoint), open_model(checkpoint)
    prompts = ENDING if original.causal else PROMPTS
    facts.write_text(json.dumps({"relation": "P36", "subject": "France", "object": "Paris",
                                 "prompts": prompts}) + "\n")
    run(engram, "edit", "update", checkpoint, "--facts", facts, "--relation", "P36", "--subject",
        "France", "--to", "Berlin", "--force", "--out", delta, "--quiet")
    run(engram, "edit", "apply", checkpoint, delta, "--to", work / "copy")
    run(engram, "edit", "export", work / "copy", "--to", work / "plain")

    got = open_model(work / "plain")
    neurons = put_values(expected, delta)
    moved = 0.0
    for prompt in prompts:
        wanted, found, before = (
            logits(model, prompt) for model in (expected, got, original))
        if not torch.equal(wanted, found):
            return f"logits differ by {(wanted - found).abs().max().item():.3g} on {prompt!r}"
        moved = max(moved, (found - before).abs().max().item())
        p = found.softmax(-1)
        answer = json.loads(run(engram, "predict", work / "copy", prompt, "--json"))
        for row in answer["predictions"]:
            if abs(row["p"] - p[row["id"]].item()) > TOLERANCE:
                return f"P of {row['token']!r}: {row['p']} against {p[row['id']].item()}"
    if neurons == 0 or moved < 1e-3:
        return f"the edit of {neurons} neurons moved no logit (at most {moved:.3g})"
    run(engram, "edit", "undo", work / "copy")
    for file in (work / "copy").iterdir():
        if file.is_file() and file.read_bytes() != (checkpoint / file.name).read_bytes():
            return f"{file.name} is not as it was after undo"
    return ""


def check_each(name: str, usage: str, check, closing: str) -> None:
    """check(engram, checkpoint, folder) for each checkpoint of the command line."""
    engram, *checkpoints = sys.argv[1:] or [""]
    if not checkpoints:
        sys.exit(usage)
    transformers.utils.logging.disable_progress_bar()
    for checkpoint in map(Path, checkpoints):
        with tempfile.TemporaryDirectory() as work:
            fault = check(engram, checkpoint, Path(work))
        if fault:
            sys.exit(f"{name}: {checkpoint.name}: {fault}")
    print(f"{name}: {len(checkpoints)} checkpoints, {closing}")


if __name__ == "__main__":
    check_each("check_edit", __doc__, check,
               "edited and exported, are what transformers makes of the delta")
