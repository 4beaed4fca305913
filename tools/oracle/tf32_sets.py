#!/usr/bin/env python3
"""Do published neuron sets carry the rounding of TensorFloat-32?

EleutherAI's sets were made on GPUs with a PyTorch that, on Ampere cards, rounded the factors of float32
products to 10 bits of mantissa unless told otherwise. This computes sets of bert-base-uncased as they
did (20 steps of linspace, more than 0.3 of the prompt's largest score, in more than 0.3 of the
prompts), with factors rounded so or not, for facts whose sets in LOCATED differ from the published
ones, or for a seeded sample of those that do not.

    tf32_sets.py MODEL LOCATED.jsonl PUBLISHED.jsonl.xz --which differing --products tf32
"""

import argparse
import json
import lzma
import random

import torch
import torch.nn.functional as F
from transformers import BertForMaskedLM, BertTokenizerFast

STEPS = 20


def tf32(x: torch.Tensor) -> torch.Tensor:
    """Rounded to 10 bits of mantissa."""
    bits = x.contiguous().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


class Product(torch.autograd.Function):
    """a @ b, and the two products of its backward, with rounded factors."""

    @staticmethod
    def forward(ctx, a, b, rounded):
        a, b = rounded(a), rounded(b)
        ctx.save_for_backward(a, b)
        ctx.rounded = rounded
        return a @ b

    @staticmethod
    def backward(ctx, gradient):
        a, b = ctx.saved_tensors
        gradient = ctx.rounded(gradient)
        of_b = a.transpose(-1, -2) @ gradient if ctx.needs_input_grad[1] else None
        return gradient @ b.transpose(-1, -2), of_b, None


class Bert:
    def __init__(self, folder: str, rounded):
        self.model = BertForMaskedLM.from_pretrained(folder).eval().requires_grad_(False)
        self.tokenizer = BertTokenizerFast.from_pretrained(folder)
        self.layers = self.model.bert.encoder.layer
        self.rounded = rounded

    def linear(self, module, x):
        return Product.apply(x, module.weight.t(), self.rounded) + module.bias

    @staticmethod
    def norm(module, x):
        return F.layer_norm(x, x.shape[-1:], module.weight, module.bias, module.eps)

    def attend(self, layer, x):
        own = layer.attention.self
        rows, tokens, width = x.shape
        heads = own.num_attention_heads
        q, k, v = (self.linear(m, x).view(rows, tokens, heads, -1).transpose(1, 2)
                   for m in (own.query, own.key, own.value))
        scale = (width // heads) ** 0.5
        pattern = (Product.apply(q, k.transpose(2, 3), self.rounded) / scale).softmax(-1)
        mixed = Product.apply(pattern, v, self.rounded).transpose(1, 2).reshape(rows, tokens, width)
        out = layer.attention.output
        return self.norm(out.LayerNorm, self.linear(out.dense, mixed) + x)

    def neurons(self, layer, h):
        return F.gelu(self.linear(layer.intermediate.dense, h))

    def leave(self, layer, h, a):
        return self.norm(layer.output.LayerNorm, self.linear(layer.output.dense, a) + h)

    def head(self, x):
        head = self.model.cls.predictions
        x = F.gelu(self.linear(head.transform.dense, x))
        return self.linear(head.decoder, self.norm(head.transform.LayerNorm, x))

    def scores(self, prompt: str, answer: int) -> torch.Tensor:
        """[layers, d_ff] of one prompt."""
        ids = self.tokenizer(prompt, return_tensors="pt").input_ids
        mask = int((ids[0] == self.tokenizer.mask_token_id).nonzero()[0, 0])
        x = self.model.bert.embeddings(ids)
        found = []
        for place, layer in enumerate(self.layers):
            h = self.attend(layer, x)
            a = self.neurons(layer, h)
            scaled = (a[:, mask] * torch.linspace(0, 1, STEPS)[:, None]).requires_grad_(True)
            rows = a.expand(STEPS, -1, -1)
            moved = torch.cat([rows[:, :mask], scaled[:, None], rows[:, mask + 1:]], 1)
            y = self.leave(layer, h.expand(STEPS, -1, -1), moved)
            for above in self.layers[place + 1:]:
                inner = self.attend(above, y)
                y = self.leave(above, inner, self.neurons(above, inner))
            p = self.head(y[:, mask]).softmax(-1)[:, answer].sum()
            gradient, = torch.autograd.grad(p, scaled)
            found.append(a[0, mask] * gradient.sum(0) / STEPS)
            x = self.leave(layer, h, a)
        return torch.stack(found)

    def located(self, prompts: list[str], answer: int) -> set[tuple[int, int]]:
        passed: dict[tuple[int, int], int] = {}
        for prompt in prompts:
            scores = self.scores(prompt, answer)
            for layer, neuron in (scores > 0.3 * scores.max()).nonzero().tolist():
                passed[layer, neuron] = passed.get((layer, neuron), 0) + 1
        return {one for one, count in passed.items() if count > 0.3 * len(prompts)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("located")
    parser.add_argument("published")
    parser.add_argument("--which", choices=["differing", "identical"], default="differing")
    parser.add_argument("--products", choices=["tf32", "float32"], default="tf32")
    parser.add_argument("--limit", type=int, default=14, help="facts, a seeded sample")
    options = parser.parse_args()
    with lzma.open(options.published, "rt") as lines:
        published = {one["uuid"]: set(map(tuple, one["neurons"])) for one in map(json.loads, lines)}
    facts = []
    with open(options.located, encoding="utf-8") as lines:
        for fact in map(json.loads, lines):
            if fact.get("record") != "fact" or not fact["refined"]:
                continue
            if fact.get("uuid") not in published:
                continue
            ours = {(n["layer"], n["neuron"]) for n in fact["neurons"]}
            if (ours == published[fact["uuid"]]) == (options.which == "identical"):
                facts.append(fact)
    facts = random.Random(0).sample(facts, min(options.limit, len(facts)))
    bert = Bert(options.model, tf32 if options.products == "tf32" else lambda x: x)
    same = 0
    for fact in facts:
        answer = bert.tokenizer.encode(fact["object"].lower(), add_special_tokens=False)
        assert len(answer) == 1, fact
        sets = bert.located([p["prompt"] for p in fact["prompts"]], answer[0])
        wanted = published[fact["uuid"]]
        same += sets == wanted
        print(f"{fact['relation']} {fact['subject']} -> {fact['object']}: "
              f"{'as published' if sets == wanted else sorted(sets ^ wanted)}", flush=True)
    print(f"{options.products}: {same} of {len(facts)} {options.which} sets are as published")


if __name__ == "__main__":
    main()
