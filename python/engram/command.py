"""The command ``engram`` from Python."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Mapping, NoReturn, Optional, Sequence

from . import _core

__all__ = ["command", "main"]


def command(*words: str) -> str:
    """Runs ``engram`` with these words in this process and returns what it prints.

    ``engram.command("inspect", "models/engram-base", "--json")``. Remarks and progress go to
    stderr, as from a terminal; ``"--quiet"`` turns them off.

    Raises what the command would end with: UsageError (exit code 2), InputError (3), FileError (4),
    InternalError (70), Interrupted (130).
    """
    return _core.run_command([str(word) for word in words])


def words_of(options: Mapping[str, Any]) -> list[str]:
    """Keyword arguments as options of the command: ``size_facts=5`` is ``--size-facts 5``."""
    words: list[str] = []
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        if value is None or value is False:
            continue
        if value is True:
            words.append(option)
        elif isinstance(value, (list, tuple)):
            if value:
                words += [option, ",".join(map(str, value))]
        else:
            words += [option, str(value)]
    return words


def run_json(words: Sequence[str], options: Mapping[str, Any], progress: bool = False) -> Any:
    """A command's JSON."""
    quiet = [] if progress else ["--quiet"]
    return json.loads(command(*words, *words_of(options), "--json", *quiet))


def main(argv: Optional[Sequence[str]] = None) -> NoReturn:
    """The program ``engram``: ends the process with the command's exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("ENGRAM_PYTHON", sys.executable)  # for `reproduce --ray`
    sys.exit(_core.run_program(["engram", *words]))
