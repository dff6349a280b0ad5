"""The chapters keep to one anatomy, and chapter and module name each other."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted((ROOT / "book").glob("[01]*.ipynb"))
MODULES = [
    path
    for folder in ("eifn", "data_prep")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if re.search(r"^Book: chapter", path.read_text("utf-8"), re.MULTILINE)
]


def read(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return cells, text


def test_there_are_thirteen():
    assert [int(path.name[:2]) for path in CHAPTERS] == list(range(1, 14))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_anatomy(path):
    cells, text = read(path)
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    (objectives,) = re.findall(
        r":::\{admonition\} What you will be able to do\n:class: tip\n(.*?)\n:::", text, re.DOTALL
    )
    assert 3 <= len(re.findall(r"^- ", objectives, re.MULTILINE)) <= 5
    assert re.search(r"\*\*Reading\*\* .*\*\*Running\*\* .*\*\*You need\*\* ", objectives, re.DOTALL)
    (questions,) = re.findall(r"^## Before you run anything\n(.*?)(?=^## )", text, re.DOTALL | re.MULTILINE)
    asked = len(re.findall(r"^\d\. ", questions, re.MULTILINE))
    answers = re.findall(
        r"^:::\{admonition\} Answer (\d)[^\n]*\n:class: important answer\n", text, re.MULTILINE
    )
    assert sorted(answers) == [str(number + 1) for number in range(asked)]
    assert 2 <= asked <= 3
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert sum(heading.startswith("Play") for heading in headings) == 1
    order = [
        "Before you run anything",
        "What the paper says, what it does not, what we chose",
        "Test yourself",
        "Exercises",
        "Summary",
    ]
    assert [heading for heading in headings if heading in order] == order
    assert 2 <= len(re.findall(r"<details>\s*<summary>", text)) <= 4
    labels = re.findall(r"^:label: (ex-\S+)", text, re.MULTILINE)
    assert 3 <= len(labels) <= 6
    assert re.findall(r"\{solution-start\} (ex-\S+)", text) == labels
    assert text.count("{solution-end}") == len(labels)
    assert any("check" in cell["metadata"].get("tags", []) for cell in cells)
    assert "**Where next.**" in text
    assert any("assert" in source for source in code)
    assert 8 <= len(code) <= 36
    words = len(
        re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", re.sub(r"```.*?```|\$[^$]*\$", " ", text, flags=re.DOTALL))
    )
    assert 1300 <= words <= 2900


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_module_and_chapter_name_each_other(path):
    (found,) = re.findall(r"^Book: chapters? (\d+), \*(.+?)\*", path.read_text("utf-8"), re.MULTILINE)
    number, title = int(found[0]), found[1]
    (chapter,) = (ROOT / "book").glob(f"{number:02d}_*.ipynb")
    cells, text = read(chapter)
    assert text.startswith(f"# {title}\n")
    source = "\n".join("".join(cell["source"]) for cell in cells)
    module = path.relative_to(ROOT).with_suffix("").as_posix()
    assert f"{module}.py" in source or module.replace("/", ".") in source


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_module_that_a_chapter_names_exists(path):
    _, text = read(path)
    for name in re.findall(r"`((?:eifn|data_prep|tests|benchmarks)/[\w/.-]+)`", text):
        assert (ROOT / name).exists(), name
