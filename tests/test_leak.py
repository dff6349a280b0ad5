from pathlib import Path

import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.leak import claim_everybody_new, write_leak
from eifn.database import read_database
from eifn.folds import subject_folds
from eifn.report import find_runs, read_run, render, report

RESULTS = Path(__file__).parents[1] / "results"


@pytest.fixture
def honest(make_database):
    return make_database("synth-ck", subjects=25, frames=3)


def test_every_frame_is_another_person(honest, tmp_path):
    before, after = read_database(honest), read_database(write_leak(honest, tmp_path / "leak"))
    assert after.name == "synth-ck-leak"
    assert len(after.subjects) == len(after) == len(before) == 150
    np.testing.assert_array_equal(after.frames, before.frames)
    assert after.labels.tolist() == before.labels.tolist()
    assert (after.licence, after.citation) == (before.licence, before.citation)
    assert after.made_by == f"{before.made_by}; python -m data_prep leak --seed 0"


def test_the_source_says_which_frame_it_was(honest, tmp_path):
    before, after = read_database(honest), read_database(write_leak(honest, tmp_path / "leak"))
    rows = before.table[["subject", "sequence", "position"]].astype(str).agg("/".join, axis=1)
    assert after.table["source"].tolist() == rows.tolist()


def test_its_folds_are_random_and_share_people_and_sequences(honest, tmp_path):
    before, after = read_database(honest), read_database(write_leak(honest, tmp_path / "leak"))
    tested = []
    for fold in subject_folds(after.subjects):
        train, test = fold.rows(after)
        tested += test.tolist()
        assert set(before.table["subject"][test]) <= set(before.table["subject"][train])
        apart = np.diff(np.sort(test))
        assert len(set(apart.tolist())) > 3  # not every tenth frame
    assert sorted(tested) == list(range(len(after)))


def test_the_seed_decides_the_order(honest):
    table = read_database(honest).table
    one, same, other = (claim_everybody_new(table, seed=seed)["subject"] for seed in (1, 1, 2))
    assert one.tolist() == same.tolist() != other.tolist()
    assert sorted(one) == sorted(other)
    # Sorted as text they are sorted as numbers, so that fold i is every tenth of a random order.
    assert sorted(one) == [f"frame-{number:03}" for number in range(150)]


def test_the_command(honest, tmp_path, capsys):
    out = tmp_path / "leak"
    assert main(["leak", "--database", str(honest), "--seed", "3", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "synth-ck-leak" in printed
    assert "150 frames, 150 sequences, 150 subjects" in printed
    expected = claim_everybody_new(read_database(honest).table, seed=3)
    assert read_database(out).table["subject"].tolist() == expected["subject"].tolist()


def test_without_a_database_nothing_is_written(tmp_path, capsys):
    out = tmp_path / "leak"
    assert main(["leak", "--database", str(tmp_path / "none"), "--out", str(out)]) == 2
    assert "none/database.json: not found" in capsys.readouterr().err.replace("\\", "/")
    assert not out.exists()


@pytest.mark.parametrize(
    ("honest", "leak"),
    [("laptop/synth-ck", "leak/synth-ck-leak"), ("one-view/synth-ck", "one-view/synth-ck-leak")],
)
def test_the_recorded_run_differs_from_the_honest_one_by_its_split_alone(honest, leak):
    honest, leak = (read_run(RESULTS / database / "efn" / "seed-0") for database in (honest, leak))
    assert leak.finished
    for setting in ("variant", "preset", "seed"):
        assert leak.settings[setting] == honest.settings[setting]
    same_frames = [run.settings["database"]["sha256"][:64] for run in (honest, leak)]
    assert same_frames[0] == same_frames[1]
    # The honest run's table, renamed, is the leak's: so chapter 2 may compare frame by frame.
    table = honest.predictions.rename(columns={"truth": "expression"})
    table = table.sort_values(["subject", "sequence", "position"], ascending=[True, True, False])
    renamed = claim_everybody_new(table[["subject", "sequence", "position", "expression"]])
    truth = leak.predictions.set_index("subject")["truth"]
    assert truth[renamed["subject"]].tolist() == renamed["expression"].tolist()


def test_the_report_says_that_it_leaks():
    text = {name: render(report(find_runs(RESULTS / name))) for name in ("leak", "laptop/london")}
    warning = "made to leak: every frame claims to show another person"
    assert warning in text["leak"]
    assert warning not in text["laptop/london"]
