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
        images: (N, C, S, S), floating point.
        view: int64 (N,), 0 to 13, on the same device.

    Returns:
        (N, C, S, S), channels last. Where S is a power of two, views 0 and 7 are exact: no resampling.
    """
    grid = _grids(images.shape[3], images.device)[view]  # (N, S, S, 2)
    views = functional.grid_sample(
        images, grid.to(images.dtype), padding_mode="reflection", align_corners=False
    )
    return views.contiguous(memory_format=torch.channels_last)


def normalize(frames: Tensor) -> Tensor:
    """Frames as the extractor expects them: uint8 (N, 64, 64, 3) -> float32 (N, 3, 64, 64), channels last.

    Scaled to 0-1, then by ImageNet's mean and standard deviation.
    """
    # By rows, (N, 64, 64 * 3): by the three numbers of a pixel it would take a CPU 2.5 times as long.
    scaled = frames.flatten(2).to(torch.float32, copy=True)
    mean, std = (_constant(values * frames.shape[2], frames.device) for values in (MEAN, STD))
    return scaled.div_(255).sub_(mean).div_(std).view(frames.shape).permute(0, 3, 1, 2)


@cache
@torch.inference_mode(False)
def _grids(size: int, device: torch.device) -> Tensor:
    """Where each view reads its pixels, (14, S, S, 2), in the coordinates of `grid_sample`; made once."""
    radians = torch.tensor(ANGLES) * (math.pi / 180)
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    affine = torch.stack([cos, -sin, zero, sin, cos, zero], 1).view(-1, 2, 3)  # (7, 2, 3), output to input
    turned = functional.affine_grid(affine, [len(ANGLES), 1, size, size], align_corners=False)
    # Of the image itself without what was rounded off, or each pixel would get a trace of its neighbors.
    centers = (2 * torch.arange(size) + 1) / size - 1
    turned[0] = torch.stack(torch.meshgrid(centers, centers, indexing="xy"), 2)
    return torch.cat([turned, turned.flip(2)]).to(device)


@cache
@torch.inference_mode(False)
def _constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Numbers on a device, made once: the host waits for a copy to a GPU, which no training step may."""
    return torch.tensor(values, device=device)
