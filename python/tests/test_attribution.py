"""Attribution, against the command's own numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from conftest import engram_json, run_engram

import engram

PROMPT = "The capital of France is [MASK]."
PROMPTS = [
    PROMPT,
    "Paris is the capital of [MASK].",
    "The continent of Greece is [MASK].",
]
ANSWERS = ["Paris", "France", "Europe"]


def command_scores(tmp_path: Path, shipped: Path, *words: str) -> numpy.ndarray[Any, Any]:
    out = tmp_path / "scores.npy"
    done = run_engram("attribute", str(shipped), *words, "--scores", str(out), "--quiet")
    assert done.returncode == 0, done.stderr
    loaded: numpy.ndarray[Any, Any] = numpy.load(out)
    return loaded


def test_scores_are_the_commands(model: engram.Model, shipped: Path, tmp_path: Path) -> None:
    a = model.attribute(PROMPT, "Paris")
    assert a.scores.dtype == torch.float32
    assert a.scores.shape == (model.config.layers, model.config.d_ff)
    assert a.activations.shape == a.scores.shape
    want = command_scores(tmp_path, shipped, "--prompt", PROMPT, "--answer", "Paris")
    numpy.testing.assert_array_equal(a.scores.numpy(), want)
    found = engram_json("attribute", str(shipped), "--prompt", PROMPT, "--answer", "Paris")
    assert a.p == found["p"] and a.rank == found["rank"] and a.f == found["f"]
    assert [layer.gap for layer in a.layers] == [layer["gap"] for layer in found["layers"]]
    assert a.gap == max(layer["gap"] for layer in found["layers"])
    top = a.top(20)
    for row, want_row in zip(top.to_dict("records"), found["neurons"]):
        assert (row["layer"], row["neuron"]) == (want_row["layer"], want_row["neuron"])
        assert row["score"] == want_row["score"]
        assert row["activation"] == want_row["activation"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rule": "riemann-left"}, ["--rule", "riemann-left"]),
        ({"rule": "gauss-legendre", "steps": 5}, ["--rule", "gauss-legendre", "--steps", "5"]),
        ({"score": "activation"}, ["--score", "activation"]),
        ({"score": "relp"}, ["--score", "relp"]),
        ({"tolerance": 0.001}, ["--tolerance", "0.001"]),
        ({"target": "logit-diff:London"}, ["--target", "logit-diff:London"]),
        ({"at": "subject", "subject": "France"}, ["--at", "subject", "--subject", "France"]),
    ],
)
def test_options_are_the_commands(
    model: engram.Model,
    shipped: Path,
    tmp_path: Path,
    options: dict[str, Any],
    words: list[str],
) -> None:
    a = model.attribute(PROMPT, "Paris", **options)
    want = command_scores(tmp_path, shipped, "--prompt", PROMPT, "--answer", "Paris", *words)
    numpy.testing.assert_array_equal(a.scores.numpy(), want)


def test_many_prompts(model: engram.Model) -> None:
    many = model.attribute(PROMPTS, ANSWERS)
    assert many.scores.shape == (3, model.config.layers, model.config.d_ff)
    assert len(many) == 3
    for one, prompt, answer, row in zip(many, PROMPTS, ANSWERS, many.scores):
        assert (one.prompt, one.answer) == (prompt, answer)
        assert one.scores.data_ptr() == row.data_ptr()
        alone = model.attribute(prompt, answer)
        scale = alone.scores.abs().max().item()
        torch.testing.assert_close(one.scores, alone.scores, rtol=0, atol=1e-5 * scale)
    table = many.table(3)
    assert len(table) == 9
    assert list(table["prompt"].unique()) == PROMPTS


def test_predicted_is_the_top_answer(model: engram.Model) -> None:
    a = model.attribute(PROMPT, predicted=True)
    assert a.answer == "Paris"
    assert a.rank == 1


def test_results_are_plain_tensors(model: engram.Model) -> None:
    a = model.attribute(PROMPT, "Paris")
    assert not a.scores.is_inference()
    a.scores.numpy()[0, 0] = 3  # the same memory
    assert a.scores[0, 0].item() == 3
    weight = torch.ones_like(a.scores, requires_grad=True)
    (weight * a.scores).sum().backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, a.scores)


def test_results_outlive_the_model(shipped: Path) -> None:
    model = engram.Model(shipped)
    a = model.attribute(PROMPT, "Paris")
    weight = model.weights()["bert.embeddings.word_embeddings.weight"]
    want, first = a.scores.clone(), weight[0].clone()
    del model
    torch.testing.assert_close(a.scores, want, rtol=0, atol=0)
    torch.testing.assert_close(weight[0], first, rtol=0, atol=0)


def test_hook_names(model: engram.Model) -> None:
    top = model.attribute(PROMPT, "Paris").top(1).to_dict("records")[0]
    assert top["hook"] == f"blocks.{top['layer']}.mlp.hook_post"
    assert top["hf_module"] == f"bert.encoder.layer.{top['layer']}.intermediate"
    assert top["hf_side"] == "output"


def test_picture_is_the_commands(model: engram.Model, shipped: Path, tmp_path: Path) -> None:
    a = model.attribute(PROMPT, "Paris")
    out = tmp_path / "paris.svg"
    done = run_engram(
        "attribute", str(shipped), "--prompt", PROMPT, "--answer", "Paris", "--picture", str(out)
    )
    assert done.returncode == 0, done.stderr
    assert a.picture("svg").decode() == out.read_text(encoding="utf-8")
    assert a._repr_html_().startswith("<svg")


def test_plot(model: engram.Model) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    a = model.attribute(PROMPT, "Paris")
    heights = [bar.get_height() for bar in a.plot().patches[: model.config.layers]]
    numpy.testing.assert_allclose(heights, a.scores.clamp(min=0).sum(1).numpy(), rtol=1e-6)


def test_save(model: engram.Model, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    a = model.attribute(PROMPT, "Paris")
    path = tmp_path / "scores.safetensors"
    a.save(path)
    with safetensors.safe_open(path, "pt") as file:
        header = file.metadata()
        torch.testing.assert_close(file.get_tensor("scores"), a.scores, rtol=0, atol=0)
    assert header["fingerprint"] == model.fingerprint
    assert header["prompt"] == PROMPT and header["answer"] == "Paris"
    assert '"rule": "control-variate"' in header["options"]
    assert '"target": "prob"' in header["options"]
    assert "blocks.0.mlp.hook_post" in header["hooks"]


def test_progress(model: engram.Model) -> None:
    seen: list[tuple[int, int]] = []
    model.attribute(PROMPTS, ANSWERS, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == [1, 2, 3]
    assert {total for _, total in seen} == {3}


def test_threads_are_left_alone(model: engram.Model) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        model.attribute(PROMPTS, ANSWERS)
        model.predict(PROMPT)
        engram.Model(model.path or "")
        assert torch.get_num_threads() == 1
        torch.set_num_threads(2)
        model.attribute(PROMPTS, ANSWERS, threads=1)
        engram.command("predict", str(model.path), PROMPT, "--threads", "1")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_graph_for_neuronpedia(model: engram.Model, tmp_path: Path) -> None:
    a = model.attribute(PROMPT, "Paris")
    graph = a.neuronpedia(tmp_path / "graph.json", k=7, slug="capital-of-france")
    with open(tmp_path / "graph.json", encoding="utf-8") as file:
        assert json.load(file) == graph
    assert graph["metadata"]["slug"] == "capital-of-france"
    assert graph["metadata"]["prompt"] == PROMPT
    assert graph["metadata"]["prompt_tokens"] == a.tokens and "[MASK]" in a.tokens
    # What the site's schema asks of every node and link.
    by_id = {}
    for node in graph["nodes"]:
        by_id[node["node_id"]] = node
        assert {"feature", "layer", "ctx_idx", "feature_type", "jsNodeId", "clerp"} <= set(node)
        assert 0 <= node["ctx_idx"] < len(a.ids)
    assert len(by_id) == len(graph["nodes"])
    kinds = [node["feature_type"] for node in graph["nodes"]]
    assert kinds.count("embedding") == len(a.ids)
    assert kinds.count("cross layer transcoder") == 7
    assert kinds.count("logit") == 1
    target = next(node for node in graph["nodes"] if node["feature_type"] == "logit")
    assert target["token_prob"] == a.p and target["ctx_idx"] == a.positions[0]
    # A neuron's link is its score, and a layer's links add up to the sum of its scores.
    sums = [0.0] * model.config.layers
    for link in graph["links"]:
        source = by_id[link["source"]]
        assert link["target"] == target["node_id"]
        sums[int(source["layer"])] += link["weight"]
        if source["feature_type"] == "cross layer transcoder":
            assert link["weight"] == a.scores[int(source["layer"]), source["feature"]].item()
    for layer, total in zip(a.layers, sums):
        assert total == pytest.approx(layer.sum, abs=1e-6)
    share = [node["influence"] for node in graph["nodes"] if "influence" in node]
    assert share == sorted(share) and share[-1] <= 1
    assert set(graph["qParams"]["pinnedIds"]) <= set(by_id)


def test_a_graph_at_the_subject(model: engram.Model) -> None:
    a = model.attribute(PROMPT, "Paris", at="subject", subject="France")
    nodes = a.neuronpedia(k=3)["nodes"]
    at = {node["ctx_idx"] for node in nodes if node["feature_type"] == "cross layer transcoder"}
    assert at == set(a.neuron_positions)
    assert a.tokens[a.neuron_positions[0]] == "France"
    assert a.neuron_positions != a.positions
