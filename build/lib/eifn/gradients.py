"""Which loss trains which module, and how hard: gradients of the three losses into the five modules of EIFN.

Book: chapter 6, *Gradient routing*.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from eifn.center_loss import CenterLoss
from eifn.network import EIFN, Variant
from eifn.objective import LossWeights, losses

MODULES = (
    "identity_extractor",
    "expression_extractor",
    "identity_layers",
    "identity_classifier",
    "expression_classifier",
)
"""The parts of `EIFN` that have parameters; the fusion has none."""

LOSSES = ("identity", "center", "expression")
"""The terms of equation 5: L_S_id, L_C_id, L_S_exp."""


def gradient_products(
    model: EIFN, images: Tensor, subjects: Tensor, expressions: Tensor, center_loss: CenterLoss
) -> pd.DataFrame:
    """Inner products of the gradients of the three unweighted losses, for the parameters of each module.

    The gradient of equation 5 into a module is g = λ2 g_id + λ2 λ1 g_center + λ3 g_exp, so these nine numbers
    give its length for any λ, and the angles between its parts. Nothing is changed: no parameter, no `.grad`,
    no center.

    Args:
        model: of any variant. In EFN, where λ2 = 0, the identity losses are not computed and count as 0.
        images: (N, 3, 64, 64), normalized.
        subjects: int64 (N,), the identity labels.
        expressions: int64 (N,), the expression labels.
        center_loss: holds the centers, (subjects, C).

    Returns:
        float64, a row for each (module, loss), a column for each loss: `table.loc["identity_extractor"]` is
        symmetric, with the squared norms on its diagonal.

    Raises:
        ValueError: labels or centers that do not fit the images or the model.
    """
    _check(model, images, subjects, expressions, center_loss)
    weights = LossWeights(center=1, identity=float(model.variant != Variant.EFN), expression=1)
    terms = losses(model(images), subjects, expressions, weights=weights, center_loss=center_loss)
    parameters = {name: [p for p in getattr(model, name).parameters() if p.requires_grad] for name in MODULES}
    every = [p for of in parameters.values() for p in of]
    slopes = {}
    for loss in LOSSES:
        term = getattr(terms, loss)
        found = (
            torch.autograd.grad(term, every, retain_graph=True, allow_unused=True)
            if term.requires_grad
            else [None] * len(every)
        )
        # What a loss does not reach has no gradient: 0.
        slopes[loss] = {
            p: torch.zeros_like(p) if slope is None else slope for p, slope in zip(every, found, strict=True)
        }
    index = pd.MultiIndex.from_product([MODULES, LOSSES], names=["module", "loss"])
    products = [
        [
            sum(
                (slopes[one][p].double() * slopes[other][p].double()).sum().item() for p in parameters[module]
            )
            for other in LOSSES
        ]
        for module, one in index
    ]
    return pd.DataFrame(products, index=index, columns=pd.Index(LOSSES, name="loss"), dtype=np.float64)


def gradient_norms(
    model: EIFN, images: Tensor, subjects: Tensor, expressions: Tensor, center_loss: CenterLoss
) -> pd.DataFrame:
    """How long the gradient of each unweighted loss into each module is.

    Args:
        model, images, subjects, expressions, center_loss: as for `gradient_products`.

    Returns:
        float64, a row for each of `MODULES`, a column for each of `LOSSES`; 0 where a loss does not reach.

    Raises:
        ValueError: see `gradient_products`.
    """
    products = gradient_products(model, images, subjects, expressions, center_loss)
    squares = {module: np.diag(products.loc[module]) for module in MODULES}
    return pd.DataFrame.from_dict(squares, orient="index", columns=products.columns).pow(0.5)


def _check(
    model: EIFN, images: Tensor, subjects: Tensor, expressions: Tensor, center_loss: CenterLoss
) -> None:
    people, channels = model.identity_classifier.weight.shape
    if center_loss.centers.shape != (people, channels):
        raise ValueError(
            f"center_loss: its centers are {tuple(center_loss.centers.shape)}, and this model has "
            f"{people} subjects and embeddings of {channels}"
        )
    classes = model.expression_classifier.out_features
    for name, labels, count in (("subjects", subjects, people), ("expressions", expressions, classes)):
        if labels.shape != images.shape[:1]:
            raise ValueError(f"{name}: {tuple(labels.shape)} labels for {len(images)} images")
        if labels.min() < 0 or labels.max() >= count:
            raise ValueError(
                f"{name}: labels from 0 to {count - 1} are needed; "
                f"got {labels.min().item()} to {labels.max().item()}"
            )
