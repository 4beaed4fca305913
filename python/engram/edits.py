"""Edits: facts updated, relations erased, and undone."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Sequence, Union

from . import _core
from .command import run_json
from .errors import UsageError
from .neurons import Neuron

if TYPE_CHECKING:
    import torch

    from .facts import FactSet, Located
    from .model import Memory, Model

__all__ = [
    "Delta",
    "EditResult",
    "SideEffect",
    "ValueEdit",
    "apply",
    "audit",
    "diff",
    "erase",
    "export",
    "list_edits",
    "read_delta",
    "rome",
    "undo",
    "update",
]

PathLike = Union[str, os.PathLike[str]]


class SideEffect(NamedTuple):
    """What an edit does to a sample of other facts, one prompt each."""

    scope: str
    """``"same relation"`` or ``"other relations"``."""
    facts: int
    right_before: int
    right_after: int
    lost: int
    """Answered rightly before, and no longer after."""


@dataclass(frozen=True)
class ValueEdit:
    """New value vectors for some neurons."""

    neurons: list[Neuron]
    values: torch.Tensor
    """[neurons, d_model] float32."""
    why: dict[str, Any] = field(default_factory=dict)
    """What it is for; free of meaning for applying it."""

    def save(self, path: PathLike, model: Union[Model, PathLike]) -> Delta:
        """Writes the edit as a delta of ``model``, which ``engram edit apply`` takes.

        Values are rounded to the type in which the checkpoint stores them. Returns the delta as it
        was written.
        """
        _core.save_delta(os.fspath(path), _folder(model), self.neurons, self.values, self.why)
        return read_delta(path)


@dataclass(frozen=True)
class Delta:
    """An edit in a file: the value vectors of a few neurons, before and after, bit for bit."""

    path: Optional[Path]
    """The file; None where it was a temporary one."""
    base: str
    """Fingerprint of the model that it is for."""
    kind: str
    """``"update"``, ``"erase"`` or ``"rome"``."""
    relation: str
    subject: str
    object: str
    target: str
    neurons: list[Neuron]
    values: torch.Tensor
    """[neurons, d_model] float32: the new value vectors."""
    side_effects: list[SideEffect]
    record: dict[str, Any] = field(repr=False)
    """Everything that the file says: ``lambda1``, ``score``, ``selection``, ..."""


def read_delta(path: PathLike) -> Delta:
    """Reads a delta. Raises FileError; InputError for a file that is damaged or none."""
    found = _core.read_delta(os.fspath(path))
    record = {name: value for name, value in found.items() if name not in ("neurons", "values")}
    return Delta(
        path=Path(path),
        base=found["base"],
        kind=found["kind"],
        relation=found["relation"],
        subject=found["subject"],
        object=found["object"],
        target=found["target"],
        neurons=[Neuron(*one) for one in found["neurons"]],
        values=found["values"],
        side_effects=[SideEffect(*one) for one in found["side_effects"]],
        record=record,
    )


@dataclass(frozen=True)
class EditResult:
    """A delta that was made, and how the model answers before and after it."""

    delta: Delta
    scopes: dict[str, dict[str, Any]]
    """Prompts of one kind (``"own"``, ``"held out"``, ``"same relation"``, ...): ``before`` and
    ``after`` with ``prompts``, ``top`` (answered rightly), ``p``, ``rank``, ``perplexity``; of an
    update also ``target_before`` and ``target_after``, for the new answer."""
    record: dict[str, Any] = field(repr=False)
    """What ``engram edit ... --json`` prints."""

    def easyedit(self) -> dict[str, Any]:
        """The result in the shape of EasyEdit's metrics: ``pre`` and ``post``.

        Each has ``rewrite_acc`` (the new answer is the top one, share of the prompts that located),
        ``rephrase_acc`` (of held-out prompts) and ``locality`` (share of other facts' prompts that
        are answered rightly). For an update. Scopes that were not asked are left out.
        """
        out: dict[str, Any] = {"requested_rewrite": self._request()}
        for when, target, own in (
            ("pre", "target_before", "before"),
            ("post", "target_after", "after"),
        ):
            one: dict[str, Any] = {}
            for name, scope in (("rewrite_acc", "own"), ("rephrase_acc", "held out")):
                asked = self.scopes.get(scope, {}).get(target)
                if asked:
                    one[name] = [asked["top"] / asked["prompts"]]
            locality: dict[str, Any] = {}
            for scope, asked in self.scopes.items():
                if scope in ("own", "held out") or not asked.get(own):
                    continue
                share = asked[own]["top"] / asked[own]["prompts"]
                locality[scope.replace(" ", "_") + "_acc"] = [share]
            one["locality"] = locality
            out[when] = one
        return out

    def _request(self) -> dict[str, str]:
        delta = self.delta
        return {
            "subject": delta.subject,
            "relation": delta.relation,
            "ground_truth": delta.object,
            "target_new": delta.target,
        }


def update(
    model: Union[Model, PathLike],
    subject: str,
    relation: str,
    to: Optional[str] = None,
    *,
    out: Optional[PathLike] = None,
    facts: Union[FactSet, PathLike, None] = None,
    object: Optional[str] = None,
    neurons: Union[Located, PathLike, None] = None,
    lambda1: float = 1.0,
    lambda2: float = 8.0,
    embedding: Optional[str] = None,
    force: bool = False,
    filter_facts: int = 20,
    others: int = 200,
    preset: str = "dai2022",
    score: str = "ig",
    rule: str = "control-variate",
    steps: Optional[int] = None,
    interpolate: bool = False,
    max_steps: int = 64,
    tolerance: float = 0.01,
    device: str = "cpu",
    threads: Optional[int] = None,
    memory: Memory = None,
    seed: int = 0,
    progress: bool = False,
) -> EditResult:
    """Makes the model answer ``to`` instead of the fact's object: ``engram edit update``.

    Locates the fact's neurons, leaves alone those of many facts of the relation, rewrites the value
    vectors of the others (Dai et al. 2022, section 5.1), and measures before and after, on other
    facts as well. The model is not changed: give the result's delta to :meth:`Model.apply`, or to
    :func:`apply` for a folder.

    Args:
        model: A model, or its folder.
        subject, relation: Of the fact, which has to be in the fact set.
        to: The new answer; needless where the fact set says it.
        out: The delta's file. Default: a temporary one, which goes when the delta has been read.
        facts: Fact set. Default: facts.jsonl in the model's folder.
        object: The old answer, where the subject has several.
        neurons: What :func:`engram.locate` found for the relation, or its file.
        lambda1, lambda2: How far values move away from the old answer, and towards the new one.
        embedding: ``"input"`` or ``"output"``. Default: input of masked models, output of causal.
        force: Also where the model does not answer rightly.
        filter_facts: Other facts of the relation to locate; 0: no filter.
        others: Facts on which side effects are measured.
        preset, score, rule, steps, interpolate, max_steps, tolerance: As :func:`engram.locate`.
        progress: Progress and remarks on stderr.

    Raises:
        InputError: No such fact; a model that does not know it.
    """
    options = {
        "subject": subject,
        "relation": relation,
        "to": to,
        "object": object,
        "lambda1": lambda1,
        "lambda2": lambda2,
        "embedding": embedding,
        "force": force,
        "filter_facts": filter_facts if neurons is None else None,
        "others": others,
        "preset": preset,
        "score": score,
        "rule": rule,
        "steps": steps,
        "interpolate": interpolate,
        "max_steps": max_steps,
        "tolerance": tolerance,
        "device": device,
        "threads": threads,
        "memory": memory,
        "seed": seed,
    }
    return _make("update", model, options, out, facts, neurons, progress)


def erase(
    model: Union[Model, PathLike],
    relation: str,
    *,
    out: Optional[PathLike] = None,
    facts: Union[FactSet, PathLike, None] = None,
    mode: str = "zero",
    neurons: int = 20,
    limit: Optional[int] = None,
    others: int = 200,
    preset: str = "dai2022",
    score: str = "ig",
    rule: str = "control-variate",
    steps: Optional[int] = None,
    interpolate: bool = False,
    max_steps: int = 64,
    tolerance: float = 0.01,
    device: str = "cpu",
    threads: Optional[int] = None,
    memory: Memory = None,
    seed: int = 0,
    progress: bool = False,
) -> EditResult:
    """Makes a relation forgotten: ``engram edit erase`` (Dai et al. 2022, section 5.2).

    ``mode``: ``"zero"``, ``"unk"`` or ``"mean"``; ``neurons``: how many of the relation's most
    frequent ones; ``limit``: locate so many facts. The rest as :func:`update`.
    """
    options = {
        "relation": relation,
        "mode": mode,
        "neurons": neurons,
        "limit": limit,
        "others": others,
        "preset": preset,
        "score": score,
        "rule": rule,
        "steps": steps,
        "interpolate": interpolate,
        "max_steps": max_steps,
        "tolerance": tolerance,
        "device": device,
        "threads": threads,
        "memory": memory,
        "seed": seed,
    }
    return _make("erase", model, options, out, facts, None, progress)


def rome(
    model: Union[Model, PathLike],
    subject: str,
    relation: str,
    to: Optional[str] = None,
    *,
    moments: PathLike,
    corpus: Optional[PathLike] = None,
    corpus_tokens: int = 100_000,
    layer: Optional[int] = None,
    out: Optional[PathLike] = None,
    facts: Union[FactSet, PathLike, None] = None,
    object: Optional[str] = None,
    prompts: int = 1,
    prefixes: int = 20,
    steps: int = 20,
    rate: float = 0.5,
    weight_decay: float = 0.5,
    kl: float = 0.0625,
    clamp: float = 4.0,
    force: bool = False,
    others: int = 200,
    device: str = "cpu",
    threads: Optional[int] = None,
    memory: Memory = None,
    seed: int = 0,
    progress: bool = False,
) -> EditResult:
    """Makes the model answer ``to`` by a rank-one change of one layer: ``engram edit rome``.

    Rank-One Model Editing (Meng et al. 2022, arXiv 2202.05262, section 3.1), for masked and causal
    models; docs/method.md, "ROME", says where it differs from the paper.

    Args:
        moments: File of the second moment of the layer's keys: read where it is there, else made
            from ``corpus`` and written.
        corpus, corpus_tokens: Ordinary text, and how much of it is read; 0: all.
        layer: The layer to edit. Default: that of ``moments``, or 17/48 of the way up.
        prompts: How many of the fact's own prompts are rewritten; 0: all.
        prefixes: Texts before each of them.
        steps, rate, weight_decay, kl, clamp: Of the search for the new value.

    The rest as :func:`update`.
    """
    options = {
        "subject": subject,
        "relation": relation,
        "to": to,
        "object": object,
        "moments": os.fspath(moments),
        "corpus": None if corpus is None else os.fspath(corpus),
        "corpus_tokens": corpus_tokens,
        "layer": layer,
        "prompts": prompts,
        "prefixes": prefixes,
        "steps": steps,
        "rate": rate,
        "weight_decay": weight_decay,
        "kl": kl,
        "clamp": clamp,
        "force": force,
        "others": others,
        "device": device,
        "threads": threads,
        "memory": memory,
        "seed": seed,
    }
    return _make("rome", model, options, out, facts, None, progress)


def audit(
    model: Union[Model, PathLike],
    facts: Union[FactSet, PathLike],
    *,
    edit: Union[Delta, PathLike, None] = None,
    edited: Optional[PathLike] = None,
    relations: Sequence[str] = (),
    per_relation: int = 150,
    known: Optional[int] = None,
    never: Optional[int] = None,
    relearn: Sequence[int] = (),
    device: str = "cpu",
    threads: Optional[int] = None,
    memory: Memory = None,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """Is what an edit erased gone, or only hidden? ``engram audit --edit`` or ``--edited``.

    Attacks the edited model with other wordings, examples, the logit lens, rounded and noisy
    weights and a little training, beside what that does for facts that the model never knew, and
    decides by the rule of docs/method.md, "Is it gone?".

    Args:
        model: The original model.
        edit: A delta of it, or
        edited: the folder of an edited checkpoint; ``relations`` then names the one that was erased.
        known, never: Erased and never known facts to examine, at most. Default: 60 each.
        relearn: Steps of training behind which it is asked; ``[0]``: none. Default: 1, 2, 5, 10, 20
            and 50.

    Returns:
        The object of engram.removal/1 (docs/formats.md): ``verdict``, ``sentence``, ``attacks``, ...
    """
    from .runs import facts_file

    file = edit.path if isinstance(edit, Delta) else edit
    if isinstance(edit, Delta) and file is None:
        raise UsageError("edit: got a delta without a file; give out= where it is made")
    options = {
        "edit": None if file is None else os.fspath(file),
        "edited": None if edited is None else os.fspath(edited),
        "relations": list(relations),
        "per_relation": per_relation,
        "known": known,
        "never": never,
        "relearn": list(relearn),
        "device": device,
        "threads": threads,
        "memory": memory,
        "seed": seed,
    }
    with tempfile.TemporaryDirectory(prefix="engram-") as folder:
        options["facts"] = facts_file(facts, folder)
        return dict(run_json(["audit", _folder(model)], options, progress))


def _make(
    kind: str,
    model: Union[Model, PathLike],
    options: dict[str, Any],
    out: Optional[PathLike],
    facts: Union[FactSet, PathLike, None],
    neurons: Union[Located, PathLike, None],
    progress: bool,
) -> EditResult:
    from .runs import facts_file

    with tempfile.TemporaryDirectory(prefix="engram-") as folder:
        given = dict(options)
        place = os.fspath(out) if out is not None else os.path.join(folder, "edit.delta")
        given["out"] = place
        if facts is not None:
            given["facts"] = facts_file(facts, folder)
        if neurons is not None:
            if isinstance(neurons, (str, os.PathLike)):
                given["neurons"] = os.fspath(neurons)
            else:
                given["neurons"] = os.path.join(folder, "neurons.jsonl")
                neurons.save(given["neurons"])
        record = run_json(["edit", kind, _folder(model)], given, progress)
        delta = read_delta(place)
        if out is None:
            delta = replace(delta, path=None)
    scopes = {one["scope"]: one for one in record["scopes"]}
    return EditResult(delta, scopes, record)


def apply(
    model: Union[Model, PathLike], deltas: Union[PathLike, Delta, Sequence[Any]], to: PathLike
) -> dict[str, Any]:
    """A working copy of the model's folder with edits: ``engram edit apply``.

    ``to`` is made, or an earlier working copy that gets more edits. Deltas are files, or Deltas
    that still have one. Returns what the command prints as JSON.
    """
    several = [deltas] if isinstance(deltas, (str, os.PathLike, Delta)) else list(deltas)
    files: list[str] = []
    for one in several:
        path = one.path if isinstance(one, Delta) else one
        if path is None:
            raise UsageError("deltas: got one without a file; give out= where it is made")
        files.append(os.fspath(path))
    return dict(run_json(["edit", "apply", _folder(model), *files], {"to": os.fspath(to)}))


def list_edits(folder: PathLike) -> list[dict[str, Any]]:
    """The edits of a working copy, oldest first: ``engram edit list``."""
    return list(run_json(["edit", "list", os.fspath(folder)], {})["edits"])


def undo(folder: PathLike, number: Optional[int] = None) -> dict[str, Any]:
    """Takes the newest edit of a working copy back, bit for bit: ``engram edit undo``."""
    words = ["edit", "undo", os.fspath(folder)]
    return dict(run_json(words + ([str(number)] if number is not None else []), {}))


def export(folder: PathLike, to: PathLike) -> dict[str, Any]:
    """A plain checkpoint of a working copy: ``engram edit export``."""
    return dict(run_json(["edit", "export", os.fspath(folder)], {"to": os.fspath(to)}))


def diff(a: PathLike, b: PathLike) -> dict[str, Any]:
    """What differs between two checkpoints, by tensor and neuron: ``engram edit diff``."""
    return dict(run_json(["edit", "diff", os.fspath(a), os.fspath(b)], {}))


def _folder(model: Union[Model, PathLike]) -> str:
    if isinstance(model, (str, os.PathLike)):
        return _core.find_checkpoint(os.fspath(model))
    return str(model.folder())
