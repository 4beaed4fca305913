"""Runs from Python are those of the command, and so is the command itself."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Optional

import pytest
from conftest import ROOT, run_engram

import engram

FEW = {
    "draws": 2,
    "side_draws": 1,
    "same_relation": 2,
    "other_relations": 3,
    "update_facts": 1,
    "size_facts": 1,
    "memory_keys": 2,
    "stability_facts": 1,
    "text_positions": 20,
    "sentences": 2,
}
WORDS = [w for k, v in FEW.items() for w in ("--" + k.replace("_", "-"), str(v))]


def content(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with sqlite3.connect(path) as file:
        names = engram.Run.tables()
        tables = {name: file.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}
    file.close()
    return tables


@pytest.fixture(scope="module")
def run(shipped: Path, tmp_path_factory: pytest.TempPathFactory) -> engram.Run:
    folder = tmp_path_factory.mktemp("run")
    model = engram.Model(shipped)
    facts = engram.load_facts(shipped / "facts.jsonl", limit=6)
    return engram.reproduce(
        model, facts, folder / "run.db", only=["locate", "effects", "update"], **FEW
    )


def test_reproduce_is_the_commands(run: engram.Run, shipped: Path, tmp_path: Path) -> None:
    other = tmp_path / "command.db"
    done = run_engram(
        "reproduce",
        str(shipped),
        *("--facts", str(shipped / "facts.jsonl"), "--limit", "6", "--run", str(other)),
        *("--only", "locate,effects,update", "--quiet", *WORDS),
    )
    assert done.returncode == 0, done.stderr
    mine, its = content(run.path), content(other)
    for name in its:
        assert mine[name] == its[name], name
    # A set that was cut in Python, without a file, is the same content but for its choice.
    model = engram.Model(shipped)
    facts = engram.load_facts(shipped / "facts.jsonl", limit=6)
    cut = engram.reproduce(model, facts[:], tmp_path / "cut.db", only=["locate"], **FEW)
    assert content(cut.path)["neuron"] == its["neuron"]
    # The same call goes on, and another one is refused with what differs.
    again = engram.reproduce(
        model, facts, run.path, only=["locate", "effects", "update"], **FEW
    )
    assert content(again.path) == mine
    with pytest.raises(engram.InputError, match="seed"):
        engram.reproduce(model, facts, run.path, **{**FEW, "seed": 3})


def test_tables(run: engram.Run) -> None:
    pandas = pytest.importorskip("pandas")
    effects = run.table("effects")
    assert isinstance(effects, pandas.DataFrame) and len(effects) > 0
    assert effects.equals(run.table("table_effects"))
    assert set(run.table("fact").columns) >= {"fact", "subject", "object"}
    with pytest.raises(engram.InputError, match="expected one of"):
        run.table("none")
    assert run.status()["state"] == "ended"
    with pytest.raises(engram.FileError):
        engram.Run("no.db")


def test_report_and_export(run: engram.Run, tmp_path: Path) -> None:
    page = run.report(tmp_path / "report.html", draws=50)
    assert "</html>" in page.read_text(encoding="utf-8")
    folder = run.export(tmp_path / "tables", format="jsonl")
    assert (folder / "table_effects.jsonl").exists()


def test_arrow_and_polars(run: engram.Run) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    assert isinstance(run.arrow("effects"), pyarrow.Table)
    polars = pytest.importorskip("polars")
    assert isinstance(run.polars("effects"), polars.DataFrame)


def test_shards_merge(shipped: Path, tmp_path: Path) -> None:
    facts = engram.load_facts(shipped / "facts.jsonl", limit=6)
    model = engram.Model(shipped)
    parts = [
        engram.reproduce(model, facts, tmp_path / f"{i}.db", only=["locate"], shard=f"{i}/2")
        for i in (1, 2)
    ]
    whole = engram.reproduce(model, facts, tmp_path / "whole.db", only=["locate"])
    merged = engram.merge(tmp_path / "merged.db", parts)
    assert content(merged.path)["neuron"] == content(whole.path)["neuron"]


def test_a_job_array(shipped: Path, tmp_path: Path) -> None:
    """tools/slurm.sh as a loop: what Slurm sets are three variables."""
    facts = shipped / "facts.jsonl"
    program = tmp_path / "engram"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m engram "$@"\n')
    program.chmod(0o755)

    def stage(name: str, task: Optional[int] = None) -> None:
        given = {"ENGRAM": str(program), "SLURM_CPUS_PER_TASK": "1"}
        if task is not None:
            given |= {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_COUNT": "2"}
        words = [str(ROOT / "tools" / "slurm.sh"), name, str(tmp_path / "jobs"), str(shipped)]
        done = subprocess.run(
            [*words, str(facts), "--limit", "4", *WORDS, *ONLY[name]],
            env={**os.environ, **given},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr

    rest = ["--only", "locate,effects,unions"]
    ONLY = {"locate": [], "merge-located": [], "rest": rest, "finish": rest}
    stage("locate", 1)
    stage("locate", 2)
    stage("merge-located")
    stage("rest", 2)
    stage("rest", 1)
    stage("finish")
    one = engram.reproduce(
        shipped,
        engram.load_facts(facts, limit=4),
        tmp_path / "one.db",
        only=["locate", "effects", "unions"],
        **FEW,
    )
    mine, its = content(tmp_path / "jobs" / "run.db"), content(one.path)
    for name in its:
        assert mine[name] == its[name], name


def test_audit(shipped: Path, tmp_path: Path) -> None:
    facts = engram.load_facts(shipped / "facts.jsonl", relations=["P36", "P30"])
    model = engram.Model(shipped)
    run = engram.audit(
        model, facts, tmp_path / "audit.db", known=3, never=1, per_relation=8, only=["words"]
    )
    assert len(run._rows("word_effect")[1]) > 0


def test_ctrl_c_keeps_what_is_done(shipped: Path, tmp_path: Path) -> None:
    facts = engram.load_facts(shipped / "facts.jsonl")
    model = engram.Model(shipped)
    path = tmp_path / "run.db"

    def stop() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if path.exists():
                try:
                    if len(engram.Run(path)._rows("attribution")[1]) > 0:
                        break
                except engram.FileError:
                    pass
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(engram.Interrupted, match="kept in"):
        engram.reproduce(model, facts, path, only=["locate"])
    thread.join()
    assert len(engram.Run(path)._rows("attribution")[1]) > 0
    assert model.predict("The capital of France is [MASK].").guesses[0].token == "Paris"


# The command.


def test_exit_codes(shipped: Path, tmp_path: Path) -> None:
    assert run_engram("--help").returncode == 0
    assert run_engram("nonsense").returncode == 2
    assert run_engram("predict", str(tmp_path), "x").returncode == 3
    assert run_engram("predict", "no-such/model", "x").returncode == 4
    bad = run_engram("attribute", str(shipped), "--prompt", "no place", "--answer", "x")
    assert bad.returncode == 3
    assert bad.stderr.startswith("engram: error: ")


def test_the_program_is_interrupted(shipped: Path) -> None:
    words = ["locate", str(shipped), "--facts", str(shipped / "facts.jsonl"), "--quiet"]
    with subprocess.Popen(
        [sys.executable, "-m", "engram", *words], stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        # Until it has begun to work with its own handler of signals, which catches SIGTERM.
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            status = Path(f"/proc/{process.pid}/status").read_text()
            caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
            if int(caught.split()[1], 16) & (1 << (signal.SIGTERM - 1)):
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130


def test_command_as_a_function(shipped: Path) -> None:
    text = engram.command("inspect", str(shipped), "--json")
    done = run_engram("inspect", str(shipped), "--json")
    assert text == done.stdout
    assert "Usage" in engram.command("help", "locate")
