#!/usr/bin/env python3
"""Writes small tokenizers in every form that is read, each with the ids transformers gives.

    make_tokenizers.py [FOLDER]        (tests/data/tokenizers of the source tree if not given)

FOLDER/<kind>/ holds the tokenizer's files and expected.json, read by tests/text/tokenizer_test.cc.
FOLDER/settings.json holds a grid of folders whose files disagree or lack something, each as changes
to one of the kinds, with the ids that AutoTokenizer gives (tests/text/tokenizer_settings_test.cc).
"""

import itertools
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

from transformers import AutoTokenizer  # noqa: E402

from vocabularies import dump_json, write_tokenizer  # noqa: E402

KINDS = {
    "wordpiece-json": "BertTokenizer",
    "wordpiece-json-cased": "BertTokenizer",
    "wordpiece-txt": "BertTokenizer",
    "wordpiece-txt-cased": "BertTokenizer",
    "bpe-json": "RobertaTokenizer",
    "bpe-files": "RobertaTokenizer",
    "unigram-json": "XLMRobertaTokenizer",
    "gpt2-files": "GPT2Tokenizer",
    "neox-json": "GPTNeoXTokenizer",
    "qwen-json": "Qwen2Tokenizer",
    "llama3-json": "PreTrainedTokenizerFast",
    "llama-json": "LlamaTokenizer",
    "gemma-json": "GemmaTokenizer",
}
BYTE_LEVEL = ("bpe", "gpt2", "neox", "qwen", "llama3")

# MASK stands for the mask token. The folder's tokenizers were trained on corpus.txt, so these hold
# whole words, pieces, unknown words, and characters that no token has.
TEXTS = [
    "The capital of France is MASK.",
    "MASK is the capital of Germany.",
    "MASK",
    "Paris, MASK; MASK, Berlin",
    "capitalMASKcity (MASK)",
    "Élodie MÜLLER speaks Français in Orléans: naïve façade, Größe, Straße.",
    "e\u0301 is e with a combining accent; ﬁ is a ligature; Å is Angstrom",
    "東京 is the capital of 日本. 日本の首都は東京です。",
    "Москва αθήνα 서울 МОСКВА ΑΘΉΝΑ",
    "I love 🍕 and 🗼! 😀👩‍🚀🇫🇷",
    "SHOUTED Words And mIxEd case",
    "two  spaces\tand\ta tab, a\u00a0hard space, a line\nbreak ",
    " leading space",
    "Don't e-mail someone@example.org (2021/05/17) 3.5%...",
    "control\u0007character and a \ufffd and zero\u200bwidth",
    "x" * 120,
    "",
    " ",
]
ADDED = "<entity>"


def add_settings(folder: Path, kind: str, size: int) -> None:
    """What published folders hold beside the vocabulary."""
    if kind == "wordpiece-json":
        # Left behind by whoever saved the tokenizer after a run; no text is to be cut or filled.
        path = folder / "tokenizer.json"
        stored = json.loads(path.read_text("utf-8"))
        stored["truncation"] = {"direction": "Right", "max_length": 6, "stride": 0,
                                "strategy": "LongestFirst"}
        stored["padding"] = {"direction": "Right", "pad_id": 0, "pad_token": "[PAD]",
                             "pad_to_multiple_of": None, "pad_type_id": 0,
                             "strategy": {"Fixed": 64}}
        dump_json(path, stored)
    if kind == "wordpiece-txt-cased":
        # A token that is not in vocab.txt.
        path = folder / "tokenizer_config.json"
        settings = json.loads(path.read_text("utf-8"))
        settings["added_tokens_decoder"] = {str(size): {
            "content": ADDED, "lstrip": False, "normalized": False, "rstrip": False,
            "single_word": False, "special": False}}
        dump_json(path, settings)


def expected(folder: Path, kind: str) -> dict:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [text.replace("MASK", tokenizer.mask_token or "[MASK]") for text in TEXTS]
    if kind == "wordpiece-txt-cased":
        texts.append(f"Paris{ADDED}Berlin {ADDED} ##s")
    rows = []
    for text in texts:
        ids = tokenizer(text)["input_ids"]
        rows.append({
            "text": text,
            "ids": ids,
            "tokens": tokenizer.convert_ids_to_tokens(ids),
            "plain": tokenizer(text, add_special_tokens=False)["input_ids"],
            "decoded": tokenizer.backend_tokenizer.decode(ids, skip_special_tokens=False),
            "decoded_plain": tokenizer.backend_tokenizer.decode(ids, skip_special_tokens=True),
        })
    return {
        "vocabulary": len(tokenizer),
        "mask": tokenizer.mask_token_id,
        "unknown": tokenizer.unk_token_id,
        "special": sorted(i for i, t in tokenizer.added_tokens_decoder.items() if t.special),
        "byte_level": kind.split("-")[0] in BYTE_LEVEL,
        "texts": rows,
    }


def flags(content: str, **changed) -> dict:
    """An added token as tokenizer_config.json writes it."""
    return {"content": content, "lstrip": False, "normalized": False, "rstrip": False,
            "single_word": False, "special": True, **changed}


def named(content: str, **changed) -> dict:
    token = {"__type": "AddedToken", **flags(content, **changed)}
    del token["special"]
    return token


def cases(out: Path) -> list[dict]:
    """The grid: {"name", "base", "files": {file: merge patch (RFC 7396), or null: not there}}."""
    found = []

    def case(name: str, base: str, **files) -> None:
        found.append({"name": name, "base": base,
                      "files": {key.replace("__", ".").replace("_json", ".json"): value
                                for key, value in files.items()}})

    bert, roberta = {"model_type": "bert"}, {"model_type": "roberta"}
    for base in ("wordpiece-json", "wordpiece-json-cased"):
        for lower, accents, chinese in itertools.product((True, False, None), repeat=3):
            given = {"do_lower_case": lower, "strip_accents": accents,
                     "tokenize_chinese_chars": chinese}
            case(f"{base} {lower} {accents} {chinese}", base, config_json=bert,
                 tokenizer_config_json=given)
        case(f"{base} without settings", base, config_json=bert, tokenizer_config_json=None)
        for name in ("BertTokenizerFast", "DistilBertTokenizer", "PreTrainedTokenizerFast",
                     "TokenizersBackend", "ElectraTokenizer"):
            for lower in (True, False):
                case(f"{base} {name} {lower}", base, config_json=bert,
                     tokenizer_config_json={"tokenizer_class": name, "do_lower_case": lower})
        case(f"{base} class in config.json", base,
             config_json={"model_type": "bert", "tokenizer_class": "PreTrainedTokenizerFast"},
             tokenizer_config_json={"tokenizer_class": None})
        case(f"{base} two classes", base,
             config_json={"model_type": "bert", "tokenizer_class": "PreTrainedTokenizerFast"},
             tokenizer_config_json={"tokenizer_class": "BertTokenizer", "do_lower_case": False})
        case(f"{base} of a RoBERTa", base, config_json=roberta)
        case(f"{base} of a DistilBERT", base, config_json={"model_type": "distilbert"},
             tokenizer_config_json={"tokenizer_class": None})
        case(f"{base} no ends", base, config_json=bert, tokenizer_json={"post_processor": None})
        case(f"{base} no ends, as file", base, config_json=bert,
             tokenizer_json={"post_processor": None},
             tokenizer_config_json={"tokenizer_class": "PreTrainedTokenizerFast"})
        for name in ("BertTokenizer", "PreTrainedTokenizerFast"):
            case(f"{base} mask in the vocabulary alone, {name}", base, config_json=bert,
                 tokenizer_json={"added_tokens": [
                     {"id": i, **flags(t)} for i, t in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]"))]},
                 tokenizer_config_json={"tokenizer_class": name})
            case(f"{base} nothing added, {name}", base, config_json=bert,
                 tokenizer_json={"added_tokens": []},
                 tokenizer_config_json={"tokenizer_class": name})
            case(f"{base} decoder, {name}", base, config_json=bert,
                 tokenizer_config_json={"tokenizer_class": name, "added_tokens_decoder": {
                     "4": flags("[MASK]", lstrip=True), "401": flags("<two>", special=False),
                     "400": flags("<one>", special=False, normalized=True),
                     "9": flags("paris", single_word=True)}})
            case(f"{base} added_tokens.json, {name}", base, config_json=bert,
                 added_tokens_json={"<two>": 401, "<one>": 400, "[MASK]": 4},
                 tokenizer_config_json={"tokenizer_class": name})
            case(f"{base} both, {name}", base, config_json=bert,
                 added_tokens_json={"<three>": 401},
                 tokenizer_config_json={"tokenizer_class": name, "added_tokens_decoder": {
                     "4": flags("[MASK]"), "400": flags("<one>", special=False)}})
            case(f"{base} extra special tokens, {name}", base, config_json=bert,
                 tokenizer_config_json={"tokenizer_class": name,
                                        "additional_special_tokens": ["<one>", "<two>"]})
            case(f"{base} other mask, {name}", base, config_json=bert,
                 tokenizer_config_json={"tokenizer_class": name, "mask_token": "[CLS]"},
                 special_tokens_map_json={"mask_token": "[SEP]"})
    for base in ("wordpiece-txt", "wordpiece-txt-cased"):
        for lower in (True, False, None):
            case(f"{base} {lower}", base, config_json=bert,
                 tokenizer_config_json={"do_lower_case": lower})
        case(f"{base} added_tokens.json", base, config_json=bert,
             added_tokens_json={"<one>": 400, "<two>": 401},
             tokenizer_config_json={"added_tokens_decoder": None})
    masks = {"text": "<mask>", "lstrip": named("<mask>", lstrip=True),
             "rstrip": named("<mask>", rstrip=True), "none": None}
    for base in ("bpe-json", "bpe-files"):
        for (name, mask), prefix in itertools.product(masks.items(), (True, False, None)):
            case(f"{base} mask {name} {prefix}", base, config_json=roberta,
                 tokenizer_config_json={"mask_token": mask, "add_prefix_space": prefix})
        case(f"{base} without settings", base, config_json=roberta, tokenizer_config_json=None)
        for name in ("RobertaTokenizerFast", "LongformerTokenizer", "BartTokenizer"):
            case(f"{base} {name}", base, config_json=roberta,
                 tokenizer_config_json={"tokenizer_class": name})
        case(f"{base} decoder", base, config_json=roberta,
             tokenizer_config_json={"added_tokens_decoder": {
                 "399": flags("<mask>"), "400": flags("<one>", special=False)}})
        case(f"{base} special_tokens_map.json", base, config_json=roberta,
             tokenizer_config_json={"mask_token": "<mask>"},
             special_tokens_map_json={"mask_token": flags("<mask>", lstrip=True)})
    case("bpe-json as file", "bpe-json", config_json=roberta,
         tokenizer_config_json={"tokenizer_class": "PreTrainedTokenizerFast",
                                "add_prefix_space": True})
    case("bpe-json no ends", "bpe-json", config_json=roberta,
         tokenizer_json={"post_processor": None})
    case("bpe-json mask in the vocabulary alone", "bpe-json", config_json=roberta,
         tokenizer_json={"added_tokens": []})
    for model in ("xlm-roberta", "camembert"):
        of = {"model_type": model}
        case(f"unigram {model}", "unigram-json", config_json=of,
             tokenizer_config_json={"tokenizer_class": None})
        case(f"unigram {model} without settings", "unigram-json", config_json=of,
             tokenizer_config_json=None)
        case(f"unigram {model} plain mask", "unigram-json", config_json=of,
             tokenizer_json={"added_tokens": []},
             tokenizer_config_json={"tokenizer_class": None, "mask_token": "<mask>"})
        case(f"unigram {model} no space in front", "unigram-json", config_json=of,
             tokenizer_config_json={"tokenizer_class": None, "add_prefix_space": False})
        case(f"unigram {model} as file", "unigram-json", config_json=of,
             tokenizer_config_json={"tokenizer_class": "PreTrainedTokenizerFast"})
    decoder_cases(case)
    return found


def decoder_cases(case) -> None:
    """Of causal models transformers follows the folder's class, the model type or the file itself."""
    types = {"gpt2-files": "gpt2", "neox-json": "gpt_neox", "qwen-json": "qwen3",
             "llama3-json": "llama", "llama-json": "llama", "gemma-json": "gemma"}
    for base, model in types.items():
        of = {"model_type": model}
        case(f"{base} {model}", base, config_json=of)
        case(f"{base} {model} without a class", base, config_json=of,
             tokenizer_config_json={"tokenizer_class": None})
        case(f"{base} {model} with a prefix space", base, config_json=of,
             tokenizer_config_json={"add_prefix_space": True})
        case(f"{base} {model} without a prefix space", base, config_json=of,
             tokenizer_config_json={"add_prefix_space": False})
        for begin, end in ((True, False), (False, True), (True, True)):
            case(f"{base} {model} begin {begin} end {end}", base, config_json=of,
                 tokenizer_config_json={"add_bos_token": begin, "add_eos_token": end})
        if base == "gpt2-files":
            continue
        case(f"{base} {model} no ends", base, config_json=of,
             tokenizer_json={"post_processor": None},
             tokenizer_config_json={"add_bos_token": True})
        case(f"{base} {model} as file", base, config_json=of,
             tokenizer_config_json={"tokenizer_class": "PreTrainedTokenizerFast"})
        case(f"{base} qwen2", base, config_json={"model_type": "qwen2"})
        case(f"{base} mistral", base, config_json={"model_type": "mistral"})
        if base != "gemma-json":
            case(f"{base} as Llama", base, config_json={"model_type": "llama"},
                 tokenizer_config_json={"tokenizer_class": "LlamaTokenizerFast"})
    case("llama-json legacy", "llama-json", config_json={"model_type": "llama"},
         tokenizer_config_json={"legacy": True, "added_tokens_decoder": {
             "1": flags("<s>"), "405": flags("<one>", special=False)}})
    case("qwen-json as GPT-2", "qwen-json", config_json={"model_type": "llama"},
         tokenizer_config_json={"tokenizer_class": "GPT2Tokenizer"})


def merge(target, patch):
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        else:
            target[key] = merge(target.get(key), value)
    return target


SETTINGS_TEXTS = [
    "The capital of France is MASK.",
    "MASK, Élodie in PARIS: naïve façade 日本の首都<one> <two>parisParis paris <three>",
]


def settings_grid(out: Path) -> list[dict]:
    rows = []
    for case in cases(out):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            for source in (out / case["base"]).iterdir():
                if source.name != "expected.json":
                    shutil.copy(source, folder)
            for name, patch in case["files"].items():
                path = folder / name
                if patch is None:
                    path.unlink()
                    continue
                before = json.loads(path.read_text("utf-8")) if path.exists() else {}
                dump_json(path, merge(before, patch))
            tokenizer = AutoTokenizer.from_pretrained(folder)
            mask = tokenizer.mask_token or ("[MASK]" if "wordpiece" in case["base"] else "<mask>")
            case["mask"] = tokenizer.mask_token_id
            case["vocabulary"] = len(tokenizer)
            case["texts"] = [text.replace("MASK", mask) for text in SETTINGS_TEXTS]
            case["ids"] = [tokenizer(text)["input_ids"] for text in case["texts"]]
        rows.append(case)
    return rows


def main() -> None:
    root = Path(__file__).resolve().parents[2]
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else root / "tests/data/tokenizers"
    for kind, tokenizer_class in KINDS.items():
        folder = out / kind
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        size = write_tokenizer(folder, kind, 400, tokenizer_class, 64)
        add_settings(folder, kind, size)
        dump_json(folder / "expected.json", expected(folder, kind))
    lines = (json.dumps(row, ensure_ascii=False) for row in settings_grid(out))
    (out / "settings.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", "utf-8")


if __name__ == "__main__":
    main()
