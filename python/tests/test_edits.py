"""Edits in memory and in folders, against the command's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import engram_json

import engram

PROMPT = "The continent of Greece is [MASK]."


@pytest.fixture(scope="module")
def greece(shipped: Path, tmp_path_factory: pytest.TempPathFactory) -> engram.EditResult:
    out = tmp_path_factory.mktemp("edit") / "greece.delta"
    return engram.edits.update(shipped, "Greece", "P30", "Asia", out=out, filter_facts=4, others=20)


def test_update_is_the_commands(
    greece: engram.EditResult, shipped: Path, tmp_path: Path
) -> None:
    out = tmp_path / "greece.delta"
    want = engram_json(
        *("edit", "update", str(shipped), "--subject", "Greece", "--relation", "P30"),
        *("--to", "Asia", "--out", str(out), "--filter-facts", "4", "--others", "20"),
    )
    assert greece.record["scopes"] == want["scopes"]
    assert [list(n) for n in greece.delta.neurons] == want["neurons"]
    assert greece.delta.path is not None
    assert greece.delta.path.read_bytes() == out.read_bytes()
    assert greece.delta.target == "Asia" and greece.delta.kind == "update"
    assert greece.delta.side_effects[0].facts > 0


def test_easyedits_shape(greece: engram.EditResult) -> None:
    result = greece.easyedit()
    assert result["pre"]["rewrite_acc"] == [0.0] and result["post"]["rewrite_acc"] == [1.0]
    assert 0 <= result["post"]["rephrase_acc"][0] <= 1
    assert set(result["pre"]["locality"]) == {"same_relation_acc", "other_relations_acc"}
    assert result["requested_rewrite"]["target_new"] == "Asia"


def test_apply_and_undo_in_memory(greece: engram.EditResult, model: engram.Model) -> None:
    before = model.attribute(PROMPT, "Europe")
    vectors = model.value_vectors(greece.delta.neurons)
    assert model.predict(PROMPT).guesses[0].token == "Europe"
    model.apply(greece.delta)
    assert model.predict(PROMPT).guesses[0].token == "Asia"
    torch.testing.assert_close(
        model.value_vectors(greece.delta.neurons), greece.delta.values, rtol=0, atol=0
    )
    with pytest.raises(engram.UsageError, match="edits applied in memory"):
        model.folder()
    model.apply(model.erase_values("0:1,3:2"))
    model.undo()
    model.undo()
    torch.testing.assert_close(
        model.value_vectors(greece.delta.neurons), vectors, rtol=0, atol=0
    )
    after = model.attribute(PROMPT, "Europe")
    torch.testing.assert_close(after.scores, before.scores, rtol=0, atol=0)
    assert model.folder() == model.path


def test_apply_and_undo_in_a_folder(
    greece: engram.EditResult, model: engram.Model, shipped: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "edited"
    engram.edits.apply(shipped, greece.delta, copy)
    edited = engram.Model(copy)
    # In memory and in a folder the same edit is the same model.
    model.apply(greece.delta)
    a, b = model.predict(PROMPT).guesses[0], edited.predict(PROMPT).guesses[0]
    assert a == b and a.token == "Asia"
    (one,) = engram.edits.list_edits(copy)
    assert one["target"] == "Asia"
    changed = engram.edits.diff(shipped, copy)["changed"]
    assert [c["layer"] for c in changed] == sorted({n.layer for n in greece.delta.neurons})
    engram.edits.export(copy, tmp_path / "plain")
    assert engram.Model(tmp_path / "plain").predict(PROMPT).guesses[0].token == "Asia"
    engram.edits.undo(copy)
    assert engram.edits.diff(shipped, copy)["changed"] == []
    with pytest.raises(engram.InputError):
        engram.edits.undo(copy)


def test_an_edit_of_ones_own(model: engram.Model, shipped: Path, tmp_path: Path) -> None:
    best = model.attribute(PROMPT, "Europe").neurons(3)
    edit = model.update_values(best, PROMPT, "Europe", "Asia", lambda2=20)
    path = tmp_path / "own.delta"
    delta = edit.save(path, model)
    assert sorted(delta.neurons) == sorted(best)
    # The checkpoint is float16, and so are the values in the file.
    order = [edit.neurons.index(n) for n in delta.neurons]
    torch.testing.assert_close(
        delta.values, edit.values[order].half().float(), rtol=0, atol=0
    )
    engram.edits.apply(shipped, path, tmp_path / "copy")
    assert engram.Model(tmp_path / "copy").predict(PROMPT).guesses[0].token == "Asia"


def test_erase(shipped: Path, model: engram.Model) -> None:
    result = engram.edits.erase(shipped, "P30", limit=5, neurons=5, others=10)
    assert result.delta.path is None
    assert result.delta.values.abs().max().item() == 0
    assert len(result.delta.neurons) == 5
    model.apply(result.delta)
    with pytest.raises(engram.UsageError, match="without a file"):
        engram.edits.apply(shipped, result.delta, "nowhere")


def test_what_does_not_fit_is_refused(
    model: engram.Model, greece: engram.EditResult, tmp_path: Path
) -> None:
    with pytest.raises(engram.InputError, match="shape"):
        model.apply(engram.ValueEdit([engram.Neuron(0, 1)], torch.zeros(2, 256)))
    with pytest.raises(engram.UsageError, match="layers 0 to 3"):
        model.apply(engram.ValueEdit([engram.Neuron(9, 1)], torch.zeros(1, 256)))
    (tmp_path / "no.delta").write_text("nothing")
    with pytest.raises(engram.InputError):
        engram.read_delta(tmp_path / "no.delta")
    with pytest.raises(engram.InputError, match="Atlantis"):
        engram.edits.update(model, "Atlantis", "P30", "Asia")


def test_rome_and_the_audit_of_an_edit(shipped: Path, tmp_path: Path) -> None:
    made = engram.edits.rome(
        shipped, "Greece", "P30", "Asia", moments=tmp_path / "moments", corpus=shipped / "corpus.txt",
        corpus_tokens=4000, prefixes=2, steps=8, others=20, out=tmp_path / "rome.delta",
    )  # fmt: skip
    assert made.delta.kind == "rome" and made.delta.target == "Asia"
    assert len(made.delta.neurons) == made.delta.values.shape[0] > 500
    assert {neuron.layer for neuron in made.delta.neurons} == {made.record["layer"]}
    assert made.scopes["own"]["target_after"]["p"] > made.scopes["own"]["target_before"]["p"]
    found = engram.edits.audit(
        shipped, shipped / "facts.jsonl", edit=made.delta, never=4, relearn=[0], per_relation=20
    )
    assert found["subject"] == "Greece" and found["verdict"] == "undecided"  # of one fact
    assert [one["attack"] for one in found["attacks"]][:3] == ["paraphrases", "examples", "lens"]
    with pytest.raises(engram.UsageError, match="expected one of them"):
        engram.edits.audit(shipped, shipped / "facts.jsonl", edit=made.delta, edited=shipped)
