"""What the fusion did on some faces: descriptors, evidence of pairs of channels, identity swaps, regions; and
what can be read from a map.

Everything is computed in float64 and without the model's precision settings, so that it comes out the same on
different machines and what is shown as a sum adds up.

Book: chapter 10, *Inside the fusion*.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from eifn.augment import normalize
from eifn.fusion import bilinear_pool, signed_sqrt
from eifn.network import EIFN, Variant

TRAINED = {variant: Path(__file__).parent / "weights" / f"{variant}.safetensors" for variant in Variant}
"""The models that come with the package, for `eifn.training.load_model`; their card is in `eifn/weights`."""

REGIONS = 8
"""Rows and columns of a map of regions."""

BATCH = 13
"""Images that an extractor sees at a time: few enough for a processor's caches, which takes half the time."""


class Pair(NamedTuple):
    """An identity channel, an expression channel, and the evidence that the two give together."""

    identity: int
    """The identity channel, from 0."""
    expression: int
    """The expression channel, from 0."""
    evidence: float
    """What the two add to the logit."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fusion:
    """The fusion of N faces, every step of it, in float64 (equations 3 and 4).

    C is the number of channels of either branch, K that of the expressions.
    """

    identity_map: Tensor
    """F_id, (N, C, 2, 2)."""
    expression_map: Tensor
    """F_exp, (N, C, 2, 2)."""
    weight: Tensor
    """Of the expression classifier, (K, C, C): what a unit of the fused pair (i, j) adds to each logit."""
    bias: Tensor
    """Of the expression classifier, (K,)."""

    @property
    def identity_descriptors(self) -> Tensor:
        """The identity descriptor at each location: (N, 4, C), in reading order."""
        return self.identity_map.flatten(2).mT

    @property
    def expression_descriptors(self) -> Tensor:
        """The expression descriptor at each location: (N, 4, C), in reading order."""
        return self.expression_map.flatten(2).mT

    @property
    def products(self) -> Tensor:
        """The outer product of the two descriptors at each location (equation 3): (N, 4, C, C)."""
        return torch.einsum("nli,nlj->nlij", self.identity_descriptors, self.expression_descriptors)

    @cached_property
    def pooled(self) -> Tensor:
        """Their sum over the locations (equation 4): (N, C, C); entry (i, j) is a pair of channels."""
        return bilinear_pool(self.identity_map, self.expression_map)

    @property
    def rooted(self) -> Tensor:
        """y, after the signed square root: (N, C, C)."""
        return signed_sqrt(self.pooled)

    @cached_property
    def fused(self) -> Tensor:
        """z, after the L2 normalization: (N, C, C), each face of length 1 (0 where a map is all zero)."""
        return torch.nn.functional.normalize(self.rooted.flatten(1)).view_as(self.pooled)

    @property
    def evidence(self) -> Tensor:
        """What each pair of channels adds to the logit of each expression, z times weight: (N, K, C, C).

        The sum over all pairs is the logit less the bias, exactly: nothing is attributed twice or left out.
        """
        return self.fused[:, None] * self.weight

    @cached_property
    def logits(self) -> Tensor:
        """(N, K)."""
        return torch.einsum("nij,kij->nk", self.fused, self.weight) + self.bias

    @property
    def probabilities(self) -> Tensor:
        """Of each expression: (N, K)."""
        return self.logits.softmax(1)

    def strongest(self, face: int, expression: int, count: int) -> list[Pair]:
        """The pairs with the most evidence for or against an expression, by magnitude.

        Args:
            face: 0 to N - 1.
            expression: its class index, 0 to K - 1.
            count: how many; fewer where the face has fewer pairs with any.
        """
        evidence = self.fused[face] * self.weight[expression]  # (C, C)
        # Stable, so that ties come in the same order everywhere.
        order = evidence.flatten().abs().argsort(descending=True, stable=True)[:count]
        pairs = [divmod(n, evidence.shape[1]) for n in order.tolist()]
        return [Pair(i, j, evidence[i, j].item()) for i, j in pairs if evidence[i, j] != 0]

    def swap_identity(self, faces: list[int], people: list[int]) -> Fusion:
        """Fuse the expression maps of some faces with the identity maps of others.

        Args:
            faces: M indices from 0 to N - 1: whose expression maps.
            people: M indices: whose identity maps.

        Returns:
            A fusion of M faces.

        Raises:
            ValueError: the two lists differ in length, or an index is not from 0 to N - 1.
        """
        known = range(len(self.identity_map))
        if len(faces) != len(people) or not {*faces, *people} <= {*known}:
            raise ValueError(
                f"faces and people must be as many, each from 0 to {len(known) - 1}; got {faces} and {people}"
            )
        return dataclasses.replace(
            self, identity_map=self.identity_map[people], expression_map=self.expression_map[faces]
        )


@torch.no_grad()
def probe(model: EIFN, frames: np.ndarray) -> Fusion:
    """What the fusion of a trained model does on some faces.

    Args:
        model: stays as it is; a copy of it computes in float64, on the CPU.
        frames: uint8 (N, 64, 64, 3), RGB.

    Raises:
        ValueError: frames of another shape or kind, or an untrained model: one whose expression classifier
            has the bias of exactly 0 that every new one starts with and the first step of training moves.
    """
    network = _exact(model)
    images = _images(frames)
    classifier = network.expression_classifier
    channels = network.identity_extractor.channels
    parts = images.split(BATCH)
    return Fusion(
        identity_map=torch.cat([network.identity_extractor(part) for part in parts]),
        expression_map=torch.cat([network.expression_extractor(part) for part in parts]),
        weight=classifier.weight.view(-1, channels, channels),
        bias=classifier.bias,
    )


class Regions(NamedTuple):
    """Which regions of a face excite each channel."""

    identity: Tensor
    """(N, C, 8, 8)."""
    expression: Tensor
    """(N, C, 8, 8)."""


@torch.no_grad()
def exciting_regions(model: EIFN, frames: np.ndarray) -> Regions:
    """How much of each channel's activity goes when a region of the face is covered.

    Each of 8 x 8 positions in turn is covered by a square of 16 x 16 pixels in the mean colour of the face
    (positions are 8 pixels apart, so squares overlap). The result is the share of the channel's activity,
    summed over the locations, that this takes away: 1 if the channel falls silent, 0 if it does not care,
    below 0 if it becomes more active, 0 everywhere for a channel that is silent on the whole face. Unlike a
    gradient, this is something that was done to the image and observed. At width 1/8 it takes about half a
    second a face on one core, at full width half a minute.

    Args:
        model: see `probe`.
        frames: uint8 (N, 64, 64, 3), RGB.

    Returns:
        Row and column of a region are those of the square's middle.

    Raises:
        ValueError: see `probe`.
    """
    network = _exact(model)
    images = _images(frames)
    extractors = network.identity_extractor, network.expression_extractor
    step = images.shape[-1] // REGIONS
    shares = []
    for image in images:
        covered = image.repeat(1 + REGIONS**2, 1, 1, 1)  # the first one stays as it is
        mean = image.mean((1, 2))[:, None, None]
        for n in range(REGIONS**2):
            y, x = (step * place - step // 2 for place in divmod(n, REGIONS))
            covered[1 + n, :, max(y, 0) : y + 2 * step, max(x, 0) : x + 2 * step] = mean
        parts = [torch.stack([e(part).sum((2, 3)) for e in extractors]) for part in covered.split(BATCH)]
        activity = torch.cat(parts, 1)  # (2, 65, C)
        whole = activity[:, :1]  # (2, 1, C)
        share = torch.where(whole == 0, 0, (whole - activity[:, 1:]) / whole)  # (2, 64, C)
        shares.append(share.mT.unflatten(2, (REGIONS, REGIONS)))  # (2, C, 8, 8)
    return Regions(*torch.stack(shares, 1))


def linear_probe(
    features: ArrayLike, labels: ArrayLike, groups: ArrayLike, *, penalty: float = 0.1
) -> np.ndarray:
    """Which faces a linear classifier tells right when it was fitted without their group.

    The linear probe of Alain and Bengio (2017), as ridge regression on standardized features, with one output
    for each class, of which the largest is the answer. It is solved in its second form, with a matrix of
    faces instead of one of features.

    Args:
        features: (N, ...), a map or another description of each face.
        labels: (N,), what to tell, as integers from 0.
        groups: (N,); each group in turn is held out, all its faces together.
        penalty: as a share of the mean squared length of a standardized row.

    Returns:
        bool (N,).

    Raises:
        ValueError: not as many labels and groups as features, or a single group.
    """
    features = np.asarray(features, dtype=np.float64)
    labels, groups = np.asarray(labels), np.asarray(groups)
    if not len(features) == len(labels) == len(groups) or len(np.unique(groups)) < 2:
        raise ValueError(
            "a label and a group are needed for each row of features, and at least two groups; got "
            f"{len(features)} rows, {len(labels)} labels, {len(groups)} groups, {len({*groups})} different"
        )
    features = features.reshape(len(features), -1)
    targets = np.eye(labels.max() + 1)[labels]  # (N, classes)
    answers = np.empty_like(labels)
    for group in np.unique(groups):
        test = groups == group
        mean, spread = features[~test].mean(0), features[~test].std(0)
        rows = (features - mean) / np.where(spread > 0, spread, 1)  # a silent channel stays 0
        X, Y = rows[~test], targets[~test]
        XX = X @ X.T
        length = np.trace(XX) / len(XX) or 1  # mean squared; 0 where every feature is silent
        XX += penalty * length * np.eye(len(XX))
        dual = np.linalg.solve(XX, Y - Y.mean(0))
        answers[test] = (rows[test] @ (X.T @ dual) + Y.mean(0)).argmax(1)
    return answers == labels


def _exact(model: EIFN) -> EIFN:
    """A copy in float64, once it is sure that the model was trained."""
    if not model.expression_classifier.bias.any():
        raise ValueError(
            f"model: this {model.variant} is untrained (its expression classifier is as it was made); "
            "train it with `eifn train`, or load a trained one"
        )
    return copy.deepcopy(model).cpu().double().eval().requires_grad_(False)


def _images(frames: np.ndarray) -> Tensor:
    """(N, 3, 64, 64), normalized."""
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[1:] != (64, 64, 3) or not len(frames):
        raise ValueError(
            f"frames: uint8 (N, 64, 64, 3) with N >= 1 is needed; got {frames.dtype} {frames.shape}"
        )
    return normalize(torch.from_numpy(frames.copy())).double()
