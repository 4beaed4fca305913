"""Runs: every experiment on a fact set, in one file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence, Union

from . import _core
from ._tables import frame_of_rows
from .command import command, run_json, words_of
from .errors import FileError, InputError

if TYPE_CHECKING:
    import pandas

    from .facts import FactSet, Located
    from .model import Memory, Model
    from .neurons import Neurons

__all__ = ["Run", "audit", "compare", "effects", "memories", "merge", "reproduce", "texts"]

PathLike = Union[str, os.PathLike[str]]


def facts_file(facts: Union[FactSet, PathLike], folder: str) -> str:
    """A path that the command reads: the set's own file, or one written in ``folder``."""
    if isinstance(facts, (str, os.PathLike)):
        return os.fspath(facts)
    path = os.path.join(folder, "facts.jsonl")
    facts.save(path)
    return path


def _facts(
    facts: Union[FactSet, PathLike], seed: int, folder: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The options that say which facts: as the set was read, if that tells it."""
    if isinstance(facts, (str, os.PathLike)):
        return {"facts": os.fspath(facts)}
    own = facts._options
    names = ("relations", "per_relation", "limit", "limit_order", "held_out_share")
    chosen = {
        name: own[name]
        for name in names
        if own and own[name] not in (None, [], ()) and (name, own[name]) != ("limit_order", "spread")
    }
    if facts.path is None or own["seed"] != seed:
        return {"facts": facts_file(facts, folder)}
    return {"facts": facts.path, **{n: v for n, v in chosen.items() if options.get(n) is None}}


class Run:
    """A run's file (SQLite): what :func:`reproduce` and :func:`audit` fill, in part or whole."""

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self._said: dict[str, Any] = {}  # by the command that filled it
        if not self.path.exists():
            raise FileError(f"{self.path}: no such file")

    def __repr__(self) -> str:
        return f"<engram.Run {self.path}>"

    @staticmethod
    def tables() -> dict[str, str]:
        """Names of the tables and views, with what they hold (docs/formats.md)."""
        return {name: meaning for name, meaning, content in _core.run_tables() if content}

    def _rows(self, name: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        wanted = _ALIASES.get(name, name)
        if wanted not in self.tables():
            known = ", ".join(sorted(self.tables()))
            raise InputError(f'table "{name}": there is none, expected one of: {known}')
        place = f"{self.path.resolve().as_uri()}?mode=ro"
        try:
            with contextlib.closing(sqlite3.connect(place, uri=True)) as file:
                found = file.execute(f'SELECT * FROM "{wanted}"')
                names = [column[0] for column in found.description]
                rows = found.fetchall()
        except sqlite3.Error as error:
            raise FileError(f"{self.path}: {error}") from error
        return names, rows

    def table(self, name: str) -> pandas.DataFrame:
        """A table or view of the run as a data frame.

        ``"effects"``, ``"neurons"``, ``"layers"``, ``"hubs"``, ``"update"``, ``"erase"`` and
        ``"texts"`` are the paper's tables (``table_effects``, ...); any other name is a table's own,
        as :meth:`tables` lists them. Reads while another process writes. Raises InputError for a
        name that is none; FileError for a file that is no run.
        """
        names, rows = self._rows(name)
        return frame_of_rows(names, rows)

    def arrow(self, name: str) -> Any:
        """The same as a ``pyarrow.Table``. Needs the package pyarrow."""
        try:
            import pyarrow
        except ImportError as missing:
            raise ImportError("arrow() needs pyarrow: pip install pyarrow") from missing
        names, rows = self._rows(name)
        return pyarrow.table({n: [row[i] for row in rows] for i, n in enumerate(names)})

    def polars(self, name: str) -> Any:
        """The same as a ``polars.DataFrame``. Needs the package polars."""
        try:
            import polars
        except ImportError as missing:
            raise ImportError("polars() needs polars: pip install polars") from missing
        names, rows = self._rows(name)
        return polars.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)

    def report(
        self,
        path: PathLike,
        *,
        json: Optional[PathLike] = None,
        markdown: Optional[PathLike] = None,
        draws: int = 2000,
        seed: int = 0,
        known_only: bool = False,
    ) -> Path:
        """Writes the page with every table and figure: ``engram report``. Returns its path."""
        options = {
            "out": os.fspath(path),
            "json": None if json is None else os.fspath(json),
            "markdown": None if markdown is None else os.fspath(markdown),
            "draws": draws,
            "seed": seed,
            "known_only": known_only,
        }
        command("report", os.fspath(self.path), *words_of(options), "--quiet")
        return Path(path)

    def export(self, to: PathLike, *, format: str = "csv") -> Path:
        """Writes every table into a folder: ``"csv"``, ``"jsonl"`` or ``"parquet"``."""
        options = {"to": os.fspath(to), "format": format}
        command("export", os.fspath(self.path), *words_of(options), "--quiet")
        return Path(to)

    def status(self) -> dict[str, Any]:
        """How far it is, who works on it, what was left out: ``engram status --json``."""
        return dict(run_json(["status", os.fspath(self.path)], {}))


# The paper's tables by their short names.
_ALIASES = {
    name: f"table_{name}"
    for name in ("neurons", "layers", "hubs", "effects", "update", "erase", "texts")
}


def reproduce(
    model: Union[Model, PathLike],
    facts: Union[FactSet, PathLike],
    run: PathLike,
    *,
    texts: Optional[PathLike] = None,
    corpus: Optional[PathLike] = None,
    only: Sequence[str] = (),
    shard: Optional[str] = None,
    preset: Optional[str] = None,
    relations: Sequence[str] = (),
    per_relation: Optional[int] = None,
    limit: Optional[int] = None,
    limit_order: Optional[str] = None,
    held_out_share: Optional[float] = None,
    tolerance: float = 0.01,
    draws: Optional[int] = None,
    random_from: Optional[str] = None,
    side_draws: int = 1,
    same_relation: int = 20,
    other_relations: int = 100,
    sentences: Optional[int] = None,
    stability_facts: Optional[int] = None,
    update_facts: int = 20,
    size_facts: int = 10,
    memory_keys: int = 20,
    text_positions: int = 2000,
    as_published: bool = False,
    interpolate: bool = False,
    keep_scores: bool = False,
    device: str = "cpu",
    threads: Optional[int] = None,
    memory: Memory = None,
    seed: int = 0,
    progress: bool = False,
) -> Run:
    """Every experiment of Dai et al. 2022 on a fact set, in one resumable run: ``engram reproduce``.

    The same call goes on where it was, after Ctrl-C, a crash or a power cut. Another model, fact
    set or option is refused with InputError, which says what differs. A live module is written to a
    temporary folder first (:meth:`Model.folder`).

    Args:
        model: A model, or its folder or hub name.
        facts: A fact set, or its file.
        run: The run's file; made when it is not there.
        texts, corpus: Texts about facts, and ordinary text. Default: those in the model's folder.
        only: Experiments to run. Default: all.
        shard: This machine's share of the relations, ``"2/8"``.
        preset: Rules of selection. Default: ``"dai2022"``.
        relations, per_relation, limit, limit_order, held_out_share: Which facts, as
            :func:`engram.load_facts`. Default: as the set was read.
        draws: Matched random sets per fact and strength. Default: 20; 0 with ``as_published``.
        random_from: ``"unlocated"`` (default) or ``"all"``.
        sentences: Sentences of text for side effects. Default: 20; 0 with ``as_published``.
        stability_facts: Facts per relation to locate by the paper's rule, too. Default: 10; 0 with
            ``as_published``.
        as_published: As the paper's released code does.
        progress: Progress and remarks on stderr.

    The other arguments are those of ``engram help reproduce``.
    """
    given = {
        "texts": None if texts is None else os.fspath(texts),
        "corpus": None if corpus is None else os.fspath(corpus),
        "only": list(only),
        "shard": shard,
        "preset": preset,
        "relations": list(relations),
        "per_relation": per_relation,
        "limit": limit,
        "limit_order": limit_order,
        "held_out_share": held_out_share,
        "tolerance": tolerance,
        "draws": draws,
        "random_from": random_from,
        "side_draws": side_draws,
        "same_relation": same_relation,
        "other_relations": other_relations,
        "sentences": sentences,
        "stability_facts": stability_facts,
        "update_facts": update_facts,
        "size_facts": size_facts,
        "memory_keys": memory_keys,
        "text_positions": text_positions,
        "as_published": as_published,
        "interpolate": interpolate,
        "keep_scores": keep_scores,
        "device": device,
        "threads": threads,
        "memory": memory,
        "seed": seed,
    }
    with tempfile.TemporaryDirectory(prefix="engram-") as folder:
        given.update(_facts(facts, seed, folder, given))
        if as_published:
            given.pop("held_out_share", None)
        said = run_json(["reproduce", _folder(model)], {**given, "run": os.fspath(run)}, progress)
    done = Run(run)
    done._said = said
    return done


def audit(
    model: Union[Model, PathLike],
    facts: Union[FactSet, PathLike],
    run: PathLike,
    *,
    only: Sequence[str] = (),
    relations: Sequence[str] = (),
    per_relation: int = 150,
    known: int = 200,
    never: int = 150,
    update_facts: int = 10,
    planted_facts: int = 16,
    truth_facts: int = 0,
    non_facts: Sequence[PathLike] = (),
    corpus: Optional[PathLike] = None,
    device: str = "cpu",
    threads: Optional[int] = None,
    memory: Memory = None,
    seed: int = 0,
    progress: bool = False,
) -> Run:
    """Doubts about knowledge neurons, measured: ``engram audit`` (docs/method.md, "The audit").

    ``known``, ``never``: facts that the model knows, and that it never gives; ``per_relation``:
    facts of each relation to screen; ``update_facts``: of each to edit; ``planted_facts``:
    facts to plant; ``truth_facts``: known facts of which every neuron is ablated; ``non_facts``: fact sets of other associations, such as minimal pairs of
    grammar; ``corpus``: ordinary text, for ROME (default: the one in the model's folder). Resumes as :func:`reproduce`.
    """
    given = {
        "only": list(only),
        "relations": list(relations),
        "per_relation": per_relation,
        "known": known,
        "never": never,
        "update_facts": update_facts,
        "planted_facts": planted_facts,
        "truth_facts": truth_facts,
        "corpus": None if corpus is None else os.fspath(corpus),
        "device": device,
        "threads": threads,
        "memory": memory,
        "seed": seed,
    }
    with tempfile.TemporaryDirectory(prefix="engram-") as folder:
        source = facts if isinstance(facts, (str, os.PathLike)) else _whole(facts, folder)
        given["facts"] = os.fspath(source)
        others = [word for path in non_facts for word in ("--non-facts", os.fspath(path))]
        run_json(["audit", _folder(model), *others], {**given, "run": os.fspath(run)}, progress)
    return Run(run)


def _whole(facts: FactSet, folder: str) -> str:
    """The set's own file where it was read whole, else one with these facts."""
    own = facts._options
    if facts.path is not None and own["limit"] is None and own["per_relation"] is None:
        if not own["relations"] and own["held_out_share"] == 0.3 and own["seed"] == 0:
            return facts.path
    return facts_file(facts, folder)


def effects(
    model: Union[Model, PathLike],
    facts: Union[FactSet, PathLike],
    neurons: Union[Located, Neurons],
    do: str,
    *,
    at: Optional[str] = None,
    corpus: Optional[PathLike] = None,
    corpus_lines: int = 1000,
    text: Optional[PathLike] = None,
    text_lines: Optional[int] = None,
    draws: int = 20,
    side_draws: int = 1,
    same_relation: int = 20,
    other_relations: int = 100,
    known_p: float = 0.1,
    known_rank: int = 1,
    bootstrap: int = 2000,
    random_from: str = "unlocated",
    known_only: bool = False,
    strict: bool = False,
    device: str = "cpu",
    threads: Optional[int] = None,
    memory: Memory = None,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """What changing the facts' neurons does, beside matched random ones: ``engram intervene``.

    On the prompts that located them, on held-out prompts and on other facts, with intervals from a
    bootstrap of relations and objects. ``neurons``: what :func:`engram.locate` found, or a list for
    every fact; ``do``: ``"zero"``, ``"mean"``, ``"resample"``, ``"double"`` or ``"scale:X"``.
    Returns the object of ``engram.intervene/1`` (docs/formats.md). For single prompts see
    :meth:`Model.measure`.
    """
    from .facts import Located
    from .neurons import neurons_of

    given = {
        "do": do,
        "at": at,
        "corpus": None if corpus is None else os.fspath(corpus),
        "corpus_lines": corpus_lines,
        "text": None if text is None else os.fspath(text),
        "text_lines": text_lines,
        "draws": draws,
        "side_draws": side_draws,
        "same_relation": same_relation,
        "other_relations": other_relations,
        "known_p": known_p,
        "known_rank": known_rank,
        "bootstrap": bootstrap,
        "random_from": random_from,
        "known_only": known_only,
        "strict": strict,
        "device": device,
        "threads": threads,
        "memory": memory,
        "seed": seed,
    }
    with tempfile.TemporaryDirectory(prefix="engram-") as folder:
        given.update(_facts(facts, seed, folder, given))
        if isinstance(neurons, Located):
            path = os.path.join(folder, "neurons.jsonl")
            neurons.save(path)
            given["neurons"] = path
            given.pop("held_out_share", None)
        else:
            given["neurons"] = ",".join(map(str, neurons_of(neurons)))
        return dict(run_json(["intervene", _folder(model)], given, progress))


def texts(
    model: Union[Model, PathLike],
    neurons: Neurons,
    *,
    corpus: Optional[PathLike] = None,
    top: int = 10,
    limit: Optional[int] = None,
    device: str = "cpu",
    threads: Optional[int] = None,
    memory: Memory = None,
    progress: bool = False,
) -> dict[str, Any]:
    """The texts on which neurons are most and least active: ``engram texts``.

    ``corpus``: one sentence or paragraph a line, plain or packed. Default: corpus.txt in the model's
    folder. Returns the command's JSON object.
    """
    from .neurons import neurons_of

    given = {
        "neurons": ",".join(map(str, neurons_of(neurons))),
        "corpus": None if corpus is None else os.fspath(corpus),
        "top": top,
        "limit": limit,
        "device": device,
        "threads": threads,
        "memory": memory,
    }
    return dict(run_json(["texts", _folder(model)], given, progress))


def memories(
    model: Union[Model, PathLike],
    corpus: PathLike,
    *,
    keys: int = 100,
    masks: Optional[int] = None,
    limit: Optional[int] = None,
    window: Optional[int] = None,
    device: str = "cpu",
    threads: Optional[int] = None,
    memory: Memory = None,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Any]:
    """What triggers keys, and whether their values predict it: ``engram memories`` (Geva et al. 2021).

    ``keys``: sampled in every layer; ``masks``: of a masked model, tokens of each window to mask
    (default 4); ``window``: tokens read at once (default 256, of a masked model 64). Returns the
    command's JSON object.
    """
    given = {
        "corpus": os.fspath(corpus),
        "keys": keys,
        "masks": masks,
        "limit": limit,
        "window": window,
        "device": device,
        "threads": threads,
        "memory": memory,
        "seed": seed,
    }
    return dict(run_json(["memories", _folder(model)], given, progress))


def merge(out: PathLike, runs: Sequence[Union[Run, PathLike]]) -> Run:
    """Joins the parts of a run into a new file: ``engram merge``."""
    paths = [os.fspath(run.path if isinstance(run, Run) else run) for run in runs]
    command("merge", os.fspath(out), *paths, "--quiet")
    return Run(out)


def compare(a: PathLike, b: PathLike, *, show: int = 10, seed: int = 0) -> dict[str, Any]:
    """Two sets of located neurons on the same facts: ``engram compare``. Files or runs."""
    words = ["compare", os.fspath(a), os.fspath(b)]
    return dict(run_json(words, {"show": show, "seed": seed}))


def _folder(model: Union[Model, PathLike]) -> str:
    if isinstance(model, (str, os.PathLike)):
        return _core.find_checkpoint(os.fspath(model))
    return str(model.folder())
