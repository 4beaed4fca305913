"""Finds where a pretrained transformer keeps a fact, tests the neurons and edits them.

    import engram
    model = engram.Model("models/engram-base")
    a = model.attribute("The capital of France is [MASK].", "Paris")
    a.scores          # torch.Tensor [layers, d_ff]
    a.top(10)         # pandas.DataFrame

The C++ library does the work; tensors are shared with torch. docs/python.md is the guide.
"""

from __future__ import annotations

# torch comes first: its libtorch is the one that the extension is linked against.
from . import _torch  # noqa: F401
from . import _core, distributed, edits
from ._build import VERSION as __version__
from .attribution import Attribution, Attributions, LayerReport
from .command import command
from .edits import Delta, EditResult, SideEffect, ValueEdit, read_delta
from .errors import (
    EngramError,
    FileError,
    InputError,
    InternalError,
    Interrupted,
    UsageError,
)
from .facts import (
    Fact,
    FactSet,
    Located,
    LocatedFact,
    LocatedNeuron,
    load_facts,
    locate,
    read_located,
)
from .model import Model
from .neurons import Neuron, hf_module, hf_side, hook_name, read_activation
from .results import (
    Answer,
    Change,
    Config,
    Guess,
    Lens,
    LensStage,
    Measured,
    NeuronCard,
    Prediction,
)
from .runs import Run, audit, compare, effects, memories, merge, reproduce, texts

__all__ = [
    "Answer",
    "Attribution",
    "Attributions",
    "Change",
    "Config",
    "Delta",
    "EditResult",
    "EngramError",
    "Fact",
    "FactSet",
    "FileError",
    "Guess",
    "InputError",
    "InternalError",
    "Interrupted",
    "LayerReport",
    "Lens",
    "LensStage",
    "Located",
    "LocatedFact",
    "LocatedNeuron",
    "Measured",
    "Model",
    "Neuron",
    "NeuronCard",
    "Prediction",
    "Run",
    "SideEffect",
    "UsageError",
    "ValueEdit",
    "__version__",
    "audit",
    "command",
    "compare",
    "distributed",
    "edits",
    "effects",
    "hf_module",
    "hf_side",
    "hook_name",
    "load_facts",
    "locate",
    "memories",
    "merge",
    "read_activation",
    "read_delta",
    "read_located",
    "reproduce",
    "scores",
    "texts",
]


def scores() -> list[tuple[str, str, str]]:
    """The scores that neurons can have: name, other name, meaning."""
    return list(_core.score_methods())
