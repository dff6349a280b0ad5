"""EIFN: two branches, one fusion, and the gradient routing that makes three variants of it.

Book: chapter 6, *Gradient routing*.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from torch import Tensor, nn

from eifn.extractor import Extractor
from eifn.fusion import fuse


class Variant(StrEnum):
    """The three wirings of the ablation (Section 3.2)."""

    EIFN = "eifn"
    """Both losses train the identity extractor: expression guided identity features."""
    EIFN_STAR = "eifn-star"
    """The expression loss stops before the identity extractor: pure identity features."""
    EFN = "efn"
    """λ2 = 0: the same architecture, and nobody tells the identity branch who is who."""


class Output(NamedTuple):
    """What a forward pass computes, in the order in which it does."""

    identity_map: Tensor
    """F_id, (N, C, 2, 2)."""
    expression_map: Tensor
    """F_exp, (N, C, 2, 2)."""
    embedding: Tensor
    """The second fully connected layer of the identity branch, (N, C); center loss acts here."""
    identity_logits: Tensor
    """(N, subjects)."""
    fused: Tensor
    """z, (N, C * C): bilinear pooling, signed square root, L2."""
    expression_logits: Tensor
    """(N, expressions)."""


class EIFN(nn.Module):
    """The expression-identity fusion network (Figure 1 of the paper).

    Args:
        subjects: how many people the identity branch tells apart.
        expressions: how many expressions the fused vector is classified into.
        variant: which gradients flow; the forward pass is the same in all.
        width: scales all channels and both fully connected layers; 1 is the paper.

    Raises:
        ValueError: a width that leaves fractional channels.
    """

    def __init__(
        self, subjects: int, expressions: int, *, variant: Variant = Variant.EIFN, width: float = 1.0
    ) -> None:
        super().__init__()
        self.variant = Variant(variant)
        self.identity_extractor = Extractor(width=width)
        self.expression_extractor = Extractor(width=width)
        self.replace_heads(subjects, expressions)

    def replace_heads(self, subjects: int, expressions: int) -> None:
        """New heads, freshly initialized, for another database (between the two stages).

        All but the extractors is replaced. Fully connected layers that have learned to tell other people
        apart give embeddings so long that the first steps of a new classifier can wreck the identity branch.
        """
        channels = self.identity_extractor.channels
        self.identity_layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * 2 * 2, channels),
            nn.ReLU(),
            nn.Linear(channels, channels),
        )
        self.identity_classifier = nn.Linear(channels, subjects)
        self.expression_classifier = nn.Linear(channels * channels, expressions)
        # The fused vector has length 1, so this starts the logits at unit variance; PyTorch's default would
        # start them, and the gradients that reach the extractors, about two orders of magnitude smaller.
        nn.init.normal_(self.expression_classifier.weight)
        nn.init.zeros_(self.expression_classifier.bias)
        # Nothing trains EFN's identity head, so nothing may decay it either.
        trained = self.variant != Variant.EFN
        self.identity_layers.requires_grad_(trained)
        self.identity_classifier.requires_grad_(trained)

    def forward(self, images: Tensor) -> Output:
        """Both branches and the fusion.

        Args:
            images: (N, 3, 64, 64), normalized (see `eifn.augment.normalize`).
        """
        identity_map = self.identity_extractor(images)  # (N, C, 2, 2)
        expression_map = self.expression_extractor(images)  # (N, C, 2, 2)
        embedding = self.identity_layers(identity_map)  # (N, C)
        # EIFN*: cut the wire between the expression loss and the identity extractor.
        guided = identity_map.detach() if self.variant == Variant.EIFN_STAR else identity_map
        fused = fuse(guided, expression_map)  # (N, C * C)
        return Output(
            identity_map=identity_map,
            expression_map=expression_map,
            embedding=embedding,
            identity_logits=self.identity_classifier(embedding),
            fused=fused,
            expression_logits=self.expression_classifier(fused),
        )
