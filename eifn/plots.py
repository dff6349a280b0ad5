"""The book's figures: one colour for one idea, always with a second cue, drawn on axes that the caller makes.

Book: every chapter with a figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
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


def confusion(axes: Axes, counts: ArrayLike, codes: Sequence[str], *, title: str = "") -> None:
    """A confusion matrix as a heat map: percent of each row, written in where it is not 0.

    Args:
        axes: where to draw.
        counts: (K, K), rows are the truth, columns the answer.
        codes: of the K classes, for both axes.
        title: above the matrix.

    Raises:
        ValueError: not K x K, or a row without anything in it.
    """
    percent = _percent_of_rows(counts, codes)
    cmap = LinearSegmentedColormap.from_list("confusion", ["white", EXPRESSION])
    axes.imshow(percent, cmap=cmap, vmin=0, vmax=100)
    for (row, column), value in np.ndenumerate(percent):
        if value:
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", color="black")
    _name_classes(axes, codes, title)


def confusion_difference(
    axes: Axes, first: ArrayLike, second: ArrayLike, codes: Sequence[str], *, title: str = ""
) -> None:
    """One confusion matrix less another, in points of percent of each row; the sign is written in.

    Blue where the first has more and vermillion where the second has, on one scale.

    Args:
        axes: where to draw.
        first: counts, (K, K), rows are the truth.
        second: counts of the same.
        codes: of the K classes, for both axes.
        title: above the matrix.

    Raises:
        ValueError: not K x K, or a row without anything in it.
    """
    points = _percent_of_rows(first, codes) - _percent_of_rows(second, codes)
    # An odd number of colours has one in the middle, so that 0 is white.
    cmap = LinearSegmentedColormap.from_list("difference", [EXPRESSION, "white", IDENTITY], N=257)
    top = np.abs(points).max() or 1
    axes.imshow(points, cmap=cmap, vmin=-top, vmax=top)
    for (row, column), value in np.ndenumerate(points):
        if value:
            color = "white" if value > 0.75 * top else "black"  # black cannot be read on full blue
            axes.text(column, row, f"{value:+.0f}", ha="center", va="center", color=color)
    _name_classes(axes, codes, title)


def _percent_of_rows(counts: ArrayLike, codes: Sequence[str]) -> np.ndarray:
    counts = np.asarray(counts)
    if counts.shape != (len(codes), len(codes)) or (counts.sum(1) == 0).any():
        raise ValueError(
            f"counts of {len(codes)} classes with no empty row are needed; got shape {counts.shape}: {counts}"
        )
    return 100 * counts / counts.sum(1, keepdims=True)


def _name_classes(axes: Axes, codes: Sequence[str], title: str) -> None:
    axes.set_title(title)
    axes.set_xticks(range(len(codes)), codes)
    axes.set_yticks(range(len(codes)), codes)
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")
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


def intervals(
    axes: Axes,
    accuracies: Mapping[str, tuple[float, tuple[float, float]]],
    *,
    highlight: str,
    title: str = "",
) -> None:
    """Accuracies with their intervals, in percent, one below the other in the order given.

    Args:
        axes: where to draw.
        accuracies: name -> an accuracy and the ends of its interval, fractions of 1.
        highlight: the name set off by colour and marker; its interval is a band behind the others.
        title: above.

    Raises:
        KeyError: nothing of the name `highlight`.
    """
    axes.axvspan(*(100 * np.array(accuracies[highlight][1])), color=FUSION, alpha=0.18, linewidth=0)
    for row, (name, (accuracy, ends)) in enumerate(accuracies.items()):
        color, marker = (FUSION, "D") if name == highlight else (GREY, "o")
        axes.plot(100 * np.array(ends), [row, row], color=color, linewidth=2)
        axes.plot(100 * accuracy, row, marker, color=color)
    axes.set_yticks(range(len(accuracies)), accuracies)
    axes.invert_yaxis()
    axes.set_xlabel("accuracy, %")
    axes.set_title(title)


def two_probes(
    axes: Axes, accuracies: Mapping[str, Mapping[str, tuple[float, float]]], *, chance: tuple[float, float]
) -> None:
    """What linear probes read from feature maps: the person across, the expression up, in percent.

    Args:
        axes: where to draw.
        accuracies: "identity map", "expression map", "fused vector" or "yardstick" -> name of a network ->
            the two accuracies, fractions of 1.
        chance: the two accuracies of guessing, drawn as lines.

    Raises:
        KeyError: a kind that is not one of the four.
    """
    looks = {
        "identity map": (IDENTITY, "o", "left"),
        "expression map": (EXPRESSION, "s", "right"),
        "fused vector": (FUSION, "^", "left"),
        "yardstick": (GREY, "D", "left"),
    }
    for kind, networks in accuracies.items():
        color, marker, side = looks[kind]
        points = 100 * np.array(list(networks.values()))  # (networks, 2)
        axes.plot(*points.T, marker, color=color, markersize=7, label=kind)
        for name, point in zip(networks, points, strict=True):
            beside = (7 if side == "left" else -7, 0)
            axes.annotate(name, point, beside, textcoords="offset points", ha=side, va="center", fontsize=8.5)
    for draw, percent in ((axes.axvline, 100 * chance[0]), (axes.axhline, 100 * chance[1])):
        draw(percent, color=GREY, linewidth=1, linestyle=":")
    axes.set_xlabel("person told right, % (dotted: chance)")
    axes.set_ylabel("expression told right, %")
    axes.set_xlim(-4, 119)  # room for the names
    axes.set_ylim(0, 85)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)


def regions(axes: Axes, frame: ArrayLike, shares: ArrayLike, *, color: str, title: str = "") -> None:
    """Which regions of a face excite a channel: the face in grey, under squares of one colour.

    Args:
        axes: where to draw.
        frame: uint8, (height, width, 3).
        shares: (rows, columns), as `eifn.probe.exciting_regions` gives them: 1 is the full colour, 0 and
            below leave the face as it is.
        color: of a share of 1.
        title: above the face.
    """
    grey = np.asarray(frame).mean(2)
    axes.imshow(grey, cmap="gray", vmin=0, vmax=255)
    height, width = grey.shape
    veil = np.zeros((*np.shape(shares), 4))
    veil[..., :3] = to_rgb(color)
    veil[..., 3] = 0.85 * np.clip(shares, 0, 1)
    axes.imshow(veil, extent=(-0.5, width - 0.5, height - 0.5, -0.5), interpolation="nearest")
    axes.set_title(title)
    axes.set_axis_off()


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
