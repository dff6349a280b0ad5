"""What every widget shares: an anywidget with a kernel, the same module in a page without one.

With a kernel, Jupyter shows the widget and keeps its state and Python's in step. In the rendered book there
is no kernel, so the HTML of a widget holds its state as JSON, its module as text, and `host.js`, which starts
the module on that state. Nothing is fetched, so it also works from a folder of files.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from PIL import Image

HERE = Path(__file__).parent


def module(name: str) -> str:
    """The text of a widget's ES module: what all widgets share, then the file of this name.

    One text, because neither a page nor a kernel gives a module a place to import another one from.
    """
    return "\n".join((HERE / part).read_text(encoding="utf-8") for part in ("shared.js", name))


def encode(values: np.ndarray) -> str:
    """The bytes of an array as base64, little-endian; `decode` in `shared.js` reads them."""
    return base64.b64encode(values.astype(values.dtype.newbyteorder("<")).tobytes()).decode()


def picture(frame: np.ndarray) -> str:
    """A frame, uint8 (H, W, 3), as the data URL of a PNG, for the `src` of an image; nothing is lost."""
    grey = (frame == frame[..., :1]).all()
    file = io.BytesIO()
    Image.fromarray(frame[..., 0] if grey else frame).save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


class Checked(traitlets.Any):
    """A trait whose validator sees every value: `Any` alone lets None pass on assignment."""

    allow_none = False


class HostedWidget(anywidget.AnyWidget):
    """An anywidget that also runs where there is no kernel.

    A widget is one file of JavaScript beside its class: `_esm = module(...)` names it, and its default
    export has `render({model, el})`. Of `model` it may use `get`, `set`, `on("change:...")` and
    `save_changes`. What it shows is computed from the traits tagged `sync=True`, which are data that JSON
    can hold.
    """

    _css = HERE / "style.css"

    def __repr__(self) -> str:
        return f"{type(self).__name__}: an interactive figure, seen in Jupyter and in the book"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return data | {"text/html": self._html()}, metadata

    def _html(self) -> str:
        """The widget as it is now, for a page: the same text for the same state."""
        own = (
            self.traits(sync=True).keys()
            - HostedWidget.class_trait_names()
            - {"_esm", "_css", "_anywidget_id"}
        )
        state = {name: getattr(self, name) for name in sorted(own)}
        embedded = json.dumps({"state": state, "source": str(self._esm)}, ensure_ascii=False, allow_nan=False)
        # "<" could end the script element that holds the JSON; as an escape it cannot.
        embedded = embedded.replace("<", "\\u003c")
        return (
            '<div class="eifn-host">An interactive figure: run this cell, or in a page allow JavaScript.'
            f'<script type="application/json">{embedded}</script></div>\n'
            f"<style>{self._css}</style>\n"
            f'<script type="module">{(HERE / "host.js").read_text(encoding="utf-8")}</script>'
        )
