"""A prepared face database on disk: write it, read it, verify it.

A prepared database is a directory of three files, the same for every source of faces::

    frames.npy      uint8, N x 64 x 64 x 3 (RGB; a grey source repeats its channel)
    frames.csv      one row a frame: subject, sequence, position, expression, source
    database.json   name, expressions, licence, citation, how it was made, SHA-256 of the other two

`position` counts from the end of the sequence: 0 is the last frame (the peak), 1 the one before it.
Book: chapter 2, *Databases and protocol*.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

EXPRESSIONS = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
"""The vocabulary: the paper's seven expressions (Section 3.1), and `neutral` where a source has it."""

SIZE = 64
"""Height and width of a prepared frame in pixels (Section 3.1)."""

COLUMNS = ("subject", "sequence", "position", "expression", "source")


class DatabaseError(ValueError):
    """A prepared database that is missing, malformed or damaged; the message names file, row and remedy."""


@dataclass(frozen=True, eq=False)
class FaceDatabase:
    """A prepared database in memory.

    Attributes:
        name: short name, e.g. `"synth-ck"`.
        expressions: the classes, in the order of the class indices.
        frames: uint8, (N, 64, 64, 3), RGB; memory-mapped read-only when read from disk.
        table: N rows with the columns `COLUMNS`; subject and sequence are text.
        licence, citation, made_by: where the images come from and how this copy was made.
        sha256: SHA-256 of `frames.npy` followed by that of `frames.csv`: the identity of the data.
    """

    name: str
    expressions: tuple[str, ...]
    frames: np.ndarray
    table: pd.DataFrame
    licence: str
    citation: str
    made_by: str
    sha256: str = ""

    @property
    def subjects(self) -> list[str]:
        """The people in it, sorted."""
        return sorted(self.table["subject"].unique())

    @property
    def labels(self) -> np.ndarray:
        """The class index of each frame in `expressions`: int64, (N,)."""
        return pd.Categorical(self.table["expression"], categories=self.expressions).codes.astype(np.int64)

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        sequences = self.table.groupby(["subject", "sequence"]).ngroups
        return (
            f"FaceDatabase({self.name!r}: {len(self)} frames, {sequences} sequences, "
            f"{len(self.subjects)} subjects, {len(self.expressions)} expressions)"
        )


def write_database(
    path: str | os.PathLike[str],
    *,
    name: str,
    frames: np.ndarray,
    table: pd.DataFrame,
    expressions: Sequence[str],
    licence: str,
    citation: str,
    made_by: str,
) -> Path:
    """Write a prepared database atomically: afterwards `path` is complete, or it is what it was before.

    Args:
        path: the directory to make. A prepared database already there is replaced; anything else is an error.
        name: short name of the database.
        frames: uint8, (N, 64, 64, 3), RGB.
        table: N rows with the columns `COLUMNS`.
        expressions: the classes in the order of their indices; each must be in `EXPRESSIONS`.
        licence: the licence of the images, or how they may be used.
        citation: whom to cite.
        made_by: the command that made this copy, without paths of the machine.

    Raises:
        DatabaseError: the content is not a valid database, or `path` holds something else.
        OSError: `path` cannot be written.
    """
    path = Path(path)
    table = table.reset_index(drop=True)
    _check_content(path, frames, table, tuple(expressions))
    if path.exists() and not (path / "database.json").is_file():
        raise DatabaseError(
            f"{path}: exists and is not a prepared database; choose another place or remove it"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        scratch.chmod(0o755)  # mkdtemp makes it private; a database is shared like any other folder
        np.save(scratch / "frames.npy", np.ascontiguousarray(frames))
        table[list(COLUMNS)].to_csv(scratch / "frames.csv", index=False, lineterminator="\n")
        about = {
            "name": name,
            "expressions": list(expressions),
            "licence": licence,
            "citation": citation,
            "made_by": made_by,
            "sha256": {file: _sha256(scratch / file) for file in ("frames.npy", "frames.csv")},
        }
        (scratch / "database.json").write_text(
            json.dumps(about, indent=2, ensure_ascii=False) + "\n", "utf-8"
        )
        if (
            path.exists()
        ):  # a directory cannot be replaced in one step: the old copy goes when the new one is in
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
            path.rename(old / path.name)
            scratch.rename(path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            scratch.rename(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return path


def read_database(path: str | os.PathLike[str]) -> FaceDatabase:
    """Read a prepared database and verify all of it: layout, checksums, every row.

    Raises:
        DatabaseError: something is missing, malformed or damaged.
    """
    path = Path(path)
    again = "prepare it again with `python -m data_prep`"
    for file in ("database.json", "frames.npy", "frames.csv"):
        if not (path / file).is_file():
            raise DatabaseError(f"{path / file}: not found; {again}")
    try:
        about = json.loads((path / "database.json").read_text("utf-8"))
        name, expressions = str(about["name"]), tuple(map(str, about["expressions"]))
        licence, citation, made_by = (str(about[key]) for key in ("licence", "citation", "made_by"))
        expected = {file: str(about["sha256"][file]) for file in ("frames.npy", "frames.csv")}
    except (ValueError, KeyError, TypeError) as error:
        raise DatabaseError(
            f"{path / 'database.json'}: not a database description ({error!r}); {again}"
        ) from None
    for file, sha256 in expected.items():
        if _sha256(path / file) != sha256:
            raise DatabaseError(
                f"{path / file}: checksum differs from database.json, the file is damaged; {again}"
            )
    try:
        frames = np.load(path / "frames.npy", mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DatabaseError(f"{path / 'frames.npy'}: not a readable array ({error}); {again}") from None
    try:
        table = pd.read_csv(
            path / "frames.csv",
            dtype={"subject": str, "sequence": str, "expression": str, "source": str},
            keep_default_na=False,
            quoting=csv.QUOTE_MINIMAL,
        )
    except (ValueError, pd.errors.ParserError) as error:
        raise DatabaseError(f"{path / 'frames.csv'}: not a readable table ({error}); {again}") from None
    _check_content(path, frames, table, expressions)
    return FaceDatabase(
        name=name,
        expressions=expressions,
        frames=frames,
        table=table,
        licence=licence,
        citation=citation,
        made_by=made_by,
        sha256=expected["frames.npy"] + expected["frames.csv"],
    )


def _check_content(path: Path, frames: np.ndarray, table: pd.DataFrame, expressions: tuple[str, ...]) -> None:
    """Raise `DatabaseError` unless frames, table and expressions fit the format and each other."""
    unknown = [e for e in expressions if e not in EXPRESSIONS]
    if unknown or not expressions or len(set(expressions)) != len(expressions):
        raise DatabaseError(
            f"{path / 'database.json'}: expressions must be distinct words of {', '.join(EXPRESSIONS)}; "
            f"got {list(expressions)}"
        )
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != (SIZE, SIZE, 3) or not len(frames):
        raise DatabaseError(
            f"{path / 'frames.npy'}: expected uint8 (N, {SIZE}, {SIZE}, 3) with N >= 1, "
            f"got {frames.dtype} {frames.shape}"
        )
    csv_file = path / "frames.csv"
    missing = [c for c in COLUMNS if c not in table.columns]
    if missing:
        raise DatabaseError(
            f"{csv_file}: column {missing[0]!r} is missing; the columns are {', '.join(COLUMNS)}"
        )
    if len(table) != len(frames):
        raise DatabaseError(
            f"{csv_file}: {len(table)} rows for {len(frames)} frames; prepare the database again"
        )
    # Row 1 is the header, so the first frame stands in line 2 of the file.
    for column in ("subject", "sequence"):
        empty = np.flatnonzero(table[column].astype(str).str.strip() == "")
        if empty.size:
            raise DatabaseError(f"{csv_file}, line {empty[0] + 2}: empty {column}")
    stray = np.flatnonzero(~table["expression"].isin(expressions))
    if stray.size:
        raise DatabaseError(
            f"{csv_file}, line {stray[0] + 2}: unknown expression {table['expression'].iloc[stray[0]]!r}; "
            f"this database has {', '.join(expressions)}"
        )
    position = pd.to_numeric(table["position"], errors="coerce")
    bad = np.flatnonzero(position.isna() | (position < 0) | (position % 1 != 0))
    if bad.size:
        raise DatabaseError(
            f"{csv_file}, line {bad[0] + 2}: position {table['position'].iloc[bad[0]]!r} "
            "is not a whole number >= 0"
        )
    twice = np.flatnonzero(table.duplicated(["subject", "sequence", "position"]))
    if twice.size:
        raise DatabaseError(
            f"{csv_file}, line {twice[0] + 2}: this subject, sequence and position occur twice"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
