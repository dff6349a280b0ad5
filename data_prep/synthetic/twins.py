"""The synthetic twins of CK+ and Oulu-CASIA: as many subjects, sequences and expressions, all drawn.

A sequence runs from the resting face to the peak of an expression; the last three frames are the database, as
in the paper. No person is in both twins.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from data_prep.synthetic.action_units import UNITS, peak, sample_style
from data_prep.synthetic.anatomy import describe, resting_face, sample_identity
from data_prep.synthetic.renderer import render
from eifn.database import SIZE, write_database

ENTANGLEMENT = 0.5
"""Of the twins: how far faces at rest imitate an expression."""

LICENCE = "CC0 1.0"

CITATION = "The EIFN book: synthetic faces. These are drawings; no result on them is a result on faces."

LAST = 3
"""Frames of a sequence that are the database (Section 3.1)."""


@dataclass(frozen=True)
class Twin:
    """What is fixed about a twin."""

    original: str
    key: int
    """Keeps the people of one twin apart from those of the other."""
    letter: str
    """Before the number of a subject."""
    subjects: int
    sequences: dict[str, int]
    """Of each expression."""
    color: bool


TWINS = {
    "synth-ck": Twin(
        original="CK+",
        key=1,
        letter="C",
        subjects=118,
        sequences={
            "anger": 45,
            "contempt": 18,
            "disgust": 59,
            "fear": 25,
            "happiness": 69,
            "sadness": 28,
            "surprise": 83,
        },
        color=False,
    ),
    "synth-oulu": Twin(
        original="Oulu-CASIA",
        key=2,
        letter="O",
        subjects=80,
        sequences=dict.fromkeys(("anger", "disgust", "fear", "happiness", "sadness", "surprise"), 80),
        color=True,
    ),
}


def write_twin(name: str, out: str | os.PathLike[str], *, seed: int = 0) -> Path:
    """Draw a twin and write it as a prepared database.

    Args:
        name: one of `TWINS`.
        out: the database to write.
        seed: another one draws other people.

    Returns:
        `out`.

    Raises:
        KeyError: no such twin.
        DatabaseError, OSError: `out` holds something else or cannot be written.
    """
    twin = TWINS[name]
    frames, rows = [], []
    for subject, expressions in enumerate(_cast(twin, seed), start=1):
        frames.extend(draw_sequence(twin, subject, e, seed=seed, last=LAST) for e in expressions)
        rows.extend(
            (f"{twin.letter}{subject:03d}", f"{number:03d}", position, expression, "")
            for number, expression in enumerate(expressions, start=1)
            for position in reversed(range(LAST))
        )
    return write_database(
        out,
        name=name,
        frames=np.concatenate(frames),
        table=pd.DataFrame(rows, columns=["subject", "sequence", "position", "expression", "source"]),
        expressions=tuple(twin.sequences),
        licence=LICENCE,
        citation=CITATION,
        made_by=f"python -m data_prep synthetic --twin {name} --seed {seed}",
    )


def draw_sequence(
    twin: Twin,
    subject: int,
    expression: str,
    *,
    seed: int = 0,
    last: int | None = None,
    entanglement: float = ENTANGLEMENT,
    size: int = SIZE,
) -> np.ndarray:
    """One person showing one expression, from rest to its peak.

    Args:
        twin: decides color and light, and with the next two who it is.
        subject: from 1; who it is does not depend on how many others there are.
        expression: one of the twin's.
        seed: of the twin.
        last: draw only so many frames, up to the last one; None draws all.
        entanglement: how far the person's resting face imitates an expression, 0 to 1.
        size: of the frames, in pixels.

    Returns:
        uint8, (frames, size, size, 3); a whole sequence has 10 to 20 frames.

    Raises:
        ValueError: an entanglement outside 0 to 1.
        KeyError: no such expression.
    """
    person = np.random.default_rng([seed, twin.key, subject])
    latent, style = sample_identity(person), sample_style(person)
    take = np.random.default_rng([seed, twin.key, subject, 1 + list(twin.sequences).index(expression)])

    length = int(take.integers(10, 21))
    onset = take.uniform(0.1, 0.35)
    time = ((np.linspace(0, 1, length) - onset) / (0.85 - onset)).clip(0, 1)  # the peak is held a little
    rise = (time * time * (3 - 2 * time))[:, None, None]  # (frames, 1, 1)
    rest = resting_face(latent[None], entanglement)
    # A unit that is on at rest has less way to go.
    units = 1 - (1 - rest) * (1 - rise * peak(expression, style, take))  # (frames, 2, units)
    units = (units + _wander(take, length, len(UNITS), 0.01)[:, None]).clip(0, 1)

    pose = take.normal(0, [0.06, 0.05, 0.03, 0.012, 0.012]) + _wander(take, length, 5, 0.004)
    light = _light(twin, take) + _wander(take, length, 7, 0.004)
    channels = 3 if twin.color else 1
    noise = take.normal(0, 0.012, (length, size, size, channels)).astype(np.float32)  # of the sensor

    drawn = slice(-last if last else None, None)
    count = len(units[drawn])
    frames = render(
        {name: np.repeat(value, count) for name, value in describe(latent[None]).items()},
        units[drawn],
        pose=pose[drawn],
        light=light[drawn],
        texture=np.full(count, person.integers(2**31)),
        size=size,
    )
    if not twin.color:
        frames = np.repeat(frames @ np.array([[0.299], [0.587], [0.114]], np.float32), 3, axis=3)
    return np.round(255 * (frames + noise[drawn]).clip(0, 1)).astype(np.uint8)


def _cast(twin: Twin, seed: int) -> list[list[str]]:
    """Which expressions each subject shows: distinct ones, at least one, dealt out at random."""
    generator = np.random.default_rng([seed, twin.key])
    cast: list[list[str]] = [[] for _ in range(twin.subjects)]
    # The next sequence goes to those who have fewest, so that everybody gets one.
    for expression, count in twin.sequences.items():
        order = sorted(generator.permutation(twin.subjects), key=lambda subject: len(cast[subject]))
        for subject in order[:count]:
            cast[subject].append(expression)
    return cast


def _light(twin: Twin, generator: np.random.Generator) -> np.ndarray:
    """Where the light of a sequence comes from, how soft it is, and its color: (7,), as `render` takes it."""
    side = generator.normal(0, 0.25) if not twin.color else generator.choice([-0.7, -0.3, 0.0, 0.3, 0.7])
    color = np.ones(3)
    if twin.color:  # lamps and daylight
        color = np.array([[1.0, 0.93, 0.82], [1.0, 1.0, 1.0], [0.90, 0.96, 1.0]])[generator.integers(3)]
    brightness = generator.normal(1.05, 0.10)
    return np.array(
        [side, generator.uniform(0.2, 0.7), 0.8, generator.uniform(0.3, 0.5), *(brightness * color)]
    )


def _wander(generator: np.random.Generator, length: int, values: int, step: float) -> np.ndarray:
    """Small random walks from 0, (length, values)."""
    return np.cumsum(generator.normal(0, step, (length, values)), axis=0)
