"""Drawn faces placed in larger pictures, as databases of photographs have them."""

import functools

import cv2
import numpy as np

from data_prep.align import LEFT_PUPIL, RIGHT_PUPIL
from data_prep.synthetic.twins import TWINS, draw_sequence


@functools.cache
def draw(subject, expression, twin="synth-oulu"):
    """The peak of an expression: uint8, (256, 256, 3)."""
    return draw_sequence(TWINS[twin], subject, expression, last=1, size=256)[0]


def place(face, *, size=(240, 320), middle=(160, 100), scale=0.6, degrees=0.0):
    """A picture of that height and width with the face scaled and turned, and about where its pupils are.

    The middle is that of the two pupils; the head's own small turns are not reckoned.
    """
    small = cv2.resize(face, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    pupils = (np.array([LEFT_PUPIL, RIGHT_PUPIL]) + 0.5) * len(small) / 64 - 0.5
    matrix = cv2.getRotationMatrix2D(tuple(pupils.mean(0)), degrees, 1)
    matrix[:, 2] += np.array(middle) - pupils.mean(0)
    picture = cv2.warpAffine(small, matrix, size[::-1], borderMode=cv2.BORDER_REPLICATE)
    left, right = (pupils @ matrix[:, :2].T + matrix[:, 2]).tolist()
    return picture, (tuple(left), tuple(right))
