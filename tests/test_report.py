import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn import metrics

from eifn import paper
from eifn.folds import subject_folds
from eifn.report import find_runs, read_run, render, render_accuracies, report
from eifn.results import ResultsError, tabulate, wilson_interval, write_predictions

SKILL = {"efn": 1.9, "eifn-star": 2.0, "eifn": 2.3}
"""How far a variant's scores speak for the truth."""


def settings(variant, seed, database="synth-ck", **changes):
    preset = {"width": 0.125, "weights": "none", "stage_two_epochs": 12} | changes
    common = {"variant": variant, "preset": preset, "seed": seed, "eifn": "0.1.0", "code": "c0de"}
    other = {"database": {"name": "synth-oulu", "sha256": "0"}, **common}
    return {"database": {"name": database, "sha256": database}, **common, "stage_one": other}


def write_run(folder, *, variant, seed, evaluation=paper.CK_PLUS, folds=10, losses=None, **changes):
    """What `crossval` leaves of a database as large as the paper's: predictions, losses, provenance."""
    rows = [
        (f"S{number % evaluation.subjects:03d}", f"{number:03d}", position, expression)
        for number, expression in enumerate(e for e, n in evaluation.sequences.items() for _ in range(n))
        for position in range(3)
    ]
    table = pd.DataFrame(rows, columns=["subject", "sequence", "position", "expression"])
    rng = np.random.default_rng([seed, list(SKILL).index(variant)])
    scores = rng.normal(size=(len(table) // 3, len(evaluation.sequences))).repeat(3, axis=0)
    scores += rng.normal(size=scores.shape) / 2
    labels = table["expression"].map(list(evaluation.sequences).index).to_numpy()
    scores[np.arange(len(table)), labels] += SKILL[variant]
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    everyone = settings(variant, seed, **changes)
    for number, fold in enumerate(subject_folds(table["subject"].unique(), folds=10)[:folds]):
        where = folder / everyone["database"]["name"] / variant / f"seed-{seed}" / f"fold-{number:02d}"
        test = np.isin(table["subject"], fold.test)
        found = tabulate(table[test], p[test], expressions=evaluation.expressions, fold=number)
        write_predictions(where / "predictions.csv", found)
        loss = np.linspace(2, 0.1, 12) if losses is None else losses[number]
        columns = {"epoch": np.arange(len(loss)) + 1, "expression": loss, "accuracy": np.exp(-loss)}
        history = pd.DataFrame(columns)
        history.to_csv(where / "history.csv", index=False)
        provenance = {
            "settings": everyone | {"folds": {"rule": "interleaved", "of": 10, "fold": number}},
            "sha256": {
                f.name: hashlib.file_digest(f.open("rb"), "sha256").hexdigest() for f in where.iterdir()
            },
            "made": {
                "started": f"2026-01-02T03:0{number}:00+00:00",
                "seconds": 12.0,
                "device": "cpu",
                "threads": 1,
                "platform": "Linux-of-a-test",
                "versions": {"python": "3.11", "torch": "2.14.1"},
            },
        }
        (where / "provenance.json").write_text(json.dumps(provenance))
    return folder / everyone["database"]["name"] / variant / f"seed-{seed}"


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    """Three variants, two seeds, on a database of the size of CK+."""
    folder = tmp_path_factory.mktemp("results") / "laptop"
    for variant in SKILL:
        for seed in (0, 1):
            write_run(folder, variant=variant, seed=seed)
    return folder


def gathered(folder):
    """By plain pandas: the answers to each sequence of a run, sorted."""
    table = pd.concat(pd.read_csv(file) for file in folder.glob("fold-*/predictions.csv"))
    names = [name for name in table if name.startswith("p_")]
    means = table.groupby(["subject", "sequence", "truth"])[names].mean()
    return means.idxmax(axis=1).str.removeprefix("p_").rename("answer").reset_index()


def rows(text, head):
    """The cells of the table below a title."""
    lines = text[text.index(head) :].splitlines()[1:]
    return [line.split() for line in lines[: lines.index("") if "" in lines else None]]


def test_accuracies_and_confusion_are_those_of_scikit_learn(synthetic):
    outcome = report(find_runs(synthetic))
    (group,) = outcome["groups"]
    assert [(run["variant"], run["seed"]) for run in outcome["runs"]] == [
        (v, s) for v in SKILL for s in (0, 1)
    ]
    summed = {variant: np.zeros((7, 7), int) for variant in SKILL}
    accuracies = {variant: [] for variant in SKILL}
    for run in outcome["runs"]:
        table = gathered(Path(run["folder"]))
        accuracy = metrics.accuracy_score(table["truth"], table["answer"])
        assert run["sequence"]["accuracy"] == pytest.approx(accuracy)
        assert (run["sequence"]["n"], run["frame"]["n"], run["subjects"]) == (327, 981, 118)
        assert run["sequence"]["interval"] == list(wilson_interval(round(accuracy * 327), 327))
        matrix = metrics.confusion_matrix(table["truth"], table["answer"])
        assert run["sequence"]["confusion"] == matrix.tolist()
        summed[run["variant"]] += matrix
        accuracies[run["variant"]].append(accuracy)
    for variant in SKILL:
        assert group["confusion"][variant]["sequence"] == summed[variant].tolist()
        mean = group["means"][variant]["sequence"]
        assert mean["accuracy"] == pytest.approx(np.mean(accuracies[variant]))
        assert mean["sd"] == pytest.approx(abs(np.diff(accuracies[variant])[0]) / np.sqrt(2))
        assert mean["interval"][0] < mean["accuracy"] < mean["interval"][1]


def test_comparisons_are_of_the_same_sequences(synthetic):
    (group,) = report(find_runs(synthetic))["groups"]
    pairs = [(entry["first"], entry["second"]) for entry in group["comparisons"]]
    assert pairs == [("eifn", "efn"), ("eifn-star", "efn"), ("eifn", "eifn-star")]
    for entry in group["comparisons"]:
        gains = []
        for seed in (0, 1):
            one, two = (
                gathered(synthetic / "synth-ck" / entry[which] / f"seed-{seed}")
                for which in ("first", "second")
            )
            gains.append((one["answer"] == one["truth"]).astype(int) - (two["answer"] == two["truth"]))
        assert entry["only_first"] == [(gain > 0).sum() for gain in gains]
        assert entry["only_second"] == [(gain < 0).sum() for gain in gains]
        assert entry["difference"] == pytest.approx(np.mean(gains))
        # The mean over the seeds is the sum over two; its signs tossed a hundred thousand times:
        total = (gains[0] + gains[1]).to_numpy()
        signs = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (100_000, (total != 0).sum()))
        tossed = np.abs(signs @ total[total != 0].astype(np.int16))
        assert entry["p"] == pytest.approx((tossed >= abs(total.sum())).mean(), abs=0.006)
    p = sorted(entry["p"] for entry in group["comparisons"])
    adjusted = sorted(entry["holm"] for entry in group["comparisons"])
    assert adjusted[0] == pytest.approx(min(1, 3 * p[0]))
    assert adjusted[-1] == max(adjusted[-2], p[-1])


def test_one_seed_is_compared_by_mcnemar(synthetic, tmp_path):
    for variant in ("efn", "eifn"):
        part = Path("synth-ck") / variant / "seed-1"
        shutil.copytree(synthetic / part, tmp_path / part)
    outcome = report(find_runs(tmp_path))
    (group,) = outcome["groups"]
    (entry,) = group["comparisons"]
    (b,), (c,) = entry["only_first"], entry["only_second"]
    assert entry["p"] == entry["holm"] == pytest.approx(binomtest(b, b + c).pvalue)
    assert group["notes"] == ["no run of EIFN* is here to compare with"]
    assert "mean" not in [row[1] for row in rows(render(outcome), "Accuracy")]


def test_the_text_sets_the_paper_beside_ours_and_says_how_each_came_about(synthetic):
    outcome = report(find_runs(synthetic))
    text = render(outcome)
    assert max(map(len, text.splitlines())) <= 120
    assert "synth-ck (synthetic faces)" in text
    said = " ".join(text.split())
    assert "Zhang, Su and Wang (2019), Tables 1 and 3, as printed: real faces of CK+" in said
    assert "The faces here are drawn, so the paper's numbers beside ours are no comparison of methods" in said
    assert "327 sequences, 981 frames, 118 people; 10 folds (interleaved) that share nobody" in said
    assert "stage one on synth-oulu (synthetic faces); width 0.125, weights none" in said

    accuracy = rows(text, "Accuracy, beside Table 1")
    for title, seeds in (("EFN", accuracy[1:4]), ("EIFN*", accuracy[4:7]), ("EIFN", accuracy[7:10])):
        assert [row[:5] for row in seeds] == [
            [title, seed, folds, "of", folds] for seed, folds in (("0", "10"), ("1", "10"), ("mean", "20"))
        ]
        assert {row[5] for row in seeds} == {f"{paper.CK_PLUS.accuracy(title):.2f}"}
    first, mean = outcome["runs"][0], outcome["groups"][0]["means"]["efn"]
    of, frames = first["sequence"], first["frame"]
    low, high = of["interval"]
    assert " ".join(accuracy[1][7:]) == (
        f"{100 * of['accuracy']:.1f} % {100 * low:.1f} to {100 * high:.1f} {of['correct']} of 327 "
        f"{100 * of['fold_mean']:.1f} ± {100 * of['fold_sd']:.1f} {100 * frames['accuracy']:.1f} %"
    )
    of, frames = mean["sequence"], mean["frame"]
    low, high = of["interval"]
    assert " ".join(accuracy[3][7:]) == (
        f"{100 * of['accuracy']:.1f} % {100 * low:.1f} to {100 * high:.1f} "
        f"{100 * of['accuracy']:.1f} ± {100 * of['sd']:.1f} {100 * frames['accuracy']:.1f} %"
    )
    assert "note" not in text

    differences = rows(text, "Differences in points")
    assert [row[:6] for row in differences[1:4]] == [
        ["EIFN", "−", "EFN", "0,", "1", "+1.72"],
        ["EIFN*", "−", "EFN", "0,", "1", "+0.71"],
        ["EIFN", "−", "EIFN*", "0,", "1", "+1.01"],
    ]
    first = outcome["groups"][0]["comparisons"][0]
    assert differences[1][6] == f"{100 * first['difference']:+.1f}"
    assert differences[1][-4:] == [
        str(sum(first["only_second"])),
        f"{first['p']:.3f}",
        f"{first['holm']:.3f}",
        f"{100 * first['detectable']:.1f}",
    ]

    made = rows(text, "How the runs were made")
    assert made[1] == [
        "EFN",
        "0",
        "2026-01-02",
        "03:00",
        "2.0",
        "cpu",
        "1",
        "2.14.1",
        "0.1.0",
        "not",
        "recorded",
    ]
    assert "platform  Linux-of-a-test" in text
    assert "command   not recorded" in text


def test_table_3_is_printed_beside_ours(synthetic):
    outcome = report(find_runs(synthetic))
    text = render(outcome)
    matrix = rows(text, "Confusion of EIFN, sequences of 20 of 20 folds, rows are the truth, beside Table 3")
    ours = np.array(outcome["groups"][0]["confusion"]["eifn"]["sequence"])
    assert ours.sum() == 2 * 327
    codes = ["An", "Co", "Di", "Fe", "Ha", "Sa", "Su"]
    assert matrix[1] == codes + codes
    assert matrix[10] == codes + codes
    for i, (theirs, counts) in enumerate(zip(paper.CK_PLUS.confusion, paper.CK_PLUS.counts, strict=True)):
        assert matrix[2 + i][0] == matrix[2 + i][8] == codes[i]
        assert list(map(float, matrix[2 + i][1:8])) == list(theirs)
        np.testing.assert_allclose(
            list(map(float, matrix[2 + i][9:])), 100 * ours[i] / ours[i].sum(), atol=0.05
        )
        assert list(map(int, matrix[11 + i][1:8])) == list(counts)
        assert list(map(int, matrix[11 + i][9:])) == ours[i].tolist()


def test_oulu_casia_is_counted_in_frames_as_table_4_is(tmp_path):
    write_run(tmp_path, variant="eifn", seed=0, evaluation=paper.OULU_CASIA, database="synth-oulu")
    text = render(report(find_runs(tmp_path)))
    assert "Confusion of EIFN, frames of 10 of 10 folds, rows are the truth, beside Table 4" in text
    row = next(line.split() for line in text.splitlines() if line.startswith("An  197 "))
    assert sum(map(int, row[1:7])) == sum(map(int, row[8:])) == 240
    assert "85.21 %" in text
    assert "real faces of Oulu-CASIA" in text


def test_a_database_that_the_paper_has_not(tmp_path):
    write_run(tmp_path, variant="eifn", seed=0, database="london")
    outcome = report(find_runs(tmp_path))
    assert outcome["groups"][0]["paper"] is None
    text = render(outcome)
    assert "paper     has no table of london" in text
    assert "Table" not in text
    assert "london (synthetic" not in text


def test_how_flat_the_training_was(tmp_path):
    losses = np.random.default_rng(0).random((10, 12)) + np.linspace(2, 0, 12)
    write_run(tmp_path, variant="efn", seed=0, losses=losses)
    outcome = report(find_runs(tmp_path))
    for what, told in (("loss", losses), ("accuracy", np.exp(-losses))):
        found = outcome["groups"][0]["training"][what]["efn"]
        assert (found["folds"], found["epochs"]) == (10, 12)
        assert found["first_epoch"] == pytest.approx(np.mean([row[0] for row in told]))
        assert found["last_epoch"] == pytest.approx(np.mean([row[11] for row in told]))
        assert found["epochs_before"] == pytest.approx(np.mean([row[2:7] for row in told]))
        assert found["last_epochs"] == pytest.approx(np.mean([row[7:12] for row in told]))
        assert found["change"] == pytest.approx(found["last_epochs"] - found["epochs_before"])
        assert found["lowest_fold"] == pytest.approx(min(np.mean(row[7:12]) for row in told))
        assert found["highest_fold"] == pytest.approx(max(np.mean(row[7:12]) for row in told))
        table = rows(render(outcome), f"Training {what} of the expression")
        assert " ".join(table[0]) == (
            "variant folds epoch 1 epochs 3-7 epochs 8-12 change epoch 12 lowest fold highest fold"
        )
        assert float(table[1][5]) == pytest.approx(found["change"], abs=1e-4)
    assert f"chance: {np.log(7):.3f}" in render(outcome)


def test_a_short_training_shows_no_change(tmp_path):
    write_run(tmp_path, variant="efn", seed=0, losses=np.ones((10, 9)))
    outcome = report(find_runs(tmp_path))
    assert outcome["groups"][0]["training"]["loss"]["efn"]["change"] is None
    assert "change" not in "".join(rows(render(outcome), "Training loss of the expression")[0])


def test_a_run_that_goes_on_is_shown_and_not_compared(tmp_path):
    write_run(tmp_path, variant="efn", seed=0)
    write_run(tmp_path, variant="eifn", seed=0, folds=7)
    write_run(tmp_path, variant="eifn", seed=1)
    outcome = report(find_runs(tmp_path))
    (group,) = outcome["groups"]
    assert [run["folds"] for run in outcome["runs"]] == [10, 7, 10]
    assert group["comparisons"] == []
    assert len(group["means"]["eifn"]["sequence"]["accuracies"]) == 1
    assert group["confusion"]["eifn"]["folds"] == 17
    unfinished, missing, seeds, *_ = group["notes"]
    assert "eifn/seed-0 has 7 of 10 folds: it is left out of means and comparisons" in unfinished
    assert missing == "no run of EIFN* is here to compare with"
    assert seeds == "EIFN − EFN takes the seeds that both have: none"
    text = render(outcome)
    assert "7 of 10" in text
    assert "Differences" not in text


def test_a_single_fold_is_reported(tmp_path):
    write_run(tmp_path, variant="efn", seed=0, folds=1)
    outcome = report(find_runs(tmp_path))
    assert outcome["runs"][0]["sequence"]["fold_sd"] is None
    assert "NaN" not in json.dumps(outcome)
    assert "nan" not in render(outcome).lower()
    assert "1 of 10" in render_accuracies(outcome)


def test_a_class_without_sequences_has_no_shares(tmp_path):
    write_run(tmp_path, variant="efn", seed=0, folds=1)
    outcome = report(find_runs(tmp_path))
    outcome["groups"][0]["confusion"]["efn"]["sequence"][3] = [0] * 7
    matrix = rows(render(outcome), "Confusion of EFN")[2:9]
    assert matrix[3] == ["Fe", "Fe", *["0"] * 7]  # counts alone: of nothing, 0 % would be wrong
    assert {len(row) for row in matrix} == {9, 16}


def test_a_run_without_a_first_stage(tmp_path):
    seed = write_run(tmp_path, variant="efn", seed=0)
    for path in seed.glob("fold-*/provenance.json"):
        provenance = json.loads(path.read_text())
        provenance["settings"]["stage_one"] = None
        path.write_text(json.dumps(provenance))
    outcome = report(find_runs(tmp_path))
    assert "share nobody; stage one on nothing; width" in " ".join(render(outcome).split())
    assert "synth-ck (synthetic faces), stage one on nothing" in render_accuracies(outcome)


def test_only_seeds_that_both_have_are_compared(tmp_path):
    for variant, seed in (("efn", 0), ("efn", 1), ("eifn", 1), ("eifn", 2)):
        write_run(tmp_path, variant=variant, seed=seed)
    (group,) = report(find_runs(tmp_path))["groups"]
    assert [entry["seeds"] for entry in group["comparisons"]] == [[1]]
    assert "EIFN − EFN takes the seeds that both have: 1" in group["notes"]


def test_runs_with_other_settings_are_kept_apart(tmp_path):
    write_run(tmp_path, variant="efn", seed=0)
    write_run(tmp_path, variant="eifn", seed=0, width=0.25)
    groups = report(find_runs(tmp_path))["groups"]
    assert [len(group["runs"]) for group in groups] == [1, 1]
    for group, other in zip(groups, ("eifn", "efn"), strict=True):
        assert group["comparisons"] == []
        (note,) = [note for note in group["notes"] if "has other settings" in note]
        assert f"{other}/seed-0 has other settings, so it is shown apart" in note
        assert note.endswith("(preset.width, stage_one.preset.width)")


def test_other_code_is_said(tmp_path):
    write_run(tmp_path, variant="efn", seed=0)
    folder = write_run(tmp_path, variant="eifn", seed=0)
    for file in folder.glob("*/provenance.json"):
        file.write_text(file.read_text().replace("c0de", "c1de"))
    (group,) = report(find_runs(tmp_path))["groups"]
    assert len(group["comparisons"]) == 1
    assert "the code that decides the outcome was not the same for all of these runs" in group["notes"]


def test_folds_of_one_run_have_the_same_settings(tmp_path):
    folder = write_run(tmp_path, variant="efn", seed=0)
    file = folder / "fold-03" / "provenance.json"
    file.write_text(file.read_text().replace("0.125", "0.25"))
    with pytest.raises(ResultsError, match=r"fold-03: made with other settings .*\(preset.width, stage_one"):
        read_run(folder)


def test_a_run_that_occurs_twice_is_refused(tmp_path):
    folder = write_run(tmp_path, variant="efn", seed=0)
    shutil.copytree(folder, folder.with_name("seed-0-copy"))
    with pytest.raises(ResultsError, match="seed-0-copy: the same variant and seed as"):
        report(find_runs(tmp_path))


def test_other_people_are_not_compared(tmp_path):
    """Provenance that says the same database, and predictions for another."""
    write_run(tmp_path, variant="efn", seed=0)
    write_run(tmp_path, variant="eifn", seed=0, evaluation=paper.OULU_CASIA)
    with pytest.raises(ResultsError, match="not the same test data"):
        report(find_runs(tmp_path))


def test_where_there_is_nothing(tmp_path):
    with pytest.raises(ResultsError, match="nowhere: no such folder"):
        find_runs(tmp_path / "nowhere")
    with pytest.raises(ResultsError, match="no finished folds in it"):
        find_runs(tmp_path)


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(ResultsError, match=r"seed-0: no finished fold.*eifn crossval"):
        read_run(tmp_path / "seed-0")
