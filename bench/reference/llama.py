"""Llama's decoder in plain PyTorch, eager attention; with what the decoder's references share."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional


class Norm(nn.Module):
    def __init__(self, width: int, epsilon: float):
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.empty(width)), epsilon

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.epsilon))


def linear(rows: int, columns: int) -> nn.Linear:
    return nn.Linear(rows, columns, bias=False)


def rotate(x, cosine, sine):
    """x [prompts, heads, tokens, head size]; the halves of a head are turned against each other."""
    first, second = x.chunk(2, -1)
    return x * cosine + torch.cat([-second, first], -1) * sine


class Layer(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        d, f = config["hidden_size"], config["intermediate_size"]
        self.size = config["head_dim"]
        self.groups = config["num_attention_heads"] // config["num_key_value_heads"]
        queries = self.size * config["num_attention_heads"]
        keys = self.size * config["num_key_value_heads"]
        self.query, self.key, self.value = linear(d, queries), linear(d, keys), linear(d, keys)
        self.attention_out = linear(queries, d)
        self.attention_norm = Norm(d, config["rms_norm_eps"])
        self.ffn_norm = Norm(d, config["rms_norm_eps"])
        self.gate, self.up, self.ffn_out = linear(d, f), linear(d, f), linear(f, d)

    def split(self, x):
        return x.view(*x.shape[:2], -1, self.size).transpose(1, 2)

    def forward(self, x, bias, cosine, sine, position, replacement):
        """-> hidden states and the neurons [prompts, d_ff] at `position`; with `replacement`
        [prompts, d_ff] the neurons there are replaced by it."""
        read = self.attention_norm(x)
        q = rotate(self.split(self.query(read)), cosine, sine)
        k = rotate(self.split(self.key(read)), cosine, sine).repeat_interleave(self.groups, 1)
        v = self.split(self.value(read)).repeat_interleave(self.groups, 1)
        scores = q @ k.transpose(-1, -2) / self.size ** 0.5 + bias
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        x = x + self.attention_out(mixed)
        read = self.ffn_norm(x)
        neurons = functional.silu(self.gate(read)) * self.up(read)
        if replacement is not None:
            neurons = neurons.clone()
            neurons[:, position] = replacement
        return x + self.ffn_out(neurons), neurons[:, position]


class Llama(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        d, vocabulary = config["hidden_size"], config["vocab_size"]
        self.size, self.base = config["head_dim"], rotary_base(config)
        self.tokens = nn.Embedding(vocabulary, d)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))
        self.norm = Norm(d, config["rms_norm_eps"])
        self.decoder = linear(d, vocabulary)

    def forward(self, ids, attention_mask, position, layer=None, replacement=None):
        """-> logits [prompts, tokens, vocabulary], neurons of `layer` at `position`."""
        x = self.tokens(ids)
        count = ids.shape[1]
        wave = self.base ** (-torch.arange(0, self.size, 2, device=x.device) / self.size)
        angle = torch.arange(count, device=x.device)[:, None] * torch.cat([wave, wave])
        cosine, sine = angle.cos(), angle.sin()
        seen = torch.ones(count, count, dtype=torch.bool, device=x.device).tril()
        seen = seen & attention_mask[:, None, None, :].bool()
        bias = (1.0 - seen.to(x.dtype)) * torch.finfo(x.dtype).min
        kept = None
        for index, block in enumerate(self.layers):
            x, neurons = block(x, bias, cosine, sine, position,
                               replacement if index == layer else None)
            if index == layer:
                kept = neurons
        return self.decoder(self.norm(x)), kept


def rotary_base(config: dict) -> float:
    rotary = config.get("rope_parameters") or {"rope_theta": config["rope_theta"]}
    assert rotary.get("rope_type", "default") == "default"
    return rotary["rope_theta"]


NAMES = {"tokens": "model.embed_tokens", "norm": "model.norm", "decoder": "lm_head"}
LAYER_NAMES = {
    "query": "self_attn.q_proj", "key": "self_attn.k_proj", "value": "self_attn.v_proj",
    "attention_out": "self_attn.o_proj", "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm", "gate": "mlp.gate_proj", "up": "mlp.up_proj",
    "ffn_out": "mlp.down_proj",
}


def load_llama(folder: Path, device: str = "cpu") -> Llama:
    """device "meta" gives a model without numbers, for counting."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert config["model_type"] == "llama" and config["hidden_act"] == "silu"
    with torch.device(device):
        model = Llama(config).eval()
    if device == "meta":
        return model
    stored = load_file(folder / "model.safetensors")
    if config["tie_word_embeddings"]:
        stored["lm_head.weight"] = stored["model.embed_tokens.weight"]
    state = {}
    for name in model.state_dict():
        if name.startswith("layers."):
            _, layer, part, kind = name.split(".")
            source = f"model.layers.{layer}.{LAYER_NAMES[part]}.{kind}"
        else:
            part, kind = name.split(".")
            source = f"{NAMES[part]}.{kind}"
        state[name] = stored[source]
    model.load_state_dict(state)
    return model


def read_prompts(folder: Path, facts: str, count: int) -> list[tuple[list[int], int, int]]:
    """(ids, position of the last token, answer) of the first prompts, one a fact. A prompt ends
    where its mask stands; the answer is the one token that it and the space before it are."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    prompts = []
    for line in (folder / facts).read_text("utf-8").splitlines()[:count]:
        fact = json.loads(line)
        text = fact["prompts"][0].split("[MASK]")[0].rstrip(" ")
        ids = tokenizer.encode(text).ids
        whole = tokenizer.encode(text + " " + fact["object"]).ids
        assert whole[:-1] == ids, fact
        prompts.append((ids, len(ids) - 1, whole[-1]))
    return prompts
