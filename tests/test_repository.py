"""What the files at the top promise to one another."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import pybtex.database
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from eifn import paper
from eifn.cli import main
from eifn.extractor import LAPTOP
from eifn.report import find_runs, read_run
from eifn.results import trend
from eifn.training import PRESETS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))


def requirements(*extras):
    lists = [PROJECT["dependencies"], *(PROJECT["optional-dependencies"][extra] for extra in extras)]
    return [Requirement(line) for every in lists for line in every]


def pins():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return dict(
        (canonicalize_name(name), version)
        for name, _, version in (line.partition("==") for line in lines if not line.startswith("#"))
    )


@pytest.fixture(scope="module")
def readme():
    """Its words, one line."""
    return " ".join((ROOT / "README.md").read_text("utf-8").split())


@pytest.fixture
def report(capsys):
    """What `eifn report` says of a folder of recorded runs."""

    def report(folder):
        assert main(["report", str(ROOT / "results" / folder), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return report


def eifn_less_efn(group):
    (found,) = (c for c in group["comparisons"] if (c["first"], c["second"]) == ("eifn", "efn"))
    return found


def points(*shares):
    return [f"{100 * share:+.1f}" for share in shares]


@pytest.mark.parametrize(
    "requirement", requirements("book", "test", "cluster", "tensorboard"), ids=lambda r: r.name
)
def test_every_dependency_is_pinned_within_its_bounds(requirement):
    assert pins()[canonicalize_name(requirement.name)] in requirement.specifier


def test_every_dependency_of_the_package_is_imported():
    """What is declared for eifn and data_prep is in use there, and nothing else from outside is."""
    modules = metadata.packages_distributions()
    imported = set()
    for file in [*(ROOT / "eifn").rglob("*.py"), *(ROOT / "data_prep").rglob("*.py")]:
        names = re.findall(r"^\s*(?:from|import) ([a-zA-Z0-9_]+)", file.read_text("utf-8"), re.MULTILINE)
        imported |= set(names) - set(sys.stdlib_module_names) - {"eifn", "data_prep"}
    used = {canonicalize_name(modules[name][0]) for name in imported}
    declared = {canonicalize_name(requirement.name) for requirement in requirements()}
    optional = {"matplotlib", "anywidget", "distributed"}  # plots, widgets, clusters
    assert declared <= used <= declared | optional | {"traitlets"}  # which anywidget is made of


def test_conda_installs_what_pip_does():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    assert environment["dependencies"][-1] == {"pip": ["-c constraints.txt", "-e .[book,test]"]}
    python = next(line for line in environment["dependencies"] if str(line).startswith("python="))
    assert python.partition("=")[2] in PROJECT["requires-python"]


def test_one_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_contents_list_every_page():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    listed = [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]
    pages = {*NOTEBOOKS, *(ROOT / "book").glob("*.md")}
    assert sorted(listed) == sorted(page.relative_to(ROOT).with_suffix("").as_posix() for page in pages)
    chapters = [name for name in listed if re.match(r"book/\d\d_", name)]
    assert chapters == sorted(chapters)


def test_the_reference_lists_every_module():
    text = (ROOT / "book" / "api.md").read_text("utf-8")
    listed = re.findall(r"^\.\. automodule:: (\S+)$", text, re.MULTILINE)
    files = [*(ROOT / "eifn").rglob("*.py"), *(ROOT / "data_prep").rglob("*.py")]
    public = [file.relative_to(ROOT) for file in files if not file.name.startswith("__")]
    assert sorted(listed) == sorted(".".join(file.with_suffix("").parts) for file in public)
    assert re.findall(r"^### `(\S+)`$", text, re.MULTILINE) == listed
    assert re.findall(r"\{py:mod\}`(\S+?)`", text) == listed


def numbered():
    """The keys of the paper's references, by the table of the bibliography."""
    text = (ROOT / "book" / "bibliography.md").read_text("utf-8")
    return {
        int(n): key for n, key in re.findall(r"^\| \[(\d+)\] \| \{cite:t\}`(\w+)` \|", text, re.MULTILINE)
    }


def test_the_bibliography_has_all_references_of_the_paper():
    assert list(numbered()) == list(range(1, 20))
    text = (ROOT / "book" / "references.bib").read_text("utf-8")
    commented = re.findall(r"^% \[(\d+)\]\n@\w+\{(\w+),", text, re.MULTILINE)
    assert {int(number): key for number, key in commented} == numbered()
    methods = {
        r.reference: r.method for e in (paper.CK_PLUS, paper.OULU_CASIA) for r in e.results if r.reference
    }
    page = (ROOT / "book" / "bibliography.md").read_text("utf-8")
    for number, method in methods.items():
        (about,) = re.findall(rf"^\| \[{number}\] \|.*\| (.*) \|$", page, re.MULTILINE)
        assert method in about


def test_the_references_are_those_that_the_paper_prints():
    printed = ROOT.parent / "shared" / "paper" / "eifn-icip2019.md"
    if not printed.exists():
        pytest.skip("the text of the paper is not here: ../shared/paper")
    references = printed.read_text("utf-8").split("REFERENCES")[1]
    entries = re.split(r"\n- ", references)[1:]
    library = pybtex.database.parse_file(ROOT / "book" / "references.bib", "bibtex").entries

    def letters(text):
        return re.sub(r"[^a-z0-9]", "", text.lower())

    assert len(entries) == len(numbered())
    for entry, key in zip(entries, numbered().values(), strict=True):
        assert letters(library[key].fields["title"]) in letters(entry)
        assert letters(library[key].persons["author"][0].last_names[-1]) in letters(entry)


def test_welcome_quotes_the_paper():
    """The accuracies in the prose are those of Tables 1 and 2."""
    cells = json.loads((ROOT / "book" / "intro.ipynb").read_text("utf-8"))["cells"]
    prose = "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    quoted = re.findall(r"\d\d\.\d\d", prose)
    tables = [{r.method: r.accuracy for r in e.results} for e in (paper.CK_PLUS, paper.OULU_CASIA)]
    expected = [table[variant] for variant in ("EFN", "EIFN") for table in tables]
    assert [float(number) for number in quoted] == expected


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_saved_as_run_from_top_to_bottom(notebook):
    cells = [cell for cell in json.loads(notebook.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        assert len(cell["source"]) <= 40
        assert not any(output["output_type"] == "error" for output in cell["outputs"])
        assert not any(output.get("name") == "stderr" for output in cell["outputs"])
        if any("image/png" in output.get("data", {}) for output in cell["outputs"]):
            about = cell["metadata"]["mystnb"]
            assert about["image"]["alt"]
            assert about["figure"]["caption"]


def test_readme_names_commands_that_exist(readme):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z-]+)", readme))
    assert {"book", "test"} <= named <= targets
    linked = re.findall(r"(?:\]\(|src=\")(?!http|#)([^)\"]+)", readme)
    assert linked
    for file in linked:
        assert (ROOT / file).exists(), file


def test_the_example_of_the_readme_runs(make_database, tiny, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    monkeypatch.chdir(make_database("synth-ck").parents[1])
    monkeypatch.setitem(PRESETS, "laptop", tiny)
    exec(code, {})
    assert re.fullmatch(r"frames of unseen people: [01]\.\d+\n", capsys.readouterr().out)


def test_the_readme_has_the_table_of_the_recorded_runs(readme, report):
    groups = report("laptop")["groups"]
    assert len(groups) == 3
    for group in groups:
        for variant, title in (("efn", "EFN"), ("eifn-star", r"EIFN\*"), ("eifn", "EIFN")):
            of = group["means"][variant]["sequence"]
            low, high = (f"{100 * bound:.1f}" for bound in of["interval"])
            learned = 100 * group["training"]["accuracy"][variant]["last_epoch"]
            row = f"| `{group['database']}` | {title} | {100 * of['accuracy']:.1f} % | {low} to {high} | "
            assert row + f"{learned:.1f} % |" in readme


def test_the_readme_compares_the_variants_as_recorded(readme, report):
    groups = {group["database"]: group for group in report("laptop")["groups"]}
    ck, oulu = (eifn_less_efn(groups[twin]) for twin in ("synth-ck", "synth-oulu"))
    (difference, low, high), (other, least, most) = (
        points(of["difference"], *of["interval"]) for of in (ck, oulu)
    )
    assert f"{difference} points on `synth-ck` (95 % interval over people {low} to {high})" in readme
    assert f"{other} on `synth-oulu` ({least} to {most})" in readme
    assert f"does not survive Holm's correction (p = {oulu['holm']:.2f})" in readme
    assert ck["holm"] < 0.05 < oulu["holm"]

    first, second = (points(min(of["differences"]), max(of["differences"])) for of in (ck, oulu))
    seeds = f"from {first[0]} to {first[1]} on one twin and from {second[0]} to {second[1]} on the other"
    assert seeds in readme
    assert sum(difference < 0 for of in (ck, oulu) for difference in of["differences"]) == 4
    assert "EIFN was behind in four of the six" in readme

    assert "On the London Set no difference is told from chance" in readme
    assert all(of["holm"] > 0.05 for of in groups["london"]["comparisons"])

    assert "one shows the same and one is not told from chance" in readme
    above_zero = []
    for folder in ("one-view", "two-views"):
        (group,) = (group for group in report(folder)["groups"] if group["database"] == "synth-ck")
        above_zero.append(eifn_less_efn(group)["interval"][1] > 0)
    assert above_zero == [False, True]


def test_the_readme_tells_the_leak_as_recorded(readme, report):
    (leaked,) = report("leak")["runs"]
    (fair,) = (
        run
        for run in report("laptop/synth-ck")["runs"]
        if (run["variant"], run["seed"]) == ("efn", leaked["seed"])
    )
    shares = [f"{100 * run['frame']['accuracy']:.1f} %" for run in (leaked, fair)]
    assert "give EFN {} instead of {} of the frames (one seed".format(*shares) in readme


def test_the_readme_tells_what_chapter_3_found_in_plain_pixels(readme):
    """A run of nbval holds the chapter to what its cells print."""
    notebook = json.loads((ROOT / "book" / "03_extractors.ipynb").read_text("utf-8"))
    printed = "".join(
        "".join(output.get("data", {}).get("text/plain", ""))
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
    )
    (rows,) = re.findall(r"^pixels .*\n(?:  .*\n)*", printed, re.MULTILINE)
    best = max(int(share) for share in re.findall(r"^.*?(\d+)% \[", rows, re.MULTILINE))
    assert f"tells at most {best} % of the sequences of `synth-ck` (chapter 3)" in readme


def test_the_readme_tells_the_sweep_as_recorded(readme):
    folders = {0: "entanglement-0", 0.25: "entanglement-0.25", 0.5: "laptop"}
    folders |= {0.75: "entanglement-0.75", 1: "entanglement-1"}
    eifn, efn = (
        [
            [read_run(run).predictions for run in find_runs(ROOT / "results" / folder / "synth-ck" / variant)]
            for folder in folders.values()
        ]
        for variant in ("eifn", "efn")
    )
    seeds = min(len(tables) for tables in efn)  # the middle may have more
    found = trend(list(folders), *([tables[:seeds] for tables in of] for of in (eifn, efn)))
    ahead = sum(comparison.difference > 0 for comparison in found.comparisons)
    words = ("none", "one", "two", "three", "four", "five")
    assert f"over {words[seeds]} seeds EIFN is ahead of EFN at {words[ahead]} of the five positions" in readme
    assert ("no trend is to be seen" in readme) == (found.interval[0] < 0 < found.interval[1])


def test_the_recorded_runs_are_of_the_preset_as_it_is():
    folders = find_runs(ROOT / "results" / "laptop")
    assert folders
    for run in map(read_run, folders):
        preset = PRESETS["laptop"]
        expected = asdict(preset) | {
            "weights": hashlib.sha256(LAPTOP.read_bytes()).hexdigest(),
            "views": preset.stage_two_views(run.predictions),
            "precision": "bf16-mixed",
        }
        assert run.settings["preset"] == expected
        assert run.settings["stage_one"]["preset"] == expected | {"views": preset.stage_one_views}


@pytest.mark.skipif(not shutil.which("make"), reason="needs make")
def test_a_change_of_package_or_data_discards_cached_outputs(tmp_path):
    """The key of the notebooks' cache: everything in eifn/ and data_prep/, the data, the versions."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    names = ("eifn/fusion.py", "eifn/widgets/host.js", "data_prep/align.py", "constraints.txt")
    names += ("data/synth-ck/database.json", "data/synth-oulu/database.json")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("before\n")
    (tmp_path / "eifn" / "database.py").touch()
    cache = tmp_path / "_build" / ".jupyter_cache"

    def cache_survives():
        for name in names[-2:]:  # newer than what they are made from, so that make leaves them alone
            os.utime(tmp_path / name)
        cache.mkdir(parents=True, exist_ok=True)
        command = ["make", "--old-file=environment", "_build/inputs"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        return cache.exists()

    cache_survives()
    assert cache_survives()
    for name in names:
        (tmp_path / name).write_text("after\n")
        assert not cache_survives(), name
        assert cache_survives()
