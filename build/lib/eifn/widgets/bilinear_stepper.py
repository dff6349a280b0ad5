"""Bilinear fusion one step at a time, on maps small enough to follow (equations 3 and 4).

Book: chapter 4, *Bilinear pooling*.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import traitlets

from eifn.widgets.host import Checked, HostedWidget, module

STEPS = 6
"""Four locations, the signed square root, the L2 normalization."""

LIMIT = 10_000
"""The largest magnitude of a value in a map."""


class BilinearStepper(HostedWidget):
    """Two small maps to edit, and their fusion step by step, with the arithmetic written out.

    Args:
        identity_map: (2 or 3, 2, 2), anything that NumPy reads as numbers; F_id of the paper.
        expression_map: (2 or 3, 2, 2), F_exp of the paper.
        step: 1 to 4 add the outer product at one location each (top left, top right, bottom left, bottom
            right), 5 is the signed square root, 6 the L2 normalization.

    All three are traits: assign to them, or `observe` what the reader does. Maps read back as nested lists.

    Raises:
        ValueError: a map of another shape, a value that is not finite or above 10 000 in magnitude, a step
            outside 1 to 6; on construction and on assignment.
    """

    _esm = module("bilinear_stepper.js")

    identity_map = Checked([[[2, 0], [1, 0]], [[0, 1], [0, 4]], [[0, 1], [0, 0]]]).tag(sync=True)
    expression_map = Checked([[[1, 0], [2, 0]], [[0, 4], [1, 3]]]).tag(sync=True)
    step = Checked(1).tag(sync=True)

    @traitlets.validate("identity_map", "expression_map")
    def _check_map(self, proposal: dict[str, Any]) -> list[list[list[float]]]:
        name = proposal["trait"].name
        try:
            values = np.asarray(proposal["value"], dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{name}: numbers in the shape (2 or 3, 2, 2) are needed") from None
        if values.shape not in ((2, 2, 2), (3, 2, 2)):
            raise ValueError(f"{name}: the shape must be (2, 2, 2) or (3, 2, 2); got {values.shape}")
        if not (np.abs(values) <= LIMIT).all():
            raise ValueError(f"{name}: values from -{LIMIT} to {LIMIT} are needed; got {values.tolist()}")
        return values.tolist()

    @traitlets.validate("step")
    def _check_step(self, proposal: dict[str, Any]) -> int:
        if proposal["value"] not in range(1, STEPS + 1):
            raise ValueError(f"step: a whole number from 1 to {STEPS} is needed; got {proposal['value']!r}")
        return int(proposal["value"])
