"""Neurons, and what other libraries call them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterable, NamedTuple, Protocol, Union

from . import _core

if TYPE_CHECKING:
    import pandas
    import torch

__all__ = ["Neuron", "Neurons", "hf_module", "hf_side", "hook_name", "neurons_of", "read_activation"]


class Neuron(NamedTuple):
    """An FFN neuron: coordinate ``neuron`` of the activation of ``layer``, both from 0.

    The activation is taken behind the non-linearity, of a gated FFN behind the product with the
    gate. ``str()`` gives ``"3:643"``, as the command writes it.
    """

    layer: int
    neuron: int

    def __str__(self) -> str:
        return f"{self.layer}:{self.neuron}"


class _HasNeurons(Protocol):
    @property
    def neurons(self) -> Iterable[Any]: ...


#: A list of neurons in any form: ``"3:17,5:201"``, pairs, names, a table with the columns ``layer``
#: and ``neuron``, or something that has neurons (a located fact, an edit).
Neurons = Union[
    str, Iterable[Union[Neuron, "tuple[int, int]", str]], _HasNeurons, "pandas.DataFrame"
]


def neurons_of(neurons: Neurons) -> list[Neuron]:
    """The neurons that are meant, each once, in the order given.

    Raises UsageError for a text that names none.
    """
    if isinstance(neurons, str):
        return [Neuron(*one) for one in _core.parse_neurons(neurons)]
    held = getattr(neurons, "neurons", None)
    found: list[Neuron] = []
    items: Iterable[Any] = held if held is not None else neurons  # type: ignore[assignment]
    if {"layer", "neuron"} <= set(getattr(neurons, "columns", ())):
        table: Any = neurons
        items = zip(table["layer"], table["neuron"])
    for one in items:
        if isinstance(one, str):
            found.extend(Neuron(*each) for each in _core.parse_neurons(one))
        else:
            layer, neuron = one[:2]
            found.append(Neuron(int(layer), int(neuron)))
    return list(dict.fromkeys(found))


def hook_name(layer: int) -> str:
    """TransformerLens' name of the layer's neurons: ``blocks.3.mlp.hook_post``."""
    return f"blocks.{layer}.mlp.hook_post"


# Family: path of the module, and whether the activation is what it gives or what it takes.
_HF = {
    "bert": ("bert.encoder.layer.{}.intermediate", "output"),
    "roberta": ("roberta.encoder.layer.{}.intermediate", "output"),
    "xlm-roberta": ("roberta.encoder.layer.{}.intermediate", "output"),
    "camembert": ("roberta.encoder.layer.{}.intermediate", "output"),
    "electra": ("electra.encoder.layer.{}.intermediate", "output"),
    "distilbert": ("distilbert.transformer.layer.{}.ffn.lin2", "input"),
    "gpt2": ("transformer.h.{}.mlp.act", "output"),
    "gpt_neox": ("gpt_neox.layers.{}.mlp.act", "output"),
    "llama": ("model.layers.{}.mlp.down_proj", "input"),
    "mistral": ("model.layers.{}.mlp.down_proj", "input"),
    "qwen2": ("model.layers.{}.mlp.down_proj", "input"),
    "qwen3": ("model.layers.{}.mlp.down_proj", "input"),
    "gemma": ("model.layers.{}.mlp.down_proj", "input"),
}


def hf_module(family: str, layer: int) -> str:
    """Path of the Hugging Face module at which the layer's neurons are read.

    ``model.get_submodule()`` takes it. :func:`hf_side` says whether they are its output or input.
    """
    return _HF[family][0].format(layer)


def hf_side(family: str) -> str:
    """``"output"`` where the neurons are what :func:`hf_module` gives, ``"input"`` where they are
    what it takes (gated FFNs, whose product has no module of its own)."""
    return _HF[family][1]


def read_activation(module: torch.nn.Module, family: str, layer: int, **inputs: Any) -> torch.Tensor:
    """Runs a Hugging Face model once and returns the layer's neurons: [prompts, tokens, d_ff].

    ``inputs`` are those of the model's ``forward``.
    """
    import torch

    seen: list[torch.Tensor] = []
    place = module.get_submodule(hf_module(family, layer))
    if hf_side(family) == "output":
        handle = place.register_forward_hook(lambda _m, _in, out: seen.append(out))
    else:
        handle = place.register_forward_pre_hook(lambda _m, given: seen.append(given[0]))
    try:
        with torch.no_grad():
            module(**inputs)
    finally:
        handle.remove()
    return seen[0]
