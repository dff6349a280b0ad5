"""The paper's augmentation (Section 3.1): seven rotations, each with its mirror image, on the device.

View `v` of 0 to 13 turns the image by `ANGLES[v % 7]` degrees, and mirrors it if `v >= 7`; view 0 is the
image itself.

Book: chapter 2, *Databases and protocol*.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue in ImageNet on a scale of 0-1: what its weights were trained with."""

ANGLES = (0.0, -15.0, -10.0, -5.0, 5.0, 10.0, 15.0)
"""Degrees, counter-clockwise; 0 first, so that view 0 is the original."""

VIEWS = 2 * len(ANGLES)
"""14: "the result training set is 14 times larger than the original one"."""


def augment(images: Tensor, view: Tensor) -> Tensor:
    """One view of each image of a batch.

    What a rotation brings in from outside is the image mirrored at its border: no black corners, which would
    tell the network the angle.

    Args:
        images: (N, C, H, W), floating point, square.
        view: int64 (N,), 0 to 13, on the same device.

    Returns:
        (N, C, H, W). Views 0 and 7 are exact: no resampling.
    """
    radians = _constant(ANGLES, images.device)[view % len(ANGLES)] * (math.pi / 180)  # (N,)
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    affine = torch.stack([cos, -sin, zero, sin, cos, zero], 1).view(-1, 2, 3)  # (N, 2, 3), output to input
    grid = functional.affine_grid(affine, list(images.shape), align_corners=False)
    turned = functional.grid_sample(
        images, grid.to(images.dtype), padding_mode="reflection", align_corners=False
    )
    turned = torch.where((radians == 0).view(-1, 1, 1, 1), images, turned)
    return torch.where((view >= len(ANGLES)).view(-1, 1, 1, 1), turned.flip(3), turned)


def normalize(frames: Tensor) -> Tensor:
    """Frames as the extractor expects them: uint8 (N, 64, 64, 3) -> float32 (N, 3, 64, 64), channels last.

    Scaled to 0-1, then by ImageNet's mean and standard deviation.
    """
    scaled = frames.permute(0, 3, 1, 2).to(torch.float32, copy=True)  # (N, 3, 64, 64); its memory stays NHWC
    scaled.div_(255)
    mean, std = (_constant(values, frames.device).view(1, 3, 1, 1) for values in (MEAN, STD))
    return scaled.sub_(mean).div_(std)


@cache
def _constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Numbers on a device, made once: the host waits for a copy to a GPU, which no training step may."""
    with torch.inference_mode(False):
        return torch.tensor(values, device=device)
