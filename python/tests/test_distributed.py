"""A run over a Ray cluster of two nodes on this machine, one of which dies in the middle."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from typing import Any, Iterator

import pytest
from conftest import run_engram
from test_runs import FEW, content

import engram

ray = pytest.importorskip("ray")


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield made
    ray.shutdown()
    made.shutdown()


def test_a_node_dies(cluster: Any, shipped: Path, tmp_path: Path) -> None:
    from engram import distributed

    nodes = [cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)]
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    facts = engram.load_facts(shipped / "facts.jsonl", limit=8)
    only = ["locate", "effects", "unions"]
    killed: list[int] = []

    def watch(done: int, total: int) -> None:
        if done == 2 and not killed:
            killed.append(total)
            cluster.remove_node(nodes.pop(), allow_graceful=False)

    run = distributed.reproduce(
        shipped, facts, tmp_path / "many.db", only=only, progress=watch, **FEW
    )
    assert killed == [2 * len(facts.relations)]
    alone = engram.reproduce(shipped, facts, tmp_path / "one.db", only=only, **FEW)
    mine, its = content(run.path), content(alone.path)
    assert len(its["effect"]) > 0
    for name in its:
        assert mine[name] == its[name], name
    assert not run.path.with_name("many.db-parts").exists()
    with sqlite3.connect(run.path) as file:
        sessions = file.execute("SELECT count(*) FROM session").fetchone()[0]
    file.close()
    assert sessions >= len(facts.relations)  # each part is a session of its own


def test_what_is_refused(shipped: Path, tmp_path: Path) -> None:
    from engram import distributed

    with pytest.raises(engram.UsageError, match="shard"):
        distributed.reproduce(shipped, shipped / "facts.jsonl", tmp_path / "a.db", shard="1/2")
    live = engram.Model(shipped)
    live.path = None
    with pytest.raises(engram.UsageError, match="in memory"):
        distributed.reproduce(live, shipped / "facts.jsonl", tmp_path / "a.db")


def test_the_command_on_a_cluster(cluster: Any, shipped: Path, tmp_path: Path) -> None:
    cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    words = ["reproduce", str(shipped), "--facts", str(shipped / "facts.jsonl"), "--limit", "6"]
    words += ["--only", "locate,effects"]
    for name, value in FEW.items():
        words += ["--" + name.replace("_", "-"), str(value)]
    many, one = tmp_path / "many.db", tmp_path / "one.db"
    ray_words = ["--ray", cluster.address, "--json", "--quiet"]
    said = run_engram(*words, "--run", str(many), *ray_words)
    assert said.returncode == 0, said.stderr
    told = json.loads(said.stdout)
    assert told["schema"] == "engram.reproduce/1"
    assert told["run"] == str(many) and told["facts"] == 6
    alone = run_engram(*words, "--run", str(one), "--quiet")
    assert alone.returncode == 0, alone.stderr
    mine, its = content(many), content(one)
    assert len(its["effect"]) > 0
    for name in its:
        assert mine[name] == its[name], name
    # A whole run is only looked at again.
    again = run_engram(*words, "--run", str(many), *ray_words)
    assert again.returncode == 0 and json.loads(again.stdout)["units_done"] == 0


def test_what_the_command_refuses(shipped: Path, tmp_path: Path) -> None:
    words = ["reproduce", str(shipped), "--facts", str(shipped / "facts.jsonl")]
    words += ["--run", str(tmp_path / "a.db"), "--ray", "127.0.0.1:1"]
    missing = run_engram(*words, env={"ENGRAM_PYTHON": str(tmp_path / "python")})
    assert missing.returncode == 4 and "cannot be started for --ray" in missing.stderr
    bare = tmp_path / "bare"  # a Python that has neither
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -E "$@"\n')
    bare.chmod(0o755)
    without = run_engram(*words, env={"ENGRAM_PYTHON": str(bare)})
    assert without.returncode == 2 and "pip install 'engram[ray]'" in without.stderr
    with pytest.raises(engram.UsageError, match="engram.distributed.reproduce"):
        engram.command(*words)
