"""The Extended Cohn-Kanade database, CK+: 327 labelled sequences of 118 people. Needs a signed agreement.

Lucey et al. (2010). Three of its archives are needed, in the folders that they unpack to::

    cohn-kanade-images/S005/001/S005_001_00000011.png      640 x 490 pixels, grey or color
    Emotion/S005/001/S005_001_00000011_emotion.txt         a number; no file, no label
    Landmarks/S005/001/S005_001_00000011_landmarks.txt     68 points

A sequence goes from a neutral face to the peak of an expression; its last three frames are the database.

Book: chapter 11, *Real faces, your faces*.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from data_prep.align import SourceError
from data_prep.photographs import Photograph, note, write_photographs

EXPRESSIONS = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
"""Labels 1 to 7; a label of 0 is neutral, and not used."""

SEQUENCES, SUBJECTS = 327, 118
"""How many labelled sequences of how many people there are (Section 3.1)."""

LANDMARKS = 68

EYES = (slice(36, 42), slice(42, 48))
"""The points around the eye on the left and on the right of the image."""

LAST = 3
"""Frames of a sequence that are the database (Section 3.1)."""

PLACES = {
    "images": "cohn-kanade-images",
    "labels": "Emotion",
    "landmarks": "Landmarks",
}
"""The folder of each archive."""

LICENCE = "CK+ agreement: research only, not to be passed on"

CITATION = (
    "Lucey, P., Cohn, J. F., Kanade, T., Saragih, J., Ambadar, Z. and Matthews, I. (2010). The Extended "
    "Cohn-Kanade Dataset (CK+): a complete dataset for action unit and emotion-specified expression. "
    "CVPR Workshops, 94-101."
)

AGAIN = "unpack that archive of CK+ again"


def prepare_ck_plus(
    source: str | os.PathLike[str], out: str | os.PathLike[str], *, on_failure: str = "error"
) -> Path:
    """Prepare CK+: align and crop the last three frames of every labelled sequence, and write the database.

    The pupils are taken to be at the mean of the six points around each eye. That is 0.03 of the distance
    of the eyes lower (0.7 pixels of a frame), as far as the London Set tells, where both are marked on
    102 faces.

    Labelled sequences that are missing, or shorter than three frames, are left out and named on stderr.

    Args:
        source: the folder with the three archives, which may lie up to two folders deeper.
        out: the database to write.
        on_failure: what to do about damaged images and landmarks: `"error"`, or `"skip"` to leave them out.

    Returns:
        `out`.

    Raises:
        SourceError: an archive is missing, a label is damaged; an image or its landmarks are, and
            `on_failure` is `"error"`.
        DatabaseError, OSError: `out` holds something else or cannot be written.
    """
    images, labels, landmarks = (_find(Path(source), name) for name in PLACES.values())
    labelled = _read_labels(labels)
    photographs, failures, short, no_peak = [], [], [], []
    for (subject, sequence), (expression, peak) in labelled.items():
        files = sorted((images / subject / sequence).glob(f"{subject}_{sequence}_*.png"))
        if len(files) < LAST:
            short.append(f"{subject}/{sequence} with {len(files)}")
            continue
        if files[-1].stem != peak:
            no_peak.append(f"{subject}/{sequence}")
        for position, file in zip(reversed(range(LAST)), files[-LAST:], strict=True):
            points = landmarks / subject / sequence / f"{file.stem}_landmarks.txt"
            official = file.relative_to(images.parent).as_posix()
            try:
                left, right = (tuple(read_landmarks(points)[eye].mean(0).tolist()) for eye in EYES)
                photographs.append(
                    Photograph(subject, sequence, position, expression, official, file, (left, right))
                )
            except SourceError as error:
                failures.append(str(error))
    if not photographs and not failures:
        raise SourceError(f"{images}: no frames of a labelled sequence in it; {AGAIN}")
    note(f"left out, sequences of fewer than {LAST} frames", short)
    note("the last frame is not the one that the label names, is the archive whole?", no_peak)
    subjects = {subject for subject, _ in labelled}
    if (len(labelled), len(subjects)) != (SEQUENCES, SUBJECTS):
        print(
            f"note: {SEQUENCES} labelled sequences of {SUBJECTS} people expected, "
            f"found {len(labelled)} of {len(subjects)}",
            file=sys.stderr,
        )
    return write_photographs(
        out,
        photographs,
        failures=failures,
        on_failure=on_failure,
        name="ck-plus",
        expressions=EXPRESSIONS,
        licence=LICENCE,
        citation=CITATION,
        made_by="python -m data_prep ck-plus",
    )


def read_landmarks(path: Path) -> np.ndarray:
    """Read the landmarks of a frame: 68 lines of two numbers, with any spaces between.

    Returns:
        float64, (68, 2), in pixels.

    Raises:
        SourceError: the file is missing, or holds something else.
    """
    try:
        points = np.array(
            [line.split() for line in path.read_text("ascii").splitlines() if line.strip()], float
        )
    except FileNotFoundError:
        raise SourceError(f"{path}: not found, and it says where the eyes are; {AGAIN}") from None
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: not readable landmarks ({error}); {AGAIN}") from None
    if points.shape != (LANDMARKS, 2) or not np.isfinite(points).all():
        raise SourceError(f"{path}: expected {LANDMARKS} points of two numbers; {AGAIN}")
    return points


def _find(source: Path, name: str) -> Path:
    """The folder `name` that holds the subjects; people also have it within another of the same name."""
    if not source.is_dir():
        raise SourceError(f"{source}: not a folder; give the one with the archives of CK+")
    found = [
        folder
        for above in ("", "*/", "*/*/")
        for folder in sorted(source.glob(above + name))
        if any(folder.glob("S[0-9][0-9][0-9]"))
    ]
    if not found:
        raise SourceError(
            f"{source}: no folder {name} with subjects (such as {name}/S005) in it; {AGAIN} there"
        )
    if len(found) > 1:
        raise SourceError(f"{found[1]}: a second copy, after {found[0]}; give the folder of one")
    return found[0]


def _read_labels(folder: Path) -> dict[tuple[str, str], tuple[str, str]]:
    """Of each labelled (subject, sequence): the expression, and the name of the frame that shows it."""
    labelled = {}
    for file in sorted(folder.glob("S[0-9][0-9][0-9]/[0-9][0-9][0-9]/S*_emotion.txt")):
        key = (file.parts[-3], file.parts[-2])
        if key in labelled:
            raise SourceError(f"{file}: a second label of this sequence; {AGAIN}")
        try:
            number = float(file.read_text("ascii"))
            label = int(number)
            if label != number or not 0 <= label <= len(EXPRESSIONS):
                raise ValueError(f"{number:g} is not a label from 0 to {len(EXPRESSIONS)}")
        except (OSError, ValueError) as error:
            raise SourceError(f"{file}: not a label ({error}); {AGAIN}") from None
        if label:
            labelled[key] = (EXPRESSIONS[label - 1], file.stem.removesuffix("_emotion"))
    if not labelled:
        raise SourceError(
            f"{folder}: no labels (such as S005/001/S005_001_00000011_emotion.txt) in it; {AGAIN}"
        )
    return labelled
