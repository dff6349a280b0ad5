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


def windows(axes: Axes, face: ArrayLike, boxes: Mapping[str, Sequence[float]]) -> None:
    """A face, and square windows on it that may reach far beyond its border; the axes are in pixels.

    Args:
        axes: where to draw.
        face: (H, W, 3), as `imshow` takes it.
        boxes: name -> left, top, right and bottom edge; at most four. A name stands in the corner of its
            window that is farthest from the middle of the face.

    Raises:
        ValueError: more windows than there are line styles.
    """
    height, width = np.shape(face)[:2]
    axes.imshow(face, extent=(0, width, height, 0))
    for (name, (left, top, right, bottom)), line in zip(boxes.items(), LINES[: len(boxes)], strict=True):
        color = "black" if line == LINES[0] else GREY
        axes.plot(
            [left, right, right, left, left], [top, top, bottom, bottom, top], line[1:], color=color, lw=1.4
        )
        on_left, above = left + right < width, top + bottom < height
        axes.annotate(
            name,
            (left if on_left else right, top if above else bottom),
            (4 if on_left else -4, -4 if above else 4),
            textcoords="offset points",
            ha="left" if on_left else "right",
            va="top" if above else "bottom",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
        )
    axes.set_aspect("equal")
    axes.spines[:].set_visible(False)


def influence(axes: Axes, face: ArrayLike, heat: ArrayLike, *, title: str = "") -> None:
    """A face, plain in the squares that matter most and veiled elsewhere, with the share of each quarter.

    Plain is the smallest set of squares that together hold half of what matters.

    Args:
        axes: where to draw.
        face: (H, W, 3), as `imshow` takes it.
        heat: (rows, columns), both even: how much the pixels there matter, 0 or more.
        title: above the face.

    Raises:
        ValueError: a negative value, nothing but zeros, or an odd number of rows or columns.
    """
    heat = np.asarray(heat, dtype=np.float64)
    if heat.ndim != 2 or any(n % 2 for n in heat.shape) or heat.min() < 0 or not heat.any():
        raise ValueError(
            f"values >= 0 in an even number of rows and columns are needed; got shape {heat.shape}: {heat}"
        )
    height, width = np.shape(face)[:2]
    extent = (0, width, height, 0)
    axes.imshow(face, extent=extent)
    largest = np.sort(heat, axis=None)[::-1]
    half = largest[np.searchsorted(largest.cumsum(), heat.sum() / 2)]
    veil = np.ones((*heat.shape, 4))
    veil[..., 3] = np.where(heat >= half, 0, 0.75)
    axes.imshow(veil, extent=extent)
    rows, columns = heat.shape
    quarters = heat.reshape(2, rows // 2, 2, columns // 2).sum((1, 3)) / heat.sum()
    for (y, x), share in np.ndenumerate(quarters):
        corner = (width * (0.04 + 0.92 * x), height * (0.04 + 0.92 * y))
        sides = {"ha": ("left", "right")[x], "va": ("top", "bottom")[y]}
        pad = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        axes.text(*corner, f"{share:.0%}", fontsize=9, bbox=pad, **sides)
    axes.axhline(height / 2, color="black", lw=0.8, ls="--")
    axes.axvline(width / 2, color="black", lw=0.8, ls="--")
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)


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
