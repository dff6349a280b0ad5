"""What `make test` relies on when it runs the notebooks: nbval sees a number that has changed."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def beginning(tmp_path):
    """The first cells of chapter 4, up to the number that is printed: a notebook of a second or two."""
    notebook = nbformat.read(ROOT / "book" / "04_bilinear_pooling.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.id != "setup"]
    notebook.cells = cells[:2]
    assert any(output.get("text") for output in notebook.cells[1].outputs)

    def write():
        nbformat.write(notebook, tmp_path / "beginning.ipynb")
        command = [sys.executable, "-m", "pytest", "--nbval", "-p", "no:cacheprovider", "-p", "no:xdist"]
        command += ["--nbval-sanitize-with", ROOT / "book" / "sanitize.cfg", "-q", "beginning.ipynb"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    return notebook, write


@pytest.mark.slow
def test_outputs_as_saved_pass(beginning):
    _, run = beginning
    done = run()
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_changed_number_fails(beginning):
    notebook, run = beginning
    (output,) = notebook.cells[1].outputs
    assert "2.0, 1.0" in output.text
    output.text = output.text.replace("2.0, 1.0", "2.0, 1.1")
    done = run()
    assert done.returncode == 1, done.stdout
    assert "1.1" in done.stdout
