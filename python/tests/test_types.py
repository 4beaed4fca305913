"""Types: strict mypy on the package and on what a user writes; the stub is the module's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

import engram

HERE = Path(__file__).resolve().parent


def environment() -> dict[str, str]:
    """mypy finds an installed package by itself, and another one where it is told."""
    place = Path(engram.__file__).parent.parent
    if place.name == "site-packages":
        return dict(os.environ)
    return {**os.environ, "MYPYPATH": str(place)}


def test_mypy_strict(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path)),
            *("--config-file", str(ROOT / "pyproject.toml")),
            str(HERE / "user_example.py"),
        ],
        capture_output=True,
        text=True,
        cwd=HERE,
        env=environment(),
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_sees_mistakes(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import engram\n"
        "model = engram.Model('x')\n"
        "n: int = model.attribute('a', 'b')\n"
        "model.attribute('a', 'b', rulle='x')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), str(wrong)],
        capture_output=True,
        text=True,
        cwd=HERE,
        env=environment(),
    )
    assert "wrong.py:3" in done.stdout and "wrong.py:4" in done.stdout, done.stdout


def test_the_example_runs(shipped: Path, tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    from user_example import main

    assert len(main(shipped, tmp_path)) == 5
    assert (tmp_path / "report.html").exists()


def test_the_stub_is_the_modules() -> None:
    pytest.importorskip("nanobind")
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "python_stub.py"), "--check"],
        capture_output=True,
        text=True,
        cwd=HERE,
    )
    assert done.returncode == 0, done.stderr


def test_the_page_of_the_api_is_the_packages() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "python_api.py"), "--check"],
        capture_output=True,
        text=True,
        cwd=HERE,
    )
    assert done.returncode == 0, done.stderr


def test_everything_public_says_what_it_is() -> None:
    for name in engram.__all__:
        thing = getattr(engram, name)
        if callable(thing):
            assert (thing.__doc__ or "").strip(), name
            if isinstance(thing, type):
                for member, value in vars(thing).items():
                    if not member.startswith("_") and callable(value):
                        assert (value.__doc__ or "").strip(), f"{name}.{member}"
