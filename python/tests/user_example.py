"""What a user writes; mypy looks at it strictly (test_types.py), and it runs."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import engram


def main(folder: Path, out: Path) -> list[engram.Neuron]:
    model = engram.Model(folder)
    a = model.attribute("The capital of France is [MASK].", "Paris")
    scores: torch.Tensor = a.scores
    many = model.attribute(["The capital of France is [MASK]."] * 2, ["Paris", "Rome"])
    assert many.scores.shape[1:] == scores.shape
    best = a.neurons(5)
    table = a.top(10)
    print(table["score"].sum(), [str(neuron) for neuron in best])
    with model.intervene(table, zero=True):
        print(model.predict("The capital of France is [MASK]."))

    facts = engram.load_facts(folder / "facts.jsonl", relations=["P36"], limit=3)
    found = engram.locate(model, facts, progress=True)
    first = found[0]
    with model.intervene(found[first.subject, first.relation], zero=True):
        print(model.predict("The capital of France is [MASK].", answer="Paris"))

    edit = model.update_values(best, "The capital of France is [MASK].", "Paris", "Rome")
    model.apply(edit)
    guess: engram.Guess = model.predict("The capital of France is [MASK].").guesses[0]
    print(guess.token, f"{guess.p:.3f}")
    model.undo()

    run = engram.reproduce(model, facts, out / "run.db", only=["locate"])
    run.report(out / "report.html")
    try:
        model.attribute("nothing to fill", "Paris")
    except engram.InputError as error:
        print(error)
    return best


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
