"""Faces on dials: who it is, which action units are on, how far the resting face imitates an expression."""

from __future__ import annotations

import numpy as np

from data_prep.synthetic import action_units
from data_prep.synthetic.action_units import ACTION_UNITS
from data_prep.synthetic.anatomy import describe, resting_face, sample_identity
from data_prep.synthetic.renderer import render
from data_prep.synthetic.twins import TWINS

PEOPLE = ("O010", "O031", "O049")
"""Subjects of `synth-oulu` for the dial of identity; at rest they seem cross, happy and surprised."""

NUMBERS = (1, 2, 4, 5, 6, 7, 9, 12, 15, 20, 25, 27)

UNITS = {f"AU {number}": ACTION_UNITS[number].split(":")[0] for number in NUMBERS}
"""The action units that have a dial, and what they are called."""

PRESETS = {
    expression: {f"AU {unit}": strength for unit, strength in ways[0].items() if unit in NUMBERS}
    for expression, ways in action_units.EXPRESSIONS.items()
    if expression != action_units.UNILATERAL  # the dials move both sides
}
"""The first way of showing each expression, as far as there are dials for it."""

LIGHT = (-0.35, 0.6, 0.8, 0.3, 1.05, 1.05, 1.05)
"""Direction, ambient share and color, as `render` takes it."""


def draw_faces(identity: np.ndarray, entanglement: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Draw faces, looking straight ahead.

    Args:
        identity: where each is among `PEOPLE`, 0 to len(PEOPLE) - 1, (N,). Between two of them is a person
            whose anatomy lies between theirs.
        entanglement: how far the resting face imitates an expression, 0 to 1, (N,).
        units: intensities of `UNITS`, 0 to 1, (N, len(UNITS)).

    Returns:
        uint8, (N, 64, 64, 3).
    """
    n = len(identity)
    key = TWINS["synth-oulu"].key
    # As in `twins`: who somebody is depends on the seed, the twin and the number alone.
    latents = np.stack([sample_identity(np.random.default_rng([0, key, int(name[1:])])) for name in PEOPLE])
    first = np.floor(identity).astype(int).clip(max=len(PEOPLE) - 2)
    part = (identity - first)[:, None]
    latent = (1 - part) * latents[first] + part * latents[first + 1]  # (N, traits)
    rest = entanglement[:, None] * resting_face(latent, 1)  # (N, all units)
    moved = np.zeros_like(rest)
    moved[:, [action_units.UNITS.index(number) for number in NUMBERS]] = units
    both = 1 - (1 - rest) * (1 - moved)  # a unit that is on at rest has less way to go
    faces = render(
        describe(latent),
        np.repeat(both[:, None], 2, axis=1),
        pose=np.zeros((n, 5)),
        light=np.tile(LIGHT, (n, 1)),
        texture=np.zeros(n, int),
    )
    return np.round(255 * faces).astype(np.uint8)
