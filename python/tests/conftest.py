"""Models that tests look at, and what they need to be there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any, Callable, Mapping

import pytest

import engram

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "models" / "engram-base"
#: Where `make real-models` puts its models.
REAL = Path(os.environ.get("ENGRAM_REAL", ROOT / "build" / "real"))


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A job in the background starts with Ctrl-C ignored, and so would what it tests.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def run_engram(
    *words: str, env: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[str]:
    """The command, as a process of its own, with ``env`` beside the environment."""
    return subprocess.run(
        [sys.executable, "-m", "engram", *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **env},
    )


def engram_json(*words: str) -> Any:
    done = run_engram(*words, "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().split("\n")
    return json.loads(lines[0]) if len(lines) == 1 else [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def shipped() -> Path:
    if not SHIPPED.exists():
        pytest.skip(f"{SHIPPED} is not there")
    return SHIPPED


@pytest.fixture
def model(shipped: Path) -> engram.Model:
    return engram.Model(shipped)


@pytest.fixture(scope="session")
def facts(shipped: Path) -> engram.FactSet:
    return engram.load_facts(shipped / "facts.jsonl")


@pytest.fixture(scope="session")
def real() -> Callable[[str], Path]:
    def find(name: str) -> Path:
        path = REAL / name
        if not path.exists():
            pytest.skip(f"{path} is not there: make real-models")
        return path

    return find
