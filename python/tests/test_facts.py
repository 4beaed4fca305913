"""Fact sets, located neurons and their effects, against the command's own output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ROOT, run_engram

import engram

DATA = ROOT / "tests" / "data"


def test_load(facts: engram.FactSet, shipped: Path) -> None:
    lines = (shipped / "facts.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(facts) == len(lines)
    first, record = facts[0], json.loads(lines[0])
    assert (first.subject, first.object) == (record["subject"], record["object"])
    assert "P36" in facts.relations
    some = engram.load_facts(shipped / "facts.jsonl", relations=["P36"], limit=5)
    assert len(some) == 5 and some.relations == ["P36"]
    assert list(some.table()["relation"]) == ["P36"] * 5
    again = engram.load_facts(shipped / "facts.jsonl", relations=["P36"], limit=5, seed=1)
    assert [f.subject for f in again] != [f.subject for f in some]
    with pytest.raises(engram.InputError, match="P99999"):
        engram.load_facts(shipped / "facts.jsonl", relations=["P99999"])


def test_a_saved_set_comes_back(facts: engram.FactSet, tmp_path: Path) -> None:
    some = facts[:20]
    some.save(tmp_path / "some.jsonl")
    back = engram.load_facts(tmp_path / "some.jsonl")
    assert [(f.relation, f.subject, f.object, f.prompts, f.held_out) for f in back] == [
        (f.relation, f.subject, f.object, f.prompts, f.held_out) for f in some
    ]


def test_formats(tmp_path: Path) -> None:
    counterfact = {
        "case_id": 1,
        "requested_rewrite": {
            "prompt": "The capital of {} is",
            "relation_id": "P36",
            "target_new": {"str": "Rome"},
            "target_true": {"str": "Paris"},
            "subject": "France",
        },
        "paraphrase_prompts": ["France has its capital in"],
        "neighborhood_prompts": [],
    }
    path = tmp_path / "counterfact.json"
    path.write_text(json.dumps([counterfact]), encoding="utf-8")
    (fact,) = engram.load_facts(path)
    assert (fact.subject, fact.object, fact.new_object) == ("France", "Paris", "Rome")
    table = tmp_path / "facts.tsv"
    table.write_text(
        "relation\tsubject\tobject\tprompt\nP36\tFrance\tParis\tThe capital of France is [MASK].\n",
        encoding="utf-8",
    )
    (fact,) = engram.load_facts(table)
    assert fact.prompts == ["The capital of France is [MASK]."]


def test_locate_is_the_commands(
    model: engram.Model, facts: engram.FactSet, shipped: Path, tmp_path: Path
) -> None:
    some = engram.load_facts(shipped / "facts.jsonl", limit=20)
    seen: list[int] = []
    found = engram.locate(model, some, progress=lambda done, total: seen.append(total - done))
    assert seen[-1] == 0
    out = tmp_path / "command.jsonl"
    done = run_engram(
        "locate",
        str(shipped),
        "--facts",
        str(shipped / "facts.jsonl"),
        "--limit",
        "20",
        "--out",
        str(out),
    )
    assert done.returncode == 0, done.stderr
    want = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    mine = tmp_path / "python.jsonl"
    found.save(mine)
    got = [json.loads(line) for line in mine.read_text(encoding="utf-8").splitlines()]
    assert got[1:] == want[1:]
    # The header says the same of everything that was asked of both.
    for key in set(got[0]) - {"facts", "model"}:
        assert got[0][key] == want[0][key], key
    back = engram.read_located(mine)
    assert [f.neurons for f in back] == [f.neurons for f in found]
    assert engram.compare(mine, out)["all"]["identical"] == 20
    table = found.table()
    assert len(table) == sum(len(f.neurons) for f in found)
    assert set(table["hook"]) <= {f"blocks.{layer}.mlp.hook_post" for layer in range(4)}
    assert list(table["hf_side"].unique()) == ["output"]


def test_a_fact_by_its_name(model: engram.Model, shipped: Path) -> None:
    facts = engram.load_facts(shipped / "facts.jsonl", relations=["P36"])
    france = [f for f in facts if f.subject == "France"]
    found = engram.locate(model, france)
    fact = found["France", "P36"]
    assert fact.object == "Paris" and fact.neurons
    assert fact.record["prompts"]
    with pytest.raises(KeyError, match="Atlantis"):
        found["Atlantis", "P36"]
    prompt = "The capital of France is [MASK]."
    plain = model.predict(prompt, answer="Paris").answer
    with model.intervene(fact, zero=True):
        changed = model.predict(prompt, answer="Paris").answer
    assert plain is not None and changed is not None and changed.p < plain.p


def test_selection_is_the_presets(model: engram.Model, facts: engram.FactSet) -> None:
    some = facts[:3]
    few = engram.locate(model, some, ratio=0.9, adapt=False)
    many = engram.locate(model, some, ratio=0.1, adapt=False, share=0.1)
    count = lambda located: sum(len(f.neurons) for f in located)  # noqa: E731
    assert count(few) < count(many)
    assert few.header["selection"]["ratio"] == 0.9
    with pytest.raises(engram.UsageError, match="preset"):
        engram.locate(model, some, preset="none")
    with pytest.raises(engram.InputError, match="got none"):
        engram.locate(model, [])


def test_effects_are_the_commands(model: engram.Model, shipped: Path, tmp_path: Path) -> None:
    some = engram.load_facts(shipped / "facts.jsonl", limit=8)
    found = engram.locate(model, some)
    got = engram.effects(model, some, found, "zero", draws=2, other_relations=5, same_relation=3)
    path = tmp_path / "neurons.jsonl"
    found.save(path)
    done = run_engram(
        "intervene",
        str(shipped),
        "--facts",
        str(shipped / "facts.jsonl"),
        "--limit",
        "8",
        *("--neurons", str(path), "--do", "zero", "--draws", "2"),
        *("--other-relations", "5", "--same-relation", "3", "--json", "--quiet"),
    )
    assert done.returncode == 0, done.stderr
    want = json.loads(done.stdout)
    for volatile in ("model", "neurons", "seconds"):
        got.pop(volatile, None)
        want.pop(volatile, None)
    assert got == want


def test_measure_many(model: engram.Model, facts: engram.FactSet) -> None:
    pytest.importorskip("pandas")
    fact = next(f for f in facts if f.subject == "France" and f.relation == "P36")
    measured = model.measure(fact.prompts, fact.object, "3:44,3:643", zero=True)
    assert len(measured) == len(fact.prompts)
    table = measured.table()
    assert list(table["prompt"]) == fact.prompts
    assert table["log_odds_after"].mean() < table["log_odds_before"].mean()


def test_texts_and_memories(model: engram.Model, shipped: Path) -> None:
    corpus = shipped / "corpus.txt"
    found = engram.texts(model, "3:643", corpus=corpus, limit=200, top=3)
    (one,) = found["neurons"]
    assert len(one["highest"]) == 3
    measured = engram.memories(model, corpus, keys=2, limit=100, masks=1)
    assert len(measured["layers"]) == model.config.layers
