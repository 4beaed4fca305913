"""BERT's masked LM in plain PyTorch, eager attention; with what the references share."""

import json
import os
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class FlopCounter(TorchDispatchMode):
    """PyTorch's own formulas, forward and backward. (Its FlopCounterMode follows modules as well,
    and cannot do that under `autograd.grad`.)"""

    def __init__(self):
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


class Layer(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        d, f = config["hidden_size"], config["intermediate_size"]
        self.heads = config["num_attention_heads"]
        self.query, self.key, self.value = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.attention_out = nn.Linear(d, d)
        self.attention_norm = nn.LayerNorm(d, eps=config["layer_norm_eps"])
        self.ffn_in, self.ffn_out = nn.Linear(d, f), nn.Linear(f, d)
        self.ffn_norm = nn.LayerNorm(d, eps=config["layer_norm_eps"])

    def split(self, x):
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def forward(self, x, bias, position, replacement):
        """-> hidden states and the activations [prompts, d_ff] at `position`; with `replacement`
        [prompts, d_ff] the activations there are replaced by it."""
        q, k, v = self.split(self.query(x)), self.split(self.key(x)), self.split(self.value(x))
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + bias
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(x.shape)
        x = self.attention_norm(self.attention_out(mixed) + x)
        activation = functional.gelu(self.ffn_in(x))
        if replacement is not None:
            activation = activation.clone()
            activation[:, position] = replacement
        return self.ffn_norm(self.ffn_out(activation) + x), activation[:, position]


class Bert(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        d, vocabulary = config["hidden_size"], config["vocab_size"]
        self.tokens = nn.Embedding(vocabulary, d)
        self.positions = nn.Embedding(config["max_position_embeddings"], d)
        self.types = nn.Embedding(config["type_vocab_size"], d)
        self.norm = nn.LayerNorm(d, eps=config["layer_norm_eps"])
        self.layers = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))
        self.head = nn.Linear(d, d)
        self.head_norm = nn.LayerNorm(d, eps=config["layer_norm_eps"])
        self.decoder = nn.Linear(d, vocabulary)

    def forward(self, ids, attention_mask, position, layer=None, replacement=None):
        """-> logits [prompts, tokens, vocabulary], activations of `layer` at `position`."""
        x = self.tokens(ids) + self.positions.weight[:ids.shape[1]] + self.types.weight[0]
        x = self.norm(x)
        bias = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        kept = None
        for index, block in enumerate(self.layers):
            x, activation = block(x, bias, position, replacement if index == layer else None)
            if index == layer:
                kept = activation
        return self.decoder(self.head_norm(functional.gelu(self.head(x)))), kept


NAMES = {
    "tokens.": "bert.embeddings.word_embeddings.", "norm.": "bert.embeddings.LayerNorm.",
    "positions.": "bert.embeddings.position_embeddings.",
    "types.": "bert.embeddings.token_type_embeddings.",
    "head.": "cls.predictions.transform.dense.",
    "head_norm.": "cls.predictions.transform.LayerNorm.",
}
LAYER_NAMES = {
    "query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
    "attention_out": "attention.output.dense", "attention_norm": "attention.output.LayerNorm",
    "ffn_in": "intermediate.dense", "ffn_out": "output.dense", "ffn_norm": "output.LayerNorm",
}


def load_bert(folder: Path, device: str = "cpu") -> Bert:
    """device "meta" gives a model without numbers, for counting."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert config["model_type"] == "bert" and config["hidden_act"] == "gelu"
    with torch.device(device):
        model = Bert(config).eval()
    if device == "meta":
        return model
    stored = load_file(folder / "model.safetensors")
    state = {}
    for name in model.state_dict():
        if name.startswith("layers."):
            _, layer, part, kind = name.split(".")
            source = f"bert.encoder.layer.{layer}.{LAYER_NAMES[part]}.{kind}"
        elif name == "decoder.weight":
            source = "bert.embeddings.word_embeddings.weight"
        elif name == "decoder.bias":
            source = "cls.predictions.bias"
        else:
            part, kind = name.split(".")
            source = NAMES[part + "."] + kind
        state[name] = stored[source]
    model.load_state_dict(state)
    return model


def read_prompts(folder: Path, facts: str, count: int) -> list[tuple[list[int], int, int]]:
    """(ids, position of the mask, answer) of the first prompts, one a fact; where there is no
    tokenizer.json every word is one token."""
    words = (folder / "vocab.txt").read_text("utf-8").splitlines()
    id_of = {word: i for i, word in enumerate(words)}
    file = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file)) if file.exists() else None
    prompts = []
    for line in (folder / facts).read_text("utf-8").splitlines()[:count]:
        fact = json.loads(line)
        text = fact["prompts"][0]
        ids = (tokenizer.encode(text).ids if tokenizer
               else [id_of[w] for w in ["[CLS]", *text.split(), "[SEP]"]])
        prompts.append((ids, ids.index(id_of["[MASK]"]), id_of[fact["object"]]))
    return prompts


def use_all_cores() -> int:
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    return threads


def measure(name: str, folder: Path, prompts, procedure, scores_file: Path | None,
            load=load_bert) -> dict:
    """Times `procedure(model, ids, position, answer) -> (scores, p)` prompt by prompt, and counts
    its FLOPs (a multiplication and an addition are two) on a model without numbers."""
    threads = use_all_cores()
    model = load(folder)
    seconds, scores, p = [], [], []
    for ids, position, answer in prompts:
        start = time.perf_counter()
        result, probability = procedure(model, ids, position, answer)
        seconds.append(time.perf_counter() - start)
        scores.append(result.detach().float())
        p.append(float(probability))
    with FlopCounter() as counter:
        procedure(load(folder, "meta"), *prompts[0])
    if scores_file:
        save_file({"scores": torch.stack(scores).contiguous()}, scores_file)
    return {"reference": name, "torch": torch.__version__, "threads": threads,
            "prompts": len(prompts), "tokens": len(prompts[0][0]), "seconds": seconds,
            "seconds_per_prompt": sorted(seconds)[len(seconds) // 2],
            "flops_per_prompt": counter.total, "p": p}
