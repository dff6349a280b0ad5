"""What a face does: FACS action units, and the expressions as combinations of them.

Ekman, Friesen and Hager (2002), Facial Action Coding System, describe the units, and their Investigator's
Guide the combinations that are read as emotions; Table 1 of Lucey et al. (2010) gives the criteria of CK+.
"""

from __future__ import annotations

import numpy as np

ACTION_UNITS = {
    1: "inner brow raiser: the inner ends of the brows go up",
    2: "outer brow raiser: the outer ends of the brows go up",
    4: "brow lowerer: the brows go down and together, with upright furrows between them",
    5: "upper lid raiser: more white shows above the iris",
    6: "cheek raiser: the cheeks go up and push the lower lids",
    7: "lid tightener: the lower lids go up, the eyes narrow",
    9: "nose wrinkler: the sides of the nose go up, the skin across its root wrinkles",
    10: "upper lip raiser: the middle of the upper lip goes up, the nasolabial furrows deepen",
    12: "lip corner puller: the corners of the mouth go up and outward",
    14: "dimpler: a corner of the mouth is drawn in and tightened",
    15: "lip corner depressor: the corners of the mouth go down",
    16: "lower lip depressor: the lower lip goes down, lower teeth may show",
    17: "chin raiser: the chin boss goes up and pushes the lower lip",
    20: "lip stretcher: the mouth is drawn out sideways",
    23: "lip tightener: the lips become narrow and the mouth shorter",
    24: "lip pressor: the lips are pressed together",
    25: "lips part",
    26: "jaw drop: the mouth opens by the relaxed jaw",
    27: "mouth stretch: the jaw is pulled down, the mouth opens tall",
}
"""Number and name of each unit, and its movement; an intensity is from 0 (none) to 1 (the most)."""

UNITS = tuple(ACTION_UNITS)

EXPRESSIONS: dict[str, tuple[dict[int, float], ...]] = {
    "anger": ({4: 1, 5: 0.6, 7: 0.8, 23: 0.8, 24: 0.5}, {4: 1, 7: 0.8, 17: 0.6, 23: 0.5, 24: 0.9}),
    "contempt": ({14: 1}, {12: 0.35, 14: 0.9}),
    "disgust": (
        {9: 1, 15: 0.4, 16: 0.4, 25: 0.3},
        {4: 0.4, 9: 0.8, 10: 0.8, 17: 0.7},
        {7: 0.5, 10: 1, 25: 0.5},
    ),
    "fear": (
        {1: 1, 2: 0.6, 4: 0.7, 5: 1, 20: 0.9, 25: 0.6},
        {1: 0.9, 2: 0.5, 4: 0.6, 5: 0.9, 20: 0.7, 26: 0.5},
    ),
    "happiness": ({6: 0.9, 12: 1, 25: 1}, {6: 0.8, 12: 1}),
    "sadness": ({1: 1, 4: 0.6, 15: 1}, {1: 0.8, 4: 0.8, 15: 0.8, 17: 0.7}),
    "surprise": ({1: 1, 2: 1, 5: 0.8, 25: 0.4, 27: 0.9}, {1: 0.9, 2: 0.9, 5: 0.6, 25: 0.3, 26: 1}),
}
"""The ways in which each expression is shown: units and their intensities at a full peak."""

UNILATERAL = "contempt"
"""Shown on one side of the face."""


def sample_style(generator: np.random.Generator) -> np.ndarray:
    """How a person moves: a factor on each unit, on the left and the right of the image, (2, len(UNITS))."""
    strength = generator.normal(0.9, 0.25, len(UNITS)).clip(0.35, 1.3)
    lean = generator.normal(0, 0.08, len(UNITS)).clip(-0.2, 0.2)  # asymmetry
    return np.stack([strength * (1 - lean), strength * (1 + lean)])


def peak(expression: str, style: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """One person's peak of an expression, this time.

    Args:
        expression: one of `EXPRESSIONS`.
        style: of the person, (2, len(UNITS)).
        generator: chooses the way it is shown, how strongly, and the side of a unilateral one.

    Returns:
        Intensities on the left and the right of the image, (2, len(UNITS)), 0 to 1.

    Raises:
        KeyError: no such expression.
    """
    ways = EXPRESSIONS[expression]
    units = np.zeros(len(UNITS))
    for unit, intensity in ways[generator.integers(len(ways))].items():
        units[UNITS.index(unit)] = intensity
    sides = units * style * generator.uniform(0.55, 1)
    sides += generator.exponential(0.02, len(UNITS))  # what the rest of the face does meanwhile
    if expression == UNILATERAL:
        sides[generator.integers(2)] *= 0.1
    return sides.clip(0, 1)
