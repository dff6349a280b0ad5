"""The book's other editions, made of its notebooks.

    python book/editions.py setup             the first cell of every notebook
    python book/editions.py student FOLDER    notebooks without the answers
    python book/editions.py slides FOLDER     slides to show in class

Solutions are between `{solution-start}` and `{solution-end}`; answers to the
questions asked before running anything are admonitions of the class `answer`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode
from sphinx.application import Sphinx

BOOK = Path(__file__).parent
ROOT = BOOK.parent

SETUP = """\
# Installs the book where it is missing; elsewhere this does nothing.
import importlib.util
from pathlib import Path

if importlib.util.find_spec("eifn") is None:
    if not Path("../pyproject.toml").exists():
        {fetch}
    %pip install --quiet "..[book]"
for twin in ("synth-ck", "synth-oulu"):
    if not Path("../data", twin).exists():
        !python -m data_prep synthetic --twin {{twin}} --out ../data/{{twin}}
"""

FETCH = """\
!git clone --quiet --depth 1 {address} eifn-book
%cd -q eifn-book/book"""

NOWHERE = 'raise FileNotFoundError("open this in the book\'s folder")'

ANSWER = re.compile(
    r"^:::\{admonition\}[^\n]*\n:class:[^\n]*\banswer\b.*?^:::\s*?$\n?",
    re.DOTALL | re.MULTILINE,
)
SOLUTION = re.compile(
    r"^```\{solution-(start|end)\}.*?^```\s*?$\n?", re.DOTALL | re.MULTILINE
)


def notebooks() -> Iterator[tuple[Path, NotebookNode]]:
    """The chapters, in order."""
    for path in sorted(BOOK.glob("*.ipynb")):
        yield path, nbformat.read(path, as_version=4)


def setup_cell() -> str:
    """What every notebook starts with, for the address in `_config.yml`."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    theme = config["sphinx"]["config"]["html_theme_options"]
    address = theme["repository_url"]
    fetch = FETCH.format(address=address) if address else NOWHERE
    fetch = textwrap.indent(fetch, " " * 8).strip()
    return SETUP.format(fetch=fetch).strip()


def write_setup_cells() -> None:
    """Put the first cell into every notebook, in place."""
    for path, notebook in notebooks():
        first = notebook.cells[0]
        if first.id != "setup":
            first = nbformat.v4.new_code_cell(id="setup")
            first.metadata["tags"] = ["remove-cell"]
            notebook.cells.insert(0, first)
        first.source = setup_cell()
        nbformat.write(notebook, path)


def without_solutions(notebook: NotebookNode) -> NotebookNode:
    """Take out what is between the marks of a solution, over cells as well.

    Raises `ValueError` where a solution is not closed.
    """
    cells, inside = [], False
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            kept, at = [], 0
            for mark in SOLUTION.finditer(cell.source):
                if not inside:
                    kept.append(cell.source[at : mark.start()])
                inside, at = mark[1] == "start", mark.end()
            if not inside:
                kept.append(cell.source[at:])
            cell.source = "".join(kept).strip()
            if cell.source:
                cells.append(cell)
        elif not inside:
            cells.append(cell)
    if inside:
        raise ValueError("a solution starts that does not end")
    notebook.cells = cells
    return notebook


def as_student_edition(notebook: NotebookNode) -> NotebookNode:
    """A notebook as students get it: no solutions, answers or outputs."""
    for cell in without_solutions(notebook).cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        else:
            cell.source = ANSWER.sub("", cell.source).strip()
    notebook.cells = [cell for cell in notebook.cells if cell.source]
    notebook.metadata.pop("widgets", None)
    return notebook


def write_student_edition(folder: Path) -> None:
    """Write the notebooks without the answers, beside what they need."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, notebook in notebooks():
        nbformat.write(as_student_edition(notebook), folder / path.name)
    shutil.copytree(BOOK / "_static", folder / "_static", dirs_exist_ok=True)


BLOCK = re.compile(
    r"^(?P<fence>`{3,}|:{3,}).*?^(?P=fence)\s*?$|^\$\$.*?\$\$|\S.*?(?=\n\s*\n|\Z)",
    re.DOTALL | re.MULTILINE,
)
SHOWN = re.compile(
    r"#|\$\$|\||[-*] |\d+\. |:::\{admonition\}[^\n]*\n:class: (paper|tip)"
)
"""What of the text is on a slide: headings, formulas, tables, lists, the
paper's words and what to learn. The rest is in the speaker's notes."""


def as_slides(notebook: NotebookNode) -> NotebookNode:
    """A chapter as slides: figures, formulas and code; the prose is notes."""
    cells: list[NotebookNode] = []
    room = False  # on the slide so far, for a piece of code or a figure
    for cell in without_solutions(notebook).cells:
        if cell.cell_type == "code":
            if cell.id == "setup" or not cell.outputs:
                continue
            if any("image/png" in o.get("data", {}) for o in cell.outputs):
                cell.metadata.setdefault("tags", []).append("remove-input")
            if not room:
                cells.append(text_cell("```{revealjs-break}\n```"))
            cells.append(cell)
            room = False
            continue
        shown, spoken = [], []
        for block in BLOCK.finditer(cell.source):
            if not block[0].startswith(("```", "<")):
                (shown if SHOWN.match(block[0]) else spoken).append(block[0])
        room = len(shown) == 1 and shown[0].startswith("#")
        if spoken:
            notes = "\n\n".join(spoken)
            shown.append(f"````{{revealjs-notes}}\n\n{notes}\n````")
        if shown:
            cells.append(text_cell("\n\n".join(shown)))
    notebook.cells = cells
    return notebook


def slide_settings() -> dict[str, object]:
    """The settings of the pages, as far as slides share them."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    pages = config["sphinx"]["config"]
    return {
        "project": config["title"],
        "extensions": [
            "myst_nb",
            "sphinx_revealjs",
            "sphinxcontrib.bibtex",
            "sphinx-mathjax-offline",
        ],
        "myst_enable_extensions": config["parse"]["myst_enable_extensions"],
        "mathjax3_config": pages["mathjax3_config"],
        "nb_mime_priority_overrides": [
            ["revealjs", "text/html", 5],
            ["revealjs", "image/png", 10],
            ["revealjs", "text/plain", 20],
        ],
        "numfig": True,
        "nb_execution_mode": "off",
        "nb_ipywidgets_js": {},
        "nb_merge_streams": True,
        "bibtex_bibfiles": ["references.bib"],
        "bibtex_reference_style": "author_year",
        "revealjs_static_path": [str(BOOK / "_static")],
        "revealjs_css_files": ["book.css", "slides.css"],
        "revealjs_style_theme": "white",
        "revealjs_script_conf": {"hash": True, "transition": "none"},
        "suppress_warnings": ["myst.xref_missing", "bibtex"],
    }


def text_cell(source: str) -> NotebookNode:
    """A cell of text."""
    return nbformat.v4.new_markdown_cell(source)


def write_slides(folder: Path) -> None:
    """Write slides of all chapters, which need no network."""
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch, "source")
        source.mkdir()
        names = []
        for path, notebook in notebooks():
            if re.match(r"\d\d_", path.name):
                nbformat.write(as_slides(notebook), Path(source, path.name))
                names.append(path.stem)
        contents = "\n".join(["# Slides", "", "```{toctree}", *names, "```"])
        Path(source, "index.md").write_text(contents, "utf-8")
        shutil.copy(BOOK / "references.bib", source)
        shutil.copytree(BOOK / "_static", source / "_static")
        app = Sphinx(
            source,
            None,
            Path(scratch, "html"),
            Path(scratch, "doctrees"),
            "revealjs",
            confoverrides=slide_settings(),
            warningiserror=True,
            keep_going=True,
        )
        app.build()
        if app.statuscode:
            sys.exit("the slides have warnings, see above")
        shutil.copytree(Path(scratch, "html"), folder, dirs_exist_ok=True)


def main() -> None:
    """Write one of the editions."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    editions = parser.add_subparsers(required=True)
    editions.add_parser("setup").set_defaults(write=write_setup_cells)
    for name, write in [
        ("student", write_student_edition),
        ("slides", write_slides),
    ]:
        edition = editions.add_parser(name)
        edition.add_argument("folder", type=Path)
        edition.set_defaults(write=write)
    chosen = vars(parser.parse_args())
    chosen.pop("write")(**chosen)


if __name__ == "__main__":
    main()
