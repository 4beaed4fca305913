"""Scores of neurons."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Iterator, NamedTuple, Optional, Sequence, Union, overload

from . import _core
from ._neuronpedia import graph_of
from ._tables import frame
from .neurons import Neuron, hf_module, hf_side, hook_name

if TYPE_CHECKING:
    import pandas
    import torch

__all__ = ["Attribution", "Attributions", "LayerReport"]


class LayerReport(NamedTuple):
    """What is known of one layer's attribution."""

    delta: float
    """F(a) - F(0): what the whole layer contributes to the target F."""
    sum: float
    """Sum of the layer's scores."""
    gap: float
    """\\|sum - delta\\|, the completeness gap of integrated gradients."""
    nodes: int
    """Quadrature nodes of F."""
    shared_nodes: int
    """Those of them at t = 1, where one pass serves all layers."""
    cheap_nodes: int
    """Nodes of the control variate."""
    estimated_error: float
    """Largest estimated error of a score, absolute; NaN where there is nothing to estimate it by."""
    converged: bool
    """Met the tolerance."""


@dataclass(frozen=True)
class Source:
    """Where scores come from."""

    model: str
    folder: str
    """Of the checkpoint; empty for a module that was in memory."""
    family: str
    method: str
    options: dict[str, Any]


@dataclass(frozen=True, repr=False, eq=False)
class Attribution:
    """The scores of one prompt.

    A score says how much a neuron raises the target F, the answer's probability by default (Dai et
    al. 2022, section 3.2: the activation times the integral of F's gradient while all neurons of
    the layer grow from 0 to it).
    """

    scores: torch.Tensor
    """[layers, d_ff] float32 on the CPU; shares memory with the C++ side."""
    activations: torch.Tensor
    """[layers, d_ff] float32 on the CPU: the mean over the tokens at which neurons are read."""
    prompt: str
    answer: str
    p: float
    """P of the answer; of several tokens the geometric mean."""
    f: float
    """F(a), the target's value."""
    rank: int
    """Of the answer, 1: the top one."""
    layers: list[LayerReport]
    """By layer."""
    source: Source
    _one: dict[str, Any] = field(repr=False)

    def __repr__(self) -> str:
        return (
            f"<engram.Attribution of {self.answer!r} in {self.prompt!r}: P = {self.p:.4g}, "
            f"{self.source.method}>"
        )

    @property
    def gap(self) -> float:
        """Largest completeness gap of a layer, \\|sum of scores - (F(a) - F(0))\\|."""
        return max(layer.gap for layer in self.layers)

    @property
    def converged(self) -> bool:
        """Whether every layer met the tolerance."""
        return all(layer.converged for layer in self.layers)

    @property
    def answer_ids(self) -> list[int]:
        """Token ids of the answer."""
        return list(self._one["answer_ids"])

    @property
    def ids(self) -> list[int]:
        """Token ids of the prompt as the model reads it."""
        return list(self._one["ids"])

    @property
    def tokens(self) -> list[str]:
        """The tokens of :attr:`ids` as the vocabulary spells them."""
        return list(self._one["tokens"])

    @property
    def positions(self) -> list[int]:
        """Places in :attr:`ids` whose logits predict the answer."""
        return list(self._one["positions"])

    @property
    def neuron_positions(self) -> list[int]:
        """Places in :attr:`ids` at which neurons are read."""
        return list(self._one["neuron_positions"])

    def neurons(self, k: int = 10, by: str = "score") -> list[Neuron]:
        """The ``k`` neurons with the largest scores; ``by="magnitude"``: largest \\|score\\|."""
        return [Neuron(layer, neuron) for layer, neuron in self._order(k, by)]

    def _order(self, k: int, by: str) -> list[tuple[int, int]]:
        import torch

        if by not in ("score", "magnitude"):
            raise ValueError(f'by: got "{by}", expected "score" or "magnitude"')
        flat = self.scores.reshape(-1)
        key = flat.abs() if by == "magnitude" else flat
        order = torch.sort(key, descending=True, stable=True).indices[:k].tolist()
        width = self.scores.shape[1]
        return [(i // width, i % width) for i in order]

    def top(self, k: int = 10, by: str = "score") -> pandas.DataFrame:
        """The ``k`` neurons with the largest scores, best first.

        Columns: ``layer``, ``neuron`` (from 0), ``score`` (in units of the target), ``activation``,
        ``hook`` (TransformerLens' name), ``hf_module`` and ``hf_side`` (the Hugging Face module
        whose output or input the activation is).
        """
        order = self._order(k, by)
        family = self.source.family
        return frame(
            {
                "layer": [layer for layer, _ in order],
                "neuron": [neuron for _, neuron in order],
                "score": [self.scores[at].item() for at in order],
                "activation": [self.activations[at].item() for at in order],
                "hook": [hook_name(layer) for layer, _ in order],
                "hf_module": [hf_module(family, layer) for layer, _ in order],
                "hf_side": [hf_side(family) for _ in order],
            }
        )

    def picture(self, format: str = "svg", theme: str = "auto") -> bytes:
        """The picture of ``engram attribute --picture``: ``"svg"``, ``"html"``, ``"png"``, ``"pdf"``.

        ``theme``: ``"auto"``, ``"light"`` or ``"dark"``. PNG and PDF need the program rsvg-convert.
        """
        return _core.picture(
            self.scores,
            self.activations,
            self._one,
            self.source.model,
            self.source.method,
            format,
            theme,
        )

    def _repr_html_(self) -> str:
        drawn = self.picture("svg").decode()
        return drawn[drawn.index("<svg") :]  # without the file's XML declaration

    def plot(self, ax: Any = None) -> Any:
        """Scores by layer as matplotlib axes: a bar of positive and one of negative scores each."""
        try:
            import matplotlib.pyplot as plt
        except ImportError as missing:
            raise ImportError("plot() needs matplotlib: pip install matplotlib") from missing
        if ax is None:
            _, ax = plt.subplots()
        layers = range(self.scores.shape[0])
        ax.bar(layers, self.scores.clamp(min=0).sum(1).tolist(), label="raise the answer")
        ax.bar(layers, self.scores.clamp(max=0).sum(1).tolist(), label="lower it")
        ax.set_xlabel("layer")
        ax.set_ylabel("sum of scores")
        ax.set_title(f"{self.prompt} {self.answer}")
        ax.legend()
        return ax

    def neuronpedia(
        self,
        path: Union[None, str, os.PathLike[str]] = None,
        *,
        k: int = 50,
        by: str = "magnitude",
        slug: Optional[str] = None,
    ) -> dict[str, Any]:
        """The ``k`` neurons as an attribution graph in Neuronpedia's JSON, also written to ``path``.

        Nodes are the prompt's tokens, the neurons, for each layer what its other neurons add up to,
        and the answer. A link to the answer has the score as its weight, in units of the target;
        what feeds a neuron is not attributed, so no link goes from a token. ``influence`` is the
        share of all \\|scores\\| that a neuron and those before it hold. ``slug`` names the graph
        on the site.
        """
        graph = graph_of(self, k, by, slug)
        if path is not None:
            beside = f"{os.fspath(path)}.{os.getpid()}"
            try:
                with open(beside, "w", encoding="utf-8") as file:
                    json.dump(graph, file, ensure_ascii=False)
                os.replace(beside, path)
            except BaseException:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(beside)
                raise
        return graph

    def save(self, path: Union[str, os.PathLike[str]]) -> None:
        """Writes scores and activations as safetensors.

        The header says what they are: ``model`` and ``fingerprint`` (of the checkpoint as it is
        now; empty for a module that was in memory), ``method`` and ``options``
        (rule, target, tolerance, ...) as JSON, ``prompt``, ``answer``, ``p``, and the hook names by
        layer (``hooks``, ``hf_modules``, ``hf_side``). Needs the package safetensors.
        """
        try:
            from safetensors.torch import save_file
        except ImportError as missing:
            raise ImportError("save() needs safetensors: pip install safetensors") from missing
        layers = range(self.scores.shape[0])
        family = self.source.family
        save_file(
            {"scores": self.scores.contiguous(), "activations": self.activations.contiguous()},
            os.fspath(path),
            {
                "schema": "engram.scores/1",
                "model": self.source.model,
                "fingerprint": _core.fingerprint(self.source.folder) if self.source.folder else "",
                "method": self.source.method,
                "options": json.dumps(self.source.options),
                "prompt": self.prompt,
                "answer": self.answer,
                "p": repr(self.p),
                "hooks": json.dumps([hook_name(layer) for layer in layers]),
                "hf_modules": json.dumps([hf_module(family, layer) for layer in layers]),
                "hf_side": hf_side(family),
            },
        )


class Attributions(Sequence[Attribution]):
    """The scores of many prompts: a list of :class:`Attribution` over one tensor."""

    def __init__(
        self, scores: torch.Tensor, activations: torch.Tensor, each: list[Attribution]
    ) -> None:
        self.scores = scores
        """[prompts, layers, d_ff] float32 on the CPU."""
        self.activations = activations
        """The same of activations."""
        self._each = each

    def __len__(self) -> int:
        return len(self._each)

    @overload
    def __getitem__(self, index: int) -> Attribution: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Attribution]: ...
    def __getitem__(
        self, index: Union[int, slice]
    ) -> Union[Attribution, Sequence[Attribution]]:
        return self._each[index]

    def __iter__(self) -> Iterator[Attribution]:
        return iter(self._each)

    def table(self, k: int = 10, by: str = "score") -> pandas.DataFrame:
        """The ``k`` best neurons of every prompt in one data frame.

        Columns as :meth:`Attribution.top`, behind ``prompt`` and ``answer``.
        """
        columns: dict[str, list[Any]] = {}
        for one in self._each:
            top = one.top(k, by)
            columns.setdefault("prompt", []).extend([one.prompt] * len(top))
            columns.setdefault("answer", []).extend([one.answer] * len(top))
            for name in top.columns:
                columns.setdefault(name, []).extend(top[name].tolist())
        return frame(columns)
