"""Who trains whom: the gradients of the three losses on their way into the modules, with wires to cut.

Book: chapter 6, *Gradient routing*.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import traitlets

from eifn.gradients import LOSSES, MODULES
from eifn.network import Variant
from eifn.paper import CK_PLUS, OULU_CASIA
from eifn.widgets.host import Checked, HostedWidget, module

WIRES = (
    "identity loss > identity classifier",
    "identity classifier > identity layers",
    "center loss > identity layers",
    "identity layers > identity extractor",
    "expression loss > expression classifier",
    "expression classifier > fusion",
    "fusion > identity extractor",
    "fusion > expression extractor",
)
"""On which the gradients go back; each loss reaches each module by one way at most."""

LARGEST = 10
"""The largest λ."""

DIGITS = 4
"""Significant digits in which the products are embedded."""


class GradientRouter(HostedWidget):
    """The network as a diagram, with the measured gradient of each loss into each module.

    The page scales what was measured by the λ, which is exact: gradients are linear in them. A cut wire
    takes its losses from all that lies behind it, as `detach` would there.

    Args:
        products: variant -> its inner products, as `eifn.gradients.gradient_products` measures them; one to
            three variants.
        settings: any of the traits below.

    Each of these is a trait: assign to it, or `observe` what the reader does.

    Attributes:
        variant: `"efn"`, `"eifn-star"` or `"eifn"`; the first of `products` at the start.
        center_weight, identity_weight, expression_weight: λ1, λ2, λ3 of equation 5, 0 to 10; at the start
            those of the paper on CK+. In EFN λ2 counts as 0, whatever it is set to.
        cuts: names of cut wires, of `WIRES`.

    Raises:
        ValueError: no products, those of no variant, of another shape, or not of real gradients; a trait
            outside what is listed here. It names the argument or the trait.
    """

    _esm = module("gradient_router.js")

    data = traitlets.Dict(read_only=True).tag(sync=True)
    variant = Checked().tag(sync=True)
    center_weight = Checked(CK_PLUS.loss_weights["center"]).tag(sync=True)
    identity_weight = Checked(CK_PLUS.loss_weights["identity"]).tag(sync=True)
    expression_weight = Checked(CK_PLUS.loss_weights["expression"]).tag(sync=True)
    cuts = Checked([]).tag(sync=True)

    def __init__(self, products: Mapping[str, pd.DataFrame], **settings: Any) -> None:
        if not products:
            raise ValueError("products: those of one variant at least are needed")
        self._variants = [_known_variant("products", name) for name in products]
        measured = {name: _checked(name, table) for name, table in products.items()}
        self.set_trait(
            "data",
            {
                "products": measured,
                "modules": list(MODULES),
                "wires": list(WIRES),
                "weights": {of.name: dict(of.loss_weights) for of in (CK_PLUS, OULU_CASIA)},
            },
        )
        super().__init__(**{"variant": self._variants[0]} | settings)

    @traitlets.validate("variant")
    def _check_variant(self, proposal: dict[str, Any]) -> str:
        variant = _known_variant("variant", proposal["value"])
        if variant not in self._variants:
            raise ValueError(f"variant: {variant} was not measured, only {', '.join(self._variants)}")
        return variant

    @traitlets.validate("center_weight", "identity_weight", "expression_weight")
    def _check_weight(self, proposal: dict[str, Any]) -> float:
        name, value = proposal["trait"].name, proposal["value"]
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = -1
        if not 0 <= number <= LARGEST:
            raise ValueError(f"{name}: a number from 0 to {LARGEST} is needed; got {value!r}")
        return number

    @traitlets.validate("cuts")
    def _check_cuts(self, proposal: dict[str, Any]) -> list[str]:
        cuts = proposal["value"]
        if not isinstance(cuts, (list, tuple, set)) or not set(cuts) <= set(WIRES):
            raise ValueError(f"cuts: a list of {', '.join(map(repr, WIRES))} is needed; got {cuts!r}")
        return [wire for wire in WIRES if wire in cuts]


def _known_variant(name: str, value: Any) -> str:
    try:
        return str(Variant(value))
    except ValueError:
        raise ValueError(f"{name}: one of {', '.join(Variant)} is needed; got {value!r}") from None


def _checked(variant: str, table: pd.DataFrame) -> list[list[list[float]]]:
    """The products of a variant, rounded: (modules, losses, losses)."""
    rows = pd.MultiIndex.from_product([MODULES, LOSSES])
    if not isinstance(table, pd.DataFrame) or list(table.index) != list(rows) or list(table) != list(LOSSES):
        raise ValueError(f"products: {variant} is not a table of `eifn.gradients.gradient_products`")
    values = table.to_numpy(np.float64).reshape(len(MODULES), len(LOSSES), len(LOSSES))
    norms = np.sqrt(np.diagonal(values, axis1=1, axis2=2).clip(0))
    largest = norms[:, :, None] * norms[:, None, :]
    # Of vectors no product is longer than the product of the lengths; NaN fails too.
    if not (np.abs(values) <= largest * (1 + 1e-6)).all() or not np.isfinite(values).all():
        raise ValueError(f"products: those of {variant} are of no gradients: {values.tolist()}")
    return [[[float(f"{value:.{DIGITS}g}") for value in row] for row in of] for of in values]
