"""A transformers masked LM whose FFN activations can be read and replaced."""

from pathlib import Path

import torch
import transformers


class MaskedLM:
    """Runs in float64 from the checkpoint's own numbers, so that what is stored has no rounding of
    its own: a float32 implementation is then judged by its own error alone."""

    def __init__(self, folder: Path, dtype: torch.dtype = torch.float64):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.AutoModelForMaskedLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager")
        self.model.to(dtype).eval().requires_grad_(False)
        base = self.model.base_model
        self.blocks = base.transformer.layer if hasattr(base, "transformer") else base.encoder.layer
        self.layers = len(self.blocks)
        self._hooks = {}
        for layer, block in enumerate(self.blocks):
            # The second FFN matrix: its input is the activation after the non-linearity.
            second = block.ffn.lin2 if hasattr(block, "ffn") else block.output.dense
            second.register_forward_pre_hook(
                lambda _, inputs, layer=layer: self._hooks.get(layer, lambda a: None)(inputs[0]))
        self.d_ff = second.in_features
        self.dtype = dtype

    def logits(self, ids: torch.Tensor, hooks=None) -> torch.Tensor:
        """[prompts, tokens, vocabulary]; hooks[layer] gets a layer's activations
        [prompts, tokens, d_ff] and returns what replaces them, or None."""
        self._hooks = hooks or {}
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
