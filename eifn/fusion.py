"""Bilinear fusion of two feature maps (equations 3 and 4): outer product, sum, signed root, L2.

Book: chapter 4, *Bilinear pooling*.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def bilinear_pool(identity_map: Tensor, expression_map: Tensor) -> Tensor:
    """Sum over the locations of the outer product of the two descriptors there (equations 3 and 4).

    Args:
        identity_map: (N, C_id, H, W), F_id of the paper.
        expression_map: (N, C_exp, H, W), F_exp of the paper, with the same N, H and W.

    Returns:
        (N, C_id, C_exp): F before `vec`. Entry (i, j) pairs identity channel i with expression channel j.
        At least float32, also under autocast: bfloat16 keeps 8 bits of a product that is then summed.

    Raises:
        ValueError: the maps do not have four dimensions, or differ in more than their channels.
    """
    same = (
        identity_map.shape[:1] + identity_map.shape[2:] == expression_map.shape[:1] + expression_map.shape[2:]
    )
    if identity_map.ndim != 4 or expression_map.ndim != 4 or not same:
        raise ValueError(
            "the two maps must be (N, channels, H, W) and differ in channels only; "
            f"got {tuple(identity_map.shape)} and {tuple(expression_map.shape)}"
        )
    dtype = torch.promote_types(torch.promote_types(identity_map.dtype, expression_map.dtype), torch.float32)
    with torch.autocast(identity_map.device.type, enabled=False):
        identity = identity_map.to(dtype).flatten(2)  # (N, C_id, locations)
        expression = expression_map.to(dtype).flatten(2)  # (N, C_exp, locations)
        return identity @ expression.mT  # (N, C_id, C_exp): the matrix product is the sum of outer products


def signed_sqrt(z: Tensor) -> Tensor:
    """`sign(z) * sqrt(|z|)`, elementwise, with gradient 0 where z = 0 (Section 2.2).

    The slope of the root is infinite at 0, and dead ReLU channels make exact zeros: left alone they turn the
    gradient into NaN. An epsilon under the root would cure that and cost scale invariance: with features
    around 1e-3, an epsilon of 1e-5 is as large as the signal. So the gradient is set where z is 0.
    """
    return _SignedSqrt.apply(z)


class _SignedSqrt(torch.autograd.Function):
    """Written out, as `_UnitLength` is.

    At full width z has 262 144 entries an image, and what autograd puts together goes over them, and makes
    room for as many, several times more often than is needed.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        root = z.abs().sqrt_().copysign_(z)
        ctx.save_for_backward(root)
        return root

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        (root,) = ctx.saved_tensors
        slope = root.abs().mul_(2)  # its inverse
        slope.masked_fill_(slope == 0, torch.inf)
        return torch.div(upstream, slope, out=slope)


class _UnitLength(torch.autograd.Function):
    """`torch.nn.functional.normalize` of rows, (N, D)."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min_(
            1e-12
        )  # a row may be all zero
        unit = rows / length
        ctx.save_for_backward(unit, length)
        return unit

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        unit, length = ctx.saved_tensors
        along = torch.linalg.vecdot(upstream, unit)[:, None]  # what would only lengthen a row
        return torch.addcmul(upstream, unit, along, value=-1).div_(length)


def fuse(identity_map: Tensor, expression_map: Tensor) -> Tensor:
    """The fused vector z of the paper: bilinear pooling, `vec`, signed square root, L2 normalisation.

    Args:
        identity_map: (N, C_id, H, W).
        expression_map: (N, C_exp, H, W).

    Returns:
        (N, C_id * C_exp), rows of length 1 (of length 0 where a map is all zero), at least float32.

    Raises:
        ValueError: see `bilinear_pool`.
    """
    pooled = bilinear_pool(identity_map, expression_map).flatten(1)  # (N, C_id * C_exp)
    with torch.autocast(pooled.device.type, enabled=False):
        return _UnitLength.apply(signed_sqrt(pooled))
