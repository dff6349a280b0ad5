"""A reader's own faces: a folder of images, and in it a CSV file that says who shows what in each.

One row an image; the header names the columns, in any order. Eye coordinates are optional, for each row::

    path,subject,sequence,frame,expression,left_x,left_y,right_x,right_y
    anna/01.jpg,anna,smile-1,1,happiness,210.5,180,274,181.5
    anna/02.jpg,anna,smile-1,2,happiness,,,,

path is relative to the folder of the CSV file and stays in it. frame is a whole number that orders a
sequence; the last three frames of each are the database, as in the paper, or all if there are fewer.
expression is anger, contempt, disgust, fear, happiness, sadness, surprise or neutral. left and right are
the pupils as they are in the image, in pixels from the top left; where they are not given, the eyes are
found.

CREMA-D (91 actors, ODbL) and RAVDESS (24 actors, CC BY-NC-SA) are videos. ffmpeg takes frames out of them,
say five a second; clips end as they begin, so delete the frames of the last second::

    ffmpeg -i 1001_DFA_ANG_XX.flv -vf fps=5 frames/1001_DFA_ANG_XX-%03d.jpg
    ffmpeg -i 01-01-03-01-01-01-01.mp4 -vf fps=5 frames/01-01-03-01-01-01-01-%03d.jpg

Their names say all that the rows need. CREMA-D: actor_sentence_EMOTION_level, with ANG anger, DIS disgust,
FEA fear, HAP happiness, NEU neutral, SAD sadness. RAVDESS: the third number is the emotion (01 neutral, 03
happiness, 04 sadness, 05 anger, 06 fear, 07 disgust, 08 surprise; 02, calm, has no word here), the last one
the actor::

    frames/1001_DFA_ANG_XX-009.jpg,1001,1001_DFA_ANG_XX,9,anger
    frames/01-01-03-01-01-01-01-009.jpg,actor-01,01-01-03-01-01-01-01,9,happiness
"""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from pathlib import Path

from data_prep.align import Point, SourceError
from data_prep.photographs import Photograph, note, write_photographs
from eifn.database import EXPRESSIONS

COLUMNS = ("path", "subject", "sequence", "frame", "expression")

EYES = ("left_x", "left_y", "right_x", "right_y")
"""Columns that may be there too."""

LAST = 3
"""Frames of a sequence that are the database (Section 3.1)."""


def prepare_csv(
    manifest: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    name: str,
    licence: str,
    citation: str,
    on_failure: str = "error",
) -> Path:
    """Prepare the images that a CSV file lists: align and crop the last three frames of every sequence.

    Sequences of one or two frames are taken whole; how many there are is said on stderr.

    Args:
        manifest: the CSV file, in the folder that holds the images.
        out: the database to write.
        name: of the database.
        licence: of the images.
        citation: whom to cite.
        on_failure: what to do about damaged images and faces that are not found: `"error"`, or `"skip"` to
            leave them out.

    Returns:
        `out`.

    Raises:
        SourceError: the CSV file is missing or a row of it is wrong, or an image failed and `on_failure` is
            `"error"`.
        DatabaseError, OSError: `out` holds something else or cannot be written.
    """
    photographs, folder = [], os.path.realpath(Path(manifest).parent)
    sequences = _read_manifest(Path(manifest))
    for (subject, sequence), frames in sequences.items():
        last = sorted(frames)[-LAST:]
        for position, number in zip(reversed(range(len(last))), last, strict=True):
            expression, path, eyes = frames[number]
            source = path.relative_to(folder).as_posix()
            photographs.append(Photograph(subject, sequence, position, expression, source, path, eyes))
    note(
        f"sequences of fewer than {LAST} frames, of which all are taken",
        [f"{subject}/{sequence}" for (subject, sequence), frames in sequences.items() if len(frames) < LAST],
    )
    shown = {photograph.expression for photograph in photographs}
    return write_photographs(
        out,
        photographs,
        on_failure=on_failure,
        name=name,
        expressions=tuple(expression for expression in EXPRESSIONS if expression in shown),
        licence=licence,
        citation=citation,
        made_by=f"python -m data_prep csv --name {name}",
    )


Row = tuple[str, Path, tuple[Point, Point] | None]
"""The expression, the image, and its eyes if they are given."""


def _read_manifest(manifest: Path) -> dict[tuple[str, str], dict[int, Row]]:
    """The rows of each (subject, sequence), by the number of the frame."""
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [column.strip() for column in next(reader, [])]
            lines = [(reader.line_num, fields) for fields in reader if any(map(str.strip, fields))]
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise SourceError(
            f"{manifest}: not a readable CSV file ({reason}); give a file of comma-separated values in UTF-8"
        ) from None
    if sorted(header) not in (sorted(COLUMNS), sorted(COLUMNS + EYES)):
        raise SourceError(
            f"{manifest}, line 1: the columns must be {','.join(COLUMNS)} and, if you have them, "
            f"{','.join(EYES)}; got {','.join(header) or 'nothing'}"
        )
    if not lines:
        raise SourceError(f"{manifest}: no rows below the header; add one for each image")
    sequences: dict[tuple[str, str], dict[int, Row]] = defaultdict(dict)
    line_of: dict[Path, int] = {}
    for line, fields in lines:
        try:
            if len(fields) != len(header):
                raise ValueError(
                    f"{len(fields)} fields, but the header has {len(header)}; quote fields with commas"
                )
            row = {column: field.strip() for column, field in zip(header, fields, strict=True)}
            path = _image(manifest.parent, row["path"])
            if path in line_of:
                raise ValueError(f"{row['path']} is in line {line_of[path]} already; remove one of the two")
            line_of[path] = line
            frame = _check(row)
            frames = sequences[row["subject"], row["sequence"]]
            if frame in frames:
                raise ValueError(
                    f"frame {frame} of sequence {row['sequence']} of subject {row['subject']} is in another "
                    "line already; number the frames of a sequence in their order"
                )
            first = next(iter(frames.values()))[0] if frames else row["expression"]
            if first != row["expression"]:
                raise ValueError(
                    f"sequence {row['sequence']} of subject {row['subject']} is {first} before and "
                    f"{row['expression']} here; make a sequence of its own of each expression"
                )
            frames[frame] = (row["expression"], path, _eyes(row))
        except ValueError as error:
            raise SourceError(f"{manifest}, line {line}: {error}") from None
    return sequences


def _image(folder: Path, name: str) -> Path:
    """The image in the folder; ValueError: there is none, or it is elsewhere."""
    if not name:
        raise ValueError("empty path; name an image")
    path = Path(os.path.realpath(folder / name))
    if Path(name).is_absolute() or not path.is_relative_to(os.path.realpath(folder)):
        raise ValueError(f"{name} leads out of the folder of this file; put the images in it")
    if not path.is_file():
        raise ValueError(f"{name}: no such image; correct the path, relative to the folder of this file")
    return path


def _check(row: dict[str, str]) -> int:
    """The number of the frame; ValueError: something is wrong with the row."""
    for column in ("subject", "sequence"):
        if not row[column]:
            raise ValueError(f"empty {column}; every image needs one")
    for column in ("path", "subject", "sequence"):
        if not row[column].isprintable():
            raise ValueError(
                f"{column} {row[column]!r} is not plain text; write it without control characters"
            )
    if row["expression"] not in EXPRESSIONS:
        raise ValueError(f"unknown expression {row['expression']!r}; use one of {', '.join(EXPRESSIONS)}")
    if not (row["frame"].isascii() and row["frame"].isdigit()):
        raise ValueError(
            f"frame {row['frame']!r} is not a whole number from 0; number the frames in their order"
        )
    return int(row["frame"])


def _eyes(row: dict[str, str]) -> tuple[Point, Point] | None:
    """The pupils, if they are given; ValueError: not all four are, or not as numbers."""
    given = [row.get(column, "") for column in EYES]
    if not any(given):
        return None
    try:
        left_x, left_y, right_x, right_y = map(float, given)
    except ValueError:
        raise ValueError(
            f"{','.join(EYES)} are {','.join(given)}; give four numbers, or leave all empty"
        ) from None
    if not left_x < right_x:
        raise ValueError("left_x is not less than right_x; left is the left of the image, not of the person")
    return (left_x, left_y), (right_x, right_y)
