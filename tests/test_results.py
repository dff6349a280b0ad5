import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn import metrics

from eifn.results import (
    ResultsError,
    answers,
    confusion_matrix,
    expressions_of,
    read_predictions,
    summarize,
    tabulate,
    wilson_interval,
    write_predictions,
)

EXPRESSIONS = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
LEVELS = pytest.mark.parametrize("level", ["frame", "sequence"])


def random_predictions(seed):
    """30 subjects in 7 unequal folds, 1 to 5 sequences each, 3 frames a sequence; about half are right."""
    rng = np.random.default_rng(seed)
    folds = []
    for fold, subjects in enumerate(np.array_split([f"S{i:03d}" for i in range(30)], 7)):
        rows = [
            {"subject": str(subject), "sequence": f"{k:03d}", "position": position, "expression": truth}
            for subject in subjects
            for k, truth in enumerate(rng.choice(EXPRESSIONS, rng.integers(1, 6)))
            for position in range(3)
        ]
        frames = pd.DataFrame(rows)
        scores = rng.normal(size=(len(frames), 7))
        scores[np.arange(len(frames)), [EXPRESSIONS.index(e) for e in frames["expression"]]] += 1.5
        p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        folds.append(tabulate(frames, p, expressions=EXPRESSIONS, fold=fold))
    return pd.concat(folds, ignore_index=True).sample(frac=1, random_state=seed, ignore_index=True)


def reference(predictions, level):
    """Truth, answer and fold of each frame or sequence, by plain loops."""
    groups = {}
    for i, row in enumerate(predictions.to_dict("records")):
        key = (row["subject"], row["sequence"]) if level == "sequence" else i
        groups.setdefault(key, []).append(row)
    truth = [rows[0]["truth"] for rows in groups.values()]
    fold = [rows[0]["fold"] for rows in groups.values()]
    answer = [
        max(EXPRESSIONS, key=lambda e: sum(float(row[f"p_{e}"]) for row in rows)) for rows in groups.values()
    ]
    return np.array(truth), np.array(answer), np.array(fold)


@LEVELS
@pytest.mark.parametrize("seed", range(3))
def test_equal_to_scikit_learn(level, seed):
    predictions = random_predictions(seed)
    truth, answer, fold = reference(predictions, level)
    assert 0.2 < (truth == answer).mean() < 0.9
    summary = summarize(predictions, level)
    assert summary.accuracy == pytest.approx(metrics.accuracy_score(truth, answer), abs=1e-12)
    assert summary.correct == metrics.accuracy_score(truth, answer, normalize=False)
    assert summary.n == len(truth)
    each = [metrics.accuracy_score(truth[fold == f], answer[fold == f]) for f in range(7)]
    assert summary.fold_mean == pytest.approx(np.mean(each))
    assert summary.fold_sd == pytest.approx(np.sqrt(((each - np.mean(each)) ** 2).sum() / 6))
    matrix = confusion_matrix(predictions, level)
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(matrix, metrics.confusion_matrix(truth, answer, labels=EXPRESSIONS))


def two_frames(first, second, **changes):
    """One sequence of two frames, with probabilities of anger and fear, and whatever is to be changed."""
    table = pd.DataFrame(
        {"subject": "S1", "sequence": "a", "position": [0, 1], "truth": "anger", "fold": 0}
        | {"p_anger": [first, second], "p_fear": [1 - first, 1 - second]}
    )
    return table.assign(**changes)


def test_a_sequence_is_its_mean_probability_not_a_vote():
    predictions = pd.concat(
        [two_frames(0.45, 0.45), two_frames(0.9, 0.1).assign(sequence="b")], ignore_index=True
    )
    predictions.loc[4] = ["S1", "a", 2, "anger", 0, 0.99, 0.01]  # outweighs two votes for fear
    answered = answers(predictions, "sequence")
    assert answered[["sequence", "answer"]].to_numpy().tolist() == [["a", "anger"], ["b", "anger"]]
    assert answers(predictions, "frame")["answer"].tolist() == ["fear", "fear", "anger", "fear", "anger"]


def test_a_class_without_truth_keeps_its_row():
    matrix = confusion_matrix(two_frames(0.2, 0.8), "frame")
    assert matrix.tolist() == [[1, 1], [0, 0]]


def test_pooled_accuracy_and_mean_of_folds_differ():
    many = pd.concat([two_frames(0.9, 0.9, subject=f"S{i}") for i in range(2, 5)])
    summary = summarize(pd.concat([two_frames(0.1, 0.1), many.assign(fold=1)]), "sequence")
    assert (summary.accuracy, summary.fold_mean, summary.fold_sd) == (0.75, 0.5, pytest.approx(np.sqrt(0.5)))
    assert np.isnan(summarize(two_frames(0.9, 0.9), "sequence").fold_sd)


@pytest.mark.parametrize(("correct", "n"), [(314, 327), (1227, 1440), (0, 10), (10, 10)])
def test_the_interval_holds_the_accuracies_that_the_score_test_accepts(correct, n):
    """Wilson's bounds are where the observed share lies 1.96 standard errors from the assumed one."""
    low, high = wilson_interval(correct, n)
    share, z = correct / n, norm.ppf(0.975)
    assert 0 <= low <= share <= high <= 1
    for bound in (low, high):
        if 0 < bound < 1:
            assert abs(share - bound) == pytest.approx(z * np.sqrt(bound * (1 - bound) / n))
    assert summarize(two_frames(0.9, 0.9), "frame").interval == wilson_interval(2, 2)


def test_written_and_read_exactly(tmp_path):
    predictions = random_predictions(0)
    predictions.loc[predictions["subject"] == "S000", "subject"] = "NA"  # a name, not a missing value
    predictions.loc[predictions["subject"] == "S001", "subject"] = "007"
    file = tmp_path / "run" / "predictions.csv"
    write_predictions(file, predictions)
    write_predictions(file, predictions)  # over the first copy
    pd.testing.assert_frame_equal(read_predictions(file), predictions, check_exact=True)
    assert (predictions.dtypes[[f"p_{e}" for e in EXPRESSIONS]] == np.float32).all()
    assert expressions_of(predictions) == EXPRESSIONS
    assert [path.name for path in file.parent.iterdir()] == ["predictions.csv"]


BAD = [
    ({"p_anger": [np.nan, 0.5]}, "line 2: a probability is missing or not a number"),
    ({"p_anger": [0.9, np.inf]}, "line 3: a probability is missing or not a number"),
    ({"p_anger": [0.9, -0.1], "p_fear": [0.1, 1.1]}, "line 3: a probability is negative"),
    ({"p_anger": [0.9, 0.9]}, "line 3: the probabilities do not sum to 1"),
    ({"truth": ["anger", "fear"]}, "line 3: sequence a of subject S1 has two truths"),
    ({"truth": ["anger", "joy"]}, "line 3: no column of probabilities for the truth 'joy'"),
    ({"fold": [0, 1], "sequence": ["a", "b"]}, "line 3: subject S1 is in two folds"),
    ({"fold": [0, 0.5]}, "line 3: fold is not a whole number"),
    ({"position": [0, -1]}, "line 3: position is not a whole number"),
    ({"position": [0, 0]}, "line 3: frame 0 of sequence a of subject S1 occurs twice"),
    ({"subject": ["S1", " "]}, "line 3: empty subject"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_predictions_are_refused_everywhere(tmp_path, changes, message):
    predictions = two_frames(0.9, 0.2, **changes)
    with pytest.raises(ResultsError, match=f"^predictions, {message}.*again$"):
        summarize(predictions, "frame")
    file = tmp_path / "predictions.csv"
    with pytest.raises(ResultsError, match=message):
        write_predictions(file, predictions)
    assert not list(tmp_path.iterdir())
    predictions.to_csv(file, index=False)
    with pytest.raises(ResultsError, match=f"{file.name}, {message}"):
        read_predictions(file)


@pytest.mark.parametrize("column", ["subject", "sequence", "position", "truth", "fold"])
def test_a_missing_column_is_named(column):
    with pytest.raises(ResultsError, match=f"column '{column}' is missing"):
        confusion_matrix(two_frames(0.9, 0.2).drop(columns=column), "frame")


def test_no_probabilities_or_no_rows():
    with pytest.raises(ResultsError, match="p_anger"):
        summarize(two_frames(0.9, 0.2).drop(columns=["p_anger", "p_fear"]), "frame")
    with pytest.raises(ResultsError, match="no predictions"):
        summarize(two_frames(0.9, 0.2).iloc[:0], "frame")


def test_an_unknown_level_is_refused():
    with pytest.raises(ValueError, match="'frame' or 'sequence'"):
        answers(two_frames(0.9, 0.2), "video")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x01", b'subject,"sequence\n', b"\x89PNG\r\n"])
def test_a_file_that_is_no_table(tmp_path, content):
    file = tmp_path / "predictions.csv"
    file.write_bytes(content)
    with pytest.raises(ResultsError, match=str(file)):
        read_predictions(file)


def test_a_cut_off_file_is_refused(tmp_path):
    file = tmp_path / "predictions.csv"
    write_predictions(file, random_predictions(0))
    whole = file.read_bytes()
    file.write_bytes(whole[: whole.rindex(b",")])
    with pytest.raises(ResultsError, match=r"line \d+: a probability is missing"):
        read_predictions(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ResultsError, match=r"nowhere\.csv: not found"):
        read_predictions(tmp_path / "nowhere.csv")


def test_nothing_is_left_where_writing_fails(tmp_path):
    (tmp_path / "predictions.csv").mkdir()  # a folder in the way
    with pytest.raises(OSError, match=r"predictions\.csv"):
        write_predictions(tmp_path / "predictions.csv", two_frames(0.9, 0.2))
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.csv"]
