"""Imports torch and checks that it is the one that the extension was built for."""

from __future__ import annotations

import torch

from . import _build


def _minor(version: str) -> tuple[int, int]:
    first, second = version.split("+")[0].split(".")[:2]
    return int(first), int(second)


def check(found: str, built: str) -> None:
    """Raises ImportError where torch ``found`` is not of the release series of ``built``."""
    if _minor(found) != _minor(built):
        series = ".".join(map(str, _minor(built)))
        raise ImportError(
            f"engram was built for torch {series}, and torch {found} is installed: "
            "the two share libtorch and must match. Build engram anew for the torch that is here "
            "(in the folder of its sources: pip install --no-build-isolation --force-reinstall --no-deps .), "
            f"or install torch {series}."
        )


check(torch.__version__, _build.TORCH)
