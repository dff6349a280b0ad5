"""The student edition and the slides, from notebooks made here and from the book's own."""

import ast
import builtins
import importlib.util
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "book").glob("[01]*.ipynb"))

spec = importlib.util.spec_from_file_location("editions", ROOT / "book" / "editions.py")
editions = importlib.util.module_from_spec(spec)
spec.loader.exec_module(editions)

SOLVED = [
    new_markdown_cell(
        "# Title\n\nProse.\n\n:::{admonition} Answer 1: ten\n:class: important answer\nTen.\n:::\n\nMore."
    ),
    new_code_cell("my_sum = None", outputs=[new_output("stream", text="x")], execution_count=1),
    new_code_cell("print(my_sum)", metadata={"tags": ["check"]}),
    new_markdown_cell(
        "```{exercise}\n:label: ex-1\n\nAdd.\n```\n\n```{solution-start} ex-1\n:class: dropdown\n```"
    ),
    new_code_cell("print(1 + 1)"),
    new_markdown_cell("It is two.\n\n```{solution-end}\n```\n\n## Summary"),
]


def test_students_get_questions_and_checks_and_no_answers():
    notebook = editions.as_student_edition(new_notebook(cells=[cell.copy() for cell in SOLVED]))
    assert [cell.source for cell in notebook.cells] == [
        "# Title\n\nProse.\n\n\nMore.",
        "my_sum = None",
        "print(my_sum)",
        "```{exercise}\n:label: ex-1\n\nAdd.\n```",
        "## Summary",
    ]
    assert not any(cell.get("outputs") for cell in notebook.cells)


def test_a_solution_without_an_end_is_refused():
    with pytest.raises(ValueError, match="does not end"):
        editions.as_student_edition(new_notebook(cells=[cell.copy() for cell in SOLVED[:-1]]))


def test_slides_show_what_is_seen_and_note_what_is_said():
    cells = [
        new_markdown_cell("# Title\n\nProse.\n\n$$a = b$$\n\n```{exercise}\nAdd.\n```"),
        new_code_cell("x = 1"),
        new_code_cell("x", outputs=[new_output("stream", text="1")]),
    ]
    slides = editions.as_slides(new_notebook(cells=cells))
    first, gap, code = (cell.source for cell in slides.cells)
    assert first == "# Title\n\n$$a = b$$\n\n````{revealjs-notes}\n\nProse.\n````"
    assert gap == "```{revealjs-break}\n```"
    assert code == "x"


def names(cells):
    """What these cells define, and what they use."""
    defined, used = set(), set()
    for cell in cells:
        source = re.sub(r"^( *)[%!].*$", r"\1pass", cell.source, flags=re.MULTILINE)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Name):
                (used if isinstance(node.ctx, ast.Load) else defined).add(node.id)
            elif isinstance(node, ast.FunctionDef | ast.ClassDef | ast.arg):
                defined.add(getattr(node, "name", None) or node.arg)
            elif isinstance(node, ast.ExceptHandler):
                defined.add(node.name)
            elif isinstance(node, ast.alias):
                defined.add((node.asname or node.name).partition(".")[0])
    return defined, used


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_without_its_solutions_is_whole(path):
    notebook = nbformat.read(path, as_version=4)
    before = [cell for cell in notebook.cells if cell.cell_type == "code"]
    checks = [cell.source for cell in before if "check" in cell.metadata.get("tags", [])]
    student = editions.as_student_edition(notebook)
    after = [cell for cell in student.cells if cell.cell_type == "code"]
    text = "\n".join(cell.source for cell in student.cells)
    assert "{solution-" not in text
    assert not re.search(r"^:class:.*\banswer\b", text, re.MULTILINE)
    assert text.count("```{exercise}") >= 3
    assert checks
    assert set(checks) <= {cell.source for cell in after}
    assert len(after) < len(before)
    defined, used = names(after)
    assert used <= defined | set(dir(builtins)) | {"display", "get_ipython"}


@pytest.mark.slow
def test_a_student_can_run_a_chapter(tmp_path):
    notebook = nbformat.read(ROOT / "book" / "04_bilinear_pooling.ipynb", as_version=4)
    student = editions.as_student_edition(notebook)
    NotebookClient(student, timeout=300, resources={"metadata": {"path": ROOT / "book"}}).execute()
    answers = [o.text for cell in student.cells for o in cell.get("outputs", []) if o.output_type == "stream"]
    assert "no answer yet\n" in answers


@pytest.mark.parametrize("path", sorted((ROOT / "book").glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_notebook_starts_with_what_it_needs(path):
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.source == editions.setup_cell()
    assert first.metadata["tags"] == ["remove-cell"]
    assert first.outputs == []


def test_with_an_address_a_notebook_fetches_the_book(monkeypatch, tmp_path):
    config = (ROOT / "_config.yml").read_text("utf-8")
    (tmp_path / "_config.yml").write_text(
        config.replace('repository_url: ""', 'repository_url: "https://example.org/eifn"'), "utf-8"
    )
    monkeypatch.setattr(editions, "ROOT", tmp_path)
    assert (
        "\n        !git clone --quiet --depth 1 https://example.org/eifn eifn-book\n" in editions.setup_cell()
    )


@pytest.mark.slow
@pytest.mark.browser
def test_the_slides_open_without_a_network(browser, tmp_path):
    editions.write_slides(tmp_path / "slides")
    context = browser.new_context()
    page, problems = context.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else problems.append(r.url))
    for chapter in CHAPTERS:
        page.goto((tmp_path / "slides" / f"{chapter.stem}.html").as_uri())
        page.wait_for_function("window.Reveal && Reveal.isReady()", timeout=20_000)
        assert page.evaluate("Reveal.getTotalSlides()") > 10
        page.keyboard.press("Space")
        assert page.evaluate("Reveal.getIndices().h + (Reveal.getIndices().v || 0)") == 1
    context.close()
    assert problems == []
