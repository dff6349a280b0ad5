from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, linregress, norm
from sklearn import metrics

from eifn.results import (
    ResultsError,
    answers,
    average,
    compare,
    confusion_matrix,
    detectable_difference,
    exact_p,
    expressions_of,
    holm,
    read_predictions,
    summarize,
    tabulate,
    trend,
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


def same_test(predictions, seed):
    """Other answers to the same questions, in another order: those of another variant or seed."""
    scores = np.random.default_rng(seed).normal(size=(len(predictions), 7))
    scores[np.arange(len(scores)), [EXPRESSIONS.index(e) for e in predictions["truth"]]] += 1.5
    other = predictions.copy()
    other[[f"p_{e}" for e in EXPRESSIONS]] = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    return other.sample(frac=1, random_state=seed, ignore_index=True)


def right_answers(predictions):
    """By sequence, from the loops of `reference`."""
    keys = dict.fromkeys(zip(predictions["subject"], predictions["sequence"], strict=True))
    truth, answer, _ = reference(predictions, "sequence")
    return dict(zip(keys, (truth == answer).tolist(), strict=True))


def test_a_comparison_counts_what_loops_count():
    first = random_predictions(0)
    second, third, fourth = (same_test(first, seed) for seed in (10, 20, 30))
    found = compare([first, third], [second, fourth])
    right = [right_answers(table) for table in (first, second, third, fourth)]
    keys = list(right[0])
    only_first = [sum(a[k] and not b[k] for k in keys) for a, b in (right[:2], right[2:])]
    only_second = [sum(b[k] and not a[k] for k in keys) for a, b in (right[:2], right[2:])]
    assert found.only_first == tuple(only_first)
    assert found.only_second == tuple(only_second)
    assert (found.sequences, found.subjects) == (len(keys), 30)
    for a, b, difference in ((first, second, found.differences[0]), (third, fourth, found.differences[1])):
        accuracies = [summarize(table, "sequence").accuracy for table in (a, b)]
        assert difference == pytest.approx(accuracies[0] - accuracies[1])
    assert found.difference == pytest.approx(np.mean(found.differences))
    discordance = (sum(only_first) + sum(only_second)) / (2 * len(keys))
    assert found.detectable == detectable_difference(len(keys), discordance)
    swapped = compare([second, fourth], [first, third])
    assert swapped.p == found.p
    assert swapped.difference == -found.difference
    np.testing.assert_allclose(swapped.interval, (-found.interval[1], -found.interval[0]), atol=0.01)


def test_one_seed_is_mcnemar():
    first = random_predictions(1)
    second = same_test(first, 11)
    found = compare([first], [second])
    (b,), (c,) = found.only_first, found.only_second
    assert min(b, c) > 0
    assert found.p == pytest.approx(binomtest(b, b + c).pvalue)
    assert compare([first], [first]).p == 1


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (5, 0), (6, 0), (4, 4), (3, 12), (0, 300), (140, 170)])
def test_p_is_that_of_the_binomial_test(b, c):
    gains = np.repeat([1, 0, -1], [b, 20, c])
    expected = binomtest(b, b + c).pvalue if b + c else 1
    assert exact_p(gains) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_p_is_the_share_of_all_signs(seed):
    """Three seeds: gains of -3 to 3, and every one of the 2^12 ways to toss the signs."""
    gains = np.random.default_rng(seed).integers(-3, 4, 12) + (np.arange(12) < seed)
    sums = np.array(list(product([-1, 1], repeat=12))) @ np.abs(gains)
    assert exact_p(gains) == pytest.approx((np.abs(sums) >= abs(gains.sum())).mean())


def answered(right):
    """Predictions, a list of right or wrong for each subject, one frame a sequence."""
    rows = [
        ("S" + str(subject), str(sequence), 0, "anger", 0, float(good), 1 - float(good))
        for subject, each in enumerate(right)
        for sequence, good in enumerate(each)
    ]
    columns = ["subject", "sequence", "position", "truth", "fold", "p_anger", "p_fear"]
    return pd.DataFrame(rows, columns=columns)


def test_the_interval_draws_people_not_sequences():
    """Against all 6^6 ways to draw 6 people with replacement, each with the sequences that are theirs."""
    rng = np.random.default_rng(0)
    sizes = [1, 9, 2, 7, 3, 5]
    first = [[subject % 2] * n for subject, n in enumerate(sizes)]  # a person is all right or all wrong
    second = [rng.integers(0, 2, n) for n in sizes]
    draws = np.array(list(product(range(6), repeat=6)))
    n = np.array(sizes)[draws].sum(1)

    gains = np.array([sum(a) - sum(b) for a, b in zip(first, second, strict=True)])
    expected = np.quantile(gains[draws].sum(1) / n, [0.025, 0.975])
    found = compare([answered(first)], [answered(second)]).interval
    np.testing.assert_allclose(found, expected, atol=0.03)

    right = np.array([sum(a) + sum(b) for a, b in zip(first, second, strict=True)]) / 2
    expected = np.quantile(right[draws].sum(1) / n, [0.025, 0.975])
    both = average([answered(first), answered(second)], "sequence")
    np.testing.assert_allclose(both.interval, expected, atol=0.03)

    alone = average([answered(first)], "sequence")
    assert np.diff(alone.interval) > 1.5 * np.diff(wilson_interval(sum(map(sum, first)), sum(sizes)))


def test_two_people_are_enough_for_an_interval():
    # Of the four ways to draw two of them, one has twice the first, who is right, and one twice the second.
    assert average([answered([[1, 1], [0, 0]])], "sequence").interval == (0, 1)


@LEVELS
def test_an_average_is_over_seeds(level):
    first = random_predictions(0)
    seeds = [first, same_test(first, 10), same_test(first, 20)]
    found = average(seeds, level)
    each = [summarize(seed, level).accuracy for seed in seeds]
    assert found.accuracies == pytest.approx(each)
    assert found.accuracy == pytest.approx(np.mean(each))
    assert found.sd == pytest.approx(np.sqrt(((each - np.mean(each)) ** 2).sum() / 2))
    assert found.interval[0] < found.accuracy < found.interval[1]
    assert found == average(seeds, level)  # the same draws
    assert np.isnan(average(seeds[:1], level).sd)


def test_what_is_not_the_same_test_is_not_compared():
    first = random_predictions(0)
    subject = first["subject"][0]
    fewer = first[first["subject"] != subject]
    with pytest.raises(ResultsError, match=f"not the same test data: sequence 000 of subject {subject}"):
        compare([first], [fewer])
    with pytest.raises(ResultsError, match="not the same test data"):
        average([fewer, first], "frame")
    other_truth = answered([[1, 1], [0, 1]])
    other_truth.loc[3, "truth"] = "fear"
    with pytest.raises(ResultsError, match=r"sequence 1 of subject S1, (anger|fear), is not in every table"):
        compare([other_truth], [answered([[1, 1], [0, 1]])])
    with pytest.raises(ResultsError, match="one subject only"):
        compare([answered([[1, 0]])], [answered([[1, 1]])])
    with pytest.raises(ValueError, match="got 2 and 1"):
        compare([first, first], [first])


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_trend_is_the_least_squares_line_and_draws_people(seeds):
    """The slope against SciPy's; its interval against all 5^5 ways to draw 5 people."""
    rng = np.random.default_rng(3)
    dial, sizes = [0, 0.25, 1, 0.5], [1, 6, 2, 4, 3]
    # The first is right the more often the higher the dial; people are more alike than sequences.
    first = [
        [[rng.random(n) < 0.2 + 0.7 * d * (i % 2) for i, n in enumerate(sizes)] for _ in range(seeds)]
        for d in dial
    ]
    second = [[[rng.random(n) < 0.4 for n in sizes] for _ in range(seeds)] for _ in dial]
    found = trend(dial, *([[answered(right) for right in at] for at in side] for side in (first, second)))
    gains = np.array(
        [
            [
                [int(sum(a)) - int(sum(b)) for a, b in zip(one, other, strict=True)]
                for one, other in zip(*pair, strict=True)
            ]
            for pair in zip(first, second, strict=True)
        ]
    )  # (positions, seeds, people)
    assert [c.difference for c in found.comparisons] == pytest.approx(gains.sum(2).mean(1) / 16)
    assert found.slopes == pytest.approx([linregress(dial, of).slope for of in gains.sum(2).T / 16])
    assert found.slope == pytest.approx(np.mean(found.slopes))
    draws = np.array(list(product(range(5), repeat=5)))
    differences = gains.mean(1)[:, draws].sum(2) / np.array(sizes)[draws].sum(1)  # (positions, draws)
    slopes = np.polyfit(dial, differences, 1)[0]
    np.testing.assert_allclose(found.interval, np.quantile(slopes, [0.025, 0.975]), atol=0.03)


def test_a_trend_that_cannot_be():
    table = answered([[1, 0], [0]])
    one, two = [table], [table, table]
    with pytest.raises(ValueError, match="got 2 and 1 for 2"):
        trend([0, 1], [one, one], [one])
    with pytest.raises(ValueError, match=r"everywhere, got \[1, 2\]"):
        trend([0, 1], [one, one], [one, two])
    with pytest.raises(ValueError, match="two different positions"):
        trend([1, 1], [one, one], [one, one])
    with pytest.raises(ResultsError, match="not the same test data"):
        trend([0, 1], [one, [answered([[1], [0]])]], [one, one])


def test_holm_is_the_closed_test():
    """Holm rejects what Bonferroni rejects in every family that the comparison is in."""
    rng = np.random.default_rng(0)
    for p in [[0.01, 0.04, 0.03], [0.02], [0.5, 0.5, 1.0], *rng.random((20, 4)) ** 3]:
        families = [set(f) for k in range(1, len(p) + 1) for f in combinations(range(len(p)), k)]
        expected = [
            max(min(1, len(f) * min(p[j] for j in f)) for f in families if i in f) for i in range(len(p))
        ]
        assert holm(p) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "discordance"), [(327, 0.04), (480, 0.15), (204, 0.01), (40, 0.3)])
def test_the_detectable_difference_is_found_four_times_in_five(n, discordance):
    rng = np.random.default_rng(n)

    def found(difference):
        rate = max(discordance, difference)
        shares = [(rate + difference) / 2, (rate - difference) / 2, 1 - rate]
        drawn = rng.multinomial(n, shares, 20_000)[:, :2]
        counts, times = np.unique(drawn, axis=0, return_counts=True)
        significant = [b + c > 0 and binomtest(b, b + c).pvalue <= 0.05 for b, c in counts]
        return times[significant].sum() / 20_000

    difference = detectable_difference(n, discordance)
    assert found(difference) == pytest.approx(0.8, abs=0.012)
    assert found(0.9 * difference) < 0.77


def test_what_can_be_detected():
    """Six discordant sequences, all one way, are the least: 2 / 2^6 is below 0.05 and 2 / 2^5 is not."""
    assert np.isnan(detectable_difference(5, 0.5))
    assert detectable_difference(6, 0.5) == pytest.approx(0.8 ** (1 / 6))  # all six have to be discordant
    differences = [detectable_difference(n, 0.1) for n in (50, 100, 327, 480, 5000)]
    assert differences == sorted(differences, reverse=True)
    # No less than discordant sequences that all go one way would show, and no share is out of bounds.
    assert detectable_difference(6, 0) == pytest.approx(0.8 ** (1 / 6))
    assert detectable_difference(327, 0.1) < detectable_difference(327, 1) < 1
    for n, discordance in [(0, 0.1), (10, -0.1), (10, 1.1), (10, np.nan)]:
        with pytest.raises(ValueError, match="not a share"):
            detectable_difference(n, discordance)


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
