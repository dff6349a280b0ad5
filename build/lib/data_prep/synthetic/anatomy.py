"""Who a synthetic person is: a latent vector, the visible anatomy that it drives, and the face at rest.

Lengths are in units of the distance between the pupils, which alignment makes the same for everybody: what
looks like eye spacing is the size of the head around the eyes.
"""

from __future__ import annotations

import numpy as np

from data_prep.synthetic.action_units import UNITS

TRAITS = {
    # name: (mean, standard deviation) over the population
    "head_width": (1.10, 0.060),  # half of it, at the cheekbones
    "jaw": (3.5, 0.6),  # exponent of the outline below the cheekbones: pointed to square
    "taper": (0.19, 0.060),  # how much narrower the lower face gets
    "chin": (1.80, 0.080),  # its height below the pupils
    "chin_bump": (0.20, 0.045),
    "cheekbones": (0.075, 0.040),
    "hollow_cheeks": (0.04, 0.035),
    "nose_length": (0.63, 0.055),
    "nose_width": (0.225, 0.028),  # half of it
    "nose_height": (0.28, 0.045),
    "nose_hump": (0.0, 0.10),  # of its bridge
    "eye_width": (0.235, 0.014),  # half of it
    "eye_opening": (0.092, 0.015),  # of the upper lid above the pupil
    "eye_tilt": (0.012, 0.022),  # how much higher the outer corner lies
    "lid_crease": (0.055, 0.022),  # its height above the upper lid
    "brow_height": (0.35, 0.040),
    "brow_arch": (0.05, 0.025),
    "brow_tilt": (0.02, 0.040),  # how much higher the outer end lies
    "brow_thickness": (0.040, 0.012),
    "brow_ridge": (0.06, 0.030),
    "mouth_height": (1.08, 0.045),  # below the pupils
    "mouth_width": (0.385, 0.035),  # half of it
    "mouth_tilt": (0.0, 0.015),  # how much lower the corners lie
    "upper_lip": (0.090, 0.024),
    "lower_lip": (0.130, 0.028),
    "melanin": (0.42, 0.28),  # of the skin, from 0 to 1
    "redness": (0.5, 0.25),
    "freckles": (-0.6, 0.6),  # show above 0
    "lipstick": (-0.8, 0.7),  # shows above 0
    "hair_shade": (0.30, 0.28),  # black to blond, from 0 to 1
    "grey_hair": (-0.1, 0.30),  # from 0 to 1
    "hair_line": (1.02, 0.16),  # its height above the pupils
    "hair_length": (0.4, 1.1),  # at the sides, how far below the pupils
    "hair_volume": (0.5, 0.5),
    "hair_part": (0.0, 0.8),  # which side it is combed to
    "iris_shade": (0.3, 0.3),  # brown to blue, from 0 to 1
    "age": (0.35, 0.28),  # depth of the lines, from 0 to 1
    "beard": (-0.6, 0.8),  # shows above 0
    "glasses": (-1.1, 1.0),  # worn above 0
}
"""What a latent vector decides, one entry each."""

BOUNDED = ("melanin", "redness", "hair_shade", "grey_hair", "iris_shade", "age")
"""Traits from 0 to 1."""

# Only bones, lids, brows and lips: nothing here follows skin tone, hair, age or what is worn.
RESTING = {
    1: {"brow_tilt": -0.6, "nose_length": 0.6, "lid_crease": -0.5},
    2: {"brow_arch": 0.7, "brow_height": 0.7},
    4: {"brow_ridge": 0.6, "brow_height": -0.5, "jaw": 0.6},
    5: {"eye_opening": 0.7, "eye_width": 0.7},
    7: {"eye_opening": -0.6, "cheekbones": 0.8},
    10: {"upper_lip": -0.5, "nose_width": 0.8},
    12: {"mouth_tilt": -0.5, "head_width": 0.6, "mouth_width": 0.6},
    15: {"mouth_tilt": 0.5, "head_width": -0.6, "chin_bump": 0.6},
    17: {"chin": -0.7, "chin_bump": 0.7},
    24: {"upper_lip": -0.6, "lower_lip": -0.6, "jaw": 0.5},
}
"""The action units that a face seems to show at rest, and the visible traits it shows them with.

Each is a look that people do read as an expression: heavy, low brows as anger, drooping corners as sadness.
The weights are of traits in standard deviations. One trait of each is the look itself, another can be seen
whatever the face does, so that who knows the person knows what to subtract.
"""

STRENGTH = 0.40
"""How strongly a unit is on at rest for a weighted sum of one standard deviation, at entanglement 1."""


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
    for unit, weights in RESTING.items():
        look = sum(weight * latent[:, names.index(name)] for name, weight in weights.items())
        rest[:, UNITS.index(unit)] = (STRENGTH * look).clip(0, 0.9)
    return entanglement * rest
