"""Which of the two signals is the stronger: whether faces lie near one another by person or by expression.

Any description of a face will do: its pixels, the map of a branch, the fused vector. Two pictures of one
person with one expression are never compared, since they would be near by either signal.

Book: chapter 1, *Two signals in one face*.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

KINDS = ("same person", "same expression", "neither")
"""What two pictures may have in common: the person alone, the expression alone, nothing."""


class Pairs(NamedTuple):
    """All pairs of N pictures."""

    distances: np.ndarray
    """Squared Euclidean distance: float64 (N, N)."""
    kinds: np.ndarray
    """Index in `KINDS`, or -1 for a pair that is not compared: (N, N)."""

    def means(self) -> dict[str, float]:
        """Mean squared distance of the pairs of each kind; nan where there is none."""
        return {kind: float(self.of(kind).mean()) if self.of(kind).size else np.nan for kind in KINDS}

    def of(self, kind: str) -> np.ndarray:
        """The squared distances of the pairs of one of `KINDS`, each pair once."""
        return self.distances[np.triu(self.kinds == KINDS.index(kind))]

    def nearest(self) -> np.ndarray:
        """For each picture, which one of those that it is compared with is the nearest: (N,).

        Raises:
            ValueError: a picture that cannot be compared with any other.
        """
        distances = np.where(self.kinds < 0, np.inf, self.distances)
        alone = np.isinf(distances.min(1))
        if alone.any():
            raise ValueError(
                f"picture {np.argmax(alone)} has nothing to be compared with: all others show the same "
                "person with the same expression"
            )
        return distances.argmin(1)

    def count_nearest(self) -> dict[str, int]:
        """How many pictures have a nearest one of each kind; they sum to N."""
        kinds = self.kinds[np.arange(len(self.kinds)), self.nearest()]
        return {kind: int((kinds == n).sum()) for n, kind in enumerate(KINDS)}


def compare(features: ArrayLike, people: ArrayLike, expressions: ArrayLike) -> Pairs:
    """Compare every picture with every other one.

    Args:
        features: (N, ...), a description of each picture.
        people: (N,), who is in it.
        expressions: (N,), what it shows.

    Raises:
        ValueError: not as many people and expressions as descriptions.
    """
    features = np.asarray(features, dtype=np.float64)
    people, expressions = np.asarray(people), np.asarray(expressions)
    if not len(features) == len(people) == len(expressions):
        raise ValueError(
            "a person and an expression are needed for each description; "
            f"got {len(features)} descriptions, {len(people)} people, {len(expressions)} expressions"
        )
    flat = features.reshape(len(features), -1)  # (N, values)
    same_person = people[:, None] == people
    same_expression = expressions[:, None] == expressions
    kinds = np.select(
        [same_person & same_expression, same_person, same_expression],
        [-1, KINDS.index("same person"), KINDS.index("same expression")],
        KINDS.index("neither"),
    )
    return Pairs(cdist(flat, flat, "sqeuclidean"), kinds)
