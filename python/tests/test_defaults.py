"""Names and defaults in Python are those of the command."""

from __future__ import annotations

import inspect
import re
from typing import Any, Callable

import pytest

import engram
from engram import _core

# Options that are Python's own business: what is returned is what --json prints, and files that a
# result writes by itself.
NOT_IN_PYTHON = {"json", "quiet", "help"}


def options_of(command: str) -> dict[str, str]:
    """The command's options with their help on one line."""
    text = engram.command("help", *command.split())
    text = text[text.index("\nOptions:\n") :]
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        head = re.match(r"  (?:-\w,)?--([a-z0-9-]+)", line)
        if head:
            name = head.group(1)
            found[name] = ""
        if name and (head or line.startswith(" " * 10)):
            found[name] += " " + line.strip()
    return found


def default_in(text: str) -> Any:
    """What the help says: "Default: 20." or "zero (default), unk or mean."."""
    said = re.search(r"Default: ([\d.]+\d|\d)[,. ]", text + " ")
    if said:
        return float(said.group(1))
    named = re.search(r"([a-z0-9-]+) \(default\b", text)
    return named.group(1) if named else None


Call = Callable[..., Any]
# Function, command, arguments that stand before the options or are of Python alone, options that
# Python reaches by another way.
CALLS: list[tuple[Call, str, set[str], set[str]]] = [
    (
        engram.Model.attribute,
        "attribute",
        {"self"},
        {"prompts", "top", "by", "scores", "picture", "theme", "device", "seed"},
    ),
    (
        engram.locate,
        "locate",
        {"model"},
        {
            *("relations", "per-relation", "limit", "limit-order", "held-out-share", "seed"),
            *("run", "out", "scores", "show", "prompts", "device"),
            *("at-ratio", "at-share", "no-adapt"),
        },
    ),
    (engram.reproduce, "reproduce", {"model"}, {"ray"}),  # engram.distributed.reproduce
    (engram.audit, "audit", {"model"}, {"edit", "edited", "relearn"}),
    (
        engram.effects,
        "intervene",
        {"model"},
        {"run", "full", "out", "relations", "per-relation", "limit", "limit-order", "held-out-share"},
    ),
    (engram.texts, "texts", {"model"}, {"seed"}),
    (engram.memories, "memories", {"model"}, set()),
    (engram.edits.update, "edit update", {"model"}, {"run"}),
    (engram.edits.erase, "edit erase", {"model"}, set()),
    (engram.edits.rome, "edit rome", {"model"}, set()),
    (
        engram.edits.audit,
        "audit",
        {"model"},
        {"run", "only", "update-facts", "planted-facts", "truth-facts", "non-facts", "corpus"},
    ),
    (
        engram.Model.lens,
        "lens",
        {"self", "text"},
        {"svg", "device", "threads", "memory", "seed"},
    ),
    (
        engram.Model.predict,
        "predict",
        {"self", "text"},
        {"device", "threads", "memory", "seed"},
    ),
    (
        engram.Model.neuron,
        "neuron",
        {"self", "neuron"},
        {"neurons", "run", "html", "device", "memory", "seed"},
    ),
    (engram.Run.export, "export", {"self"}, {"device", "threads", "memory", "seed"}),
    (engram.Run.report, "report", {"self", "path"}, {"out", "device", "threads", "memory"}),
    (
        engram.compare,
        "compare",
        {"a", "b"},
        {"device", "threads", "memory"},
    ),
]


@pytest.mark.parametrize(("function", "command", "own", "elsewhere"), CALLS, ids=lambda v: str(v))
def test_options(function: Call, command: str, own: set[str], elsewhere: set[str]) -> None:
    options = options_of(command)
    parameters = inspect.signature(function).parameters
    names = {name.replace("_", "-") for name in parameters if name not in own} - {"progress"}
    assert names - set(options) == set(), "not options of the command"
    assert set(options) - names - NOT_IN_PYTHON == elsewhere, "options that Python does not take"
    compared = 0
    for name, parameter in parameters.items():
        text = options.get(name.replace("_", "-"), "")
        said = default_in(text)
        value = parameter.default
        if name in own or said is None or value is None or isinstance(value, bool):
            continue
        if name in ("memory", "threads"):
            continue
        assert value == said, f"{name}: {value!r}, and the command says{text}"
        compared += 1
    assert compared > 0 or command in ("predict", "edit export")


def test_library_defaults() -> None:
    attribute = inspect.signature(engram.Model.attribute).parameters
    locate = inspect.signature(engram.locate).parameters
    for name, value in _core.attribution_defaults().items():
        assert attribute[name].default == value, name
        if name in locate:
            assert locate[name].default == value, name
    facts = inspect.signature(engram.load_facts).parameters
    for name, value in _core.fact_defaults().items():
        assert facts[name].default == value, name
    assert locate["preset"].default == "dai2022"


def test_the_help_is_read_right() -> None:
    options = options_of("reproduce")
    assert default_in(options["draws"]) == 20
    assert default_in(options["text-positions"]) == 2000
    assert default_in(options_of("edit erase")["mode"]) == "zero"
