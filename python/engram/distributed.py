"""Runs on many machines, by Ray (https://docs.ray.io)."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, Sequence, Union

from . import runs
from ._progress import Progress, counter
from .errors import EngramError, FileError, InternalError, UsageError
from .facts import FactSet, load_facts
from .runs import Run

if TYPE_CHECKING:
    from .model import Model

__all__ = ["reproduce"]

PathLike = Union[str, os.PathLike[str]]


def _part(
    model: str,
    facts: tuple[str, Optional[bytes]],
    options: dict[str, Any],
    only: Sequence[str],
    shard: str,
    begun: Optional[bytes],
) -> bytes:
    """A share of the relations, on whatever machine; the run's file as it is then."""
    name, content = facts
    with tempfile.TemporaryDirectory(prefix="engram-") as folder:
        if content is not None:
            name = _shipped(name, content)
        path = Path(folder) / "run.db"
        if begun is not None:
            path.write_bytes(begun)
        runs.reproduce(model, name, path, only=only, shard=shard, **options)
        return path.read_bytes()


def _shipped(name: str, content: bytes) -> str:
    """The fact set as a file of this machine, in the same place on every one: a run quotes it."""
    folder = Path(tempfile.gettempdir()) / f"engram-{hashlib.sha256(content).hexdigest()[:16]}"
    folder.mkdir(exist_ok=True)
    place = folder / Path(name).name
    if not place.exists():
        beside = folder / f".{os.getpid()}"
        beside.write_bytes(content)
        beside.replace(place)
    return str(place)


def reproduce(
    model: Union[Model, PathLike],
    facts: Union[FactSet, PathLike],
    run: PathLike,
    *,
    ray_address: Optional[str] = None,
    parts: Optional[int] = None,
    num_cpus: int = 1,
    num_gpus: float = 0,
    retries: int = 3,
    only: Sequence[str] = (),
    progress: Progress = False,
    **options: Any,
) -> Run:
    """:func:`engram.reproduce` over a Ray cluster: the same content as on one machine.

    One task is a share of the relations (a shard). First all neurons are located; what the tasks
    found is merged, since controls avoid what was located for any fact; then every task does its
    share of the other experiments; those that span relations come last, on this machine. A task
    whose machine dies is run again on another one. Files that come back lie in ``RUN-parts`` until
    the run is whole: the same call after Ctrl-C or a crash takes them from there.

    Args:
        model: A folder or hub name that every machine has. A model in memory is refused.
        facts: A fact set. A file is sent along; a folder (ParaRel) has to be on every machine.
        run: The run's file, on this machine.
        ray_address: Of the cluster; default: the one that is connected, or a new one of this
            machine.
        parts: Number of shares. Default: one a relation.
        num_cpus: Cores of a task, and its threads.
        num_gpus: GPUs of a task; with one give ``device="cuda"``.
        retries: So often a task is run again when its machine dies.
        only: Experiments. Default: all.
        progress: Counts tasks.
        options: Those of :func:`engram.reproduce` but ``shard`` and ``threads``.

    Raises:
        UsageError: A model in memory, an option that is decided here.
        ImportError: Ray is not installed.
    """
    try:
        import ray
    except ImportError as missing:
        raise ImportError("this needs Ray: pip install ray") from missing
    for name in ("shard", "threads"):
        if name in options:
            raise UsageError(f"{name}: decided by this call, expected none")
    name = _named(model)
    out = Path(run)
    if out.exists():
        return runs.reproduce(name, facts, out, only=only, **options)
    seed = int(options.get("seed", 0))
    with tempfile.TemporaryDirectory(prefix="engram-") as folder:
        given = runs._facts(facts, seed, folder, options)
        source = str(given.pop("facts"))
        content = Path(source).read_bytes() if os.path.isfile(source) else None
    chosen = {**options, **given}
    if parts is None:
        parts = len(_relations(facts, content, source, chosen))
    if not ray.is_initialized():
        ray.init(address=ray_address, log_to_driver=False, logging_level="WARNING")
    task = ray.remote(num_cpus=num_cpus, num_gpus=num_gpus, max_retries=retries)(_part)
    store = out.with_name(out.name + "-parts")
    store.mkdir(parents=True, exist_ok=True)
    shipped = ray.put((source, content))
    how = {**chosen, "threads": num_cpus}
    stages = [("locate", ["locate"])]
    if list(only) != ["locate"]:
        stages.append(("rest", list(only)))
    advance = counter(progress, parts * len(stages), "parts")
    begun: Optional[Path] = None
    for stage, experiments in stages:
        sent: Any = None if begun is None else ray.put(begun.read_bytes())
        _gather(
            ray,
            lambda shard: task.remote(name, shipped, how, experiments, shard, sent),
            [store / f"{stage}-{i}-of-{parts}.db" for i in range(1, parts + 1)],
            advance,
        )
        files = [store / f"{stage}-{i}-of-{parts}.db" for i in range(1, parts + 1)]
        begun = store / f"{stage}.db"
        begun.unlink(missing_ok=True)
        runs.merge(begun, files)
    assert begun is not None
    here = source if content is None else _shipped(source, content)
    last = runs.reproduce(name, here, begun, only=only, **chosen)
    begun.replace(out)
    shutil.rmtree(store)
    whole = Run(out)
    whole._said = last._said
    return whole


def _gather(
    ray: Any,
    start: Callable[[str], Any],
    files: Sequence[Path],
    advance: Optional[Callable[[int], None]],
) -> None:
    """Starts what is not there yet and writes each file as it comes."""
    waiting: dict[Any, Path] = {}
    for i, file in enumerate(files, 1):
        if file.exists():
            if advance:
                advance(1)
        else:
            waiting[start(f"{i}/{len(files)}")] = file
    try:
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1, timeout=1)
            for reference in done:
                file = waiting.pop(reference)
                beside = file.with_suffix(".part")
                beside.write_bytes(ray.get(reference))
                beside.replace(file)
                if advance:
                    advance(1)
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)


def _named(model: Union[Model, PathLike]) -> str:
    if isinstance(model, (str, os.PathLike)):
        return os.fspath(model)
    if model.path is None:
        raise UsageError("model: got one in memory, expected a folder or hub name of every machine")
    model.folder()  # refuses edits in memory
    return model.name if not os.path.exists(model.name) else str(model.path.resolve())


def _relations(
    facts: Union[FactSet, PathLike], content: Optional[bytes], source: str, chosen: dict[str, Any]
) -> list[str]:
    names = ("relations", "per_relation", "limit", "limit_order", "held_out_share", "seed")
    choice = {name: chosen[name] for name in names if chosen.get(name) is not None}
    place = source if content is None else _shipped(source, content)
    return load_facts(place, **choice).relations


# What is text even where it looks like a number.
_TEXT = frozenset(
    ("model", "facts", "run", "texts", "corpus", "preset", "random_from", "limit_order", "device")
)


def _typed(name: str, value: Any) -> Any:
    """An option's word as Python has it."""
    if not isinstance(value, str) or name in _TEXT:
        return value
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            pass
    return value


def main(job: str) -> int:
    """``engram reproduce --ray``: the options as JSON from the command; returns the exit code."""
    asked = json.loads(job)
    options = {name: _typed(name, value) for name, value in asked["options"].items()}
    as_json = options.pop("json", False)
    quiet = options.pop("quiet", False)
    model, facts, run = (options.pop(name) for name in ("model", "facts", "run"))
    address = asked["ray_address"]
    start = time.monotonic()
    try:
        done = reproduce(
            model,
            facts,
            run,
            ray_address=address,
            num_cpus=options.pop("threads", 1),
            num_gpus=1 if str(options.get("device", "cpu")).startswith("cuda") else 0,
            progress=not quiet,
            **options,
        )
    except EngramError as error:
        return _fail(str(error), error)
    except KeyboardInterrupt:
        return _fail(f"what has come back is kept in {run}-parts; the same command goes on", None)
    except ConnectionError as error:
        return _fail(f"--ray: no cluster at {address}: {str(error).splitlines()[0]}", FileError())
    said = {**done._said, "run": run, "seconds": time.monotonic() - start}
    if as_json:
        print(json.dumps(said, ensure_ascii=False))
        return 0
    pieces = said["units_done"] + said["units_done_before"]
    print(
        f"{run}: {said['facts']:,} facts of {said['relations']:,} relations; "
        f"{pieces:,} pieces of work in {said['seconds']:.0f} s"
    )
    for left in said["skipped"]:
        print(f"not done: {left['experiment']}: {left['reason']}")
    print(f"next: engram report {run} -o report.html")
    return 0


def _fail(message: str, error: Optional[BaseException]) -> int:
    """Says it as the command does; its exit code."""
    print(f"engram: {'interrupted' if error is None else 'error'}: {message}", file=sys.stderr)
    if error is None:
        return 130
    codes = ((UsageError, 2), (FileError, 4), (InternalError, 70), (EngramError, 3))
    return next(code for kind, code in codes if isinstance(error, kind))
