#!/usr/bin/env python3
"""The truth of decoders: truth.py's Gauss-Legendre nodes on Llama's model in plain PyTorch."""

import argparse
import json
from pathlib import Path

from bert import measure
from llama import load_llama, read_prompts
from truth import attribute


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
    print(json.dumps(measure(f"decoder-gauss-legendre-{options.nodes}", options.checkpoint, prompts,
                             procedure, options.scores, load_llama)))


if __name__ == "__main__":
    main()
