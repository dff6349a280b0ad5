"""From predictions to accuracies, confusion matrices, intervals and paired comparisons.

Predictions are a table with one row for each test frame::

    subject, sequence   text, as in the prepared database
    position            from the end of the sequence, 0 is the peak
    truth               the expression, by name
    fold                the fold in which this subject was tested
    p_anger, ...        float32, one column for each expression: its probability

Everything is derived from that table, so a recorded run keeps predictions and never just a number. It counts
frames, or sequences: a sequence is given the expression with the highest mean probability over its frames.

Book: chapter 9, *Confusion matrices*, and chapter 8, *The ablations*.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import binom, binomtest, bootstrap

Level = Literal["frame", "sequence"]

COLUMNS = ("subject", "sequence", "position", "truth", "fold")
"""The columns in front of the probabilities."""


class ResultsError(ValueError):
    """Predictions that are missing, malformed or impossible; the message names file, line and remedy."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How well some predictions do. Accuracies are fractions of 1."""

    level: Level
    n: int
    """Frames or sequences."""
    correct: int
    accuracy: float
    """Pooled over the folds: correct / n."""
    interval: tuple[float, float]
    """`wilson_interval` of the pooled accuracy."""
    fold_mean: float
    """Mean of the accuracies of the folds. They differ in size, so this is not `accuracy`."""
    fold_sd: float
    """Standard deviation over the folds (n - 1 in the denominator); NaN for a single fold."""


@dataclass(frozen=True, kw_only=True)
class Average:
    """How well several seeds of one variant do on the same test data. Accuracies are fractions of 1."""

    level: Level
    accuracies: tuple[float, ...]
    """Of each seed, pooled over the folds."""
    accuracy: float
    """Their mean."""
    sd: float
    """Their standard deviation (n - 1 in the denominator); NaN for a single seed."""
    interval: tuple[float, float]
    """95 % interval of `accuracy` for other people and these seeds, see `average`."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One variant less another on the same sequences. Differences are fractions of 1."""

    sequences: int
    subjects: int
    differences: tuple[float, ...]
    """In accuracy, first less second, for each seed."""
    difference: float
    """Their mean."""
    interval: tuple[float, float]
    """95 % interval of `difference` for other people and these seeds, see `compare`."""
    only_first: tuple[int, ...]
    """Sequences that the first alone got right, for each seed."""
    only_second: tuple[int, ...]
    """Sequences that the second alone got right, for each seed."""
    p: float
    """`exact_p`: the chance of a difference this large if the two were alike."""
    detectable: float
    """`detectable_difference` of so many sequences with the discordance seen here."""


@dataclass(frozen=True, kw_only=True)
class Trend:
    """How the difference of two variants changes along a dial. Differences are fractions of 1."""

    comparisons: tuple[Comparison, ...]
    """First less second, at each position of the dial."""
    slopes: tuple[float, ...]
    """Of the straight lines of least squares through the differences of each seed: change for one unit of the
    dial."""
    slope: float
    """Their mean, which is the slope of the line through the mean differences."""
    interval: tuple[float, float]
    """95 % interval of `slope` for other people, see `trend`."""


def tabulate(
    frames: pd.DataFrame, probabilities: np.ndarray, *, expressions: Sequence[str], fold: int
) -> pd.DataFrame:
    """The predictions of one fold as a table.

    Args:
        frames: N rows of a prepared database's table, with `subject`, `sequence`, `position`, `expression`.
        probabilities: (N, K), floating point.
        expressions: the K classes, in the order of the columns of `probabilities`.
        fold: its number.
    """
    table = frames[["subject", "sequence", "position"]].reset_index(drop=True)
    table = table.assign(truth=frames["expression"].to_numpy(), fold=fold)
    names = [f"p_{expression}" for expression in expressions]
    return table.join(pd.DataFrame(probabilities.astype(np.float32), columns=names))


def expressions_of(predictions: pd.DataFrame) -> tuple[str, ...]:
    """The expressions that have a column of probabilities, in the order of the columns."""
    return tuple(name.removeprefix("p_") for name in predictions.columns if name.startswith("p_"))


def answers(predictions: pd.DataFrame, level: Level) -> pd.DataFrame:
    """What was answered: a row for each frame or sequence with its subject, sequence, fold, truth, answer.

    Raises:
        ResultsError: the predictions are malformed.
        ValueError: no such level.
    """
    _check(predictions, "predictions")
    expressions = expressions_of(predictions)
    names = [f"p_{expression}" for expression in expressions]
    table = predictions.astype(dict.fromkeys(names, np.float64))
    if level == "sequence":
        kept = dict.fromkeys(["truth", "fold"], "first") | dict.fromkeys(names, "mean")
        table = table.groupby(["subject", "sequence"], sort=False, as_index=False).agg(kept)
    elif level != "frame":
        raise ValueError(f"level must be 'frame' or 'sequence', got {level!r}")
    answer = np.array(expressions)[table[names].to_numpy().argmax(1)]
    return table[["subject", "sequence", "fold", "truth"]].assign(answer=answer)


def confusion_matrix(predictions: pd.DataFrame, level: Level) -> np.ndarray:
    """Counts, int64 (K, K): rows are the truth, columns the answer, both in the order of `expressions_of`.

    Raises:
        ResultsError: the predictions are malformed.
    """
    answered = answers(predictions, level)
    expressions = list(expressions_of(predictions))
    matrix = np.zeros((len(expressions), len(expressions)), np.int64)
    index = pd.Index(expressions)
    np.add.at(matrix, (index.get_indexer(answered["truth"]), index.get_indexer(answered["answer"])), 1)
    return matrix


def summarize(predictions: pd.DataFrame, level: Level) -> Summary:
    """Accuracy of all predictions pooled, and mean and spread over the folds.

    Raises:
        ResultsError: the predictions are malformed.
    """
    answered = answers(predictions, level)
    right = answered["truth"].to_numpy() == answered["answer"].to_numpy()
    folds = pd.Series(right).groupby(answered["fold"].to_numpy()).mean()
    n, correct = len(right), int(right.sum())
    return Summary(
        level=level,
        n=n,
        correct=correct,
        accuracy=correct / n,
        interval=wilson_interval(correct, n),
        fold_mean=float(folds.mean()),
        fold_sd=float(folds.std(ddof=1)),
    )


def wilson_interval(correct: int, n: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy (Wilson 1927), as fractions of 1.

    It takes the n answers for independent. Frames of one sequence are not, nor, to a lesser degree, are the
    sequences of one person: for frames read it as far too narrow, for sequences as somewhat too narrow.

    Raises:
        ValueError: not 0 <= correct <= n, or n is 0.
    """
    interval = binomtest(correct, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def average(seeds: Sequence[pd.DataFrame], level: Level) -> Average:
    """Mean accuracy of several seeds, with an interval by the bootstrap over subjects (Efron 1979).

    The sequences of one person are not independent, so whole people are drawn, with replacement, 9999 times
    (and the same ones every time this is called); a person comes with all frames from all seeds. The interval
    is from the 2.5th to the 97.5th percentile. It speaks of other people and not of other seeds, for which
    `sd` is there, and it is too narrow where next to nothing is wrong, or next to nothing right.

    Args:
        seeds: predictions for the same test data, one table a seed.
        level: what is counted.

    Raises:
        ResultsError: predictions that are malformed or for different sequences, or fewer than two subjects.
    """
    right = _right(seeds, level)  # (seeds, frames or sequences)
    accuracies = right.mean(axis=1)
    return Average(
        level=level,
        accuracies=tuple(accuracies.tolist()),
        accuracy=float(accuracies.mean()),
        sd=float(accuracies.std(ddof=1)),
        interval=_interval_over_subjects(right.mean()),
    )


def compare(first: Sequence[pd.DataFrame], second: Sequence[pd.DataFrame]) -> Comparison:
    """Compare two variants sequence by sequence, over as many seeds as are given.

    A seed of the one is set beside the same seed of the other, and the differences are averaged over seeds.
    The interval of the mean is by the bootstrap over subjects, as in `average`. It allows for the likeness of
    the sequences of one person; `p` and `detectable` take sequences for independent and are somewhat too
    hopeful. None of the three says what other seeds would give: `differences` shows how far these agree.

    Args:
        first: predictions of one variant, one table a seed.
        second: predictions of the other for the same sequences, in the same order of seeds.

    Raises:
        ResultsError: predictions that are malformed or for different sequences, or fewer than two subjects.
        ValueError: not as many seeds of one as of the other.
    """
    if len(first) != len(second):
        raise ValueError(f"as many seeds of both are needed, got {len(first)} and {len(second)}")
    right = _right([*first, *second], "sequence")
    # Right answers of the first less those of the second, -1, 0 or 1: (seeds, sequences)
    gains = right.iloc[: len(first)] - right.iloc[len(first) :].to_numpy()
    differences = gains.mean(axis=1)
    return Comparison(
        sequences=gains.shape[1],
        subjects=gains.columns.unique("subject").size,
        differences=tuple(differences.tolist()),
        difference=float(differences.mean()),
        interval=_interval_over_subjects(gains.mean()),
        only_first=tuple((gains > 0).sum(axis=1).tolist()),
        only_second=tuple((gains < 0).sum(axis=1).tolist()),
        p=exact_p(gains.sum().to_numpy()),
        detectable=detectable_difference(gains.shape[1], float((gains != 0).mean(axis=None))),
    )


def trend(
    dial: Sequence[float],
    first: Sequence[Sequence[pd.DataFrame]],
    second: Sequence[Sequence[pd.DataFrame]],
) -> Trend:
    """Does the difference of two variants grow or shrink along a dial that the same people were drawn at?

    The slope of a straight line of least squares, d the positions and g their differences, is

        slope = Σ (d - mean(d)) g / Σ (d - mean(d))²,

    a weighted sum of the differences, so it is also the mean over seeds and sequences of the same weighted
    sum of their gains (1 where the first alone is right, -1 where the second is). The interval is by the
    bootstrap over subjects, as in `average`: a person comes with all sequences at all positions. It speaks of
    other people and not of other seeds: `slopes` shows how far these agree.

    Args:
        dial: the positions, at least two different ones.
        first: predictions of one variant, at each position one table a seed.
        second: predictions of the other, in the same order.

    Raises:
        ResultsError: predictions that are malformed or for different sequences, or fewer than two subjects.
        ValueError: not as many seeds everywhere, not as many positions, or all of them alike.
    """
    if not len(dial) == len(first) == len(second):
        raise ValueError(
            f"tables of each variant are needed for each position, got {len(first)} and {len(second)} "
            f"for {len(dial)}"
        )
    seeds = {len(tables) for tables in (*first, *second)}
    if len(seeds) > 1:
        raise ValueError(f"as many seeds are needed everywhere, got {sorted(seeds)}")
    weights = np.asarray(dial, np.float64) - np.mean(dial)
    if not weights.any():
        raise ValueError(f"at least two different positions are needed, got {list(dial)}")
    weights = np.repeat(weights / (weights @ weights), *seeds)  # (positions * seeds,)
    right = _right([table for tables in (*first, *second) for table in tables], "sequence")
    gains = right.iloc[: len(weights)] - right.iloc[len(weights) :].to_numpy()  # (weights, sequences)
    parts = gains.mul(weights, axis=0).to_numpy().reshape(len(dial), *seeds, -1)
    slopes = parts.sum(0)  # (seeds, sequences)
    return Trend(
        comparisons=tuple(compare(*pair) for pair in zip(first, second, strict=True)),
        slopes=tuple(slopes.mean(1).tolist()),
        slope=float(slopes.mean()),
        interval=_interval_over_subjects(pd.Series(slopes.mean(0), index=gains.columns)),
    )


def exact_p(gains: np.ndarray) -> float:
    """The two-sided p of paired whole numbers whose signs, if nothing differed, would be tosses of a coin.

    It is the share of the 2^n choices of signs that bring their sum at least as far from 0 as it is. With one
    seed, a gain is 1 where only the first variant is right, -1 where only the second is, and else 0: this is
    McNemar's exact test (1947), a binomial test on the discordant sequences. With several seeds a gain is the
    sum over the seeds, and a sequence is still one toss: the randomization test of Fisher (1935).

    Args:
        gains: (sequences,), whole numbers.
    """
    chances = np.ones(1)  # of 0, 1, 2, ... as the sum of those that come up heads
    for size in np.abs(gains[gains != 0]):
        tails = np.zeros(size)
        chances = (np.concatenate([chances, tails]) + np.concatenate([tails, chances])) / 2
    total = len(chances) - 1
    as_far = np.abs(2 * np.arange(total + 1) - total) >= abs(gains.sum())
    return min(1.0, float(chances[as_far].sum()))


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """Adjust the p of several comparisons, so that 5 % is the risk of any false finding (Holm 1979).

    In ascending order each is multiplied by the number of those not before it, and none may be below its
    predecessor. Nothing is assumed about how the comparisons depend on one another.

    Returns:
        The adjusted p, in the order given.
    """
    order = np.argsort(p)
    stepped = np.sort(p) * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(stepped).clip(max=1)
    return tuple(adjusted.tolist())


ALPHA = 0.05
"""The chance of a false finding that `detectable_difference` allows."""

POWER = 0.8
"""The chance of a true finding that it demands."""


def detectable_difference(sequences: int, discordance: float) -> float:
    """The smallest true difference in accuracy that McNemar's exact test finds at 5 % with a power of 80 %.

    Sequences are taken for independent. Each is discordant (one variant right, the other wrong) with the
    probability ψ = max(discordance, δ), since accuracies cannot differ by more than that; a discordant one
    favours the better variant with the probability (1 + δ/ψ) / 2. So d of n sequences are discordant, and k
    of these favour the better variant, with the probabilities

        P(d) = Binomial(d; n, ψ)    and    P(k | d) = Binomial(k; d, (1 + δ/ψ) / 2),

    and the power at δ is the probability of a pair (d, k) with k > d - k and p <= 0.05. This is for one seed.
    Luck may find a smaller difference; that none was found is no sign that there is none below this.

    Args:
        sequences: how many there are, n.
        discordance: the share of discordant sequences, as observed or assumed.

    Returns:
        δ as a fraction of 1; NaN for fewer than 6 sequences, with which p <= 0.05 is out of reach.

    Raises:
        ValueError: no sequences, or a discordance that is not a share.
    """
    if sequences < 1 or not 0 <= discordance <= 1:
        raise ValueError(f"not a share of a number of sequences: {discordance} of {sequences}")
    discordant = np.arange(sequences + 1)
    # As many as this against the better variant still give p <= ALPHA; -1 where not even none does.
    against = binom.ppf(ALPHA / 2, discordant, 0.5) - 1

    def power(difference: float) -> float:
        rate = max(discordance, difference)
        better = (1 + difference / rate) / 2
        found = binom.cdf(against, discordant, 1 - better)
        return float(binom.pmf(discordant, sequences, rate) @ found)

    if power(1) < POWER:
        return float("nan")
    return float(brentq(lambda difference: power(difference) - POWER, 1e-9, 1))


def _right(tables: Sequence[pd.DataFrame], level: Level) -> pd.DataFrame:
    """Right answers as 1, wrong ones as 0: a row for each table, a column for each frame or sequence."""
    rows = []
    for predictions in tables:
        answered = answers(predictions, level)
        if level == "frame":
            answered = answered.assign(position=predictions["position"].to_numpy())
        right = (answered["truth"] == answered["answer"]).astype(int)
        keys = answered.drop(columns=["fold", "answer"])
        rows.append(right.set_axis(pd.MultiIndex.from_frame(keys)))
        odd = rows[0].index.symmetric_difference(rows[-1].index)
        if len(odd):
            subject, sequence, truth = odd[0][:3]
            raise ResultsError(
                f"not the same test data: sequence {sequence} of subject {subject}, {truth}, is not in "
                "every table; compare finished runs on one database"
            )
    if rows[0].index.unique("subject").size < 2:
        raise ResultsError("predictions for one subject only, and an interval over subjects needs two")
    return pd.DataFrame([row.reindex(rows[0].index) for row in rows])


def _interval_over_subjects(values: pd.Series) -> tuple[float, float]:
    """The bootstrap's percentile interval of the mean of values that are indexed by subject and more."""
    by_subject = values.groupby(level="subject")
    drawn = bootstrap(
        (by_subject.sum().to_numpy(), by_subject.size().to_numpy()),
        lambda total, count, axis: total.sum(axis) / count.sum(axis),
        paired=True,
        method="percentile",
        rng=0,
    )
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


def write_predictions(path: str | os.PathLike[str], predictions: pd.DataFrame) -> None:
    """Write predictions as CSV, whole or not at all; nine digits carry a float32 exactly.

    Raises:
        ResultsError: the predictions are malformed.
        OSError: `path` cannot be written.
    """
    path = Path(path)
    _check(predictions, path)
    names = [f"p_{expression}" for expression in expressions_of(predictions)]
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        predictions[[*COLUMNS, *names]].to_csv(
            scratch, index=False, float_format="%.9g", lineterminator="\n", encoding="utf-8"
        )
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def read_predictions(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read and check predictions written by `write_predictions`.

    Raises:
        ResultsError: the file is missing, malformed, or holds impossible predictions.
    """
    path = Path(path)
    try:
        # As text first, so that a bad number can be named with its line.
        predictions = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError:
        raise ResultsError(f"{path}: not found; `eifn crossval` writes predictions") from None
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise ResultsError(f"{path}: not a readable table ({error}); {_AGAIN}") from None
    for name in predictions.columns:
        if name.startswith("p_"):
            predictions[name] = pd.to_numeric(predictions[name], errors="coerce").astype(np.float32)
        elif name in ("position", "fold"):
            predictions[name] = pd.to_numeric(predictions[name], errors="coerce")
    _check(predictions, path)
    return predictions


_AGAIN = "run the cross-validation again"


def _check(predictions: pd.DataFrame, source: str | Path) -> None:
    """Raise `ResultsError` unless the predictions can be counted; lines are those of the file."""

    def refuse(bad: pd.Series | np.ndarray, what: str) -> None:
        rows = np.flatnonzero(bad)
        if rows.size:
            line = rows[0] + 2  # line 1 is the header
            values = predictions.iloc[rows[0]].to_dict()
            raise ResultsError(f"{source}, line {line}: {what.format(**values)}; {_AGAIN}")

    expressions = expressions_of(predictions)
    missing = [name for name in COLUMNS if name not in predictions.columns]
    if missing:
        raise ResultsError(
            f"{source}: column {missing[0]!r} is missing; the columns are {', '.join(COLUMNS)}"
        )
    if len(expressions) < 2:
        raise ResultsError(
            f"{source}: a column of probabilities, like p_anger, is needed for each expression"
        )
    if predictions.columns.has_duplicates:
        raise ResultsError(f"{source}: a column occurs twice; {_AGAIN}")
    if predictions.empty:
        raise ResultsError(f"{source}: no predictions in it; {_AGAIN}")
    for name in ("subject", "sequence"):
        text = predictions[name]
        refuse(text.isna() | (text.astype(str).str.strip() == ""), f"empty {name}")
    refuse(~predictions["truth"].isin(expressions), "no column of probabilities for the truth {truth!r}")
    for name in ("position", "fold"):
        number = pd.to_numeric(predictions[name], errors="coerce")
        refuse(number.isna() | (number < 0) | (number % 1 != 0), f"{name} is not a whole number >= 0")
    probabilities = predictions[[f"p_{e}" for e in expressions]].to_numpy(np.float64)  # (N, K)
    refuse(~np.isfinite(probabilities).all(1), "a probability is missing or not a number")
    refuse((probabilities < 0).any(1), "a probability is negative")
    refuse(np.abs(probabilities.sum(1) - 1) > 0.01, "the probabilities do not sum to 1")
    refuse(
        predictions.duplicated(["subject", "sequence", "position"]),
        "frame {position} of sequence {sequence} of subject {subject} occurs twice",
    )
    first = predictions.groupby(["subject", "sequence"])["truth"].transform("first")
    refuse(predictions["truth"] != first, "sequence {sequence} of subject {subject} has two truths")
    first = predictions.groupby("subject")["fold"].transform("first")
    refuse(predictions["fold"] != first, "subject {subject} is in two folds")
