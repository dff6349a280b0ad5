"""Oulu-CASIA NIR&VIS: 480 sequences of 80 people, six expressions each. Needs a signed agreement.

Zhao et al. (2011). Two cameras recorded it at once (VL: visible light, NI: near infrared), in three lights::

    OriginalImg/VL/Strong/P001/Anger/000.jpeg               320 x 240 pixels
    PreProcess_Img/VL_Acropped/Strong/P001/Anger/000.jpeg   the faces cropped by its authors

Either archive does; where both are, the original images are used. There are no landmarks: the eyes are
found. A sequence goes from a neutral face to the peak of an expression; its last three frames are the
database. Frames were numbered anew between releases, so only their order counts.

Book: chapter 11, *Real faces, your faces*.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from data_prep.align import SourceError
from data_prep.photographs import Photograph, note, write_photographs

EXPRESSIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
"""Folders have the same names, with a capital."""

SUBJECTS = tuple(f"P{number:03d}" for number in range(1, 81))
"""80 people of 6 sequences each (Section 3.1)."""

CAMERAS, LIGHTS = ("VL", "NI"), ("Strong", "Weak", "Dark")

LAST = 3
"""Frames of a sequence that are the database (Section 3.1)."""

DEEPEST = 4
"""How many folders below the source the folder of a camera may lie."""

IMAGES = {".jpeg", ".jpg", ".png", ".bmp"}

LICENCE = "Oulu-CASIA agreement: research only, not to be passed on"

CITATION = (
    "Zhao, G., Huang, X., Taini, M., Li, S. Z. and Pietikäinen, M. (2011). Facial expression recognition "
    "from near-infrared videos. Image and Vision Computing, 29(9), 607-619."
)


def prepare_oulu_casia(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    camera: str = "VL",
    light: str = "Strong",
    on_failure: str = "error",
) -> Path:
    """Prepare Oulu-CASIA: align and crop the last three frames of every sequence, and write the database.

    Sequences that are missing, or shorter than three frames, are left out and named on stderr.

    Args:
        source: the folder with `OriginalImg` or `PreProcess_Img`, under whatever names and however nested.
        out: the database to write. It is called `oulu-casia` for the usual recordings, visible and strong
            light; others have theirs in the name.
        camera: one of `CAMERAS`.
        light: one of `LIGHTS`.
        on_failure: what to do about damaged images and faces that are not found: `"error"`, or `"skip"` to
            leave them out.

    Returns:
        `out`.

    Raises:
        SourceError: the recordings are not there; an image failed and `on_failure` is `"error"`.
        DatabaseError, OSError: `out` holds something else or cannot be written.
    """
    folder, official = _find(Path(source), camera, light)
    photographs, missing, short = [], [], []
    subjects = _children(folder)
    for subject in SUBJECTS:
        sequences = _children(subjects[subject.lower()]) if subject.lower() in subjects else {}
        absent = [expression for expression in EXPRESSIONS if expression not in sequences]
        if len(absent) == len(EXPRESSIONS):
            missing.append(subject)
        else:
            missing.extend(f"{subject}/{expression.capitalize()}" for expression in absent)
        for expression in EXPRESSIONS:
            if expression in absent:
                continue
            sequence = expression.capitalize()
            files = _frames(sequences[expression])
            if len(files) < LAST:
                short.append(f"{subject}/{sequence} with {len(files)}")
                continue
            photographs.extend(
                Photograph(
                    subject,
                    sequence,
                    position,
                    expression,
                    f"{official}/{subject}/{sequence}/{file.name}",
                    file,
                )
                for position, file in zip(reversed(range(LAST)), files[-LAST:], strict=True)
            )
    if not photographs:
        raise SourceError(f"{folder}: no sequence of {LAST} frames in it; unpack that archive again")
    note(f"missing, of {len(SUBJECTS) * len(EXPRESSIONS)} sequences of {len(SUBJECTS)} people", missing)
    note(f"left out, sequences of fewer than {LAST} frames", short)
    usual = (camera, light) == (CAMERAS[0], LIGHTS[0])
    return write_photographs(
        out,
        photographs,
        on_failure=on_failure,
        name="oulu-casia" if usual else f"oulu-casia-{camera}-{light}".lower(),
        expressions=EXPRESSIONS,
        licence=LICENCE,
        citation=CITATION,
        made_by=f"python -m data_prep oulu-casia --camera {camera} --light {light} (from {official})",
    )


def _find(source: Path, camera: str, light: str) -> tuple[Path, str]:
    """The folder that holds the subjects, and its official place."""
    if not source.is_dir():
        raise SourceError(f"{source}: not a folder; give the one with OriginalImg or PreProcess_Img")
    layouts = {
        camera.lower(): f"OriginalImg/{camera}/{light}",
        f"{camera}_Acropped".lower(): f"PreProcess_Img/{camera}_Acropped/{light}",
    }
    found = list(_folders(source, DEEPEST))
    for name, official in layouts.items():
        places = [
            place
            for folder in found
            if folder.name.lower() == name
            and (place := _children(folder).get(light.lower()))
            and set(_children(place)) & {subject.lower() for subject in SUBJECTS}
        ]
        if len(places) > 1:
            raise SourceError(f"{places[1]}: a second copy, after {places[0]}; give the folder of one")
        if places:
            return places[0], official
    raise SourceError(
        f"{source}: no folder {' or '.join(layouts.values())} with subjects (such as P001) in it; unpack "
        "B_OriginalImg or PreProcess_Img of Oulu-CASIA there, or choose another --camera or --light"
    )


def _folders(folder: Path, deeper: int) -> Iterator[Path]:
    """The folder and those below it, so many levels deep."""
    yield folder
    if deeper:
        for child in _children(folder).values():
            if not re.fullmatch(r"p\d+", child.name.lower()):  # nothing of the archive is below a subject
                yield from _folders(child, deeper - 1)


def _children(folder: Path) -> dict[str, Path]:
    """The folders in a folder, by their names in lower case: some copies have other capitals."""
    children: dict[str, Path] = {}
    for child in sorted(folder.iterdir()):
        if child.is_dir() and not child.name.startswith((".", "__MACOSX")):
            if child.name.lower() in children:
                raise SourceError(f"{child}: a second copy, after {children[child.name.lower()]}; remove one")
            children[child.name.lower()] = child
    return children


def _frames(folder: Path) -> list[Path]:
    """The images in a folder in the order of their numbers, which need not have the same number of digits."""
    files = [
        file for file in folder.iterdir() if file.suffix.lower() in IMAGES and not file.name.startswith(".")
    ]
    return sorted(
        files, key=lambda file: ([int(number) for number in re.findall(r"\d+", file.stem)], file.name)
    )
