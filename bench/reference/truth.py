#!/usr/bin/env python3
"""Scores by Gauss-Legendre nodes in plain PyTorch: what the errors of all rules are measured to."""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from bert import measure, read_prompts

BATCH = 16


def attribute(model, ids, position, answer, nodes):
    device = model.decoder.weight.device
    ids = torch.tensor([ids], device=device)
    mask = torch.ones_like(ids)
    x, w = np.polynomial.legendre.leggauss(nodes)
    model.requires_grad_(False)
    scores = []
    for layer in range(len(model.layers)):
        logits, a = model(ids, mask, position, layer)
        p = logits[0, position].softmax(-1)[answer]
        total = torch.zeros_like(a[0])
        for first in range(0, nodes, BATCH):
            t = torch.from_numpy((x[first:first + BATCH] + 1) / 2).to(device, a.dtype)
            weight = torch.from_numpy(w[first:first + BATCH] / 2).to(device, a.dtype)
            z = (t[:, None] * a).requires_grad_()
            rows = len(t)
            logits, _ = model(ids.expand(rows, -1), mask.expand(rows, -1), position, layer, z)
            probability = logits[:, position].softmax(-1)[:, answer]
            gradient, = torch.autograd.grad(probability.sum(), z)
            total += (weight[:, None] * gradient).sum(0)
        scores.append(a[0] * total)
    return torch.stack(scores), p if p.is_meta else p.item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--facts", default="facts.jsonl")
    parser.add_argument("--prompts", type=int, default=1)
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--scores", type=Path, help="write [prompts, layers, d_ff] here")
    options = parser.parse_args()
    prompts = read_prompts(options.checkpoint, options.facts, options.prompts)

    def procedure(model, ids, position, answer):
        return attribute(model, ids, position, answer, options.nodes)
    print(json.dumps(measure(f"gauss-legendre-{options.nodes}", options.checkpoint, prompts,
                             procedure, options.scores)))


if __name__ == "__main__":
    main()
