"""The fusion of a trained network, opened up: from a face to channels, pairs, evidence and an answer.

Book: chapter 10, *Inside the fusion*.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import traitlets
from torch import Tensor

from eifn.database import FaceDatabase
from eifn.network import EIFN
from eifn.probe import Fusion, exciting_regions, probe
from eifn.widgets.host import Checked, HostedWidget, encode, module, picture

PLACES = ("top left", "top right", "bottom left", "bottom right")
"""The locations of a map, in reading order."""

LIMIT = 350_000
"""Characters of embedded data; with the module, a page then carries less than 400 kB."""


class FusionInspector(HostedWidget):
    """What the fusion makes of some faces: descriptors, pairs of channels, their evidence, identity swaps.

    The widget carries both maps of every face, the classifier and the exciting regions of every channel, and
    computes the rest in the page. Maps are embedded in 16 bits, weights in 8, regions in 15 steps;
    `probability_error` says how far that moves a probability at most.

    Args:
        models: one to three trained models of different variants, with as many channels each.
        database: where the faces are; it has the expressions that the models tell apart.
        rows: which frames of it, 8 or so at width 1/8.
        settings: any of the traits below.

    Each of these is a trait: assign to it, or `observe` what the reader does.

    Attributes:
        face: the row of the face that is looked at; the first at the start.
        identity: the row of the face whose identity map is fused; None for that of `face` itself.
        variant: of the network, `"efn"`, `"eifn-star"` or `"eifn"`; that of the last model at the start.
        location: one of `PLACES`, whose descriptors are shown.
        locations: how many locations have been added up, 1 to 4.
        signed_sqrt, l2: whether the signed square root, the L2 normalization is on.
        expression: the one whose evidence is looked at; that of `face` at the start.
        pair: (identity channel, expression channel) looked at; None for the strongest for `expression`.
        probability_error: the largest difference that the embedding makes to a probability, over all models,
            faces and identities; not a trait.

    Raises:
        ValueError: an untrained model; models that do not fit the database or each other; rows that the
            database does not have; more faces than a page can carry; a trait outside what is listed here,
            such as an expression that the database does not have. It names the argument or the trait.
    """

    _esm = module("fusion_inspector.js")

    data = traitlets.Dict(read_only=True).tag(sync=True)
    face = Checked(0).tag(sync=True)
    identity = Checked(None).tag(sync=True)
    variant = Checked("").tag(sync=True)
    location = Checked(PLACES[0]).tag(sync=True)
    locations = Checked(len(PLACES)).tag(sync=True)
    signed_sqrt = Checked(True).tag(sync=True)
    l2 = Checked(True).tag(sync=True)
    expression = Checked("").tag(sync=True)
    pair = Checked(None).tag(sync=True)

    def __init__(
        self, models: Sequence[EIFN], database: FaceDatabase, rows: Sequence[int], **settings: Any
    ) -> None:
        models, rows = _checked_models(models, database), _checked_rows(rows, database)
        self._database, self._rows = database, rows
        self._channels = models[0].identity_extractor.channels
        self._variants = [str(model.variant) for model in models]
        # Before the long work, and before there is a widget.
        self.set_trait("face", rows[0])
        self.set_trait("variant", self._variants[-1])
        for name, value in settings.items():
            self.set_trait(name, value)
        if "expression" not in settings:
            self.set_trait("expression", database.table["expression"].iloc[self.face])
        frames = database.frames[rows]
        pictures = [picture(frame) for frame in frames]
        # Bytes: 2 a value of a map, 1 a weight, 1/2 a region, 1 a peak. Base64 makes 4 characters of 3 bytes.
        values = len(database.expressions) * self._channels**2 + (16 + 64 + 2) * len(rows) * self._channels
        size = len(models) * values * 4 / 3 + sum(map(len, pictures))
        if size > LIMIT:
            raise ValueError(
                f"rows: {len(rows)} faces, as {len(models)} models with {self._channels} channels see them, "
                f"take {size / 1000:.0f} kB, and a page carries {LIMIT / 1000:.0f}; give fewer"
            )
        networks, errors = [], []
        for model in models:
            exact = probe(model, frames)
            network, embedded = _embed(exact)
            networks.append(network | {"variant": str(model.variant)} | _regions(model, frames))
            errors.append((_all_swaps(embedded) - _all_swaps(exact)).abs().max().item())
        self.probability_error = float(f"{max(errors):.2g}")
        data = {
            "database": database.name,
            "expressions": list(database.expressions),
            "faces": [
                {"row": row, "name": name, "picture": url}
                | database.table.loc[row, ["subject", "expression"]].to_dict()
                for row, name, url in zip(rows, _names(database, rows), pictures, strict=True)
            ],
            "networks": networks,
            "error": self.probability_error,
        }
        self.set_trait("data", data)
        super().__init__()

    @traitlets.validate("face", "identity")
    def _check_row(self, proposal: dict[str, Any]) -> int | None:
        name, row = proposal["trait"].name, proposal["value"]
        if name == "identity" and row is None:
            return None
        return _one_of(name, row, self._rows, "a row")

    @traitlets.validate("variant")
    def _check_variant(self, proposal: dict[str, Any]) -> str:
        return str(_one_of("variant", proposal["value"], self._variants, "a variant"))

    @traitlets.validate("location")
    def _check_location(self, proposal: dict[str, Any]) -> str:
        return _one_of("location", proposal["value"], PLACES, "a location")

    @traitlets.validate("locations")
    def _check_locations(self, proposal: dict[str, Any]) -> int:
        return _one_of("locations", proposal["value"], range(1, len(PLACES) + 1), "a number")

    @traitlets.validate("signed_sqrt", "l2")
    def _check_switch(self, proposal: dict[str, Any]) -> bool:
        if not isinstance(proposal["value"], bool):
            raise ValueError(f"{proposal['trait'].name}: True or False is needed; got {proposal['value']!r}")
        return proposal["value"]

    @traitlets.validate("expression")
    def _check_expression(self, proposal: dict[str, Any]) -> str:
        kind = f"an expression of {self._database.name}"
        return _one_of("expression", proposal["value"], self._database.expressions, kind)

    @traitlets.validate("pair")
    def _check_pair(self, proposal: dict[str, Any]) -> list[int] | None:
        if proposal["value"] is None:
            return None
        try:
            identity, expression = proposal["value"]
            known = range(self._channels)
            return [known[known.index(identity)], known[known.index(expression)]]
        except (TypeError, ValueError):
            raise ValueError(
                f"pair: two channels from 0 to {self._channels - 1}, or None, are needed; "
                f"got {proposal['value']!r}"
            ) from None


def _one_of(name: str, value: Any, known: Sequence[Any], kind: str) -> Any:
    """The value as it is in `known`, so that a NumPy integer or an enum becomes plain."""
    for each in known:
        if not isinstance(value, bool) and each == value:
            return each
    raise ValueError(f"{name}: {kind} is needed, one of {', '.join(map(str, known))}; got {value!r}")


def _checked_models(models: Sequence[EIFN], database: FaceDatabase) -> list[EIFN]:
    models = list(models)
    variants = [model.variant for model in models]
    if not models or len(set(variants)) != len(variants):
        raise ValueError(f"models: one of each variant is needed; got {', '.join(variants) or 'none'}")
    for model in models:
        told = model.expression_classifier.out_features
        if told != len(database.expressions):
            raise ValueError(
                f"models: the {model.variant} tells {told} expressions apart, "
                f"and {database.name} has {len(database.expressions)}; train it on {database.name}"
            )
    channels = {model.identity_extractor.channels for model in models}
    if len(channels) > 1:
        raise ValueError(f"models: all need the same width; they have {sorted(channels)} channels")
    return models


def _checked_rows(rows: Sequence[int], database: FaceDatabase) -> list[int]:
    rows = np.asarray(rows)
    if rows.ndim != 1 or not len(rows) or rows.dtype.kind not in "iu" or len(np.unique(rows)) != len(rows):
        raise ValueError(f"rows: a list of different whole numbers is needed; got {rows.tolist()!r}")
    for row in rows.tolist():
        if not 0 <= row < len(database):
            raise ValueError(f"rows: {database.name} has the rows 0 to {len(database) - 1}; got {row}")
    return rows.tolist()


def _names(database: FaceDatabase, rows: list[int]) -> list[str]:
    """What the faces are called: person and expression, and the row where that is not enough."""
    names = [f"person {r.subject}, {r.expression}" for r in database.table.iloc[rows].itertuples()]
    return [
        f"{name}, row {row}" if names.count(name) > 1 else name for name, row in zip(names, rows, strict=True)
    ]


def _embed(exact: Fusion) -> tuple[dict[str, Any], Fusion]:
    """A fusion as JSON, quantised, and the fusion that the page makes of that.

    Scales keep six digits and the values are quantised on those, so that the text does not depend on the
    last bits of a machine's arithmetic.
    """
    maps = torch.stack([exact.identity_map, exact.expression_map], 1).flatten(3)  # (N, 2, C, 4)
    map_scale = _six_digits(maps.amax((2, 3)) / 65535)  # (N, 2)
    steps = _steps(maps, map_scale[:, :, None, None], 65535)
    weight_scale = _six_digits(exact.weight.abs().amax((1, 2)) / 127)  # (K,)
    weight = _steps(exact.weight, weight_scale[:, None, None], 127)
    bias = _six_digits(exact.bias)
    network = {
        "maps": encode(steps.numpy().astype(np.uint16)),
        "map_scale": map_scale.tolist(),
        "weight": encode(weight.numpy().astype(np.int8)),
        "weight_scale": weight_scale.tolist(),
        "bias": bias.tolist(),
    }
    identity_map, expression_map = (steps * map_scale[:, :, None, None]).unflatten(3, (2, 2)).unbind(1)
    embedded = dataclasses.replace(
        exact,
        identity_map=identity_map,
        expression_map=expression_map,
        weight=weight * weight_scale[:, None, None],
        bias=bias,
    )
    return network, embedded


def _regions(model: EIFN, frames: np.ndarray) -> dict[str, str]:
    """What excites each channel: the largest share in percent, and the regions in fifteenths of that."""
    regions = torch.stack(exciting_regions(model, frames), 1).flatten(3).clamp(min=0)  # (N, 2, C, 64)
    peak = regions.amax(3)  # (N, 2, C)
    steps = _steps(regions, peak[..., None] / 15, 15).numpy().astype(np.uint8)
    return {
        "regions": encode(steps[..., ::2] << 4 | steps[..., 1::2]),  # two to a byte
        "peaks": encode((100 * peak).round().numpy().astype(np.uint8)),
    }


def _steps(values: Tensor, scale: Tensor, top: int) -> Tensor:
    """Values as whole multiples of a scale, none where that is 0."""
    return torch.where(scale == 0, 0, values / scale).round().clamp(-top, top)


def _six_digits(values: Tensor) -> Tensor:
    return torch.tensor(
        [float(f"{value:.6g}") for value in values.flatten().tolist()], dtype=torch.float64
    ).view(values.shape)


def _all_swaps(fusion: Fusion) -> Tensor:
    """The probabilities of every face with the identity map of every face: (N * N, K)."""
    faces = range(len(fusion.identity_map))
    pairs = [(face, person) for face in faces for person in faces]
    return fusion.swap_identity([face for face, _ in pairs], [person for _, person in pairs]).probabilities
