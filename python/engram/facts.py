"""Fact sets, and the neurons that are located on them."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable, Iterator, NamedTuple, Optional, Sequence, Union, overload

from . import _core
from ._build import VERSION
from ._progress import Progress, counter
from ._tables import frame
from .errors import FileError, InputError
from .neurons import Neuron, hf_module, hf_side, hook_name

if TYPE_CHECKING:
    import pandas

    from .model import Memory, Model

__all__ = [
    "Fact",
    "FactSet",
    "Located",
    "LocatedFact",
    "LocatedNeuron",
    "load_facts",
    "locate",
    "read_located",
]


@dataclass(frozen=True)
class Fact:
    """Subject, relation and object, with prompts that ask for the object."""

    relation: str
    """A Wikidata property id where there is one."""
    subject: str
    object: str
    prompts: list[str]
    """Those that locate, with ``[MASK]`` in the object's place."""
    held_out: list[str] = field(default_factory=list)
    """Those that only test."""
    origin: str = ""
    """``"FILE:LINE"``, for messages."""
    uuid: str = ""
    new_object: str = ""
    """What an edit should make of the object, where the source says it."""
    neighbours: list[str] = field(default_factory=list)
    """Prompts about other subjects with the same object."""


class FactSet(Sequence[Fact]):
    """Facts, in the order of their file. A slice is a fact set, too."""

    def __init__(self, facts: Iterable[Fact], problems: Sequence[str] = ()) -> None:
        self._facts = tuple(facts)
        self.problems = list(problems)
        """Lines that could not be used, as text."""
        self.path: Optional[str] = None
        """What the whole set was read from."""
        self._options: dict[str, Any] = {}

    @overload
    def __getitem__(self, index: int) -> Fact: ...
    @overload
    def __getitem__(self, index: slice) -> FactSet: ...
    def __getitem__(self, index: Union[int, slice]) -> Union[Fact, FactSet]:
        if isinstance(index, slice):
            return FactSet(self._facts[index])
        return self._facts[index]

    def __len__(self) -> int:
        return len(self._facts)

    def __iter__(self) -> Iterator[Fact]:
        return iter(self._facts)

    def __repr__(self) -> str:
        return f"<engram.FactSet of {len(self)} facts, {len(self.relations)} relations>"

    @property
    def relations(self) -> list[str]:
        """The relations, by first appearance."""
        return list(dict.fromkeys(fact.relation for fact in self._facts))

    def table(self) -> pandas.DataFrame:
        """A row for each fact; ``prompts`` and ``held_out`` are counts."""
        return frame(
            {
                "relation": [fact.relation for fact in self],
                "subject": [fact.subject for fact in self],
                "object": [fact.object for fact in self],
                "prompts": [len(fact.prompts) for fact in self],
                "held_out": [len(fact.held_out) for fact in self],
            }
        )

    def save(self, path: Union[str, os.PathLike[str]]) -> None:
        """Writes the facts as JSON Lines (engram's own format), which every command reads."""
        lines = [_core.fact_json(asdict(fact)) for fact in self]
        try:
            Path(path).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        except OSError as error:
            raise FileError(f"{os.fspath(path)}: {error.strerror}") from error

    def for_model(self, model: Model) -> FactSet:
        """The facts as this model can take them.

        A causal model takes prompts that end with the answer: a set that was read from a file is
        read again without the others, as the command does. Other models take the set as it is.
        """
        if not model.config.causal or self.path is None or self._options["answer_last"]:
            return self
        return load_facts(self.path, **{**self._options, "answer_last": True})


def load_facts(
    path: Union[str, os.PathLike[str]],
    *,
    relations: Sequence[str] = (),
    per_relation: Optional[int] = None,
    limit: Optional[int] = None,
    limit_order: str = "spread",
    held_out_share: float = 0.3,
    seed: int = 0,
    strict: bool = False,
    answer_last: bool = False,
) -> FactSet:
    """Reads a fact set of any format that the command reads; its content tells which it is.

    Our own JSON Lines; ParaRel's folder or checkout, or one of its files; CounterFact, LRE, known
    facts, EasyEdit, BLiMP; CSV and TSV; all of them packed or not.

    Args:
        path: File or folder.
        relations: These alone. Default: all.
        per_relation: At most so many facts of each relation, a seeded sample.
        limit: At most so many facts, spread evenly over the relations.
        limit_order: ``"spread"``, or ``"whole"``: whole relations in seeded order.
        held_out_share: ParaRel: share of a relation's patterns held out.
        seed: Of the sample and of the split.
        strict: Raise at the first line that cannot be used, instead of listing it.
        answer_last: For causal models: leave out prompts whose answer does not stand last.

    Raises:
        FileError: A file that cannot be read.
        InputError: Not a single fact, a relation that is not there.
        UsageError: An argument outside its range.
    """
    options: dict[str, Any] = {
        "relations": list(relations),
        "per_relation": per_relation,
        "limit": limit,
        "limit_order": limit_order,
        "held_out_share": held_out_share,
        "seed": seed,
        "strict": strict,
        "answer_last": answer_last,
    }
    found = _core.load_facts(os.fspath(path), options)
    facts = FactSet((Fact(**fact) for fact in found["facts"]), found["problems"])
    facts.path = os.fspath(path)
    facts._options = options
    return facts


class LocatedNeuron(NamedTuple):
    """A neuron of a fact."""

    layer: int
    neuron: int
    prompts: int
    """In so many of the fact's prompts it passed."""
    score: float
    """Its mean score over those."""


@dataclass(frozen=True)
class LocatedFact:
    """A fact with its knowledge neurons."""

    relation: str
    subject: str
    object: str
    neurons: list[LocatedNeuron]
    """By layer and neuron; empty where the fact was not refined."""
    refined: bool
    """False: fewer prompts than ``min_bag``."""
    p: float
    """P of the answer, mean over the prompts."""
    record: dict[str, Any] = field(repr=False)
    """The line of ``engram locate --json``: also ``near``, ``prompts``, ``held_out``, ``origin``."""


class Located(Sequence[LocatedFact]):
    """What :func:`locate` found. ``found["France", "P36"]`` is a fact by subject and relation."""

    def __init__(self, lines: Sequence[str], family: Optional[str] = None) -> None:
        self._lines = list(lines)
        records = [json.loads(line) for line in self._lines]
        self.header: dict[str, Any] = next((r for r in records if r["record"] == "run"), {})
        """Model, options."""
        self.relations: list[dict[str, Any]] = [r for r in records if r["record"] == "relation"]
        """Statistics by relation, as the command's JSON has them."""
        self.summary: dict[str, Any] = next((r for r in records if r["record"] == "summary"), {})
        self.problems: list[dict[str, Any]] = [r for r in records if r["record"] == "problem"]
        """Facts that could not be used."""
        self._facts = [_located(r) for r in records if r["record"] == "fact"]
        self._family = family

    def __len__(self) -> int:
        return len(self._facts)

    def __iter__(self) -> Iterator[LocatedFact]:
        return iter(self._facts)

    def __repr__(self) -> str:
        return f"<engram.Located: {len(self)} facts>"

    @overload
    def __getitem__(self, index: int) -> LocatedFact: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[LocatedFact]: ...
    @overload
    def __getitem__(self, index: tuple[str, ...]) -> LocatedFact: ...
    def __getitem__(
        self, index: Union[int, slice, tuple[str, ...]]
    ) -> Union[LocatedFact, Sequence[LocatedFact]]:
        if not isinstance(index, tuple):
            return self._facts[index]
        if len(index) not in (2, 3):
            raise KeyError(f"{index}: expected subject and relation, or these and the object")
        found = [
            fact
            for fact in self._facts
            if (fact.subject, fact.relation, fact.object)[: len(index)] == index
        ]
        if not found:
            raise KeyError(f"{index}: no such fact was located")
        if len(found) > 1:
            objects = ", ".join(repr(fact.object) for fact in found)
            raise KeyError(f"{index}: several objects ({objects}); give one behind the relation")
        return found[0]

    def table(self) -> pandas.DataFrame:
        """A row for each neuron of each fact.

        Columns: ``relation``, ``subject``, ``object``, ``layer``, ``neuron``, ``prompts``,
        ``score``, and the hook names ``hook``, ``hf_module``, ``hf_side`` where the model is known.
        """
        rows = [(fact, one) for fact in self._facts for one in fact.neurons]
        columns: dict[str, list[Any]] = {
            "relation": [fact.relation for fact, _ in rows],
            "subject": [fact.subject for fact, _ in rows],
            "object": [fact.object for fact, _ in rows],
            "layer": [one.layer for _, one in rows],
            "neuron": [one.neuron for _, one in rows],
            "prompts": [one.prompts for _, one in rows],
            "score": [one.score for _, one in rows],
            "hook": [hook_name(one.layer) for _, one in rows],
        }
        if self._family is not None:
            columns["hf_module"] = [hf_module(self._family, one.layer) for _, one in rows]
            columns["hf_side"] = [hf_side(self._family)] * len(rows)
        return frame(columns)

    def save(self, path: Union[str, os.PathLike[str]]) -> None:
        """Writes what ``engram locate --out`` writes; commands and :func:`read_located` read it."""
        try:
            Path(path).write_text("".join(line + "\n" for line in self._lines), encoding="utf-8")
        except OSError as error:
            raise FileError(f"{os.fspath(path)}: {error.strerror}") from error


def _located(record: dict[str, Any]) -> LocatedFact:
    prompts = record["prompts"]
    return LocatedFact(
        relation=record["relation"],
        subject=record["subject"],
        object=record["object"],
        neurons=[
            LocatedNeuron(one["layer"], one["neuron"], one["prompts"], one["score"])
            for one in record["neurons"]
        ],
        refined=record["refined"],
        p=sum(one["p"] for one in prompts) / len(prompts),
        record=record,
    )


def locate(
    model: Model,
    facts: Union[FactSet, Sequence[Fact]],
    *,
    preset: str = "dai2022",
    at: str = "answer",
    score: str = "ig",
    rule: str = "control-variate",
    steps: Optional[int] = None,
    interpolate: bool = False,
    max_steps: int = 64,
    tolerance: float = 0.01,
    ratio: Optional[float] = None,
    share: Optional[float] = None,
    min_prompts: Optional[int] = None,
    min_bag: Optional[int] = None,
    above_ratio: Optional[bool] = None,
    above_share: Optional[bool] = None,
    adapt: Optional[bool] = None,
    step: Optional[float] = None,
    fewest: Optional[float] = None,
    most: Optional[float] = None,
    passes: Optional[int] = None,
    strict: bool = False,
    threads: int = 0,
    memory: Memory = None,
    progress: Progress = False,
) -> Located:
    """The knowledge neurons of every fact (Dai et al. 2022, section 3.3).

    A neuron passes a prompt when its score is at least ``ratio`` times the prompt's largest one,
    and belongs to the fact when it passes ``share`` of the fact's prompts.

    Args:
        model: The model.
        facts: A fact set, or a list of facts. Of a causal model the prompts that end with the
            answer are taken, see :meth:`FactSet.for_model`.
        preset: Rules of selection: ``"dai2022"``, ``"eleuther"``, ``"eleuther-pararel"``.
        at: ``"answer"`` or ``"subject"``: which of a prompt's neurons are scored.
        score, rule, steps, interpolate, max_steps, tolerance: As :meth:`Model.attribute`.
        ratio, share, min_prompts, min_bag, above_ratio, above_share, adapt, step, fewest, most,
            passes: Take the place of the preset's.
        strict: Raise at the first fact that cannot be used.
        threads, memory, progress: As :meth:`Model.attribute`.

    Raises:
        InputError: No fact can be used.
        UsageError: An argument outside its range.
        Interrupted: Ctrl-C.
    """
    from .model import _bytes, _count, _share

    model._plain("locate")
    taken = facts.for_model(model) if isinstance(facts, FactSet) else FactSet(facts)
    if len(taken) == 0:
        raise InputError("facts: got none, expected at least one")
    options: dict[str, Any] = {
        "preset": preset,
        "at": at,
        "score": score,
        "rule": rule,
        "steps": _count("steps", steps, 1, 10_000),
        "interpolate": interpolate,
        "max_steps": _count("max_steps", max_steps, 1, 10_000),
        "tolerance": _share("tolerance", tolerance),
    }
    selection = {
        "ratio": ratio,
        "above_ratio": above_ratio,
        "share": share,
        "above_share": above_share,
        "min_prompts": min_prompts,
        "min_bag": min_bag,
        "adapt": adapt,
        "step": step,
        "fewest": fewest,
        "most": most,
        "passes": passes,
    }
    how = {**options, **selection, "strict": strict, "threads": threads, "memory_bytes": _bytes(memory)}
    total = sum(len(fact.prompts) for fact in taken)
    if not interpolate:
        del options["interpolate"]  # the header names it where it is asked for
    lines = _core.locate(
        model._core, [asdict(fact) for fact in taken], how, counter(progress, total, "prompts")
    )
    rules = _core.selection(preset, score)
    rules.update({name: value for name, value in selection.items() if value is not None})
    header = {
        "schema": "engram.locate/1",
        "record": "run",
        "version": VERSION,
        "model": model.name,
        "layers": model.config.layers,
        "d_ff": model.config.d_ff,
        "facts": taken.path,
        **options,
        "selection": rules,
    }
    return Located([json.dumps(header, ensure_ascii=False), *lines], model.config.family)


def read_located(path: Union[str, os.PathLike[str]]) -> Located:
    """Reads what :meth:`Located.save` or ``engram locate --out`` wrote.

    Raises FileError; InputError for a file of another kind.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(f"{os.fspath(path)}: {error.strerror}") from error
    lines = [line for line in text.split("\n") if line]
    try:
        located = Located(lines)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{os.fspath(path)}: expected JSON Lines of engram.locate/1") from error
    if len(located) == 0:
        raise InputError(f"{os.fspath(path)}: no fact is in it")
    return located
