"""Subject-independent folds: nobody is on both sides.

Book: chapter 2, *Databases and protocol*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from eifn.database import FaceDatabase

Rule = Literal["interleaved", "blocks"]


class FoldError(ValueError):
    """Folds that would break the protocol, or cannot be made."""


@dataclass(frozen=True)
class Fold:
    """Who trains and who tests.

    Raises:
        FoldError: a subject is on both sides, or a side is empty.
    """

    train: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        shared = sorted(set(self.train) & set(self.test))
        if shared:
            raise FoldError(
                f"subject {shared[0]} is in training and test ({len(shared)} in both); "
                "the protocol is subject-independent, so give each subject to one side"
            )
        if not self.train or not self.test:
            raise FoldError(
                "a fold needs subjects on both sides; "
                f"got {len(self.train)} for training and {len(self.test)} for test"
            )

    def rows(self, database: FaceDatabase) -> tuple[np.ndarray, np.ndarray]:
        """The indices of the training frames and of the test frames: int64, one array each."""
        subject = database.table["subject"]
        return np.flatnonzero(subject.isin(self.train)), np.flatnonzero(subject.isin(self.test))


def subject_folds(subjects: Sequence[str], *, folds: int = 10, rule: Rule = "interleaved") -> list[Fold]:
    """Split the subjects into `folds` groups; each is tested once, by a model trained on all others.

    Args:
        subjects: the distinct people; their order does not matter.
        folds: how many groups, 10 in the paper.
        rule: `"interleaved"` is `sorted(subjects)[i::folds]`, the field's usual rule; `"blocks"` cuts the
            sorted list into contiguous blocks, which also occurs and scores differently.

    Raises:
        FoldError: fewer subjects than folds, fewer than 2 folds, a subject named twice, or an unknown rule.
    """
    ordered = sorted(subjects)
    if len(set(ordered)) != len(ordered):
        raise FoldError("a subject is named twice; give each of them once")
    if not 2 <= folds <= len(ordered):
        raise FoldError(f"{len(ordered)} subjects cannot be split into {folds} folds")
    if rule == "interleaved":
        groups = [ordered[i::folds] for i in range(folds)]
    elif rule == "blocks":
        groups = [list(group) for group in np.array_split(ordered, folds)]
    else:
        raise FoldError(f"rule must be 'interleaved' or 'blocks', got {rule!r}")
    return [
        Fold(train=tuple(s for s in ordered if s not in set(group)), test=tuple(map(str, group)))
        for group in groups
    ]
