"""transformers language models whose FFN activations can be read and replaced."""

import contextlib
import json
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers


class InDouble(torch.overrides.TorchFunctionMode):
    """Keeps a float64 model in float64 where its code asks for float32: softmax and RMS norms.
    Rotary angles stay as they are, rounded to float32, since models are trained on those."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is F.softmax:
            kwargs.pop("dtype", None)
        wide = len(args) > 0 and isinstance(args[0], torch.Tensor) and args[0].dtype == torch.float64
        if wide and (func is torch.Tensor.float or
                     (func is torch.Tensor.to and args[1:] == (torch.float32,) and not kwargs)):
            return args[0]
        return func(*args, **kwargs)


class LanguageModel:
    """Runs in float64 from the checkpoint's own numbers, so that what is stored has no rounding of
    its own: a float32 implementation is then judged by its own error alone."""

    causal = False
    auto = None      # the class of transformers that loads it

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float64):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = self.auto.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager")
        self.model.to(dtype).eval().requires_grad_(False)
        self.blocks = self.find_blocks(self.model.base_model)
        self.layers = len(self.blocks)
        self.dtype = dtype
        self.halves_gates = False        # half of a gradient to each factor of a gated FFN
        self._hooks = {}
        for layer, block in enumerate(self.blocks):
            self.second_matrix(block).register_forward_pre_hook(
                lambda _, inputs, layer=layer: self._pass(layer, inputs[0]))
        second = self.second_matrix(self.blocks[0])
        # GPT-2's matrices lie transposed.
        self.d_ff = getattr(second, "in_features", second.weight.shape[0])
        self.gated = hasattr(getattr(self.blocks[0], "mlp", None), "gate_proj")

    def _pass(self, layer: int, a: torch.Tensor):
        if self.halves_gates and self.gated:
            a = a.detach() + 0.5 * (a - a.detach())
        replaced = self._hooks.get(layer, lambda _: None)(a)
        return a if replaced is None else replaced

    def logits(self, ids: torch.Tensor, hooks=None) -> torch.Tensor:
        """[prompts, tokens, vocabulary]; hooks[layer] gets a layer's activations
        [prompts, tokens, d_ff] and returns what replaces them, or None."""
        self._hooks = hooks or {}
        with InDouble() if self.dtype == torch.float64 else contextlib.nullcontext():
            try:
                return self.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
            finally:
                self._hooks = {}

    def activations(self, ids: torch.Tensor) -> torch.Tensor:
        """[layers, tokens, d_ff] of one prompt `ids` [tokens]."""
        kept = {}
        with torch.no_grad():
            self.logits(ids[None], {l: lambda a, l=l: kept.update({l: a[0]})
                                    for l in range(self.layers)})
        return torch.stack([kept[l] for l in range(self.layers)])


class MaskedLM(LanguageModel):
    auto = transformers.AutoModelForMaskedLM

    @staticmethod
    def find_blocks(base):
        return base.transformer.layer if hasattr(base, "transformer") else base.encoder.layer

    @staticmethod
    def second_matrix(block):
        """The second FFN matrix: its input is the activation after the non-linearity."""
        return block.ffn.lin2 if hasattr(block, "ffn") else block.output.dense


class CausalLM(LanguageModel):
    causal = True
    auto = transformers.AutoModelForCausalLM

    @staticmethod
    def find_blocks(base):
        return base.h if hasattr(base, "h") else base.layers

    @staticmethod
    def second_matrix(block):
        """The last FFN matrix; of a gated FFN its input is activation(gate) * up."""
        for name in ("down_proj", "dense_4h_to_h", "c_proj"):
            if hasattr(block.mlp, name):
                return getattr(block.mlp, name)
        raise ValueError(f"no second FFN matrix in {block.mlp}")


def is_causal(folder: Path) -> bool:
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return config["model_type"] in ("gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3", "gemma")


def open_model(folder: Path, dtype: torch.dtype = torch.float64) -> LanguageModel:
    return (CausalLM if is_causal(folder) else MaskedLM)(folder, dtype)
