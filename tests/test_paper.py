"""The numbers against the paper's own text, against each other, and against the package."""

import json
import pkgutil
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from eifn import augment, database, paper, training
from eifn.report import find_runs, read_run
from eifn.results import summarize

RESULTS = Path(__file__).parents[1] / "results"
TEXT = Path(__file__).parents[2] / "shared" / "paper" / "eifn-icip2019.md"
BOTH = pytest.mark.parametrize("evaluation", [paper.CK_PLUS, paper.OULU_CASIA], ids=lambda e: e.name)


@pytest.fixture(scope="module")
def text():
    if not TEXT.is_file():
        pytest.skip("the paper's text is not beside this checkout")
    return TEXT.read_text("utf-8")


@pytest.fixture(scope="module")
def tables(text):
    """Tables 1 to 4 as printed: a list of rows, each a list of cells without the empty ones."""
    rows = [[cell.strip() for cell in line.split("\t")] for line in text.splitlines() if "\t" in line]
    found = []
    for row in rows:
        if row[:2] in (["Method", "Setting"], ["", "An"]):
            found.append([])
        found[-1].append([cell for cell in row if cell])
    assert len(found) == 4
    return found


@pytest.mark.parametrize(("number", "evaluation"), [(0, paper.CK_PLUS), (1, paper.OULU_CASIA)])
def test_accuracies_are_those_printed(tables, number, evaluation):
    printed = []
    for method, setting, accuracy in tables[number][1:]:
        name, reference = re.fullmatch(r"(.+?)(?: \[(\d+)\]| \(baseline\))?", method).groups()
        printed.append(
            (name, setting, float(accuracy.removesuffix("%")), int(reference) if reference else None)
        )
    assert printed == [(r.method, r.setting, r.accuracy, r.reference) for r in evaluation.results]


@pytest.mark.parametrize(("number", "evaluation"), [(2, paper.CK_PLUS), (3, paper.OULU_CASIA)])
def test_confusion_matrices_are_those_printed(tables, number, evaluation):
    # The scan reads "Co" and "Ha" with Cyrillic letters.
    latin = str.maketrans({"С": "C", "о": "o", "Н": "H", "а": "a"})
    heads, *rows = [[cell.translate(latin) for cell in row] for row in tables[number]]
    codes = [paper.CODES[expression] for expression in evaluation.expressions]
    assert heads == codes
    assert [row[0] for row in rows] == codes
    assert tuple(tuple(map(float, row[1:])) for row in rows) == evaluation.confusion


def test_settings_are_those_stated(text):
    angles = ", ".join(rf"{angle}^\circ" for angle in paper.ROTATIONS)
    for said in (
        f"contains {sum(paper.CK_PLUS.sequences.values())} sequences of {paper.CK_PLUS.subjects} subjects",
        f"{sum(paper.OULU_CASIA.sequences.values())} sequences collected from {paper.OULU_CASIA.subjects}",
        f"only {paper.CK_PLUS.sequences['contempt']} of {sum(paper.CK_PLUS.sequences.values())}",
        rf"re-scaled to ${paper.IMAGE_SIZE} \times {paper.IMAGE_SIZE}$",
        f"rotated by $[{angles}]$",
        f"{paper.AUGMENTATION} times larger than the original one",
        f"the {paper.FOLDS}-fold subjectindependent",  # as scanned
        f"batch size of {paper.BATCH_SIZE}, momentum of {paper.MOMENTUM}",
        f"for EIFN are {paper.LEARNING_RATE}, {paper.WEIGHT_DECAY} respectively",
        f"from {paper.LEARNING_RATE}, and is divided by {paper.LEARNING_RATE_DIVISOR} "
        f"after every {paper.LEARNING_RATE_STEP} epochs",
    ):
        # The scan doubles spaces around formulas.
        assert said in " ".join(text.split()), said
    assert paper.FRAMES_PER_SEQUENCE == 3
    assert "the last three frames of each sequence" in text


def test_loss_weights_are_those_stated(text):
    """The paper states them four times: the two stages for CK+, then the two for Oulu-CASIA."""
    stated = re.findall(r"(?:set to|as|change to) 0\.0001, (\d),? (?:and )?(\d)", text)
    stages = [(evaluation.pretrained_on, evaluation.name) for evaluation in (paper.CK_PLUS, paper.OULU_CASIA)]
    weights = {e.name: e.loss_weights for e in (paper.CK_PLUS, paper.OULU_CASIA)}
    ours = [weights[name] for pair in stages for name in pair]
    assert [(w["center"], w["identity"], w["expression"]) for w in ours] == [
        (0.0001, float(identity), float(expression)) for identity, expression in stated
    ]


@BOTH
def test_rows_are_the_truth_and_cells_are_whole_numbers(evaluation):
    percent = np.array(evaluation.confusion)
    assert percent.sum(1) == pytest.approx(100, abs=0.011)
    assert (np.abs(percent.sum(0) - 100) > 1).any()  # columns are not the truth
    sizes = np.array(list(evaluation.sequences.values()))
    if evaluation.counted_in == "frames":
        sizes = sizes * 3
    counts = np.array(evaluation.counts)
    assert counts.sum(1).tolist() == sizes.tolist()
    # 0.01: printed with two decimals, and one cell (85.72 for 24 of 28) rounded the wrong way.
    assert 100 * counts / sizes[:, None] == pytest.approx(percent, abs=0.01)


def test_table_4_fits_no_whole_sequences():
    cells = np.array(paper.OULU_CASIA.confusion) * 80 / 100
    assert np.abs(cells - cells.round()).max() > 0.3


@pytest.mark.parametrize(
    ("evaluation", "correct", "total"), [(paper.CK_PLUS, 314, 327), (paper.OULU_CASIA, 1227, 1440)]
)
def test_the_diagonal_is_the_accuracy_reported(evaluation, correct, total):
    assert (evaluation.correct, evaluation.total) == (correct, total)
    assert round(100 * correct / total, 2) == evaluation.accuracy("EIFN")


@pytest.mark.parametrize(
    ("method", "total", "possible"),
    [
        ("EFN", 327, []),
        ("EFN", 981, []),
        ("EIFN*", 327, []),
        ("EIFN*", 981, [932]),
        ("EIFN", 327, [314]),
    ],
)
def test_what_table_1_can_have_counted(method, total, possible):
    printed = paper.CK_PLUS.accuracy(method)
    assert [n for n in range(total + 1) if abs(100 * n / total - printed) < 0.0051] == possible


@BOTH
def test_methods_settings_and_neighbours(evaluation):
    methods = [result.method for result in evaluation.results]
    assert len(set(methods)) == len(methods)
    assert [r.method for r in evaluation.results if r.reference is None] == ["EFN", "EIFN*", "EIFN"]
    assert evaluation.pretrained_on in {"CK+", "Oulu-CASIA"} - {evaluation.name}
    with pytest.raises(KeyError):
        evaluation.accuracy("VGG")


def test_the_package_agrees():
    assert sorted(augment.ANGLES) == list(paper.ROTATIONS)
    assert paper.AUGMENTATION == augment.VIEWS
    assert paper.IMAGE_SIZE == database.SIZE
    assert asdict(training.LOSS_WEIGHTS["ck-plus"]) == paper.CK_PLUS.loss_weights
    assert asdict(training.LOSS_WEIGHTS["oulu-casia"]) == paper.OULU_CASIA.loss_weights
    assert tuple(paper.CODES) == database.EXPRESSIONS[:7] == paper.CK_PLUS.expressions


def test_the_register_is_complete_and_every_topic_its_own():
    topics = [entry.topic for entry in paper.UNSAID]
    assert len(set(topics)) == len(topics) > 30
    assert len({entry.question for entry in paper.UNSAID}) == len(topics)
    for entry in paper.UNSAID:
        assert entry.question.endswith(("?", "fixed.")), entry.topic
        assert entry.chosen, entry.topic
        assert entry.alternatives, entry.topic
        assert all(entry.alternatives), entry.topic
        assert entry.chosen not in entry.alternatives, entry.topic
        assert entry.effect is None or "synthetic" in entry.effect, entry.topic  # measured on nothing else


def test_effects_are_what_the_recorded_runs_show():
    effects = {entry.topic: entry.effect for entry in paper.UNSAID}
    folders = [
        folder for twin in ("synth-ck", "synth-oulu") for folder in find_runs(RESULTS / "laptop" / twin)
    ]
    recorded = [read_run(folder).predictions for folder in folders]
    sequences = [summarize(predictions, "sequence") for predictions in recorded]
    frames = [summarize(predictions, "frame") for predictions in recorded]
    for topic, others in (
        ("frame or sequence", [run.accuracy for run in frames]),
        ("average of the 10 runs", [run.fold_mean for run in sequences]),
    ):
        most = max(abs(run.accuracy - other) for run, other in zip(sequences, others, strict=True))
        expected = f"{len(recorded)} recorded runs: accuracies differ by at most {100 * most:.2f} points"
        assert expected in effects[topic]

    by_frame, by_person = (
        summarize(read_run(RESULTS / run / "efn" / "seed-0").predictions, "frame").accuracy
        for run in ("leak/synth-ck-leak", "laptop/synth-ck")
    )
    assert f"{100 * by_frame:.1f} % instead of {100 * by_person:.1f} %" in effects["folds"]

    rows = json.loads((RESULTS / "sensitivity.json").read_text("utf-8"))["rows"]
    counted = {row["setting"]: row["right"] for row in rows}
    for row in rows:
        assert row["right"] == sum(row["right by fold"])
        assert row["right"] - counted[row["against"]] == row["gained"] - row["lost"]
    right = {row["setting"]: f"{row['right']}" for row in rows}
    learned = {row["setting"]: f"{100 * row['training accuracy']:.0f} %" for row in rows}
    (of,) = {row["sequences"] for row in rows}
    ours, seed = "as it is here", "another seed"
    default = "expression classifier by PyTorch's default"
    epsilon = "epsilon 1e-5 under the root"
    total, again = "center loss summed over the batch", "center loss summed, another seed"
    for topic, expected in (
        ("new layers", [right[default], f"of {of}", right[ours], learned[default], learned[ours]]),
        ("epsilon of the signed square root", [right[epsilon], f"of {of}", right[ours], right[seed]]),
        ("reduction of center loss", [right[total], f"of {of}", right[ours], right[again], right[seed]]),
    ):
        assert re.search(".* ".join(expected), effects[topic]), topic

    stronger, as_printed = (
        sum(
            summarize(
                read_run(RESULTS / run / "synth-ck" / "eifn" / f"seed-{seed}").predictions, "sequence"
            ).correct
            for seed in (0, 1)
        )
        for run in ("lambda1-0.01", "laptop")
    )
    assert f"{stronger} of {2 * of} instead of {as_printed}" in effects["reduction of center loss"]


def test_the_effect_of_test_views_is_what_chapter_13_prints():
    notebook = json.loads((RESULTS.parent / "book" / "13_reading_critically.ipynb").read_text("utf-8"))
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    printed = "".join("".join(output.get("text", "")) for output in outputs)
    found = re.findall(r"^(efn|eifn-star|eifn) +(\d+) +(\d+)$", printed, re.MULTILINE)
    right = {name: counts for name, *counts in found}
    (effect,) = (entry.effect for entry in paper.UNSAID if entry.topic == "test images")
    assert effect.endswith(
        "EIFN {} right in one view and {} in the mean of 14, EIFN* {} and {}, EFN {} and {}".format(
            *right["eifn"], *right["eifn-star"], *right["efn"]
        )
    )


def test_an_entry_prints_all_that_it_says_in_lines_that_fit_a_page():
    for entry in paper.UNSAID:
        lines = str(entry).splitlines()
        assert max(map(len, lines)) <= 76
        said = " ".join(" ".join(lines).split())
        alternatives = "".join(f" or: {other}" for other in entry.alternatives)
        assert said == f"{entry.question} chosen: {entry.chosen}{alternatives}"


@pytest.mark.parametrize("where", sorted({entry.where for entry in paper.UNSAID}))
def test_the_register_points_at_code(where):
    pkgutil.resolve_name(where)  # raises unless the module and the attribute exist
