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

FILES = ("database.json", "frames.csv", "frames.npy")
"""What the directory of a prepared database holds, and nothing else."""

_AGAIN = "prepare it again with `python -m data_prep`"


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

    Only when an old database is replaced is there an instant with none, between two renamings. A process that
    is killed leaves a hidden folder `.NAME-…` beside `path`, with what it had written; delete it.

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
    table = _checked(Path(path), frames, table, tuple(expressions))
    check_destination(path)
    place = Path(os.path.realpath(path))  # `path` may be a link to another disk
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{place.name}-", dir=place.parent, ignore_cleanup_errors=True
        ) as scratch:
            new, old = Path(scratch, "new"), Path(scratch, "old")
            new.mkdir()
            np.save(new / "frames.npy", np.ascontiguousarray(frames))
            table.to_csv(new / "frames.csv", index=False, lineterminator="\n")
            about = {
                "name": name,
                "expressions": list(expressions),
                "licence": licence,
                "citation": citation,
                "made_by": made_by,
                "sha256": {file: _sha256(new / file) for file in ("frames.npy", "frames.csv")},
            }
            (new / "database.json").write_text(
                json.dumps(about, indent=2, ensure_ascii=False) + "\n", "utf-8"
            )
            if place.exists():  # a directory cannot be replaced in one step
                place.rename(old)
            try:
                new.rename(place)
            except BaseException:
                if old.exists():
                    old.rename(place)
                raise
    except OSError as error:
        # Python's own message names a hidden scratch file, or (disk full) nothing.
        raise OSError(f"{path}: cannot be written ({error.strerror or error})") from error
    return Path(path)


def check_destination(path: str | os.PathLike[str]) -> None:
    """Check that a database can be written to `path`, before the long work of making one; leaves no trace.

    Raises:
        DatabaseError: `path` is something else than a prepared database or an empty folder.
        OSError: `path` cannot be written.
    """
    place = Path(os.path.realpath(path))
    try:
        if place.is_dir():
            foreign = sorted({file.name for file in place.iterdir()} - {*FILES, ".DS_Store"})
            if foreign:
                raise DatabaseError(
                    f"{path}: exists and is not a prepared database (it holds {foreign[0]!r}); "
                    "choose another place or remove it"
                )
        elif place.exists():
            raise DatabaseError(f"{path}: exists and is not a folder; choose another place or remove it")
        above = next(folder for folder in place.parents if folder.exists())
        tempfile.TemporaryDirectory(prefix=f".{place.name}-", dir=above).cleanup()
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({error.strerror or error})") from error


def read_database(path: str | os.PathLike[str]) -> FaceDatabase:
    """Read a prepared database and verify all of it: layout, checksums, every row.

    Raises:
        DatabaseError: something is missing, malformed or damaged.
        OSError: a file is there and cannot be read.
    """
    path = Path(path)
    for file in FILES:
        if not (path / file).is_file():
            raise DatabaseError(f"{path / file}: not found; {_AGAIN}")
    try:
        about = json.loads((path / "database.json").read_text("utf-8"))
        name, expressions = str(about["name"]), tuple(map(str, about["expressions"]))
        licence, citation, made_by = (str(about[key]) for key in ("licence", "citation", "made_by"))
        expected = {file: str(about["sha256"][file]) for file in ("frames.npy", "frames.csv")}
    except (ValueError, KeyError, TypeError) as error:
        raise DatabaseError(
            f"{path / 'database.json'}: not a database description ({error!r}); {_AGAIN}"
        ) from None
    for file, sha256 in expected.items():
        if _sha256(path / file) != sha256:
            raise DatabaseError(
                f"{path / file}: checksum differs from database.json, the file is damaged; {_AGAIN}"
            )
    try:
        frames = np.lib.format.open_memmap(path / "frames.npy", mode="r")  # never unpickles
    except (ValueError, EOFError) as error:
        raise DatabaseError(f"{path / 'frames.npy'}: not a readable array ({error}); {_AGAIN}") from None
    try:
        with (path / "frames.csv").open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file, strict=True)
    except (ValueError, csv.Error) as error:
        raise DatabaseError(f"{path / 'frames.csv'}: not a readable table ({error}); {_AGAIN}") from None
    if header != list(COLUMNS):
        raise DatabaseError(f"{path / 'frames.csv'}: the columns must be {', '.join(COLUMNS)}; {_AGAIN}")
    for line, row in enumerate(rows, start=2):
        if len(row) != len(COLUMNS):
            raise DatabaseError(
                f"{path / 'frames.csv'}, line {line}: {len(row)} fields instead of {len(COLUMNS)}; {_AGAIN}"
            )
    table = _checked(path, frames, pd.DataFrame(rows, columns=header), expressions)
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


def _checked(
    path: Path, frames: np.ndarray, table: pd.DataFrame, expressions: tuple[str, ...]
) -> pd.DataFrame:
    """The table with the columns `COLUMNS`, text but for the int64 position; index 0 to N - 1.

    Raises:
        DatabaseError: frames, table or expressions do not fit the format or each other.
    """
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
        raise DatabaseError(f"{csv_file}: {len(table)} rows for {len(frames)} frames; {_AGAIN}")
    table = table[list(COLUMNS)].astype(object).fillna("").astype(str).reset_index(drop=True)

    def refuse(wrong: pd.Series, complaint: str) -> None:
        for row in np.flatnonzero(wrong)[:1]:
            # The header is line 1 of the file, so the first frame stands in line 2.
            raise DatabaseError(
                f"{csv_file}, line {row + 2}: {complaint.format(**table.iloc[row])}; {_AGAIN}"
            )

    for column in ("subject", "sequence", "source"):
        if column != "source":  # a drawn face has none
            refuse(table[column].str.strip() == "", f"empty {column}")
        # A line break within a field would make two lines of a row; half a character has no UTF-8.
        refuse(~table[column].map(str.isprintable), f"{column} {{{column}!r}} is not plain text")
    refuse(
        ~table["expression"].isin(expressions),
        f"unknown expression {{expression!r}}, this database has {', '.join(expressions)}",
    )
    refuse(
        ~table["position"].str.fullmatch("[0-9]{1,9}"), "position {position!r} is not a whole number from 0"
    )
    table["position"] = table["position"].astype(np.int64)
    refuse(
        table.duplicated(["subject", "sequence", "position"]),
        "position {position} of sequence {sequence} of subject {subject} occurs twice",
    )
    return table


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
