"""Mean faces of prepared databases, side by side and over one another: do eyes and mouth come together?

Book: chapter 11, *Real faces, your faces*.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from data_prep.align import LEFT_PUPIL, RIGHT_PUPIL
from eifn.database import SIZE, read_database

ENLARGED = 4
"""Pixels of the picture, each way, for one of a frame."""

CAPTION = 20
"""Height of the line below a face, in pixels."""

CROSS = (0, 158, 115)
"""Color of the crosses where alignment takes the pupils."""


def mean_face(path: str | os.PathLike[str]) -> np.ndarray:
    """The mean of all frames of a database, in grey: float64, (64, 64), stretched to 0 to 255.

    Raises:
        DatabaseError, OSError: there is no whole database.
    """
    mean = read_database(path).frames.mean((0, 3))
    return 255 * (mean - mean.min()) / max(np.ptp(mean), 1)


def draw_overlay(databases: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> Path:
    """Draw the mean face of each database, and last the mean of these, with crosses where the pupils belong.

    Args:
        databases: prepared ones.
        out: the picture to write; its ending tells the format.

    Returns:
        `out`.

    Raises:
        DatabaseError, OSError: a database is not whole; `out` cannot be written.
    """
    faces = [mean_face(database) for database in databases]
    names = [read_database(database).name for database in databases]
    if len(faces) > 1:
        faces.append(np.mean(faces, axis=0))
        names.append("all")
    side = ENLARGED * SIZE
    picture = Image.new("RGB", (side * len(faces), side + CAPTION), "white")
    pen = ImageDraw.Draw(picture)
    for column, (face, name) in enumerate(zip(faces, names, strict=True)):
        enlarged = Image.fromarray(face.astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
        picture.paste(enlarged, (column * side, 0))
        for pupil in (LEFT_PUPIL, RIGHT_PUPIL):
            x, y = (ENLARGED * (place + 0.5) for place in pupil)
            x += column * side
            pen.line((x - 8, y, x + 8, y), fill=CROSS)
            pen.line((x, y - 8, x, y + 8), fill=CROSS)
        pen.text((column * side + side / 2, side + CAPTION / 2), name, fill="black", anchor="mm")
    try:
        picture.save(out)
    except (OSError, ValueError) as error:
        raise OSError(f"{out}: cannot be written ({error}); give a .png in a folder that exists") from None
    return Path(out)
