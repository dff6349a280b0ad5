"""A face on dials: who it is, what it does, and how far the one is mistaken for the other.

Book: chapter 1, *Two signals in one face*.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import traitlets
from PIL import Image

from eifn.widgets.host import Checked, HostedWidget, module, picture

STEPS = 4
"""Embedded faces of each dial besides the resting one; between them the page interpolates."""

QUALITY = 90
"""Of the JPEG files of embedded faces."""

LIMIT = 340_000
"""Characters of embedded data; with the module, a page then carries less than 400 kB."""

Render = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Identity (N,), entanglement (N,) and units (N, len(units)) to faces, uint8 (N, S, S, 3)."""


class FaceDials(HostedWidget):
    """A face whose identity, action units and entanglement are set on sliders.

    With a kernel, every setting is drawn anew. Without one, the page has a sheet of faces with one dial
    turned, and of the presets, and adds up what each dial changes: an approximation, and it says so.

    Args:
        render: draws faces, such as `data_prep.synthetic.dials.draw_faces`.
        units: name -> what it does, for each action unit that has a dial.
        people: names of those between whom the dial of identity goes, two or more.
        presets: name -> unit -> intensity; a button each.
        settings: any of the traits below.

    Each of these is a trait: assign to it, or `observe` what the reader does.

    Attributes:
        identity: 0 is the first of `people`, 1 the second; between them is a person in between.
        entanglement: how far the resting face imitates an expression, 0 to 1.
        intensities: unit -> 0 to 1; units that are left out are at 0.

    Raises:
        ValueError: faces of another shape; fewer than two people; no units; a preset of other units; more
            than a page can carry; a trait outside what is listed here. It names the argument or the trait.
    """

    _esm = module("face_dials.js")

    data = traitlets.Dict(read_only=True).tag(sync=True)
    drawn = traitlets.Dict(read_only=True).tag(sync=True)
    identity = Checked(0.0).tag(sync=True)
    entanglement = Checked(0.0).tag(sync=True)
    intensities = Checked({}).tag(sync=True)

    def __init__(
        self,
        render: Render,
        units: Mapping[str, str],
        people: Sequence[str],
        presets: Mapping[str, Mapping[str, float]] | None = None,
        **settings: Any,
    ) -> None:
        if len(people) < 2:
            raise ValueError(f"people: two or more are needed; got {list(people)}")
        if not units:
            raise ValueError("units: one or more are needed")
        self._render, self._units, self._people = render, tuple(units), len(people)
        presets = {name: _intensities("presets", of, self._units) for name, of in (presets or {}).items()}
        for name, value in settings.items():
            self.set_trait(name, value)
        sheets = [_jpeg(self._sheet(person, presets.values())) for person in range(self._people)]
        size = sum(map(len, sheets))
        if size > LIMIT:
            raise ValueError(
                f"units: {len(units)} units of {self._people} people take {size / 1000:.0f} kB, and a page "
                f"carries {LIMIT / 1000:.0f}; give fewer units or people"
            )
        data = {"units": dict(units), "people": list(people), "presets": presets, "sheets": sheets}
        self.set_trait("data", data | {"steps": STEPS})
        self._draw()
        super().__init__()
        self.observe(self._draw, ["identity", "entanglement", "intensities"])

    @traitlets.validate("identity", "entanglement")
    def _check_number(self, proposal: dict[str, Any]) -> float:
        name = proposal["trait"].name
        return _number(name, proposal["value"], self._people - 1 if name == "identity" else 1)

    @traitlets.validate("intensities")
    def _check_intensities(self, proposal: dict[str, Any]) -> dict[str, float]:
        return _intensities("intensities", proposal["value"], self._units)

    def _sheet(self, person: int, presets: Iterable[Mapping[str, float]]) -> np.ndarray:
        """A person's faces: at rest, each step of each unit, of entanglement, then the presets."""
        dials = len(self._units) + 1
        turned = np.kron(np.eye(dials), np.linspace(0, 1, STEPS + 1)[1:, None])  # (dials * STEPS, dials)
        shown = [[of.get(unit, 0.0) for unit in self._units] + [0.0] for of in presets]
        rows = np.concatenate([np.zeros((1, dials)), turned, np.reshape(shown, (-1, dials))])
        return self._faces(np.full(len(rows), float(person)), rows[:, -1], rows[:, :-1])

    def _faces(self, identity: np.ndarray, entanglement: np.ndarray, units: np.ndarray) -> np.ndarray:
        faces = self._render(identity, entanglement, units)
        square = isinstance(faces, np.ndarray) and faces.ndim == 4 and faces.shape[1] == faces.shape[2]
        if not square or len(faces) != len(identity) or faces.shape[3] != 3 or faces.dtype != np.uint8:
            raise ValueError(
                f"render: uint8 ({len(identity)}, S, S, 3) is needed; got "
                f"{getattr(faces, 'dtype', type(faces).__name__)} {getattr(faces, 'shape', '')}"
            )
        return faces

    def _draw(self, _: object = None) -> None:
        """The face as the dials are now, and what they are, so that the page knows what it belongs to."""
        units = np.array([[self.intensities.get(name, 0.0) for name in self._units]])
        (face,) = self._faces(np.array([self.identity]), np.array([self.entanglement]), units)
        setting = [self.identity, self.entanglement, *units[0].tolist()]
        self.set_trait("drawn", {"setting": setting, "face": picture(face)})


def _number(name: str, value: Any, top: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1
    if not 0 <= number <= top:
        raise ValueError(f"{name}: a number from 0 to {top} is needed; got {value!r}")
    return number


def _intensities(name: str, values: Any, units: tuple[str, ...]) -> dict[str, float]:
    if not isinstance(values, Mapping) or not set(values) <= set(units):
        raise ValueError(f"{name}: intensities of {', '.join(units)} are needed; got {values!r}")
    return {unit: _number(name, values[unit], 1) for unit in units if unit in values}


def _jpeg(faces: np.ndarray) -> str:
    """Faces, one below the other, as the data URL of a JPEG file."""
    file = io.BytesIO()
    Image.fromarray(faces.reshape(-1, *faces.shape[2:])).save(file, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
