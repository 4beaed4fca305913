"""Small real tokenizers, trained offline on corpus.txt: WordPiece, byte-level BPE, BPE over
characters and Unigram."""

import json
import math
from collections import Counter
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

CORPUS = Path(__file__).with_name("corpus.txt")
WORDPIECE_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
BYTE_LEVEL_SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def learn_pieces(words: Counter, size: int) -> list[str]:
    """Single characters, then the pieces of the most frequent pairs, until `size` pieces.

    (The WordPiece trainer of `tokenizers` numbers its pieces differently in every process.)
    """
    split = {w: [w[0]] + ["##" + c for c in w[1:]] for w in words}
    pieces = sorted({p for parts in split.values() for p in parts})
    while len(pieces) < size:
        pairs = Counter()
        for word, parts in split.items():
            for pair in zip(parts, parts[1:]):
                pairs[pair] += words[word]
        if not pairs:
            break
        left, right = min(pairs, key=lambda pair: (-pairs[pair], pair))
        piece = left + right.removeprefix("##")
        if piece not in pieces:
            pieces.append(piece)
        for parts in split.values():
            for i in range(len(parts) - 2, -1, -1):
                if parts[i:i + 2] == [left, right]:
                    parts[i:i + 2] = [piece]
    return pieces[:size]


def train_wordpiece(size: int, lowercase: bool) -> Tokenizer:
    """A BERT tokenizer; [PAD] is token 0 as in the published checkpoints."""
    normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    splitter = pre_tokenizers.BertPreTokenizer()
    text = normalizer.normalize_str(CORPUS.read_text("utf-8"))
    words = Counter(word for word, _ in splitter.pre_tokenize_str(text))
    pieces = WORDPIECE_SPECIALS + learn_pieces(words, size - len(WORDPIECE_SPECIALS))
    tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)},
                                           unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in WORDPIECE_SPECIALS])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(t, tokenizer.token_to_id(t)) for t in ("[CLS]", "[SEP]")])
    return tokenizer


def train_byte_level(size: int) -> Tokenizer:
    """A RoBERTa tokenizer: <s>=0, <pad>=1, </s>=2, <unk>=3 and <mask> last, as published."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size - 1, special_tokens=BYTE_LEVEL_SPECIALS[:-1], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(CORPUS.read_text("utf-8").splitlines(), trainer)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), add_prefix_space=False)
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True) for t in BYTE_LEVEL_SPECIALS[:-1]]
        + [AddedToken("<mask>", lstrip=True, special=True)])
    return tokenizer


def make_unigram(size: int) -> Tokenizer:
    """An XLM-RoBERTa tokenizer: <s>=0, <pad>=1, </s>=2, <unk>=3 and <mask> last, as published.

    Pieces are the commonest substrings of the corpus; a piece's score is what its count gives.
    """
    words = Counter("\u2581" + word for word in CORPUS.read_text("utf-8").split())
    counts = Counter()
    for word, count in words.items():
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + 9) + 1):
                counts[word[start:end]] += count * (end - start)
    letters = sorted({c for word in words for c in word})
    common = sorted(counts, key=lambda piece: (-counts[piece], piece))
    pieces = letters + [p for p in common if len(p) > 1]
    pieces = pieces[:size - len(BYTE_LEVEL_SPECIALS)]
    total = sum(counts.values())
    scores = [(p, round(math.log(counts[p] / total) - (4 if len(p) == 1 else 0), 4))
              for p in pieces]
    special = [(t, 0.0) for t in BYTE_LEVEL_SPECIALS]
    tokenizer = Tokenizer(models.Unigram(special[:-1] + scores + special[-1:], unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(),
         pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always")])
    tokenizer.decoder = decoders.Metaspace(replacement="\u2581", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t in BYTE_LEVEL_SPECIALS[:-1]]
        + [AddedToken("<mask>", lstrip=True, special=True, normalized=False)])
    return tokenizer


QWEN_WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
              r"\s*[\r\n]+|\s+(?!\S)|\s+")


def begin_template(token: str, index: int) -> processors.TemplateProcessing:
    return processors.TemplateProcessing(
        single=f"{token} $A", pair=f"{token} $A {token} $B:1", special_tokens=[(token, index)])


def train_bytes(size: int, kind: str) -> tuple[Tokenizer, dict]:
    """A decoder's byte-level tokenizer, as published, and its named tokens: GPT-2 (nothing at the
    ends), GPT-NeoX (NFC), Qwen (words cut by a rule of its own), Llama 3 (a begin token)."""
    end = "<|endoftext|>"
    special, named = {
        "gpt2": ([end], {"bos": end, "eos": end, "unk": end}),
        "neox": ([end, "<|padding|>"], {"bos": end, "eos": end, "unk": end}),
        "qwen": ([end, "<|im_start|>"], {"eos": end, "pad": end}),
        "llama3": (["<|begin_of_text|>", "<|end_of_text|>"],
                   {"bos": "<|begin_of_text|>", "eos": "<|end_of_text|>"}),
    }[kind]
    tokenizer = Tokenizer(models.BPE())
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False)
    cut = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN_WORDS), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.pre_tokenizer = cut if kind in ("qwen", "llama3") else whole
    if kind in ("neox", "qwen"):
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(CORPUS.read_text("utf-8").splitlines(), trainer)
    tokenizer.post_processor = (begin_template(special[0], 0) if kind == "llama3" else
                                processors.ByteLevel(trim_offsets=False))
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in special])
    return tokenizer, named


def train_characters(size: int, kind: str) -> tuple[Tokenizer, dict]:
    """A decoder's tokenizer over characters, with a begin token and bytes for what has no token:
    Llama 2 (a space in front of a text) or Gemma (none, and a mask token that nobody uses)."""
    gemma = kind == "gemma"
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"] if gemma else ["<unk>", "<s>", "</s>"]
    all_bytes = [f"<0x{b:02X}>" for b in range(256)]
    model = models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    tokenizer = Tokenizer(model)
    # Pieces are learned within words; the finished tokenizer does not cut them.
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special + all_bytes,
                                  show_progress=False)
    tokenizer.train_from_iterator(CORPUS.read_text("utf-8").splitlines(), trainer)
    stored = json.loads(tokenizer.to_str())
    stored["added_tokens"] = stored["added_tokens"][:len(special)]  # bytes are plain pieces
    tokenizer = Tokenizer.from_str(json.dumps(stored))
    parts = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    if gemma:
        tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
        tokenizer.decoder = decoders.Sequence(parts)
        tokenizer.post_processor = begin_template("<bos>", 2)
        return tokenizer, {"bos": "<bos>", "eos": "<eos>", "unk": "<unk>", "pad": "<pad>"}
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(parts + [decoders.Strip(content=" ", left=1)])
    tokenizer.post_processor = begin_template("<s>", 1)
    return tokenizer, {"bos": "<s>", "eos": "</s>", "unk": "<unk>"}


def dump_json(path: Path, value) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", "utf-8")


def write_tokenizer(folder: Path, kind: str, size: int, tokenizer_class: str,
                    max_length: int) -> int:
    """Writes the files of `kind` and returns the number of tokens.

    wordpiece-json, wordpiece-txt[-cased]: tokenizer.json, or vocab.txt alone;
    bpe-json, bpe-files: tokenizer.json, or vocab.json and merges.txt alone;
    unigram-json: tokenizer.json;
    gpt2-json, gpt2-files, neox-json, qwen-json, llama3-json, llama-json, gemma-json: a decoder's.
    """
    settings = {"tokenizer_class": tokenizer_class, "model_max_length": max_length}
    if kind.startswith("wordpiece"):
        cased = kind.endswith("-cased")
        tokenizer = train_wordpiece(size, lowercase=not cased)
        settings["do_lower_case"] = not cased
        for name, token in zip(("pad", "unk", "cls", "sep", "mask"), WORDPIECE_SPECIALS):
            settings[name + "_token"] = token
    elif (family := kind.split("-")[0]) in ("gpt2", "neox", "qwen", "llama3", "llama", "gemma"):
        train = train_characters if family in ("llama", "gemma") else train_bytes
        tokenizer, named = train(size, family)
        settings.update({name + "_token": token for name, token in named.items()})
    else:
        tokenizer = (make_unigram if kind.startswith("unigram") else train_byte_level)(size)
        for name, token in zip(("bos", "pad", "eos", "unk", "mask"), BYTE_LEVEL_SPECIALS):
            settings[name + "_token"] = token
        settings["cls_token"], settings["sep_token"] = "<s>", "</s>"
        # As RoBERTa was trained and as transformers 4 saves it: the mask takes the space before it.
        # (Without this entry transformers 5 leaves that space standing as a token of its own.)
        settings["mask_token"] = {"__type": "AddedToken", "content": "<mask>", "lstrip": True,
                                  "normalized": True, "rstrip": False, "single_word": False}
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    assert [i for _, i in vocabulary] == list(range(len(vocabulary)))
    if "-json" in kind:
        dump_json(folder / "tokenizer.json", json.loads(tokenizer.to_str()))
    elif "-txt" in kind:
        (folder / "vocab.txt").write_text("".join(t + "\n" for t, _ in vocabulary), "utf-8")
    else:
        tokenizer.model.save(str(folder))
        dump_json(folder / "vocab.json", dict(vocabulary))
    dump_json(folder / "tokenizer_config.json", settings)
    return len(vocabulary)
