"""Both names of a neuron read the same activation from the real libraries."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable

import pytest
import torch

import engram

transformers = pytest.importorskip("transformers")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def compare(path: Path, auto: Any, text: str, answer: str) -> None:
    bridges = pytest.importorskip("transformer_lens.model_bridge")
    hf = auto.from_pretrained(path, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = engram.Model.from_transformers(hf, tokenizer)
    a = model.attribute(text, answer)
    inputs = tokenizer(text, return_tensors="pt")
    place = a.positions[0]
    theirs = [
        engram.read_activation(hf, model.config.family, layer, **inputs)[0, place]
        for layer in range(model.config.layers)
    ]
    bridge = bridges.TransformerBridge.boot_transformers(str(path), hf_model=hf, tokenizer=tokenizer)
    with torch.no_grad():
        _, cache = bridge.run_with_cache(inputs["input_ids"])
    for layer in range(model.config.layers):
        lens = cache[engram.hook_name(layer)][0, place]
        scale = theirs[layer].abs().max().item()
        for other in (theirs[layer], lens):
            torch.testing.assert_close(other, a.activations[layer], rtol=0, atol=1e-4 * scale)


def test_masked(shipped: Path) -> None:
    compare(
        shipped, transformers.AutoModelForMaskedLM, "The capital of France is [MASK].", "Paris"
    )


def test_gated(real: Callable[[str], Path]) -> None:
    path = real("smollm2-135m")
    compare(path, transformers.AutoModelForCausalLM, "The capital of France is", "Paris")
