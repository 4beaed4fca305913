"""The notebooks run, and their outputs are of the kinds that are stored in them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Optional

import pytest
from conftest import ROOT

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("pandas")

from jupyter_client.manager import start_new_kernel  # noqa: E402

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


def test_the_stop_button(shipped: Path) -> None:
    """Ctrl-C in a notebook ends a call within a second and leaves the kernel and its names alive."""
    manager, client = start_new_kernel(kernel_name="python3")
    try:

        def run(code: str, stop_after: Optional[float] = None) -> tuple[Any, float]:
            sent = client.execute(code)
            if stop_after is not None:
                time.sleep(stop_after)
                manager.interrupt_kernel()
            begin = time.monotonic()
            while True:
                reply = client.get_shell_msg(timeout=120)
                if reply["parent_header"].get("msg_id") == sent:
                    return reply["content"], time.monotonic() - begin

        made, _ = run(f"import engram; model = engram.Model({str(shipped)!r})")
        assert made["status"] == "ok", made
        many = "model.attribute(['The capital of France is [MASK].'] * 20_000, 'Paris')"
        stopped, seconds = run(many, stop_after=1)
        assert stopped["status"] == "error" and stopped["ename"] == "Interrupted", stopped
        assert seconds < 2  # one, and one for a busy machine
        alive, _ = run("assert model.attribute('Paris is in [MASK].', 'France').p > 0")
        assert alive["status"] == "ok", alive
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["coming-from", "quickstart", "really-gone"]
