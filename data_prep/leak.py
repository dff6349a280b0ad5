"""The leak, on purpose: a prepared database that claims every frame shows another person.

Subject-independent folds of such a database are random folds of frames: people, and frames of one sequence,
end up on both sides. So the protocol itself, unchanged, measures what breaking it is worth. No accuracy on
such a database says how well anything works on new people.

Book: chapter 2, *Databases and protocol*.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from eifn.database import read_database, write_database


def claim_everybody_new(table: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Give every frame a subject and a sequence of its own, with names in random order.

    Args:
        table: N rows of a prepared database's table.
        seed: of the order.

    Returns:
        N rows in the same order: subjects `frame-0000`, ... (each once), sequence `001`, position 0,
        the expression unchanged. The source is what the frame was: `subject/sequence/position`.
    """
    digits = len(str(len(table) - 1))
    numbers = np.random.default_rng(seed).permutation(len(table))
    was = table["subject"] + "/" + table["sequence"] + "/" + table["position"].astype(str)
    subject = [f"frame-{number:0{digits}}" for number in numbers]
    return table.assign(subject=subject, sequence="001", position=0, source=was)


def write_leak(database: str | os.PathLike[str], out: str | os.PathLike[str], *, seed: int = 0) -> Path:
    """Write a copy of a prepared database in which every frame claims to show another person.

    Args:
        database: the prepared database to copy; the copy's name is its own and `-leak`.
        out: the database to write.
        seed: of the order of the names.

    Returns:
        `out`.

    Raises:
        DatabaseError, OSError: there is no whole `database`; `out` holds something else or cannot be written.
    """
    faces = read_database(database)
    return write_database(
        out,
        name=f"{faces.name}-leak",
        frames=faces.frames,
        table=claim_everybody_new(faces.table, seed=seed),
        expressions=faces.expressions,
        licence=faces.licence,
        citation=faces.citation,
        made_by=f"{faces.made_by}; python -m data_prep leak --seed {seed}",
    )
