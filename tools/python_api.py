"""Writes docs/llms.txt, the Python API on one page: python tools/python_api.py [--check].

For assistants and for a quick look; docs/python.md is the guide.
"""

import inspect
import re
import sys
from pathlib import Path

import engram

PLACE = Path(__file__).resolve().parent.parent / "docs" / "llms.txt"
HEAD = """# engram: knowledge neurons from Python

Finds where a pretrained transformer keeps a fact, tests the neurons and edits them. Guide: docs/python.md.
Layers and neurons count from 0. Tensors are float32 on the CPU. memory: bytes or "512M"; threads=0: one per core.
Every error is an engram.EngramError. A located neuron is one whose suppression lowers a fact's probability, no more.

    import engram
    model = engram.Model("models/engram-base")                # or engram.Model.from_transformers(hf_model, tokenizer)
    a = model.attribute("The capital of France is [MASK].", "Paris")
    a.scores; a.top(10); a.gap                                # tensor [layers, d_ff]; DataFrame; completeness gap
    facts = engram.load_facts("models/engram-base/facts.jsonl", relations=["P36"])
    found = engram.locate(model, facts)
    with model.intervene(found["France", "P36"], zero=True):
        print(model.predict("The capital of France is [MASK]."))
    edit = model.update_values(a.neurons(5), "The capital of France is [MASK].", "Paris", "Rome")
    model.apply(edit); model.undo()
    run = engram.reproduce(model, facts, run="run.db", only=["locate", "effects"])
    run.table("effects"); run.report("report.html")
"""


def signature(thing):
    text = str(inspect.signature(thing))
    text = re.sub(r"\bself, |\(self\)", lambda m: "()" if ")" in m[0] else "", text)
    # Annotations are texts.
    return re.sub(r"""(: |-> )(['"])(.*?)\2(?=[,)]| = |$)""", r"\1\3", text)


def first(thing):
    """The first paragraph of the docstring on one line."""
    said = inspect.getdoc(thing) or ""
    text = " ".join(said.split("\n\n")[0].split()).replace("\\|", "|")
    return re.sub(r":\w+:`~?(?:engram\.)?([^`]*)`|``([^`]*)``", lambda m: m[1] or m[2], text)


def fields_of(thing):
    names = getattr(thing, "_fields", None) or getattr(thing, "__dataclass_fields__", {})
    return [name for name in names if not name.startswith("_")]


def page():
    lines = [HEAD]
    for name in engram.__all__:
        thing = getattr(engram, name)
        if inspect.ismodule(thing):
            lines.append(f"## engram.{name}\n")
            for part in thing.__all__:
                function = getattr(thing, part)
                if inspect.isfunction(function):
                    lines.append(f"{part}{signature(function)}\n    {first(function)}\n")
        elif inspect.isclass(thing):
            own = "__init__" in vars(thing) and not hasattr(thing, "__dataclass_fields__")
            made = signature(thing).replace(" -> None", "") if own else ""
            lines.append(f"## engram.{name}{made}\n\n{first(thing)}\n")
            if fields_of(thing):
                lines.append("Fields: " + ", ".join(fields_of(thing)) + "\n")
            for member, value in vars(thing).items():
                if member.startswith("_"):
                    continue
                value = inspect.unwrap(getattr(thing, member))
                if isinstance(vars(thing)[member], property):
                    lines.append(f".{member}\n    {first(vars(thing)[member])}\n")
                elif inspect.isfunction(value) or inspect.ismethod(value):
                    lines.append(f".{member}{signature(value)}\n    {first(value)}\n")
        elif callable(thing):
            lines.append(f"## engram.{name}{signature(thing)}\n\n{first(thing)}\n")
    return "\n".join(lines)


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PLACE.read_text() == page() else f"{PLACE} is old: tools/python_api.py")
    PLACE.write_text(page())
