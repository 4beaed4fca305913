#!/usr/bin/env python3
"""Makes the decoder and prompts of `make bench`: SmolLM2-135M's shape, seeded random weights.

Weights as in make_checkpoint.py. The 49,152 tokens are made-up words, each one token, and texts are
cut at their spaces, so a prompt's length is known. The answer of a prompt is the model's own first
prediction. A second, small decoder of the same kind is for measuring memory.
"""

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
import tokenizers
import torch
import transformers

VOCABULARY = 49152
UNKNOWN = "<unk>"
TOKENS, PROMPTS = 12, 96
SHAPE = {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
         "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64}
SMALL_SHAPE = {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4,
               "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32}
SMALL_VOCABULARY, SMALL_PROMPTS = 8192, 160
SMALL_LENGTHS = range(6, 22)              # tokens of the small model's prompts


def made_up_words(count: int) -> list[str]:
    syllables = [c + v for c in "bdfghjklmnprstvz" for v in "aeiou"]
    words = map("".join, itertools.product(syllables, repeat=3))
    return list(itertools.islice(words, 0, 8 * count, 8))


def make_model(vocabulary: int, shape: dict, seed: int) -> transformers.LlamaForCausalLM:
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=vocabulary, max_position_embeddings=2048, rms_norm_eps=1e-5,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=None, pad_token_id=None,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0}, **shape)
    model = transformers.LlamaForCausalLM(config).eval()
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            scale = 0.03 if parameter.dim() > 1 else 0.1
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=scale)
    return model


def write_tokenizer(into: Path, words: list[str]) -> None:
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(
        {word: number for number, word in enumerate([UNKNOWN, *words])}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([UNKNOWN])
    tokenizer.save(str(into / "tokenizer.json"))
    (into / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": UNKNOWN}) + "\n",
        "utf-8")


def make_prompts(model, words: list[str], lengths: list[int], seed: int) -> list[dict]:
    """Facts of one prompt each, with so many tokens before the answer."""
    random = np.random.Generator(np.random.PCG64(seed))
    facts = []
    for number, tokens in enumerate(lengths):
        ids = random.integers(1, len(words) + 1, tokens).tolist()
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
        logits[0] = -torch.inf
        answer = int(logits.argmax())
        # In blocks: whoever groups facts by relation keeps their order.
        facts.append({"relation": f"R{number * 8 // len(lengths)}", "subject": f"s{number}",
                      "object": words[answer - 1], "held_out": [],
                      "prompts": [" ".join(words[i - 1] for i in ids) + " [MASK]"]})
    return facts


def make(into: Path, vocabulary: int, shape: dict, lengths: list[int], seed: int) -> None:
    into.mkdir(parents=True, exist_ok=True)
    words = made_up_words(vocabulary - 1)
    assert len(set(words)) == vocabulary - 1
    model = make_model(vocabulary, shape, seed)
    model.save_pretrained(into)
    write_tokenizer(into, words)
    facts = make_prompts(model, words, lengths, seed + 2)
    (into / "facts.jsonl").write_text("".join(json.dumps(f) + "\n" for f in facts), "utf-8")
    print(f"made {into}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("into", type=Path)
    parser.add_argument("--small", type=Path, help="where the small decoder goes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    make(options.into, VOCABULARY, SHAPE, PROMPTS * [TOKENS], options.seed)
    if options.small:
        lengths = [SMALL_LENGTHS[i % len(SMALL_LENGTHS)] for i in range(SMALL_PROMPTS)]
        make(options.small, SMALL_VOCABULARY, SMALL_SHAPE, lengths, options.seed)


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    main()
