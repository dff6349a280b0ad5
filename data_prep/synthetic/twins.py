"""The synthetic twins of CK+ and Oulu-CASIA: as many subjects, sequences and expressions, all drawn.

A sequence runs from the resting face to the peak of an expression; the last three frames are the database, as
in the paper. No person is in both twins.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
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

BATCH = 128
"""Frames that are drawn at a time, to bound the memory."""

LAST = 3
"""Frames of a sequence that are the database (Section 3.1)."""

POSE = (0.18, 0.14, 0.05, 0.06, 0.06)
"""How far a head is from straight and from its place, as `render` takes a pose: standard deviations over
sequences. It turns by 10 degrees and nods by 8; 0.06 pupil distances are what finding the eyes may cost."""

LIGHT = (0.7, 0.25)
"""Standard deviations over sequences: how far to the side a lone lamp is, and brightness."""


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
"""The databases that the book is about."""

START = Twin(
    original="",
    key=3,
    letter="S",
    subjects=300,
    sequences=dict.fromkeys(TWINS["synth-ck"].sequences, 300),
    color=True,
)
"""Other people, on whom the extractors of the preset `laptop` are pre-trained."""


def write_twin(
    name: str,
    out: str | os.PathLike[str],
    *,
    seed: int = 0,
    entanglement: float = ENTANGLEMENT,
    all_frames: bool = False,
) -> Path:
    """Draw a twin and write it as a prepared database.

    Args:
        name: one of `TWINS`, or `synth-start`.
        out: the database to write.
        seed: another one draws other people.
        entanglement: how far resting faces imitate an expression, 0 to 1.
        all_frames: the whole sequences instead of their last three frames. What comes before the onset is
            then a sequence of its own, labelled neutral.

    Returns:
        `out`.

    Raises:
        KeyError: no such twin.
        ValueError: an entanglement outside 0 to 1.
        DatabaseError, OSError: `out` holds something else or cannot be written.
    """
    twin = {**TWINS, "synth-start": START}[name]
    takes, rows = [], []
    for subject, expressions in enumerate(_cast(twin, seed), start=1):
        for number, expression in enumerate(expressions, start=1):
            take = _take(twin, subject, expression, seed, entanglement)
            who, sequence = f"{twin.letter}{subject:03d}", f"{number:03d}"
            if all_frames:
                parts = (
                    (take.onset, f"{sequence}-onset", "neutral"),
                    (len(take) - take.onset, sequence, expression),
                )
            else:
                take = take.last(LAST)
                parts = ((LAST, sequence, expression),)
            takes.append(take)
            rows.extend(
                (who, part, position, shown, "")
                for count, part, shown in parts
                for position in reversed(range(count))
            )
    options = f"--twin {name} --seed {seed} --entanglement {entanglement:g}" + all_frames * " --all-frames"
    return write_database(
        out,
        name=name,
        frames=_draw(twin, takes, SIZE),
        table=pd.DataFrame(rows, columns=["subject", "sequence", "position", "expression", "source"]),
        expressions=(*twin.sequences, "neutral") if all_frames else tuple(twin.sequences),
        licence=LICENCE,
        citation=CITATION,
        made_by=f"python -m data_prep synthetic {options}",
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
    take = _take(twin, subject, expression, seed, entanglement)
    return _draw(twin, [take.last(last) if last else take], size)


@dataclass(frozen=True)
class _Take:
    """A sequence before it is drawn: what `render` needs, most of it a row a frame."""

    latent: np.ndarray
    texture: int
    onset: int
    """How many frames there are before the face begins to move."""
    units: np.ndarray
    pose: np.ndarray
    light: np.ndarray
    noise: np.ndarray
    """A seed of the sensor's noise."""

    def __len__(self) -> int:
        return len(self.units)

    def last(self, count: int) -> _Take:
        rows = {name: getattr(self, name)[-count:] for name in ("units", "pose", "light", "noise")}
        return replace(self, **rows)


def _take(twin: Twin, subject: int, expression: str, seed: int, entanglement: float) -> _Take:
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
    return _Take(
        latent=latent,
        texture=int(person.integers(2**31)),
        onset=int((time == 0).sum()),
        units=units,
        pose=take.normal(0, POSE) + _wander(take, length, 5, 0.004),
        light=_light(twin, take) + _wander(take, length, 7, 0.004),
        noise=take.integers(2**31, size=length),
    )


def _draw(twin: Twin, takes: Sequence[_Take], size: int) -> np.ndarray:
    """The frames of some sequences, one after another: uint8, (frames, size, size, 3)."""
    counts = [len(take) for take in takes]
    latent = np.repeat([take.latent for take in takes], counts, axis=0)
    texture = np.repeat([take.texture for take in takes], counts)
    units, pose, light, noise = (
        np.concatenate([getattr(take, name) for take in takes])
        for name in ("units", "pose", "light", "noise")
    )
    frames = np.empty((len(units), size, size, 3), np.uint8)
    for start in range(0, len(units), BATCH):
        part = slice(start, start + BATCH)
        drawn = render(
            describe(latent[part]),
            units[part],
            pose=pose[part],
            light=light[part],
            texture=texture[part],
            size=size,
        )
        channels = 3 if twin.color else 1
        if not twin.color:
            drawn = drawn @ np.array([[0.299], [0.587], [0.114]])
        for frame, key in zip(drawn, noise[part], strict=True):
            frame += 0.012 * np.random.default_rng(key).standard_normal((size, size, channels), np.float32)
        frames[part] = np.round(255 * drawn.clip(0, 1))  # a grey frame repeats its channel
    return frames


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
    side = generator.normal(0, LIGHT[0]) if not twin.color else generator.choice([-0.7, -0.3, 0.0, 0.3, 0.7])
    color = np.ones(3)
    if twin.color:  # lamps and daylight
        color = np.array([[1.0, 0.93, 0.82], [1.0, 1.0, 1.0], [0.90, 0.96, 1.0]])[generator.integers(3)]
    brightness = generator.normal(1.05, LIGHT[1])
    return np.array(
        [side, generator.uniform(0.25, 0.85), 0.8, generator.uniform(0.20, 0.38), *(brightness * color)]
    )


def _wander(generator: np.random.Generator, length: int, values: int, step: float) -> np.ndarray:
    """Small random walks from 0, (length, values)."""
    return np.cumsum(generator.normal(0, step, (length, values)), axis=0)
