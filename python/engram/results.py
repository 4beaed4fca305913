"""What a model's calls give back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from ._tables import frame
from .neurons import Neuron

if TYPE_CHECKING:
    import pandas

__all__ = [
    "Answer",
    "Change",
    "Config",
    "Guess",
    "Lens",
    "LensStage",
    "Measured",
    "NeuronCard",
    "Prediction",
]


@dataclass(frozen=True)
class Config:
    """Sizes of a model."""

    family: str
    """``"bert"``, ``"gpt2"``, ``"llama"``, ..."""
    causal: bool
    """Predicts the next token; otherwise it fills masks."""
    gated: bool
    """The FFN's activation is a product with a gate."""
    layers: int
    d_model: int
    """Width of the residual stream."""
    d_ff: int
    """Neurons per layer."""
    heads: int
    vocabulary: int
    max_tokens: int
    """The longest prompt, special tokens included."""
    activation: str
    """The FFN's non-linearity."""


class Guess(NamedTuple):
    """A token that the model may answer with."""

    token: str
    id: int
    p: float


@dataclass(frozen=True)
class Answer:
    """How a model answers with one given text."""

    text: str
    p: float
    """Geometric mean of its tokens' P."""
    product: float
    """P of all of them."""
    rank: int
    """The worst of its tokens' ranks, 1: the top one."""
    tokens: list[tuple[str, int, float, int]]
    """Token, id, P given those before, rank."""


@dataclass(frozen=True)
class Prediction:
    """What a model answers to a prompt."""

    text: str
    guesses: list[Guess]
    """The likeliest tokens, best first."""
    answer: Optional[Answer]
    """Of the answer that was asked for."""
    continuation: Optional[str]
    """With ``tokens``: what a causal model goes on with."""

    def table(self) -> pandas.DataFrame:
        """Columns ``token``, ``id``, ``p``."""
        return frame({name: [getattr(g, name) for g in self.guesses] for name in Guess._fields})

    def __str__(self) -> str:
        lines = [self.text]
        lines += [f"  {i + 1:>3}  {g.token:<16} {g.p:.4g}" for i, g in enumerate(self.guesses)]
        if self.answer is not None:
            lines.append(
                f'answer "{self.answer.text}"  P = {self.answer.p:.4g}, rank {self.answer.rank}'
            )
        if self.continuation is not None:
            lines.append(f"goes on: {self.continuation!r}")
        return "\n".join(lines)


class Change(NamedTuple):
    """An answer before and after a change of neurons."""

    prompt: str
    answer: str
    p_before: float
    p_after: float
    rank_before: int
    rank_after: int
    log_odds_before: float
    """log(P / (1 - P)), exact where P is nearly 1 as well."""
    log_odds_after: float


class Measured(list[Change]):
    """What :meth:`Model.measure` found, a :class:`Change` for each prompt."""

    def table(self) -> pandas.DataFrame:
        """A row for each prompt; columns as the fields of :class:`Change`."""
        return frame({name: [getattr(one, name) for one in self] for name in Change._fields})


class LensStage(NamedTuple):
    """The residual stream at one place, as the LM head reads it."""

    layer: int
    """-1: the embedding."""
    after: str
    """``"embedding"``, ``"attention"`` or ``"ffn"``."""
    rank: int
    """Of the answer, 1: the top one."""
    p: float
    logit: float
    change: float
    """The logit minus that of the stage before."""
    share: float
    """Direct share in the last logit; pre-norm models only, else NaN."""
    top: list[Guess]


@dataclass(frozen=True)
class Lens:
    """The logit lens (nostalgebraist 2020) at the place that predicts an answer."""

    text: str
    answer: str
    stages: list[LensStage]
    bias_share: Optional[float]
    """Share of what hangs on no token; pre-norm models only."""

    def table(self) -> pandas.DataFrame:
        """A row for each stage; ``top`` as text."""
        columns: dict[str, list[Any]] = {
            name: [getattr(stage, name) for stage in self.stages] for name in LensStage._fields[:-1]
        }
        columns["top"] = [" ".join(guess.token for guess in stage.top) for stage in self.stages]
        return frame(columns)


@dataclass(frozen=True)
class NeuronCard:
    """What a neuron writes, what is like it, and what triggers it."""

    neuron: Neuron
    key_norm: float
    gate_norm: float
    """NaN where the FFN has no gate."""
    value_norm: float
    raises: list[tuple[str, int, float, float]]
    """Tokens that its value vector raises most: token, id, logit, P."""
    lowers: list[tuple[str, int, float, float]]
    near_by_key: list[tuple[Neuron, float]]
    """Neurons with the most similar key vectors: neuron, cosine."""
    near_by_value: list[tuple[Neuron, float]]
    most: list[dict[str, Any]]
    """Texts of the corpus on which it is most active; empty without a corpus."""
    least: list[dict[str, Any]]
    hook: str
    hf_module: str
