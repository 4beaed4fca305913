"""Models of transformers that lie in memory: shared weights, the same numbers, hooks."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Callable

import pytest
import torch

import engram

transformers = pytest.importorskip("transformers")

PROMPT = "The capital of France is [MASK]."


def masked(path: Path) -> tuple[Any, Any]:
    module = transformers.AutoModelForMaskedLM.from_pretrained(path, dtype=torch.float32).eval()
    return module, transformers.AutoTokenizer.from_pretrained(path)


def causal(path: Path) -> tuple[Any, Any]:
    module = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    return module, transformers.AutoTokenizer.from_pretrained(path)


@pytest.fixture
def live(shipped: Path) -> tuple[Any, Any, engram.Model]:
    module, tokenizer = masked(shipped)
    return module, tokenizer, engram.Model.from_transformers(module, tokenizer)


def small(kind: str, tokenizer: Any) -> Any:
    """A tiny module of a family with random weights."""
    torch.manual_seed(0)
    size = len(tokenizer)
    if kind == "gpt2":
        config = transformers.GPT2Config(
            vocab_size=size, n_embd=32, n_layer=2, n_head=4, n_positions=64
        )
    elif kind == "gpt_neox":
        config = transformers.GPTNeoXConfig(
            vocab_size=size,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=64,
        )
    elif kind == "llama":
        config = transformers.LlamaConfig(
            vocab_size=size,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
        )
    else:
        raise AssertionError(kind)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def module_p(module: Any, tokenizer: Any, word: str) -> float:
    """P of a word at the mask of PROMPT, as the module says."""
    given = tokenizer(PROMPT, return_tensors="pt")
    at = (given["input_ids"][0] == tokenizer.mask_token_id).nonzero()[0].item()
    with torch.no_grad():
        logits = module(**given).logits[0, at].double()
    return float(logits.softmax(-1)[tokenizer.convert_tokens_to_ids(word)].item())


def model_p(model: engram.Model, word: str) -> float:
    answer = model.predict(PROMPT, answer=word).answer
    assert answer is not None
    return answer.p


def test_weights_are_shared(live: tuple[Any, Any, engram.Model]) -> None:
    module, _, model = live
    state = module.state_dict(keep_vars=True)
    weights = model.weights()
    assert model.copied == {}
    assert len(weights) > 50
    for name, tensor in weights.items():
        assert tensor.data_ptr() == state[name].data_ptr(), name


def test_the_same_as_from_its_folder(
    live: tuple[Any, Any, engram.Model], model: engram.Model
) -> None:
    _, _, lent = live
    a, b = lent.attribute(PROMPT, "Paris"), model.attribute(PROMPT, "Paris")
    torch.testing.assert_close(a.scores, b.scores, rtol=0, atol=1e-6 * b.scores.abs().max().item())
    assert lent.folder() != model.folder()
    assert lent.predict(PROMPT).guesses[0].token == "Paris"


def test_logits_are_those_of_the_module(live: tuple[Any, Any, engram.Model]) -> None:
    module, tokenizer, model = live
    given = tokenizer(PROMPT, return_tensors="pt")
    at = (given["input_ids"][0] == tokenizer.mask_token_id).nonzero()[0].item()
    with torch.no_grad():
        p = module(**given).logits[0, at].double().softmax(-1)
    for guess in model.predict(PROMPT, top=20).guesses:
        assert guess.p == pytest.approx(p[guess.id].item(), rel=1e-4)


@pytest.mark.parametrize("fast", [False, True])
def test_a_change_there_is_seen_here(live: tuple[Any, Any, engram.Model], fast: bool) -> None:
    module, tokenizer, _ = live
    model = engram.Model.from_transformers(module, tokenizer, fast=fast)
    first = model.attribute(PROMPT, "Paris")  # makes what is derived from weights
    torch.testing.assert_close(first.p, model_p(model, "Paris"), rtol=1e-5, atol=0)
    before = model_p(model, "Paris")
    weight = module.bert.encoder.layer[0].output.dense.weight
    with torch.no_grad():
        weight.mul_(0)
    after = model_p(model, "Paris")
    assert after < before - 0.1
    assert after == pytest.approx(module_p(module, tokenizer, "Paris"), rel=1e-4)
    assert model.attribute(PROMPT, "Paris").p == pytest.approx(after, rel=1e-4)
    # Another tensor in its place.
    module.bert.encoder.layer[3].output.dense.weight = torch.nn.Parameter(
        torch.randn(weight.shape) * 0.01
    )
    third = model_p(model, "Paris")
    assert third != after
    assert third == pytest.approx(module_p(module, tokenizer, "Paris"), rel=1e-4)
    shared = model.weights()["bert.encoder.layer.3.output.dense.weight"]
    assert shared.data_ptr() == module.bert.encoder.layer[3].output.dense.weight.data_ptr()
    # And what cannot be used is refused, not taken.
    with torch.no_grad():
        module.bert.encoder.layer[3].output.dense.weight[0, 0] = float("nan")
    with pytest.raises(engram.InputError, match="NaN"):
        model.predict(PROMPT)


def test_writes_through_data_are_seen(live: tuple[Any, Any, engram.Model]) -> None:
    module, tokenizer, model = live
    model.attribute(PROMPT, "Paris")
    module.bert.encoder.layer[0].output.dense.weight.data.mul_(0)
    want = module_p(module, tokenizer, "Paris")
    assert want < 0.9
    assert model.attribute(PROMPT, "Paris").p == pytest.approx(want, rel=1e-4)


def test_edits_act_on_the_module(live: tuple[Any, Any, engram.Model]) -> None:
    module, _, model = live
    weight = module.bert.encoder.layer[3].output.dense.weight
    original = weight.detach().clone()
    best = [n for n in model.attribute(PROMPT, "Paris").neurons(5) if n.layer == 3]
    edit = model.update_values(best, PROMPT, "Paris", "Rome")
    model.apply(edit)
    columns = [n.neuron for n in best]
    torch.testing.assert_close(weight[:, columns].detach(), edit.values.t(), rtol=0, atol=0)
    assert model.predict(PROMPT).guesses[0].token == "Rome"
    model.apply(model.erase_values(best))
    assert weight[:, columns].abs().max().item() == 0
    model.undo()
    model.undo()
    assert torch.equal(weight.detach(), original)
    with pytest.raises(engram.UsageError, match="no edit"):
        model.undo()


@pytest.mark.parametrize("kind", ["gpt2", "gpt_neox", "llama"])
def test_decoders(kind: str) -> None:
    tokenizer = plain_tokenizer()
    module = small(kind, tokenizer)
    model = engram.Model.from_transformers(module, tokenizer)
    copied = model.copied
    state = module.state_dict(keep_vars=True)
    if kind == "gpt2":
        assert copied and all("transposed" in why or "fused" in why for why in copied.values())
    if kind == "gpt_neox":
        assert copied and all("fused" in why for why in copied.values())
    if kind == "llama":
        assert copied == {}
    shared = [n for n, t in model.weights().items() if n in state and n not in copied]
    assert shared
    for name in shared:
        assert model.weights()[name].data_ptr() == state[name].data_ptr(), name
    text = "the capital of france is"
    ids = tokenizer(text, return_tensors="pt")["input_ids"]

    def close() -> None:
        with torch.no_grad():
            p = module(input_ids=ids).logits[0, -1].double().softmax(-1)
        for guess in model.predict(text, top=10).guesses:
            assert guess.p == pytest.approx(p[guess.id].item(), rel=1e-3)

    close()
    # A change of a copied weight is seen as well.
    name = model.hf_module(1)
    value = module.get_submodule(name.rpartition(".")[0])
    with torch.no_grad():
        for parameter in value.parameters():
            parameter.mul_(3)
    close()
    # Edits write into the module whatever its layout.
    before = {n: t.detach().clone() for n, t in state.items()}
    model.apply(model.erase_values("1:3,0:5"))
    assert model.value_vectors("1:3,0:5").abs().max().item() == 0
    close()
    model.undo()
    assert all(torch.equal(before[n], t) for n, t in module.state_dict().items())


def plain_tokenizer() -> Any:
    """A tokenizer of a few words, for causal models: nothing at the ends."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["the", "capital", "of", "france", "is", "paris", "rome", "<unk>"]
    made = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>")


def test_half_precision_is_copied_and_said(shipped: Path) -> None:
    module, tokenizer = masked(shipped)
    model = engram.Model.from_transformers(module.half(), tokenizer)
    assert set(model.copied.values()) == {"stored as torch.float16"}
    assert model.predict(PROMPT).guesses[0].token == "Paris"
    with torch.no_grad():
        module.bert.encoder.layer[0].output.dense.weight.mul_(0)
    after = model_p(model, "Paris")
    assert after < 0.9
    assert after == pytest.approx(module_p(module.float(), tokenizer, "Paris"), rel=1e-3)


def test_what_does_not_fit_is_refused(shipped: Path) -> None:
    _, tokenizer = masked(shipped)
    body = transformers.AutoModel.from_pretrained(shipped)
    with pytest.raises(engram.InputError, match="LM head"):
        engram.Model.from_transformers(body, tokenizer)
    config = transformers.AlbertConfig(
        vocab_size=len(tokenizer),
        embedding_size=16,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
    )
    other = transformers.AutoModelForMaskedLM.from_config(config)
    with pytest.raises(engram.InputError, match="albert"):
        engram.Model.from_transformers(other, tokenizer)
    with pytest.raises(engram.InputError, match="different models"):
        engram.Model.from_transformers(small("llama", plain_tokenizer()), tokenizer)


def test_hooks_read_the_same_activation(live: tuple[Any, Any, engram.Model]) -> None:
    module, tokenizer, model = live
    a = model.attribute(PROMPT, "Paris")
    given = tokenizer(PROMPT, return_tensors="pt")
    for layer in range(model.config.layers):
        seen = engram.read_activation(module, model.config.family, layer, **given)
        torch.testing.assert_close(
            seen[0, a.positions[0]], a.activations[layer], rtol=1e-4, atol=1e-5
        )


def test_a_run_takes_a_live_model(
    live: tuple[Any, Any, engram.Model], model: engram.Model, facts: engram.FactSet, tmp_path: Path
) -> None:
    pytest.importorskip("pandas")
    _, _, lent = live
    some = facts[:6]
    a = engram.reproduce(lent, some, tmp_path / "a.db", only=["locate"])
    b = engram.reproduce(model, some, tmp_path / "b.db", only=["locate"])
    assert len(a.table("neuron")) > 0
    assert a.table("neuron").equals(b.table("neuron"))


@pytest.mark.parametrize("name", ["bert-base-cased", "bert-base-uncased"])
def test_real_bert(real: Callable[[str], Path], name: str) -> None:
    path = real(name)
    module, tokenizer = masked(path)
    begin = time.monotonic()
    model = engram.Model.from_transformers(module, tokenizer)
    took = time.monotonic() - begin
    assert took < 3, f"{took} s"  # a second on a machine that does nothing else
    assert model.copied == {}
    word = "paris" if "uncased" in name else "Paris"
    a = model.attribute(PROMPT, word)
    assert a.rank == 1
    given = tokenizer(PROMPT, return_tensors="pt")
    for layer in (0, 11):
        seen = engram.read_activation(module, model.config.family, layer, **given)
        torch.testing.assert_close(
            seen[0, a.positions[0]], a.activations[layer], rtol=1e-3, atol=1e-4
        )


def test_real_llama(real: Callable[[str], Path]) -> None:
    module, tokenizer = causal(real("smollm2-135m"))
    model = engram.Model.from_transformers(module, tokenizer)
    assert model.copied == {}
    text = "The capital of France is"
    a = model.attribute(text, "Paris")
    given = tokenizer(text, return_tensors="pt")
    for layer in (0, 29):
        seen = engram.read_activation(module, model.config.family, layer, **given)
        torch.testing.assert_close(
            seen[0, a.positions[0]], a.activations[layer], rtol=1e-3, atol=1e-4
        )
    with torch.no_grad():
        p = module(**given).logits[0, -1].double().softmax(-1)
    assert a.p == pytest.approx(p[a.answer_ids[0]].item(), rel=1e-3)
    got = model.predict(text, tokens=4)
    assert got.continuation is not None and "Paris" in got.continuation
