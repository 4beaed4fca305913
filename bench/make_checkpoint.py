#!/usr/bin/env python3
"""Makes the checkpoint and prompts of `make bench`: BERT-base's shape, seeded random weights.

Weights are transformers' own initial ones plus N(0, 0.03^2) on matrices and N(0, 0.1^2) on vectors:
bare initial weights make F so smooth that any rule integrates it. The vocabulary is 30,522 tokens
of made-up words, each one token, so a prompt's length is known. The answer of a prompt is the
model's own first prediction: the probability of a random token would be about 1e-5 and say little.
"""

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
import torch
import transformers

VOCABULARY = 30522
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LENGTHS = {11: 96, 64: 16, 128: 8}        # tokens per prompt: number of prompts


def made_up_words(count: int) -> list[str]:
    syllables = [c + v for c in "bdfghjklmnprstvz" for v in "aeiou"]
    words = map("".join, itertools.product(syllables, repeat=3))
    return list(itertools.islice(words, 0, 13 * count, 13))


def make_model(seed: int) -> transformers.BertForMaskedLM:
    torch.manual_seed(seed)
    config = transformers.BertConfig(vocab_size=VOCABULARY)
    model = transformers.BertForMaskedLM(config).eval()
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            scale = 0.03 if parameter.dim() > 1 else 0.1
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=scale)
    return model


def make_prompts(model, words: list[str], tokens: int, count: int, seed: int) -> list[dict]:
    """Facts of one prompt each; every prompt has `tokens` tokens with [CLS] and [SEP]."""
    random = np.random.Generator(np.random.PCG64(seed))
    content = tokens - 2
    facts = []
    for number in range(count):
        ids = random.integers(len(SPECIALS), VOCABULARY, content)
        mask = int(random.integers(1, content - 1))
        ids[mask] = SPECIALS.index("[MASK]")
        text = [SPECIALS[i] if i < len(SPECIALS) else words[i - len(SPECIALS)] for i in ids]
        row = torch.tensor([[2, *ids.tolist(), 3]])
        with torch.no_grad():
            logits = model(input_ids=row).logits[0, mask + 1]
        logits[:len(SPECIALS)] = -torch.inf
        answer = int(logits.argmax())
        # In blocks: whoever groups facts by relation keeps their order.
        facts.append({"relation": f"R{number * 8 // count}", "subject": f"s{number}",
                      "object": words[answer - len(SPECIALS)], "prompts": [" ".join(text)],
                      "held_out": []})
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("into", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    into = options.into
    into.mkdir(parents=True, exist_ok=True)
    words = made_up_words(VOCABULARY - len(SPECIALS))
    assert len(set(words)) == VOCABULARY - len(SPECIALS)
    model = make_model(options.seed)
    model.save_pretrained(into)
    (into / "vocab.txt").write_text("".join(w + "\n" for w in SPECIALS + words), "utf-8")
    (into / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True}) + "\n", "utf-8")
    for tokens, count in LENGTHS.items():
        facts = make_prompts(model, words, tokens, count, options.seed + tokens)
        name = "facts.jsonl" if tokens == 11 else f"facts-{tokens}.jsonl"
        (into / name).write_text("".join(json.dumps(f) + "\n" for f in facts), "utf-8")
    print(f"made {into}")


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    main()
