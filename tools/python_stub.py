"""Writes python/engram/_core.pyi from the built module: python tools/python_stub.py [--check].

nanobind knows every function but not what is in its dicts and lists.
"""

import re
import sys
from pathlib import Path

import engram  # noqa: F401  (torch and what the module needs)
from nanobind.stubgen import StubGen

PLACE = Path(__file__).resolve().parent.parent / "python" / "engram" / "_core.pyi"


def stub() -> str:
    from engram import _core

    generator = StubGen(_core)
    generator.put(_core)
    text = generator.get()
    text = re.sub(r"\bdict\b(?!\[)", "dict[str, Any]", text)
    text = re.sub(r"\blist\b(?!\[)", "list[Any]", text)
    text = re.sub(r"\btuple\b(?!\[)", "tuple[Any, ...]", text)
    text = re.sub(r"^((?:torch_)?version): str = .*$", r"\1: str", text, flags=re.MULTILINE)
    return text.replace(
        "from collections.abc import Mapping, Sequence\n",
        "from collections.abc import Mapping, Sequence\nfrom typing import Any\n",
    )


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PLACE.read_text() == stub() else f"{PLACE} is not what the module has")
    PLACE.write_text(stub())
