"""Exceptions, Ctrl-C, and what another torch makes of an import."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import ROOT

import engram
from engram import _torch

PROMPT = "The capital of France is [MASK]."


def test_the_tree() -> None:
    assert issubclass(engram.InputError, (engram.EngramError, ValueError))
    assert issubclass(engram.UsageError, engram.InputError)
    assert issubclass(engram.FileError, engram.EngramError)
    assert issubclass(engram.FileError, OSError)
    assert issubclass(engram.Interrupted, KeyboardInterrupt)
    for kind in (engram.InternalError, engram.Interrupted):
        assert issubclass(kind, engram.EngramError)


def test_each_comes_as_its_own(model: engram.Model, tmp_path: Path) -> None:
    with pytest.raises(engram.InputError, match="config.json"):
        engram.Model(tmp_path)
    with pytest.raises(engram.FileError, match="no-such/model"):
        engram.Model("no-such/model")
    with pytest.raises(engram.InputError, match="mask"):
        model.attribute("no place for an answer", "Paris")
    with pytest.raises(engram.UsageError, match="rule"):
        model.attribute(PROMPT, "Paris", rule="simpson")
    with pytest.raises(engram.UsageError, match="answer is required"):
        model.attribute(PROMPT)
    with pytest.raises(engram.UsageError, match="tolerance"):
        model.attribute(PROMPT, "Paris", tolerance=0)
    with pytest.raises(engram.UsageError, match="rule: got 3"):
        model.attribute(PROMPT, "Paris", rule=3)  # type: ignore[call-overload]
    with pytest.raises(engram.UsageError, match="seed: got -1"):
        engram.load_facts(ROOT / "models" / "engram-base" / "facts.jsonl", seed=-1)
    with pytest.raises(engram.UsageError, match="layers 0 to 3"):
        model.measure(PROMPT, "Paris", "9:1", zero=True)
    with pytest.raises(engram.UsageError, match="exactly one"):
        model.measure(PROMPT, "Paris", "1:1")
    with pytest.raises(engram.FileError):
        engram.load_facts(tmp_path / "none.jsonl")
    with pytest.raises(engram.UsageError, match="unknown option"):
        engram.command("predict", "a", "b", "--nonsense")


def test_a_progress_function_may_raise(model: engram.Model) -> None:
    class Enough(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Enough(f"{done} of {total}")

    with pytest.raises(Enough, match="1 of 8"):
        model.attribute([PROMPT] * 8, "Paris", progress=stop)
    assert model.attribute(PROMPT, "Paris").rank == 1


def test_another_torch_is_refused() -> None:
    _torch.check("2.15.1+cpu", "2.15.0")
    with pytest.raises(ImportError, match=r"built for torch 2\.15.*torch 2\.14\.0"):
        _torch.check("2.14.0", "2.15.0")


def test_one_libtorch_in_the_process() -> None:
    maps = Path("/proc/self/maps").read_text()
    files = {line.split()[-1] for line in maps.splitlines() if "/libtorch_cpu" in line}
    assert len(files) == 1
    assert "jemalloc" not in maps


def later(seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    return timer


def test_ctrl_c(model: engram.Model) -> None:
    prompts = [f"The capital of France is [MASK] , {i} ." for i in range(20_000)]
    begin = time.monotonic()
    timer = later(0.5)
    with pytest.raises(engram.Interrupted):
        model.attribute(prompts, "Paris")
    timer.join()
    assert time.monotonic() - begin < 0.5 + 1.0 + 1.0  # a second to stop, one for a busy machine
    # Everything works as before, and so does Python's own Ctrl-C.
    assert model.attribute(PROMPT, "Paris").rank == 1
    timer = later(0.1)
    with pytest.raises(KeyboardInterrupt) as raised:
        time.sleep(10)
    timer.join()
    assert not isinstance(raised.value, engram.Interrupted)


def test_ctrl_c_is_a_keyboard_interrupt(model: engram.Model) -> None:
    timer = later(0.3)
    with pytest.raises(KeyboardInterrupt):
        model.attribute([PROMPT] * 20_000, "Paris")
    timer.join()


def test_ctrl_c_beside_another_librarys_handler(shipped: Path) -> None:
    """polars puts a handler of its own before Python's, of the form that takes more."""
    pytest.importorskip("polars")
    code = f"""
import os, signal, threading, time
import polars
polars.DataFrame({{"a": [1, 2]}}).lazy().select(polars.col("a").sum()).collect()
import engram
model = engram.Model({str(shipped)!r})
threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
begin = time.monotonic()
try:
    model.attribute(["The capital of France is [MASK]."] * 20_000, "Paris")
except engram.Interrupted:
    assert time.monotonic() - begin < 3
    print("stopped")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "stopped\n", done.stderr


def test_a_hosts_handler_raises_its_own(model: engram.Model) -> None:
    class Mine(Exception):
        pass

    def handler(number: int, frame: object) -> None:
        raise Mine

    before = signal.signal(signal.SIGINT, handler)
    try:
        timer = later(0.3)
        with pytest.raises(Mine):
            model.attribute([PROMPT] * 20_000, "Paris")
        timer.join()
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_runs_meanwhile(model: engram.Model) -> None:
    """The interpreter's lock is released: a counter goes on while attribution works."""
    ticks = 0
    stop = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not stop.wait(0.01):
            ticks += 1

    thread = threading.Thread(target=tick)
    thread.start()
    begin = time.monotonic()
    model.attribute([PROMPT] * 300, "Paris", threads=1)
    took = time.monotonic() - begin
    stop.set()
    thread.join()
    assert ticks > took / 0.01 / 10


def test_calls_from_a_thread(model: engram.Model) -> None:
    ranks: list[int] = []
    thread = threading.Thread(target=lambda: ranks.append(model.attribute(PROMPT, "Paris").rank))
    thread.start()
    thread.join()
    assert ranks == [1]


def test_import_is_quick() -> None:
    code = (
        "import torch, time; t = time.monotonic(); import engram; print(time.monotonic() - t);"
        "import sys; assert 'pandas' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert float(done.stdout) < 2
