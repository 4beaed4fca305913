"""The notebooks run, and their outputs are of the kinds that are stored in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("pandas")

NOTEBOOKS = sorted((ROOT / "python" / "notebooks").glob("*.ipynb"))


def kinds(cell: Any) -> list[tuple[str, ...]]:
    """What a cell shows: streams by name, results by their forms. Remarks on stderr may come late."""
    found: list[tuple[str, ...]] = []
    for output in cell.get("outputs", []):
        if output["output_type"] == "stream":
            if output["name"] == "stdout" and ("stdout",) not in found:
                found.append(("stdout",))
        else:
            found.append((output["output_type"], *sorted(output.get("data", {}))))
    return sorted(found)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook(path: Path, shipped: Path) -> None:
    if path.stem == "coming-from":
        pytest.importorskip("captum")
        pytest.importorskip("transformers")
    stored = nbformat.read(path, as_version=4)
    fresh = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(
        fresh, timeout=300, resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    asked = [cell for cell in stored.cells if cell.cell_type == "code"]
    made = [cell for cell in fresh.cells if cell.cell_type == "code"]
    assert asked
    for before, after in zip(asked, made):
        assert kinds(before) == kinds(after), before.source


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["coming-from", "quickstart", "really-gone"]
