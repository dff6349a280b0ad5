"""The overall loss of EIFN (equation 5).

Book: chapter 6, *Gradient routing*.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from eifn.center_loss import CenterLoss
from eifn.network import Output


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """λ1, λ2 and λ3 of equation 5: L = λ2 (L_S_id + λ1 L_C_id) + λ3 L_S_exp."""

    center: float
    """λ1: center loss against identity softmax loss."""
    identity: float
    """λ2: the identity branch; 0 in EFN."""
    expression: float
    """λ3: the expression loss."""


class Losses(NamedTuple):
    """Every term of equation 5, unweighted, and their weighted sum; scalars."""

    total: Tensor
    """L, what is minimized."""
    identity: Tensor
    """L_S_id, the softmax loss over subjects; NaN where λ2 = 0 and it is not computed."""
    center: Tensor
    """L_C_id, the center loss; NaN where λ2 = 0."""
    expression: Tensor
    """L_S_exp, the softmax loss over expressions."""


def losses(
    output: Output, subject: Tensor, expression: Tensor, *, weights: LossWeights, center_loss: CenterLoss
) -> Losses:
    """Equation 5 for a batch, in float32.

    Args:
        output: of the network.
        subject: int64 (N,), the identity labels.
        expression: int64 (N,), the expression labels.
        weights: λ1, λ2, λ3. With λ2 = 0 the identity terms are not computed at all, so that nothing, not even
            weight decay, reaches the identity head.
        center_loss: holds the centers; they are read, not moved.
    """
    expression_loss = functional.cross_entropy(output.expression_logits.float(), expression)
    if weights.identity == 0:
        nothing = torch.full_like(expression_loss.detach(), float("nan"))
        return Losses(weights.expression * expression_loss, nothing, nothing, expression_loss)
    identity_loss = functional.cross_entropy(output.identity_logits.float(), subject)
    center = center_loss(output.embedding, subject)
    total = (
        weights.identity * (identity_loss + weights.center * center) + weights.expression * expression_loss
    )
    return Losses(total, identity_loss, center, expression_loss)
