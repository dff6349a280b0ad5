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
        for some in _parts(fused):
            pooled = identity[some] @ expression[some].mT
            root = torch.copysign(pooled.abs().sqrt_(), pooled, out=fused[some])
            torch.linalg.vector_norm(root, dim=(1, 2), keepdim=True, out=length[some])
            root.div_(length[some].clamp_min_(1e-12))  # a map may be all zero
        ctx.save_for_backward(identity, expression, fused, length)
        return fused.flatten(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None]:
        identity, expression, fused, length = ctx.saved_tensors
        upstream = upstream.unflatten(1, fused.shape[1:])
        gradients = [
            torch.empty_like(descriptors) if needed else None
            for descriptors, needed in zip((identity, expression), ctx.needs_input_grad, strict=True)
        ]
        with torch.autocast(upstream.device.type, enabled=False):
            for some in _parts(fused):
                slope = (identity[some] @ expression[some].mT).abs_().sqrt_().mul_(2)  # its inverse
                threshold_(slope, 0, torch.inf)  # where the product is 0, so is the gradient
                along = (upstream[some] * fused[some]).sum((1, 2), keepdim=True)  # only lengthens
                across = torch.addcmul(upstream[some], fused[some], along, value=-1)
                of_pooled = across.div_(length[some]).div_(slope)
                if gradients[0] is not None:
                    torch.bmm(of_pooled, expression[some], out=gradients[0][some])
                if gradients[1] is not None:
                    torch.bmm(of_pooled.mT, identity[some], out=gradients[1][some])
        return tuple(gradients)


def _parts(fused: Tensor) -> Iterator[slice]:
    """As many images at a time as fit the cache of a CPU, or all that there are on a GPU."""
    size = max(1, 2**19 // fused.shape[1:].numel() if fused.device.type == "cpu" else len(fused))
    return (slice(start, start + size) for start in range(0, len(fused), size))
