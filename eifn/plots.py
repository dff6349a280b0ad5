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


def face(axes: Axes, frame: ArrayLike, *, title: str = "", marks: ArrayLike = ()) -> None:
    """One face, without axes.

    Args:
        axes: where to draw.
        frame: uint8, (H, W, 3).
        title: above it.
        marks: (x, y) of places to mark by a cross, in pixels with centers at integers, (N, 2).
    """
    axes.imshow(np.asarray(frame))
    axes.set_title(title, fontsize="small")
    axes.set_axis_off()
    for x, y in marks:
        axes.plot(x, y, "+", color=CENTERS, markersize=12, markeredgewidth=1.6)


def splits(axes: Axes, tested: Mapping[str, ArrayLike], people: Sequence[str], sequences: ArrayLike) -> None:
    """Which frames a fold tests, under some ways of splitting: a row for each way, a square for each frame.

    Args:
        axes: where to draw.
        tested: name of the split -> whether each frame is tested, (N,).
        people: who is in each frame, (N,); frames of one person stand together.
        sequences: which sequence each frame is of, (N,); a narrow gap follows each, a wide one each person.

    Raises:
        ValueError: not as many frames everywhere.
    """
    people, sequences = np.asarray(people), np.asarray(sequences)
    new_person = people[1:] != people[:-1]
    gaps = np.where(new_person, 1.6, np.where(sequences[1:] != sequences[:-1], 0.4, 0))
    x = np.arange(len(people)) + np.concatenate([[0], np.cumsum(gaps)])
    for row, (name, test) in enumerate(tested.items()):
        test = np.asarray(test, dtype=bool)
        if len(test) != len(x):
            raise ValueError(f"{name}: {len(test)} frames instead of {len(x)}")
        y = np.full(len(x), row)
        axes.scatter(x[~test], y[~test], 24, marker="s", facecolor="white", edgecolor=GREY, linewidth=0.8)
        axes.scatter(x[test], y[test], 24, marker="s", color="black")
    axes.set_yticks(range(len(tested)), list(tested))
    axes.set_ylim(len(tested) - 0.4, -0.6)
    middles = {who: x[people == who].mean() for who in dict.fromkeys(people.tolist())}
    axes.set_xticks(list(middles.values()), list(middles))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


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
