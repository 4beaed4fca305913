#!/usr/bin/env python3
"""Makes small random checkpoints with transformers itself, as its users would save them.

Architecture, tensor names and files are those of `save_pretrained`; only the numbers come from
NumPy's PCG64, which gives the same ones on every machine. They are large enough that answers are
far from uniform: bare initial weights would hide most mistakes.
"""

import argparse
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

from vocabularies import write_tokenizer


@dataclasses.dataclass
class Recipe:
    family: str                    # as config.json's model_type names it
    tokenizer: str                 # see vocabularies.write_tokenizer
    vocabulary: int
    d_model: int
    heads: int
    layers: int
    d_ff: int
    seed: int
    activation: str = "gelu"
    epsilon: float = 1e-12         # DistilBERT fixes it
    dtype: str = "float32"
    tied: bool = True
    shard: str = ""                # save_pretrained's max_shard_size
    positions: int = 40
    old_names: bool = False        # LayerNorm.gamma/beta, pooler and the like, as on the hub
    tokenizer_class: str = ""      # another than the family's
    extra: dict = dataclasses.field(default_factory=dict)


# The stored ones are few and tiny, so that tests need neither Python nor a network.
STORED = {
    "bert-tiny": Recipe("bert", "wordpiece-json", 330, 24, 2, 3, 50, seed=1),
    "roberta-tiny": Recipe("roberta", "bpe-files", 350, 20, 1, 2, 44, seed=2, epsilon=1e-5),
    "distilbert-tiny": Recipe("distilbert", "wordpiece-txt-cased", 300, 20, 2, 2, 36, seed=3,
                              activation="relu", dtype="float16"),
    "bert-bf16-sharded-untied": Recipe("bert", "wordpiece-json-cased", 320, 24, 3, 2, 40, seed=4,
                                       activation="gelu_new", epsilon=1e-5, dtype="bfloat16",
                                       tied=False, shard="30KB"),
    "electra-tiny": Recipe("electra", "wordpiece-txt", 310, 24, 2, 3, 44, seed=5,
                           extra={"embedding_size": 14}),
    "gpt2-tiny": Recipe("gpt2", "gpt2-files", 301, 30, 3, 3, 50, seed=61, activation="gelu_new",
                        epsilon=1e-5),
    "gpt-neox-tiny": Recipe("gpt_neox", "neox-json", 309, 30, 3, 2, 44, seed=62, epsilon=1e-5,
                            dtype="float16", tied=False, extra={"rotary_pct": 0.4}),
    "llama-tiny": Recipe("llama", "llama-json", 405, 25, 5, 3, 37, seed=63, activation="silu",
                         epsilon=1e-5, dtype="bfloat16", shard="30KB", extra={
                             "head_dim": 6, "num_key_value_heads": 1, "rope_parameters": {
                                 "rope_type": "llama3", "rope_theta": 50.0, "factor": 4.0,
                                 "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                 "original_max_position_embeddings": 16}}),
    "gemma-tiny": Recipe("gemma", "gemma-json", 411, 24, 4, 2, 38, seed=64, epsilon=1e-6,
                         activation="gelu_pytorch_tanh",
                         extra={"head_dim": 10, "num_key_value_heads": 2}),
}

LIVE = {
    "bert-odd-heads": Recipe("bert", "wordpiece-txt", 400, 60, 3, 5, 101, seed=11,
                             activation="gelu_pytorch_tanh", epsilon=1e-7),
    "bert-relu-f16": Recipe("bert", "wordpiece-json-cased", 400, 36, 3, 2, 100, seed=12,
                            activation="relu", dtype="float16", shard="60KB"),
    "bert-silu-bf16": Recipe("bert", "wordpiece-txt-cased", 400, 40, 2, 3, 96, seed=13,
                             activation="silu", dtype="bfloat16", epsilon=1e-3),
    "bert-old-names": Recipe("bert", "wordpiece-txt", 380, 48, 4, 2, 72, seed=14, old_names=True),
    "bert-one-head-untied": Recipe("bert", "wordpiece-json", 380, 20, 1, 1, 30, seed=15,
                                   tied=False, activation="swish",
                                   extra={"type_vocab_size": 1}),
    "roberta-json-untied": Recipe("roberta", "bpe-json", 420, 36, 3, 3, 90, seed=21, epsilon=1e-5,
                                  tied=False, activation="gelu_new"),
    "roberta-f16-sharded": Recipe("roberta", "bpe-files", 420, 60, 5, 2, 121, seed=22,
                                  epsilon=1e-5, dtype="float16", shard="60KB", activation="silu"),
    "roberta-old-names": Recipe("roberta", "bpe-files", 400, 48, 4, 2, 64, seed=23, epsilon=1e-6,
                                old_names=True),
    "xlm-roberta": Recipe("xlm-roberta", "unigram-json", 420, 36, 3, 3, 90, seed=24, epsilon=1e-5),
    "camembert-untied": Recipe("camembert", "unigram-json", 400, 40, 4, 2, 66, seed=25,
                               epsilon=1e-5, tied=False, activation="gelu_new"),
    "distilbert-bf16-sharded": Recipe("distilbert", "wordpiece-json", 400, 60, 5, 4, 77, seed=31,
                                      dtype="bfloat16", shard="60KB"),
    "distilbert-sinusoidal": Recipe("distilbert", "wordpiece-txt", 380, 40, 2, 3, 64, seed=32,
                                    extra={"sinusoidal_pos_embds": True}),
    "electra-untied-f16": Recipe("electra", "wordpiece-json-cased", 400, 60, 5, 4, 96, seed=51,
                                 tied=False, dtype="float16", activation="gelu_new",
                                 epsilon=1e-7, extra={"embedding_size": 36}),
    "electra-as-wide": Recipe("electra", "wordpiece-json", 380, 40, 4, 2, 70, seed=52,
                              extra={"embedding_size": 40}),
    "gpt2-untied": Recipe("gpt2", "gpt2-json", 333, 36, 2, 2, 144, seed=71, activation="gelu_new",
                          epsilon=1e-3, tied=False, dtype="float16", shard="60KB"),
    "gpt-neox-sequential": Recipe("gpt_neox", "neox-json", 341, 40, 4, 3, 66, seed=72, epsilon=1e-5,
                                  tied=False, extra={
                                      "use_parallel_residual": False, "rope_parameters": {
                                          "rope_type": "linear", "rope_theta": 100.0,
                                          "factor": 3.0, "partial_rotary_factor": 0.6}}),
    "gpt-neox-tied": Recipe("gpt_neox", "neox-json", 325, 24, 2, 2, 40, seed=73, epsilon=1e-5,
                            extra={"rotary_pct": 1.0, "attention_bias": False}),
    "llama-biased": Recipe("llama", "llama3-json", 339, 36, 3, 3, 70, seed=74, epsilon=1e-6,
                           activation="silu", tied=False,
                           tokenizer_class="PreTrainedTokenizerFast",
                           extra={"attention_bias": True, "mlp_bias": True, "rope_parameters": {
                               "rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}}),
    "llama-as-llama-2": Recipe("llama", "llama3-json", 347, 40, 4, 2, 55, seed=75, epsilon=1e-5,
                               activation="silu", dtype="bfloat16",
                               tokenizer_class="LlamaTokenizer", extra={"num_key_value_heads": 2}),
    "mistral": Recipe("mistral", "llama-json", 421, 36, 6, 3, 61, seed=76, activation="silu",
                      epsilon=1e-5, tied=False, dtype="bfloat16", shard="60KB",
                      extra={"num_key_value_heads": 2, "sliding_window": 37, "head_dim": 10}),
    "qwen2": Recipe("qwen2", "qwen-json", 331, 40, 4, 3, 70, seed=77, activation="silu",
                    extra={"num_key_value_heads": 2, "rms_norm_eps": 1e-6}),
    "qwen2-as-gpt2": Recipe("qwen2", "qwen-json", 317, 36, 6, 2, 51, seed=78, activation="silu",
                            tied=False, tokenizer_class="GPT2Tokenizer",
                            extra={"num_key_value_heads": 1}),
    "qwen3": Recipe("qwen3", "qwen-json", 333, 40, 4, 3, 70, seed=79, activation="silu",
                    epsilon=1e-6, extra={"num_key_value_heads": 2, "head_dim": 14}),
    "qwen3-f16-untied": Recipe("qwen3", "qwen-json", 325, 30, 5, 2, 45, seed=80, epsilon=1e-5,
                               activation="silu", tied=False, dtype="float16",
                               extra={"num_key_value_heads": 1, "head_dim": 10,
                                      "attention_bias": True}),
    "gemma-legacy-gelu": Recipe("gemma", "gemma-json", 419, 40, 5, 3, 66, seed=81, activation="gelu",
                                epsilon=1e-6, dtype="bfloat16",
                                extra={"head_dim": 12, "num_key_value_heads": 1}),
    "bert-base-sized": Recipe("bert", "wordpiece-txt-cased", 600, 768, 12, 12, 3072, seed=41,
                              positions=512),
    "roberta-base-sized": Recipe("roberta", "bpe-json", 600, 768, 12, 12, 3072, seed=42,
                                 epsilon=1e-5, positions=514, dtype="float16"),
    "distilbert-base-sized": Recipe("distilbert", "wordpiece-json", 600, 768, 12, 6, 3072, seed=43,
                                    positions=512, dtype="bfloat16", shard="50MB"),
}


CONFIGS = {"bert": transformers.BertConfig, "roberta": transformers.RobertaConfig,
           "xlm-roberta": transformers.XLMRobertaConfig, "camembert": transformers.CamembertConfig,
           "electra": transformers.ElectraConfig, "gpt_neox": transformers.GPTNeoXConfig,
           "llama": transformers.LlamaConfig, "mistral": transformers.MistralConfig,
           "qwen2": transformers.Qwen2Config, "qwen3": transformers.Qwen3Config,
           "gemma": transformers.GemmaConfig}
TOKENIZERS = {"bert": "BertTokenizer", "roberta": "RobertaTokenizer",
              "xlm-roberta": "XLMRobertaTokenizer", "camembert": "CamembertTokenizer",
              "distilbert": "DistilBertTokenizer", "electra": "ElectraTokenizer",
              "gpt2": "GPT2Tokenizer", "gpt_neox": "GPTNeoXTokenizer", "llama": "LlamaTokenizer",
              "mistral": "LlamaTokenizer", "qwen2": "Qwen2Tokenizer", "qwen3": "Qwen2Tokenizer",
              "gemma": "GemmaTokenizer"}
MODELS = {"bert": transformers.BertForMaskedLM, "roberta": transformers.RobertaForMaskedLM,
          "xlm-roberta": transformers.XLMRobertaForMaskedLM,
          "camembert": transformers.CamembertForMaskedLM,
          "distilbert": transformers.DistilBertForMaskedLM,
          "electra": transformers.ElectraForMaskedLM, "gpt2": transformers.GPT2LMHeadModel,
          "gpt_neox": transformers.GPTNeoXForCausalLM, "llama": transformers.LlamaForCausalLM,
          "mistral": transformers.MistralForCausalLM, "qwen2": transformers.Qwen2ForCausalLM,
          "qwen3": transformers.Qwen3ForCausalLM, "gemma": transformers.GemmaForCausalLM}
DECODERS = ("gpt2", "gpt_neox", "llama", "mistral", "qwen2", "qwen3", "gemma")


def make_config(recipe: Recipe, vocabulary: int):
    r = recipe
    if r.family == "distilbert":
        return transformers.DistilBertConfig(
            vocab_size=vocabulary, dim=r.d_model, n_heads=r.heads, n_layers=r.layers,
            hidden_dim=r.d_ff, activation=r.activation, max_position_embeddings=r.positions,
            tie_word_embeddings=r.tied, pad_token_id=0, **r.extra)
    if r.family == "gpt2":
        return transformers.GPT2Config(
            vocab_size=vocabulary, n_embd=r.d_model, n_head=r.heads, n_layer=r.layers,
            n_inner=None if r.d_ff == 4 * r.d_model else r.d_ff, n_positions=r.positions,
            activation_function=r.activation, layer_norm_epsilon=r.epsilon,
            tie_word_embeddings=r.tied, bos_token_id=0, eos_token_id=0, **r.extra)
    if r.family in DECODERS:
        epsilon = "layer_norm_eps" if r.family == "gpt_neox" else "rms_norm_eps"
        return CONFIGS[r.family](**{
            "vocab_size": vocabulary, "hidden_size": r.d_model, "num_attention_heads": r.heads,
            "num_hidden_layers": r.layers, "intermediate_size": r.d_ff, "hidden_act": r.activation,
            epsilon: r.epsilon, "max_position_embeddings": r.positions,
            "tie_word_embeddings": r.tied, "pad_token_id": None, "bos_token_id": 0,
            "eos_token_id": 0, **r.extra})
    kind = CONFIGS[r.family]
    special = ({"pad_token_id": 0} if r.family in ("bert", "electra") else
               {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1})
    return kind(vocab_size=vocabulary, hidden_size=r.d_model, num_attention_heads=r.heads,
                num_hidden_layers=r.layers, intermediate_size=r.d_ff, hidden_act=r.activation,
                layer_norm_eps=r.epsilon, max_position_embeddings=r.positions,
                tie_word_embeddings=r.tied, **{**special, **r.extra})


def fill(model: torch.nn.Module, recipe: Recipe) -> None:
    """Replaces every parameter by seeded numbers.

    Matrices keep the size of their input (variance about 1/d), norms stay near 1 and biases near 0;
    the last norm is larger, which makes logits spread enough for probabilities far from uniform.
    Gemma's norms store their scale less one.
    """
    generator = np.random.Generator(np.random.PCG64(recipe.seed))
    spread = 2.5
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.from_numpy(generator.standard_normal(tuple(parameter.shape)))
            if parameter.dim() == 2:
                value = noise * (1.1 / recipe.d_model ** 0.5)
            elif name.endswith("weight"):      # a norm's scale
                is_head = any(part in name for part in (
                    "vocab_layer_norm", "lm_head", ".transform.", "generator_predictions",
                    "ln_f", "final_layer_norm", "model.norm"))
                value = (spread if is_head else 1.0) * (1 + 0.1 * noise)
                value -= 1.0 if recipe.family == "gemma" else 0.0
            else:
                value = 0.1 * noise
            parameter.copy_(value)


def rename_as_on_the_hub(folder: Path) -> None:
    """The tensor names of the checkpoints of 2018/19: old norm names, heads that nobody uses."""
    file = folder / "model.safetensors"
    tensors = {}
    for name, tensor in load_file(file).items():
        if ".bert." in name or name.startswith(("bert.", "cls.")):
            name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
            name = name.replace("LayerNorm.bias", "LayerNorm.beta")
        tensors[name] = tensor
    config = json.loads((folder / "config.json").read_text("utf-8"))
    d_model = config["hidden_size"]
    prefix = "bert" if config["model_type"] == "bert" else "roberta"
    tensors[prefix + ".pooler.dense.weight"] = torch.zeros(d_model, d_model)
    tensors[prefix + ".pooler.dense.bias"] = torch.zeros(d_model)
    tensors[prefix + ".embeddings.position_ids"] = torch.arange(
        config["max_position_embeddings"]).unsqueeze(0)
    if prefix == "bert":
        tensors["cls.seq_relationship.weight"] = torch.zeros(2, d_model)
        tensors["cls.seq_relationship.bias"] = torch.zeros(2)
    # The oldest config files lack the fields that were added later.
    for field in ("tie_word_embeddings", "dtype", "use_cache", "is_decoder",
                  "add_cross_attention", "position_embedding_type"):
        config.pop(field, None)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", "utf-8")
    save_file(tensors, file, metadata={"format": "pt"})


def make(name: str, recipe: Recipe, into: Path) -> Path:
    folder = into / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    usable = recipe.positions - (2 if "roberta" in recipe.family or "camembert" in recipe.family else 0)
    vocabulary = write_tokenizer(folder, recipe.tokenizer, recipe.vocabulary,
                                 recipe.tokenizer_class or TOKENIZERS[recipe.family], usable)
    # CamembertTokenizer adds tokens of its own.
    vocabulary = max(vocabulary, len(transformers.AutoTokenizer.from_pretrained(folder)))
    config = make_config(recipe, vocabulary)
    model = MODELS[recipe.family](config)
    fill(model, recipe)
    model.to(getattr(torch, recipe.dtype))
    model.save_pretrained(folder, **({"max_shard_size": recipe.shard} if recipe.shard else {}))
    (folder / "generation_config.json").unlink(missing_ok=True)
    if recipe.old_names:
        rename_as_on_the_hub(folder)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("into", type=Path)
    parser.add_argument("--set", choices=("stored", "live", "all"), default="stored")
    parser.add_argument("--only", default="", help="comma-separated names")
    options = parser.parse_args()
    recipes = {**(STORED if options.set != "live" else {}), **(LIVE if options.set != "stored" else {})}
    wanted = options.only.split(",") if options.only else list(recipes)
    for name in wanted:
        folder = make(name, recipes[name], options.into)
        size = sum(f.stat().st_size for f in folder.iterdir())
        print(f"made {folder} ({size / 1000:.0f} kB)", flush=True)


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    main()
