"""Center loss and the rule that moves its centers (Wen et al. 2016, reference [12] of the paper).

Book: chapter 5, *Center loss*.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn


class CenterLoss(nn.Module):
    """Half the squared distance of each embedding to the center of its class, averaged over the batch.

    The centers are a buffer: no optimizer, no momentum and no weight decay touches them. `forward` reads
    them, `update` moves them by the rule of Wen et al.::

        delta c_j = sum over the batch where y_i = j of (c_j - x_i)  /  (1 + n_j)
        c_j <- c_j - alpha * delta c_j

    Neither builds the (N, K) matrix of all distances. Averaging over the batch, where Wen et al. sum, makes
    λ1 independent of the batch size; see the register in `eifn.paper`.

    Args:
        classes: K, the number of subjects.
        dimensions: D, the length of an embedding.
        alpha: the rate of the centers, 0.5 in Wen et al.

    Attributes:
        centers: (K, D), start at zero.
    """

    centers: Tensor

    def __init__(self, classes: int, dimensions: int, *, alpha: float = 0.5) -> None:
        super().__init__()
        self.alpha = alpha
        self.register_buffer("centers", torch.zeros(classes, dimensions))

    def forward(self, embedding: Tensor, labels: Tensor) -> Tensor:
        """The loss, a scalar, at least float32.

        Args:
            embedding: (N, D).
            labels: int64 (N,), the class of each row.
        """
        with torch.autocast(embedding.device.type, enabled=False):
            offset = embedding.to(self.centers.dtype) - self.centers[labels]  # (N, D)
            return offset.square().sum(1).mean() / 2

    @torch.no_grad()
    def update(self, embedding: Tensor, labels: Tensor) -> None:
        """Move the centers towards the embeddings of their classes, once for a batch.

        In a distributed run the batch is that of all ranks together, and the centers stay identical on all.

        Args:
            embedding: (N, D), as given to `forward`.
            labels: int64 (N,).
        """
        pull = torch.zeros_like(self.centers)  # (K, D)
        count = self.centers.new_zeros(len(self.centers))  # (K,)
        # `index_put_` adds in the same order each time, on a GPU too, which `index_add_` does not.
        offset = self.centers[labels] - embedding.to(self.centers.dtype)  # (N, D)
        pull.index_put_((labels,), offset, accumulate=True)
        count.index_put_((labels,), torch.ones_like(labels, dtype=count.dtype), accumulate=True)
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(pull)
            distributed.all_reduce(count)
        self.centers -= self.alpha * pull / (1 + count[:, None])
