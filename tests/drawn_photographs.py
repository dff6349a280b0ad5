"""Drawn faces placed in larger pictures, as databases of photographs have them."""

import functools

import cv2
import numpy as np

from data_prep.align import LEFT_PUPIL, RIGHT_PUPIL
from data_prep.synthetic.twins import TWINS, draw_sequence


@functools.cache
def draw(subject, expression):
    """The peak of an expression: uint8, (256, 256, 3)."""
    return draw_sequence(TWINS["synth-oulu"], subject, expression, last=1, size=256)[0]


def pupils(face):
    """Where the pupils of a drawn face are in it, (2, 2): the darkest spots near the usual places."""
    dark = cv2.GaussianBlur(face.mean(2), (0, 0), len(face) / 64)
    found = []
    for usual in (LEFT_PUPIL, RIGHT_PUPIL):
        x, y = (int((place + 0.5) * len(face) / 64) for place in usual)
        reach = len(face) // 18
        near = dark[y - reach : y + reach, x - reach : x + reach]
        row, column = np.unravel_index(near.argmin(), near.shape)
        found.append((x - reach + column, y - reach + row))
    return np.array(found, float)


def place(face, *, size=(240, 320), middle=(160, 100), scale=0.6, degrees=0.0):
    """A picture of that height and width with the face scaled and turned, and where its pupils are.

    The middle is that of the two pupils.
    """
    small = cv2.resize(face, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    eyes = (pupils(face) + 0.5) * scale - 0.5
    matrix = cv2.getRotationMatrix2D(tuple(eyes.mean(0)), degrees, 1)
    matrix[:, 2] += np.array(middle) - eyes.mean(0)
    picture = cv2.warpAffine(small, matrix, size[::-1], borderMode=cv2.BORDER_REPLICATE)
    left, right = (eyes @ matrix[:, :2].T + matrix[:, 2]).tolist()
    return picture, (tuple(left), tuple(right))
