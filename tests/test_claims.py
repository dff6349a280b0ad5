"""The ledger of the recorded runs, against scikit-learn and SciPy on the predictions themselves."""

import shutil
from pathlib import Path
from statistics import fmean

import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, recall_score

from eifn import paper
from eifn.claims import accuracies, differences, recalls, to_markdown
from eifn.report import find_runs, read_run, report
from eifn.results import average, compare

RESULTS = Path(__file__).parents[1] / "results"
VARIANTS = {"EFN": "efn", "EIFN*": "eifn-star", "EIFN": "eifn"}
PAPER = {1: paper.CK_PLUS, 2: paper.OULU_CASIA, 3: paper.CK_PLUS, 4: paper.OULU_CASIA}
TWINS = {1: "synth-ck", 2: "synth-oulu", 3: "synth-ck", 4: "synth-oulu"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcome():
    return report(find_runs(RESULTS / "laptop"))


def answered(run):
    """Truth and answer of each sequence, from the files alone."""
    files = sorted(run.glob("fold-*/predictions.csv"))
    assert len(files) == 10
    frames = pd.concat(map(pd.read_csv, files))
    sequences = frames.groupby(["subject", "sequence", "truth"]).mean().filter(like="p_")
    return sequences.index.get_level_values("truth"), sequences.idxmax(axis=1).str.removeprefix("p_")


def tables(row, variant):
    """The predictions of each seed of a variant, on the database of a row."""
    return [read_run(run).predictions for run in find_runs(RESULTS / "laptop" / TWINS[row.table] / variant)]


def every_seed(row):
    """The same for each seed of the runs that a row is of."""
    runs = sorted((RESULTS / row.runs).glob("seed-*"))
    assert len(runs) == row.seeds
    return [answered(run) for run in runs]


def test_accuracies(outcome):
    found = accuracies(outcome)
    assert len(found) == 6
    assert set(found["table"]) == {1, 2}
    assert set(found["number"]) == set(VARIANTS)
    for row in found.itertuples():
        assert row.runs == f"laptop/{TWINS[row.table]}/{VARIANTS[row.number]}"
        assert row.printed == PAPER[row.table].accuracy(row.number)
        assert row.n == sum(PAPER[row.table].sequences.values())
        assert row.ours == pytest.approx(100 * fmean(accuracy_score(*seed) for seed in every_seed(row)))
        interval = average(tables(row, VARIANTS[row.number]), "sequence").interval
        assert (row.low, row.high) == pytest.approx([100 * bound for bound in interval])


def test_differences_are_those_of_the_accuracies(outcome):
    found = differences(outcome)
    assert len(found) == 6
    ours = accuracies(outcome).set_index(["table", "number"])
    for row in found.itertuples():
        first, second = (ours.loc[(row.table, variant)] for variant in row.number.split(" − "))
        assert row.seeds == first["seeds"] == second["seeds"]
        for column in ("ours", "printed"):
            assert getattr(row, column) == pytest.approx(first[column] - second[column])
        pair = [tables(row, VARIANTS[variant]) for variant in row.number.split(" − ")]
        assert (row.low, row.high) == pytest.approx([100 * bound for bound in compare(*pair).interval])


def test_recalls(outcome):
    found = recalls(outcome)
    assert set(found["table"]) == {3, 4}
    for table, rows in found.groupby("table"):
        expressions = list(PAPER[table].expressions)
        assert rows["number"].tolist() == expressions
        assert rows["n"].tolist() == list(PAPER[table].sequences.values())
        assert rows["printed"].tolist() == [row[i] for i, row in enumerate(PAPER[table].confusion)]
        seeds = every_seed(next(rows.itertuples()))
        expected = sum(recall_score(*seed, labels=expressions, average=None) for seed in seeds) / len(seeds)
        assert (rows["ours"] / 100).tolist() == pytest.approx(expected.tolist())
        for row in rows.itertuples():
            interval = binomtest(round(row.ours * row.n / 100), row.n).proportion_ci(method="wilson")
            assert (row.low, row.high) == pytest.approx((100 * interval.low, 100 * interval.high))


def test_only_finished_runs_count(tmp_path):
    for seed in ("seed-0", "seed-1"):
        run = Path("laptop", "synth-ck", "eifn", seed)
        shutil.copytree(RESULTS / run, tmp_path / run)
    shutil.rmtree(tmp_path / run / "fold-03")
    outcome = report(find_runs(tmp_path))
    (of_all,), of_each = accuracies(outcome).itertuples(), recalls(outcome)
    assert (of_all.seeds, of_all.n) == (1, 327)
    assert set(of_each["seeds"]) == {1}
    assert of_each["n"].sum() == 327
    assert differences(outcome).empty


def test_runs_without_eifn_have_no_recalls():
    runs = find_runs(RESULTS / "laptop" / "synth-ck" / "efn")
    assert recalls(report(runs)).empty


def test_as_markdown():
    row = {"table": 1, "number": "EIFN* − EFN", "printed": 0.71, "ours": -12.23, "low": -17.0, "high": 0.26}
    text = to_markdown(
        pd.DataFrame([{**row, "n": 327, "seeds": 3, "runs": "a/b"}]), computed_in="[C](c.ipynb)", signed=True
    )
    last = text.splitlines()[-1]
    assert (
        last.replace("\N{NO-BREAK SPACE}", " ")
        == r"| 1 | EIFN\* − EFN | +0.71 | -12.2 | -17.0 to +0.3 | 327 | 3 | a/b | [C](c.ipynb) |"
    )
    assert {line.count("|") for line in text.splitlines()} == {10}
