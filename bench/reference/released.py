#!/usr/bin/env python3
"""Reference *released*: the paper's procedure as its code is shipped, in plain PyTorch.

Prompts are padded to 128 tokens; eager attention; parameters require gradients; for one layer after
the other a plain forward reads the activations at the mask, then a batch of 20 scaled copies
0, a/20, .., 19a/20 goes through the full model, LM head on all positions, and `autograd.grad` of
the answer's probabilities gives the gradients, whose sum times a/20 is the score.
"""

import argparse
import json
from pathlib import Path

import torch

from bert import measure, read_prompts

STEPS = 20
PADDED = 128


def attribute(model, ids, position, answer, padded):
    """-> scores [layers, d_ff] and P of the answer."""
    device = model.decoder.weight.device
    fill = max(padded - len(ids), 0)
    mask = torch.tensor([[1] * len(ids) + [0] * fill], device=device)
    ids = torch.tensor([list(ids) + [0] * fill], device=device)
    scores = []
    for layer in range(len(model.layers)):
        logits, activation = model(ids, mask, position, layer)
        p = logits[0, position].softmax(-1)[answer]
        step = activation.detach() / STEPS                                    # [1, d_ff]
        scaled = torch.cat([step * k for k in range(STEPS)]).requires_grad_()
        logits, _ = model(ids.repeat(STEPS, 1), mask.repeat(STEPS, 1), position, layer, scaled)
        probability = logits[:, position].softmax(-1)[:, answer]
        gradient, = torch.autograd.grad(probability.unbind(), scaled)
        scores.append((gradient.sum(0) * step[0]))
    return torch.stack(scores), p if p.is_meta else p.item()


def run(name: str, padded: int, description: str) -> None:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--facts", default="facts.jsonl")
    parser.add_argument("--prompts", type=int, default=2)
    parser.add_argument("--scores", type=Path, help="write [prompts, layers, d_ff] here")
    options = parser.parse_args()
    prompts = read_prompts(options.checkpoint, options.facts, options.prompts)

    def procedure(model, ids, position, answer):
        return attribute(model, ids, position, answer, padded)
    print(json.dumps(measure(name, options.checkpoint, prompts, procedure, options.scores)))


if __name__ == "__main__":
    run("released", PADDED, __doc__)
