"""From a photograph to a prepared frame: reading it, finding its eyes, and the one geometry of every face.

A similarity transform (shift, turn, scale; no shear) takes the two pupils of the photograph to fixed places
in the 64 x 64 frame, so that faces of any size and tilt come to lie on one another. The paper says only
"aligned, cropped and re-scaled to 64 x 64" (Section 3.1); where the pupils go is a choice of this project.
A source that does not say where the eyes are has them found here, by cascades that come with OpenCV.

Book: chapter 2, *Databases and protocol*.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from eifn.database import SIZE

LEFT_PUPIL = (20.5, 21.5)
"""(x, y) of the pupil on the left of the image, in pixels of the frame, pixel centers at integers."""

RIGHT_PUPIL = (42.5, 21.5)
"""(x, y) of the pupil on the right of the image."""

LARGEST_SIDE = 32766
"""Of a photograph, in pixels: OpenCV counts them in 16 bits."""

LARGE, SMALL, FACE = 1024, 480, 160
"""Pixels: the longer side of the picture that eyes are looked for in, and faces; the side of a face."""

TOO_LOW, TOO_FAR_APART = 0.02, 1.03
"""How far from the pupils the eyes that the cascades find are, measured on the neutral photographs of the
London Set: lower by a share of their distance, and that distance is longer by a factor."""

Point = tuple[float, float]
"""(x, y) in pixels, pixel centers at integers."""


class SourceError(ValueError):
    """A source of faces with a file missing, malformed or damaged; the message names it and the remedy."""


class EyesNotFound(ValueError):
    """There is no face with two eyes in a photograph, or none that is found."""


def read_image(path: Path) -> np.ndarray:
    """Read a whole photograph, turned upright if its EXIF data say so.

    Returns:
        uint8, (height, width, 3), RGB; a grey image repeats its channel, of 16 bits the upper 8 are kept.

    Raises:
        SourceError: the file is missing, is not an image, is damaged or cut short, or is too large.
    """
    # Pillow rather than OpenCV: older versions of the latter return a half-grey picture for a file cut short.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if max(image.size) > LARGEST_SIDE:
                    raise Image.DecompressionBombError(f"{image.size[0]} x {image.size[1]} pixels")
                upright = ImageOps.exif_transpose(image)
                if upright.mode.startswith("I"):  # Pillow would cut 16 bits off at 255
                    upright = Image.fromarray((np.asarray(upright) >> 8).clip(0, 255).astype(np.uint8))
                return np.asarray(upright.convert("RGB"))
    except FileNotFoundError:
        raise SourceError(f"{path}: not found; get this file again from its source") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise SourceError(
            f"{path}: too large an image; shrink it to at most {Image.MAX_IMAGE_PIXELS // 10**6} megapixels "
            f"and {LARGEST_SIDE} pixels a side"
        ) from None
    except UnidentifiedImageError:
        reason = "not an image"
    except (OSError, SyntaxError, ValueError) as error:
        reason = str(error)
    raise SourceError(f"{path}: damaged image ({reason}); get this file again from its source")


def find_eyes(image: np.ndarray) -> tuple[Point, Point]:
    """Find the pupils of the largest face that shows two eyes.

    Cascades of Haar features (Viola and Jones, 2001) find the face and, in its upper left and upper right,
    the eyes; each eye is sought in the picture and in its mirror image, so that both are treated alike. What
    they find is corrected by what they are off on average (`TOO_LOW`, `TOO_FAR_APART`). Pictures with too
    little contrast are tried again with more, tilted heads are turned upright.

    On the 102 neutral photographs of the London Set, whose pupils are known, all are found, with a median
    error of 1.4 % of the distance of the eyes (largest: 4.7 %), which is 0.3 pixels of a frame.

    Args:
        image: uint8, (height, width, 3), RGB.

    Returns:
        (x, y) of the pupil on the left of the image and of that on the right, in pixels.

    Raises:
        EyesNotFound: there is no face with two eyes, or none that is found.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    scale = min(1, LARGE / max(grey.shape))
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    border = max(grey.shape) // 4  # a face that fills its picture is found too
    grey = cv2.copyMakeBorder(grey, border, border, border, border, cv2.BORDER_REPLICATE)
    middle = (np.array(grey.shape[::-1]) - 1) / 2
    for picture in (grey, _clahe().apply(grey)):
        for degrees in (0, 20, -20):
            matrix = cv2.getRotationMatrix2D(middle, degrees, 1)
            turned = cv2.warpAffine(picture, matrix, grey.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
            for x, y, width in _faces(turned):
                if (eyes := _eyes(turned[y : y + width, x : x + width])) is not None:
                    # Turned back: the inverse of a rotation is its transpose.
                    found = (eyes + np.array([x, y]) - matrix[:, 2]) @ matrix[:, :2]
                    left, right = ((found - border + 0.5) / scale - 0.5).tolist()
                    return tuple(left), tuple(right)
    raise EyesNotFound("no face with two eyes found")


def align_face(image: np.ndarray, left_pupil: Point, right_pupil: Point) -> np.ndarray:
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


@functools.cache
def _cascade(name: str) -> cv2.CascadeClassifier:
    return cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_{name}.xml")


@functools.cache
def _clahe() -> cv2.CLAHE:
    return cv2.createCLAHE(clipLimit=2, tileGridSize=(4, 4))


def _faces(picture: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(x, y, width) of the squares that may hold a face: likelier ones first, of those the larger."""
    scale = min(1, SMALL / max(picture.shape))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for name, votes in (("frontalface_alt2", 5), ("frontalface_alt2", 2), ("frontalface_default", 3)):
        squares = _cascade(name).detectMultiScale(small, 1.1, votes, minSize=(SMALL // 12, SMALL // 12))
        for x, y, width, _ in sorted(map(tuple, squares), key=lambda square: (-square[2], square)):
            yield round(x / scale), round(y / scale), round(width / scale)


def _eyes(face: np.ndarray) -> np.ndarray | None:
    """The pupils in a square that may hold a face: (left and right, x and y), in its pixels."""
    scale = FACE / len(face)
    square = _clahe().apply(cv2.resize(face, (FACE, FACE), interpolation=cv2.INTER_AREA))
    top, bottom, outer, inner = (int(share * FACE) for share in (0.12, 0.62, 0.06, 0.52))
    found = []  # on the left, then on the right, x counted from the side of the eye
    for half in (square, square[:, ::-1]):
        part = half[top:bottom, outer:inner]
        centers = []
        for mirrored in (False, True):
            rectangles, votes = _cascade("eye_tree_eyeglasses").detectMultiScale2(
                np.ascontiguousarray(part[:, ::-1] if mirrored else part),
                1.05,
                3,
                minSize=(FACE // 8, FACE // 8),
                maxSize=(FACE * 2 // 5, FACE * 2 // 5),
            )
            if len(rectangles):
                _, (x, y, width, height) = max(zip(votes, map(tuple, rectangles), strict=True))
                x = x + (width - 1) / 2
                centers.append((part.shape[1] - 1 - x if mirrored else x, y + (height - 1) / 2))
        if not centers:
            return None
        found.append(np.mean(centers, axis=0) + np.array([outer, top]))
    left, right = found[0], (FACE - 1 - found[1][0], found[1][1])
    middle, half_way = (left + right) / 2, (right - left) / 2
    if not 0.25 < 2 * np.hypot(*half_way) / FACE < 0.55 or abs(half_way[1]) > 0.4 * half_way[0]:
        return None  # a brow, a nostril, a strand of hair
    middle -= 2 * TOO_LOW * np.array([-half_way[1], half_way[0]])  # at right angles to the line of the eyes
    half_way /= TOO_FAR_APART
    return (np.array([middle - half_way, middle + half_way]) + 0.5) / scale - 0.5
