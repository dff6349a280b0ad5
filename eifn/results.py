"""From predictions to accuracies, confusion matrices and intervals.

Predictions are a table with one row for each test frame::

    subject, sequence   text, as in the prepared database
    position            from the end of the sequence, 0 is the peak
    truth               the expression, by name
    fold                the fold in which this subject was tested
    p_anger, ...        float32, one column for each expression: its probability

Everything is derived from that table, so a recorded run keeps predictions and never just a number. It counts
frames, or sequences: a sequence is given the expression with the highest mean probability over its frames.

Book: chapter 9, *Confusion matrices*.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import binomtest

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
