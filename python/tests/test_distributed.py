"""A run over a Ray cluster of two nodes on this machine, one of which dies in the middle."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Iterator

import pytest
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
