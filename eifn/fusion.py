"""Bilinear fusion of two feature maps (equations 3 and 4): outer product, sum, signed root, L2.

Book: chapter 4, *Bilinear pooling*.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import threshold_


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
    identity, expression = _descriptors(identity_map, expression_map)
    with torch.autocast(identity.device.type, enabled=False):
        return identity @ expression.mT  # (N, C_id, C_exp): the matrix product is the sum of outer products


def signed_sqrt(z: Tensor) -> Tensor:
    """`sign(z) * sqrt(|z|)`, elementwise, with gradient 0 where z = 0 (Section 2.2).

    The slope of the root is infinite at 0, and dead ReLU channels make exact zeros: left alone they turn the
    gradient into NaN. An epsilon under the root would cure that and cost scale invariance: with features
    around 1e-3, an epsilon of 1e-5 is as large as the signal. So the gradient is set where z is 0.
    """
    zero = z == 0
    root = z.abs().masked_fill(zero, 1).sqrt()  # no root of 0 is taken, so none has to be differentiated
    return root.copysign(z).masked_fill(zero, 0)


def fuse(identity_map: Tensor, expression_map: Tensor) -> Tensor:
    """The fused vector z of the paper: bilinear pooling, `vec`, signed square root, L2 normalisation.

    It is `normalize(signed_sqrt(bilinear_pool(...).flatten(1)))`, forward and backward written out.

    Args:
        identity_map: (N, C_id, H, W).
        expression_map: (N, C_exp, H, W).

    Returns:
        (N, C_id * C_exp), rows of length 1 (of length 0 where a map is all zero), at least float32.

    Raises:
        ValueError: see `bilinear_pool`.
    """
    identity, expression = _descriptors(identity_map, expression_map)
    with torch.autocast(identity.device.type, enabled=False):
        return _Fuse.apply(identity, expression)


def _descriptors(identity_map: Tensor, expression_map: Tensor) -> tuple[Tensor, Tensor]:
    """The descriptors of all locations, (N, C_id, H * W) and (N, C_exp, H * W), at least float32."""
    same = (
        identity_map.shape[:1] + identity_map.shape[2:] == expression_map.shape[:1] + expression_map.shape[2:]
    )
    if identity_map.ndim != 4 or expression_map.ndim != 4 or not same:
        raise ValueError(
            "the two maps must be (N, channels, H, W) and differ in channels only; "
            f"got {tuple(identity_map.shape)} and {tuple(expression_map.shape)}"
        )
    dtype = torch.promote_types(torch.promote_types(identity_map.dtype, expression_map.dtype), torch.float32)
    return identity_map.to(dtype).flatten(2), expression_map.to(dtype).flatten(2)


class _Fuse(torch.autograd.Function):
    """A few images at a time, and their products once more on the way back.

    At full width a fused vector has 262 144 entries. What autograd puts together goes over those of the whole
    batch, 105 MB, a dozen times and keeps several copies. Here a CPU finds in its cache all but the vector
    itself and its gradient, and nothing else is kept.
    """

    @staticmethod
    def forward(ctx: Any, identity: Tensor, expression: Tensor) -> Tensor:
        fused = identity.new_empty(len(identity), identity.shape[1], expression.shape[1])
        length = identity.new_empty(len(identity), 1, 1)
        for z, norm, a, b in _parts(fused, length, identity, expression):
            pooled = a @ b.mT
            torch.copysign(pooled.abs().sqrt_(), pooled, out=z)
            torch.linalg.vector_norm(z, dim=(1, 2), keepdim=True, out=norm)
            z.div_(norm.clamp_min_(1e-12))  # a map may be all zero
        ctx.save_for_backward(fused, length, identity, expression)
        return fused.flatten(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None]:
        fused, length, identity, expression = ctx.saved_tensors
        upstream = upstream.unflatten(1, fused.shape[1:])
        of_identity, of_expression = [], []
        with torch.autocast(upstream.device.type, enabled=False):
            for z, norm, a, b, g in _parts(fused, length, identity, expression, upstream):
                slope = (a @ b.mT).abs_().sqrt_().mul_(2)  # its inverse
                threshold_(slope, 0, torch.inf)  # where the product is 0, so is the gradient
                along = (g * z).sum((1, 2), keepdim=True)  # what would only lengthen z
                of_pooled = torch.addcmul(g, z, along, value=-1).div_(norm).div_(slope)
                if ctx.needs_input_grad[0]:
                    of_identity.append(of_pooled @ b)
                if ctx.needs_input_grad[1]:
                    of_expression.append(of_pooled.mT @ a)
        return (
            torch.cat(of_identity) if of_identity else None,
            torch.cat(of_expression) if of_expression else None,
        )


def _parts(fused: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """All tensors, as many images at a time as fit the cache of a CPU, or all at once on a GPU."""
    size = max(1, 2**19 // fused.shape[1:].numel() if fused.device.type == "cpu" else len(fused))
    return zip(*(tensor.split(size) for tensor in (fused, *others)), strict=True)
