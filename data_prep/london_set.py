"""The Face Research Lab London Set: photographs of 102 people, neutral and smiling, free for all (CC BY 4.0).

DeBruine and Jones (2017), https://doi.org/10.6084/m9.figshare.5047666. Two of its archives are needed::

    neutral_front/001_03.jpg    1350 x 1350 pixels
    neutral_front/001_03.tem    189 landmarks, the pupils first
    smiling_front/001_08.jpg    no landmarks

The eyes are found in both photographs, and those of the neutral one have to agree with its landmarks. These
do not do for the smile: people moved between the photographs, and their eyes are lower in the smiling one
by 0.3 of the distance of the eyes (median of 102), so that the place alone would tell a smile. Nor should
one expression be aligned by hand and the other by machine.

The smiles were posed. They are called `happiness` here, as the equally posed smiles of CK+ are, so that the
word means the same kind of picture in every database. Each photograph is a sequence of its own, and so its
last frame: position 0.

Book: chapter 11, *Real faces, your faces*.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from data_prep.align import SourceError
from data_prep.photographs import Photograph, note, write_photographs

# fmt: off
PEOPLE = tuple(
    f"{number:03d}"
    for first, last in (
        (1, 14), (16, 22), (24, 27), (29, 34), (36, 39), (41, 45), (61, 64), (66, 70), (81, 83), (86, 87),
        (90, 92), (94, 94), (96, 97), (99, 105), (107, 108), (112, 115), (117, 132), (134, 144), (172, 173),
    )
    for number in range(first, last + 1)
)
# fmt: on
"""The numbers of the 102 people (column face_id of the set's london_faces_info.csv)."""

VIEWS = {"happiness": ("smiling_front", "08"), "neutral": ("neutral_front", "03")}
"""Expression to archive and number of the photograph."""

LANDMARKS = 189
"""Points in a template, of which the first two are the pupils on the left and on the right of the image."""

DOWNLOAD = "https://doi.org/10.6084/m9.figshare.5047666"

LICENCE = "CC BY 4.0"

CITATION = f"DeBruine, L. and Jones, B. (2017). Face Research Lab London Set. figshare. {DOWNLOAD}"


def prepare_london_set(
    source: str | os.PathLike[str], out: str | os.PathLike[str], *, on_failure: str = "error"
) -> Path:
    """Prepare the London Set: align and crop every photograph, and write the database.

    A download with photographs missing is prepared without them, and what is missing is named on stderr.

    Args:
        source: the folder that holds `neutral_front` and `smiling_front`; up to three folders further down is
            fine too, as some unzipping programs leave it.
        out: the database to write.
        on_failure: what to do about photographs and templates that are damaged or missing, and faces that
            are not found: `"error"`, or `"skip"` to leave them out.

    Returns:
        `out`.

    Raises:
        SourceError: there is no London Set; something failed and `on_failure` is `"error"`.
        DatabaseError, OSError: `out` holds something else or cannot be written.
    """
    files = _find_files(Path(source))
    photographs, failures = [], []
    for person in PEOPLE:
        for expression, (archive, view) in VIEWS.items():
            name = f"{person}_{view}.jpg"
            if name not in files:
                continue
            marked = None
            if expression == "neutral":
                template = f"{person}_03.tem"
                try:
                    if template not in files:
                        raise SourceError(
                            f"{Path(source, 'neutral_front', template)}: not found, and it says where the "
                            f"pupils are; get neutral_front again from {DOWNLOAD}"
                        )
                    marked = tuple(map(tuple, read_template(files[template])[:2].tolist()))
                except SourceError as error:
                    failures.append(str(error))
                    continue
            # The official place, wherever it was found: the same photographs give the same database.
            official = f"{archive}/{name}"
            photographs.append(
                Photograph(person, f"{person}_{view}", 0, expression, official, files[name], marked=marked)
            )
    _report_missing(files)
    return write_photographs(
        out,
        photographs,
        failures=failures,
        on_failure=on_failure,
        name="london",
        expressions=tuple(VIEWS),
        licence=LICENCE,
        citation=CITATION,
        made_by="python -m data_prep london-set",
    )


def read_template(path: Path) -> np.ndarray:
    """Read the landmarks of a template: a line with their number, then a line "x y" for each.

    What follows (the lines that a drawing program joins them by) is not read.

    Returns:
        float64, (189, 2), in pixels of the photograph.

    Raises:
        SourceError: there are not 189 of them, or one is not two numbers.
    """
    remedy = f"get it again from {DOWNLOAD}"
    try:
        lines = path.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: not a readable template ({error}); {remedy}") from None
    if not lines or lines[0].split() != [str(LANDMARKS)] or len(lines) <= LANDMARKS:
        raise SourceError(
            f"{path}: expected the number {LANDMARKS} and as many lines below it, "
            f"got {lines[0] if lines else 'an empty file'!r} and {max(len(lines) - 1, 0)} lines; {remedy}"
        )
    points = []
    for number, line in enumerate(lines[1 : LANDMARKS + 1], start=2):
        try:
            x, y = map(float, line.split())
        except ValueError:
            raise SourceError(
                f"{path}, line {number}: expected two numbers, got {line!r}; {remedy}"
            ) from None
        points.append((x, y))
    return np.array(points)


def _find_files(source: Path) -> dict[str, Path]:
    """The files of the set at most three folders below `source`, by name."""
    if not source.is_dir():
        raise SourceError(f"{source}: not a folder; get the London Set from {DOWNLOAD} and unzip it there")
    wanted = {f"{person}_{ending}" for person in PEOPLE for ending in ("03.jpg", "03.tem", "08.jpg")}
    files: dict[str, Path] = {}
    for above in ("", "*/", "*/*/", "*/*/*/"):
        for path in sorted(source.glob(above + "*_0[38].*")):
            if path.name not in wanted:  # such as the "._001_03.jpg" that macOS adds to archives
                continue
            if path.name in files:
                raise SourceError(
                    f"{path}: found a second time, after {files[path.name]}; give the folder of one copy"
                )
            files[path.name] = path
    for archive, view in VIEWS.values():
        if not any(name.endswith(f"_{view}.jpg") for name in files):
            raise SourceError(
                f"{source}: no photograph of {archive} (such as {PEOPLE[0]}_{view}.jpg) in it; "
                f"get neutral_front and smiling_front from {DOWNLOAD} and unzip both there"
            )
    return files


def _report_missing(files: dict[str, Path]) -> None:
    """Name on stderr whom the download lacks."""
    for archive, view in VIEWS.values():
        missing = [name for person in PEOPLE if (name := f"{person}_{view}.jpg") not in files]
        note(f"missing in {archive}, of {len(PEOPLE)} photographs", missing)
