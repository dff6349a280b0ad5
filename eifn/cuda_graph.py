"""A training step on a GPU, started by one call instead of hundreds.

Book: chapter 12, *Bigger machines*.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP = 3
"""Steps before the recording, in which the libraries beneath PyTorch set themselves up."""


class CudaGraph:
    """A step that is recorded as a CUDA graph and then replayed.

    Most kernels of a narrow network take less time to run than to start. A graph fixes addresses and numbers,
    so the step may neither wait for the device nor depend on anything of the host that changes: make a new
    one for another learning rate. Batches that are smaller than a full one are learned from without it.

    Args:
        step: learns from a batch, given index and view of its images, int64 (N,) each, and N; gives a tensor.
        size: N of a full batch.
        device: a CUDA device.
    """

    def __init__(
        self, step: Callable[[Tensor, Tensor, int], Tensor], size: int, device: torch.device
    ) -> None:
        self._step, self._size = step, size
        self._stream = torch.cuda.Stream(device)  # a graph cannot be recorded on the stream of the other work
        self._steps = 0
        self._graph = torch.cuda.CUDAGraph()

    def __call__(self, index: Tensor, view: Tensor, size: int) -> Tensor:
        """Take the step; what it gives is the caller's to keep."""
        if size < self._size:
            return self._step(index, view, size)
        self._steps += 1
        if self._steps <= WARM_UP:
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                result = self._step(index, view, size)
            torch.cuda.current_stream().wait_stream(self._stream)
            return result
        if self._steps == WARM_UP + 1:
            self._index, self._view = index.clone(), view.clone()
            with torch.cuda.graph(self._graph, stream=self._stream):
                self._result = self._step(self._index, self._view, size)
        self._index.copy_(index)
        self._view.copy_(view)
        self._graph.replay()
        return self._result.clone()
