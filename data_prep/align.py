"""From a photograph to a prepared frame: reading it, and the one geometry of every prepared face.

A similarity transform (shift, turn, scale; no shear) takes the two pupils of the photograph to fixed places
in the 64 x 64 frame, so that faces of any size and tilt come to lie on one another. The paper says only
"aligned, cropped and re-scaled to 64 x 64" (Section 3.1); where the pupils go is a choice of this project.
"""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from eifn.database import SIZE

LEFT_PUPIL = (20.5, 21.5)
"""(x, y) of the pupil on the left of the image, in pixels of the frame, pixel centers at integers."""

RIGHT_PUPIL = (42.5, 21.5)
"""(x, y) of the pupil on the right of the image."""


class SourceError(ValueError):
    """A source of faces with a file missing, malformed or damaged; the message names it and the remedy."""


def read_image(path: Path) -> np.ndarray:
    """Read a whole photograph, turned upright if its EXIF data say so.

    Returns:
        uint8, (height, width, 3), RGB; a grey image repeats its channel.

    Raises:
        SourceError: the file is not an image, or it is damaged or cut short.
    """
    # Pillow rather than OpenCV: older versions of the latter return a half-grey picture for a file cut short.
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except UnidentifiedImageError:
        reason = "not an image"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error)
    raise SourceError(f"{path}: damaged image ({reason}); get this file again from its source")


def align_face(
    image: np.ndarray, left_pupil: tuple[float, float], right_pupil: tuple[float, float]
) -> np.ndarray:
    """Cut a face out of a photograph so that its pupils come to `LEFT_PUPIL` and `RIGHT_PUPIL`.

    Each pixel of the frame is the mean over the square of the photograph that it covers, so that a large
    photograph is not aliased. What lies outside the photograph repeats its border.

    Args:
        image: uint8, (height, width, 3).
        left_pupil: (x, y) of the pupil on the left of the image, in its pixels, pixel centers at integers.
        right_pupil: (x, y) of the pupil on the right of the image.

    Returns:
        uint8, (64, 64, 3), with the channels of `image`.

    Raises:
        ValueError: the two pupils are less than a pixel apart, or not finite.
    """
    # Points as complex numbers: z * turn + shift is every similarity transform there is.
    distance = complex(*right_pupil) - complex(*left_pupil)
    if not 1 <= abs(distance) < math.inf:
        raise ValueError(
            f"pupils at {left_pupil} and {right_pupil} are not two distinct points of a photograph"
        )
    turn = (complex(*RIGHT_PUPIL) - complex(*LEFT_PUPIL)) / distance
    shift = complex(*LEFT_PUPIL) - turn * complex(*left_pupil)
    # The frame is drawn `finer` times larger, at about the scale of the photograph, then averaged in blocks.
    # For a photograph that is larger still, 16 x 16 samples a pixel are plenty.
    finer = min(16, math.ceil(1 / abs(turn)))
    matrix = finer * np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
    matrix[:, 2] += (finer - 1) / 2  # pixel centers at integers, in the frame and in the finer one
    large = cv2.warpAffine(
        image, matrix, (finer * SIZE, finer * SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return cv2.resize(large, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
