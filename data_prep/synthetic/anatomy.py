"""Who a synthetic person is: a latent vector, the visible anatomy that it drives, and the face at rest.

Lengths are in units of the distance between the pupils, which alignment makes the same for everybody: what
looks like eye spacing is the size of the head around the eyes.
"""

from __future__ import annotations

import numpy as np

from data_prep.synthetic.action_units import UNITS

TRAITS = {
    # name: (mean, standard deviation) over the population
    "head_width": (1.08, 0.055),  # half of it, at the cheekbones
    "jaw": (2.5, 0.35),  # exponent of the outline below the cheekbones: pointed to square
    "chin": (1.80, 0.07),  # its height below the pupils
    "chin_bump": (0.10, 0.03),
    "cheekbones": (0.10, 0.035),
    "nose_length": (0.66, 0.045),
    "nose_width": (0.17, 0.022),  # half of it
    "nose_height": (0.30, 0.05),
    "eye_width": (0.235, 0.014),  # half of it
    "eye_opening": (0.080, 0.012),  # of the upper lid above the pupil
    "eye_tilt": (0.015, 0.02),  # how much higher the outer corner lies
    "brow_height": (0.34, 0.035),
    "brow_arch": (0.05, 0.02),
    "brow_thickness": (0.036, 0.010),
    "brow_ridge": (0.06, 0.03),
    "mouth_height": (1.06, 0.04),  # below the pupils
    "mouth_width": (0.385, 0.030),  # half of it
    "mouth_tilt": (0.0, 0.015),  # how much lower the corners lie
    "upper_lip": (0.070, 0.018),
    "lower_lip": (0.095, 0.020),
    "melanin": (0.42, 0.25),  # of the skin, from 0 to 1
    "redness": (0.5, 0.25),
    "hair_shade": (0.3, 0.25),  # black to blond, from 0 to 1
    "hair_line": (1.10, 0.10),  # its height above the pupils
    "hair_length": (0.5, 1.2),  # at the sides, how far below the pupils
    "iris_shade": (0.3, 0.3),  # brown to blue, from 0 to 1
    "age": (0.3, 0.25),  # depth of the lines, from 0 to 1
    "beard": (-0.6, 0.7),  # shows above 0
    "glasses": (-1.0, 1.0),  # worn above 0
}
"""What a latent vector decides, one entry each."""

BOUNDED = ("melanin", "redness", "hair_shade", "iris_shade", "age")
"""Traits from 0 to 1."""

# A trait in standard deviations, times the factor, is how strongly a unit is on at rest, at entanglement 1.
# Each is a look that people do read as an expression: low brows as anger, drooping corners as sadness.
RESTING = {
    ("brow_height", -0.30): 4,
    ("eye_opening", 0.30): 5,
    ("eye_tilt", -0.25): 7,
    ("brow_arch", 0.25): 2,
    ("mouth_tilt", 0.30): 15,
    ("mouth_tilt", -0.30): 12,
    ("upper_lip", -0.25): 24,
    ("nose_length", -0.20): 10,
}
"""(trait, factor) to the action unit that it imitates."""


def sample_identity(generator: np.random.Generator) -> np.ndarray:
    """The latent vector of a new person: independent standard normal numbers, float64 (len(TRAITS),)."""
    return generator.standard_normal(len(TRAITS)).clip(-2.5, 2.5)


def describe(latent: np.ndarray) -> dict[str, np.ndarray]:
    """The anatomy of some people.

    Args:
        latent: (N, len(TRAITS)).

    Returns:
        Each trait's values, (N,).
    """
    anatomy = {name: mean + spread * latent[:, i] for i, (name, (mean, spread)) in enumerate(TRAITS.items())}
    return anatomy | {name: anatomy[name].clip(0, 1) for name in BOUNDED}


def resting_face(latent: np.ndarray, entanglement: float) -> np.ndarray:
    """The action units that some people's faces seem to show when they do nothing.

    They follow from the visible anatomy, so that knowing the person tells what to subtract.

    Args:
        latent: (N, len(TRAITS)).
        entanglement: 0 to 1; at 0 every face rests at no unit, whoever it is.

    Returns:
        Intensities, (N, len(UNITS)).

    Raises:
        ValueError: an entanglement outside 0 to 1.
    """
    if not 0 <= entanglement <= 1:
        raise ValueError(f"entanglement must be from 0 to 1, got {entanglement}")
    names, rest = list(TRAITS), np.zeros((len(latent), len(UNITS)))
    for (name, factor), unit in RESTING.items():
        rest[:, UNITS.index(unit)] += (factor * latent[:, names.index(name)]).clip(0)
    return entanglement * rest
