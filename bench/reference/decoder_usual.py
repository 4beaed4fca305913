#!/usr/bin/env python3
"""Reference *usual* of decoders: 20 steps of `linspace` by autograd, in plain PyTorch.

For one layer after the other a plain forward over all tokens reads the neurons silu(gate) * up at
the last token, then a batch of 20 scaled copies t a, t = 0, 1/19, .., 1, goes through the full
model, LM head on all positions, and `autograd.grad` of the answer's probabilities gives the
gradients, whose mean times a is the score. As released.py without padding, with the steps that the
replications take.
"""

import argparse
import json
from pathlib import Path

import torch

from bert import measure
from llama import load_llama, read_prompts

STEPS = 20


def attribute(model, ids, position, answer):
    """-> scores [layers, d_ff] and P of the answer."""
    device = model.decoder.weight.device
    ids = torch.tensor([ids], device=device)
    mask = torch.ones_like(ids)
    scores = []
    for layer in range(len(model.layers)):
        logits, neurons = model(ids, mask, position, layer)
        p = logits[0, position].softmax(-1)[answer]
        a = neurons.detach()                                                  # [1, d_ff]
        scaled = (torch.linspace(0, 1, STEPS, device=device)[:, None] * a).requires_grad_()
        logits, _ = model(ids.repeat(STEPS, 1), mask.repeat(STEPS, 1), position, layer, scaled)
        probability = logits[:, position].softmax(-1)[:, answer]
        gradient, = torch.autograd.grad(probability.unbind(), scaled)
        scores.append(gradient.mean(0) * a[0])
    return torch.stack(scores), p if p.is_meta else p.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--facts", default="facts.jsonl")
    parser.add_argument("--prompts", type=int, default=2)
    parser.add_argument("--scores", type=Path, help="write [prompts, layers, d_ff] here")
    options = parser.parse_args()
    prompts = read_prompts(options.checkpoint, options.facts, options.prompts)
    print(json.dumps(measure("decoder-usual", options.checkpoint, prompts, attribute,
                             options.scores, load_llama)))


if __name__ == "__main__":
    main()
