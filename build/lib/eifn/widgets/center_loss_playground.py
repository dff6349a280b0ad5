"""Center loss on points in a plane: what it pulls together, and when it pulls everything together.

Book: chapter 5, *Center loss*.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import traitlets

from eifn.widgets.host import Checked, HostedWidget, module

POINTS = 120
"""Embeddings in the plane, dealt out to the classes in turn."""

LIMITS = {
    "center_weight": (0, 10),
    "alpha": (0, 1),
    "classes": (2, 8),
    "batch_size": (1, POINTS),
    "seed": (0, 2**32 - 1),
    "step": (0, 1000),
}
"""The smallest and the largest value of each trait."""


class CenterLossPlayground(HostedWidget):
    """Points of some classes, their centers, and the steps by which both move, computed in the page.

    A point x_i is an embedding that is free to move; a linear layer without bias, W, tells the classes apart.
    In each step, for a random batch::

        x_i <- x_i - 0.1 * the gradient of  softmax loss of W x_i  +  λ1 / 2 * |x_i - c|^2
        W   <- W   - 0.1 * the gradient of the mean of the softmax losses
        c_j <- c_j - alpha * sum of (c_j - x_i) / (1 + n_j)        the rule of `eifn.center_loss`

    All gradients are those before the step. The centers start at zero, as in `eifn`.

    Args:
        center_weight: λ1, 0 to 10.
        alpha: the rate of the centers, 0 to 1.
        classes: 2 to 8; the 120 points are dealt out to them.
        batch_size: points in a step, 1 to 120.
        seed: of the first points, of W and of the batches.
        step: how many steps have been taken, 0 to 1000; to set it is to take them, or to begin anew.

    All are traits: assign to them, or `observe` what the reader does. While the figure runs, `step` follows
    when it pauses. Another number of classes or seed begins anew; the rest acts from the next step on.

    Raises:
        ValueError: a value that is no number, or outside its limits; on construction and on assignment.
    """

    _esm = module("center_loss_playground.js")

    center_weight = Checked(1.0).tag(sync=True)
    alpha = Checked(0.5).tag(sync=True)
    classes = Checked(4).tag(sync=True)
    batch_size = Checked(40).tag(sync=True)
    seed = Checked(0).tag(sync=True)
    step = Checked(0).tag(sync=True)

    @traitlets.validate("center_weight", "alpha")
    def _check_rate(self, proposal: dict[str, Any]) -> float:
        name, value = proposal["trait"].name, proposal["value"]
        low, high = LIMITS[name]
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not low <= number <= high:
            raise ValueError(f"{name}: a number from {low} to {high} is needed; got {value!r}")
        return number

    @traitlets.validate("classes", "batch_size", "seed", "step")
    def _check_count(self, proposal: dict[str, Any]) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        low, high = LIMITS[name]
        if not (isinstance(value, (int, np.integer)) and low <= value <= high):
            raise ValueError(f"{name}: a whole number from {low} to {high} is needed; got {value!r}")
        return int(value)
