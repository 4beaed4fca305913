"""Answers, the lens and neurons, against the command's own numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import engram_json

import engram

PROMPT = "The capital of France is [MASK]."


def test_predict_is_the_commands(model: engram.Model, shipped: Path) -> None:
    got = model.predict(PROMPT, top=7, answer="Paris")
    want = engram_json("predict", str(shipped), PROMPT, "--top", "7", "--answer", "Paris")
    assert [(g.token, g.id, g.p) for g in got.guesses] == [
        (w["token"], w["id"], w["p"]) for w in want["predictions"]
    ]
    assert got.answer is not None
    assert got.answer.p == pytest.approx(want["answer"]["p"], rel=1e-12)
    assert got.answer.rank == want["answer"]["tokens"][0]["rank"]
    assert "Paris" in str(got)
    assert list(got.table()["token"])[0] == "Paris"


def test_an_answer_of_several_tokens(model: engram.Model, shipped: Path) -> None:
    text = "physics Paris"
    got = model.predict(PROMPT, answer=text).answer
    want = engram_json("predict", str(shipped), PROMPT, "--answer", text)["answer"]
    assert got is not None
    assert len(got.tokens) == len(want["tokens"]) > 1
    assert got.p == pytest.approx(want["p"], rel=1e-9)
    assert got.product == pytest.approx(want["product"], rel=1e-9)


def test_lens_is_the_commands(model: engram.Model, shipped: Path) -> None:
    got = model.lens(PROMPT, "Paris", top=3)
    want = engram_json("lens", str(shipped), PROMPT, "--answer", "Paris", "--top", "3")
    assert len(got.stages) == len(want["stages"]) == 1 + 2 * model.config.layers
    for stage, record in zip(got.stages, want["stages"]):
        assert stage.rank == record["rank"] and stage.p == record["p"]
        assert stage.logit == record["logit"] and stage.after == record["after"].lower()
        assert [g.token for g in stage.top] == [t["token"] for t in record["top"]]
    assert len(got.table()) == len(got.stages)


def test_neuron_is_the_commands(model: engram.Model, shipped: Path) -> None:
    corpus = shipped / "corpus.txt"
    got = model.neuron("3:643", corpus=corpus, limit=200, top=5)
    want = engram_json(
        "neuron", str(shipped), "3:643", "--corpus", str(corpus), "--limit", "200", "--top", "5"
    )
    assert got.key_norm == want["key_norm"] and got.value_norm == want["value_norm"]
    assert [(t, i) for t, i, *_ in got.raises] == [(r["token"], r["id"]) for r in want["raises"]]
    assert [(t, i) for t, i, *_ in got.lowers] == [(r["token"], r["id"]) for r in want["lowers"]]
    assert [(n.layer, n.neuron) for n, _ in got.near_by_key] == [
        (r["layer"], r["neuron"]) for r in want["near_by_key"]
    ]
    assert [t["line"] for t in got.most] == [t["line"] for t in want["activity"]["most_active"]]


def test_intervene(model: engram.Model) -> None:
    a = model.attribute(PROMPT, "Paris")
    best = a.neurons(5)
    plain = model.predict(PROMPT, answer="Paris").answer
    with model.intervene(best, zero=True) as changed:
        assert changed is model
        zeroed = model.predict(PROMPT, answer="Paris").answer
        with pytest.raises(engram.UsageError, match="not inside intervene"):
            model.attribute(PROMPT, "Paris")
        with pytest.raises(engram.UsageError, match="inside intervene"):
            with model.intervene(best, zero=True):
                pass
    after = model.predict(PROMPT, answer="Paris").answer
    assert plain is not None and zeroed is not None and after is not None
    assert zeroed.p < plain.p
    assert after.p == plain.p
    # Every other path to the same numbers.
    measured = model.measure(PROMPT, "Paris", best, zero=True)[0]
    assert measured.p_before == pytest.approx(plain.p, rel=1e-5)
    assert measured.p_after == pytest.approx(zeroed.p, rel=1e-5)
    with model.intervene(",".join(map(str, best)), "scale:0"):
        again = model.predict(PROMPT, answer="Paris").answer
    assert again is not None and again.p == zeroed.p
    with model.intervene(a.top(5), zero=True):  # a table
        again = model.predict(PROMPT, answer="Paris").answer
    assert again is not None and again.p == zeroed.p
    with model.intervene(best, double=True):
        doubled = model.predict(PROMPT, answer="Paris").answer
    assert doubled is not None and doubled.p > plain.p


def test_intervene_ends_with_an_exception(model: engram.Model) -> None:
    with pytest.raises(KeyError):
        with model.intervene("3:643", zero=True):
            raise KeyError
    assert model.attribute(PROMPT, "Paris").p > 0.9


def test_mean_takes_values(model: engram.Model) -> None:
    prompts = ["The capital of Italy is [MASK].", "The capital of Spain is [MASK]."]
    values = model.activations(prompts, ["Rome", "Madrid"])
    assert values.shape == (2, model.config.layers, model.config.d_ff)
    assert not values.is_inference()
    torch.testing.assert_close(values, model.activations(prompts), rtol=0, atol=0)
    measured = model.measure(PROMPT, "Paris", "3:643,3:44", "mean", values=values.mean(0))
    assert measured[0].p_after < measured[0].p_before
    with pytest.raises(engram.UsageError, match="needs values"):
        model.measure(PROMPT, "Paris", "3:643", "mean")
    with pytest.raises(engram.UsageError, match="expected"):
        model.measure(PROMPT, "Paris", "3:643", "mean", values=values)


def test_activations_are_those_of_attribution(model: engram.Model) -> None:
    a = model.attribute(PROMPT, "Paris")
    torch.testing.assert_close(model.activations(PROMPT, "Paris")[0], a.activations)
