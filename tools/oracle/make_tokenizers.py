#!/usr/bin/env python3
"""Writes small tokenizers in every form that is read, each with the ids transformers gives.

    make_tokenizers.py [FOLDER]        (tests/data/tokenizers of the source tree if not given)

FOLDER/<kind>/ holds the tokenizer's files and expected.json, read by tests/text/tokenizer_test.cc.
"""

import json
import os
import shutil
import sys
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
}

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
    texts = [text.replace("MASK", tokenizer.mask_token) for text in TEXTS]
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
        "special": sorted(set(tokenizer.all_special_ids)),
        "byte_level": kind.startswith("bpe"),
        "texts": rows,
    }


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


if __name__ == "__main__":
    main()
