"""The book's figures: one colour for one idea, always with a second cue, drawn on axes that the caller makes.

Book: every chapter with a figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import ArrayLike

IDENTITY = "#0072B2"
EXPRESSION = "#D55E00"
FUSION = "#CC79A7"
CENTERS = "#009E73"
GREY = "#6E6E6E"
"""The Okabe-Ito colours of the book's ideas, and a neutral one; all but FUSION are dark enough for text."""

LINES = ("o-", "s--", "^:", "D-.")
"""Marker and dash of the first, second, ... line of a figure: the cue besides colour."""


def use_style() -> None:
    """Set matplotlib up for the book: a white card that stands on a light and on a dark page."""
    plt.rcParams.update(
        {
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "figure.dpi": 144,
            "figure.constrained_layout.use": True,
            "figure.constrained_layout.h_pad": 0.12,
            "figure.constrained_layout.w_pad": 0.12,
            "font.size": 10,
            "axes.titlesize": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": GREY,
            "legend.frameon": False,
        }
    )


def matrix(axes: Axes, values: ArrayLike, *, color: str = FUSION, title: str = "", top: float) -> None:
    """A small matrix of values >= 0 as a heat map with its numbers written in.

    Args:
        axes: where to draw.
        values: (rows, columns); rows are identity channels, columns expression channels.
        color: of the value `top`; 0 is white.
        title: above the matrix.
        top: the value of full colour, to be shared by the matrices that are compared.

    Raises:
        ValueError: not two dimensions, or a value outside 0 to `top`.
    """
    values = np.asarray(values)
    if values.ndim != 2 or values.min() < 0 or values.max() > top:
        raise ValueError(
            f"a matrix of values from 0 to {top:g} is needed; got shape {values.shape}: {values}"
        )
    axes.imshow(values, cmap=LinearSegmentedColormap.from_list(color, ["white", color]), vmin=0, vmax=top)
    for (row, column), value in np.ndenumerate(values):
        axes.text(column, row, f"{value:g}", ha="center", va="center", color="black")
    axes.set_title(title)
    axes.set_xticks(range(values.shape[1]), [f"e{j}" for j in range(values.shape[1])], color=EXPRESSION)
    axes.set_yticks(range(values.shape[0]), [f"i{i}" for i in range(values.shape[0])], color=IDENTITY)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(True)


def wiring(axes: Axes, *, identity: bool, guided: bool, title: str) -> None:
    """The gradients of the two losses on their way back: blue of identity, dashed vermillion of expression.

    Args:
        axes: where to draw; it should be about three times as wide as high.
        identity: is there an identity loss (λ2 > 0)?
        guided: does the expression loss reach the identity extractor?
        title: above the drawing.
    """
    places = {
        "identity\nextractor": (0.12, 0.75, IDENTITY),
        "expression\nextractor": (0.12, 0.22, EXPRESSION),
        "fusion": (0.42, 0.22, FUSION),
        "expression\nclassifier": (0.68, 0.22, GREY),
        "identity layers,\nclassifier": (0.55, 0.75, GREY),
        "$\\lambda_2 L_{id}$" if identity else "$\\lambda_2 = 0$": (
            0.92,
            0.75,
            IDENTITY if identity else GREY,
        ),
        "$\\lambda_3 L_{S_{exp}}$": (0.92, 0.22, EXPRESSION),
    }
    boxes = {}
    for text, (x, y, color) in places.items():
        style = {"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": color, "linewidth": 1.6}
        size = 12 if text.startswith("$") else 9
        box = axes.text(x, y, text, ha="center", va="center", fontsize=size, bbox=style)
        boxes[x, y] = box.get_bbox_patch()
    by_expression = [((0.92, 0.22), (0.68, 0.22)), ((0.68, 0.22), (0.42, 0.22)), ((0.42, 0.22), (0.12, 0.22))]
    by_identity = [((0.92, 0.75), (0.55, 0.75)), ((0.55, 0.75), (0.12, 0.75))]
    bridge = ((0.42, 0.22), (0.12, 0.75))
    wires = [(*ends, EXPRESSION, "dashed") for ends in (*by_expression, *([bridge] if guided else []))]
    wires += [(*ends, IDENTITY, "solid") for ends in by_identity if identity]
    for start, end, color, dash in wires:
        arrow = {"arrowstyle": "-|>", "color": color, "linestyle": dash, "linewidth": 1.8}
        between = {"patchA": boxes[start], "patchB": boxes[end], "shrinkA": 1, "shrinkB": 1}
        axes.annotate("", end, start, arrowprops=arrow | between)
    if not guided:
        axes.plot(*zip(*bridge, strict=True), ":", color=GREY, linewidth=1.8)  # passes behind the boxes
        axes.text(0.27, 0.485, "cut", ha="center", va="center", color=GREY, backgroundcolor="white")
    axes.set_title(title, loc="left")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.axis("off")


def layer_cosines(
    axes: Axes, measured: ArrayLike, shuffled: ArrayLike, *, sizes: Sequence[int], names: Sequence[str]
) -> None:
    """Cosines between two gradients in each layer, over several batches: mean, smallest and largest.

    Args:
        axes: where to draw.
        measured: (batches, layers).
        shuffled: (any number, layers), the same with shuffled labels.
        sizes: how many parameters each layer has; the grey band is where the cosine of two random vectors of
            that many dimensions falls 95 times in 100.
        names: of the layers.

    Raises:
        ValueError: other numbers of sizes or names than of layers.
    """
    measured, shuffled = np.asarray(measured), np.asarray(shuffled)
    if not len(sizes) == len(names) == measured.shape[1] == shuffled.shape[1]:
        raise ValueError(
            f"{measured.shape[1]} and {shuffled.shape[1]} layers, "
            f"but {len(sizes)} sizes and {len(names)} names"
        )
    places = np.arange(len(names))
    band = 1.96 / np.sqrt(sizes)
    axes.fill_between(places, -band, band, color=GREY, alpha=0.3, linewidth=0, label="random vectors")
    for values, shift, color, mark, label in (
        (shuffled, 0.15, GREY, "s", "shuffled expressions"),
        (measured, -0.15, IDENTITY, "o", "measured"),
    ):
        mean = values.mean(0)
        ends = [mean - values.min(0), values.max(0) - mean]
        axes.errorbar(places + shift, mean, ends, fmt=mark, color=color, markersize=4, label=label)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_ylim(-1, 1)
    axes.set_ylabel("cosine")
    axes.set_xticks(places, names)


def singular_values(
    axes: Axes, spectra: Mapping[str, ArrayLike], *, colors: Sequence[str], show: int
) -> None:
    """The largest singular values of some matrices, each relative to its first, on a logarithmic axis.

    Args:
        axes: where to draw.
        spectra: name -> singular values, largest first; at most four.
        colors: one for each.
        show: how many of each to draw.

    Raises:
        ValueError: more spectra than colours, or than there are line styles.
    """
    for (name, values), color, line in zip(spectra.items(), colors, LINES[: len(spectra)], strict=True):
        values = np.asarray(values)[:show]
        axes.semilogy(range(1, len(values) + 1), values / values[0], line, color=color, label=name)
    axes.set_xlabel("singular value, by size")
    axes.set_ylabel("relative to the largest")
    axes.set_xticks(range(1, show + 1))
    axes.legend()


def concentration(axes: Axes, vectors: Mapping[str, ArrayLike], *, colors: Sequence[str]) -> None:
    """How few entries carry a vector: share of its squared length against share of entries, largest first.

    Args:
        axes: where to draw.
        vectors: name -> entries, of any shape; at most four.
        colors: one for each.

    Raises:
        ValueError: more vectors than colours, or than there are line styles.
    """
    for (name, entries), color, line in zip(vectors.items(), colors, LINES[: len(vectors)], strict=True):
        squares = np.sort(np.square(np.asarray(entries, dtype=np.float64)), axis=None)[::-1]
        percent = 100 * np.arange(1, squares.size + 1) / squares.size
        carried = 100 * np.cumsum(squares) / squares.sum()
        marks = [round(squares.size * share) - 1 for share in (0.01, 0.1, 1)]
        axes.semilogx(percent, carried, line, color=color, label=name, markevery=marks)
    axes.set_xlabel("largest entries, % of all (logarithmic)")
    axes.set_ylabel("% of the squared length")
    axes.set_xlim(0.01, 150)
    axes.set_xticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"])
    axes.legend()
