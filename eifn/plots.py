"""The book's figures: one colour for one idea, always with a second cue, drawn on axes that the caller makes.

Book: every chapter with a figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.transforms import Bbox
from numpy.typing import ArrayLike

IDENTITY = "#0072B2"
EXPRESSION = "#D55E00"
FUSION = "#CC79A7"
CENTERS = "#009E73"
GREY = "#6E6E6E"
"""The Okabe-Ito colours of the book's ideas, and a neutral one; all but FUSION are dark enough for text."""

LINES = ("o-", "s--", "^:", "D-.")
"""Marker and dash of the first, second, ... line of a figure: the cue besides colour."""

SHAPES = "os^DPv*h"
"""Marker of the first, second, ... class of a figure: the order of the center loss playground."""


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


def face(
    axes: Axes, frame: ArrayLike, *, title: str = "", color: str = "black", marks: ArrayLike = ()
) -> None:
    """One face, pixel by pixel.

    Args:
        axes: where to draw.
        frame: uint8, (H, W, 3).
        title: above the face.
        color: of the title.
        marks: (x, y) of places to mark by a cross, in pixels with centers at integers, (N, 2).
    """
    axes.imshow(np.asarray(frame), interpolation="nearest")
    axes.set_title(title, color=color, fontsize="small")
    axes.axis("off")
    for x, y in marks:
        axes.plot(x, y, "+", color=CENTERS, markersize=12, markeredgewidth=1.6)


def spread(axes: Axes, samples: Mapping[str, ArrayLike], *, colors: Sequence[str]) -> None:
    """How some samples of a quantity above 0 are spread: the share of each that lies below a value.

    Args:
        axes: where to draw.
        samples: name -> values, in any order; at most four.
        colors: one for each.

    Raises:
        ValueError: more samples than colours, or than there are line styles.
    """
    for (name, values), color, line in zip(samples.items(), colors, LINES[: len(samples)], strict=True):
        values = np.sort(np.ravel(values))
        share = 100 * np.arange(1, values.size + 1) / values.size
        marks = [round(values.size * part) - 1 for part in (0.25, 0.5, 0.75)]
        axes.semilogx(values, share, line, color=color, label=name, markevery=marks)
    axes.set_ylabel("% that are smaller")
    axes.legend()


def lifetimes(
    axes: Axes, parts: Mapping[str, tuple[str, bool]], *, epochs: Sequence[int], titles: Sequence[str]
) -> None:
    """What lives how long in a training of several stages: a bar for each part, broken where it starts anew.

    Args:
        axes: where to draw.
        parts: name -> colour, and whether the part is kept from one stage to the next; the first on top.
        epochs: how long each stage is.
        titles: of each stage, above the bars.

    Raises:
        ValueError: not as many titles as stages.
    """
    edges = np.concatenate([[0], np.cumsum(epochs)])  # (stages + 1,)
    gap = edges[-1] / 160
    for row, (color, kept) in enumerate(parts.values()):
        if kept:
            axes.barh(row, edges[-1], color=color, height=0.6)
            continue
        for stage, (start, length) in enumerate(zip(edges, epochs, strict=False)):
            new = stage > 0
            left = start + gap * new
            axes.barh(
                row, length - gap * new, left=left, color=color, height=0.6, hatch="//" * new, ec="white"
            )
            if new:
                label = dict(boxstyle="round,pad=0.15", fc="white", ec="none")
                axes.text(left + 2 * gap, row, "new", va="center", fontsize=8, bbox=label)
    for title, start, length in zip(titles, edges[:-1], epochs, strict=True):
        axes.text(start + length / 2, -0.7, title, ha="center", va="bottom", fontsize=9)
        axes.axvline(start, color=GREY, linewidth=0.8, linestyle=":")
    axes.set_xlim(0, edges[-1])
    axes.set_yticks(range(len(parts)), parts)
    axes.set_ylim(len(parts) - 0.4, -0.6)
    axes.tick_params(length=0)


def training_curves(axes: Axes, runs: Mapping[str, ArrayLike], *, colors: Sequence[str]) -> None:
    """What training was like, epoch by epoch: each fold as a thin line, their mean as a thick one.

    Args:
        axes: where to draw.
        runs: name -> (folds, epochs), a loss or an accuracy; at most four.
        colors: one for each.

    Raises:
        ValueError: more runs than colours, or than there are line styles.
    """
    for (name, folds), color, line in zip(runs.items(), colors, LINES[: len(runs)], strict=True):
        folds = np.asarray(folds)
        epochs = np.arange(1, folds.shape[1] + 1)
        axes.plot(epochs, folds.T, color=color, linewidth=0.5, alpha=0.35)
        axes.plot(epochs, folds.mean(0), line, color=color, label=name, markevery=5, markersize=4)
    axes.set_xlabel("epoch")


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


def along_dial(
    axes: Axes,
    dial: ArrayLike,
    estimates: Mapping[str, Sequence[tuple[float, tuple[float, float]]]],
    *,
    colors: Sequence[str],
) -> None:
    """Fractions of 1 with their intervals at each position of a dial, in percent, one line a name.

    Args:
        axes: where to draw.
        dial: (positions,).
        estimates: name -> at each position, an estimate and its interval; at most four names.
        colors: one for each name.

    Raises:
        ValueError: more names than colours, or than there are line styles, or not one estimate a position.
    """
    dial = np.asarray(dial, np.float64)
    apart = 0.012 * np.ptp(dial)  # so that bars do not hide one another
    lines = zip(estimates.items(), colors, LINES[: len(estimates)], strict=True)
    for number, ((name, found), color, line) in enumerate(lines):
        if len(found) != len(dial):
            raise ValueError(f"{name}: {len(dial)} positions, and {len(found)} estimates")
        middle = 100 * np.array([estimate for estimate, _ in found])
        low, high = 100 * np.array([interval for _, interval in found]).T
        place = dial + apart * (2 * number - len(estimates) + 1)
        reach = [middle - low, high - middle]
        axes.errorbar(place, middle, reach, fmt=line, color=color, capsize=3, label=name)
    axes.set_xticks(dial, [f"{position:g}" for position in dial])


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
        "identity map": (IDENTITY, "o"),
        "expression map": (EXPRESSION, "s"),
        "fused vector": (FUSION, "^"),
        "yardstick": (GREY, "D"),
    }
    named: list[tuple[str, np.ndarray]] = []
    for kind, networks in accuracies.items():
        color, marker = looks[kind]
        points = 100 * np.array(list(networks.values()))  # (networks, 2)
        axes.plot(*points.T, marker, color=color, markersize=7, label=kind)
        named += zip(networks, points, strict=True)
    for draw, percent in ((axes.axvline, 100 * chance[0]), (axes.axhline, 100 * chance[1])):
        draw(percent, color=GREY, linewidth=1, linestyle=":")
    axes.set_xlabel("person told right, % (dotted: chance)")
    axes.set_ylabel("expression told right, %")
    axes.set_xlim(-4, 119)  # room for the names
    axes.set_ylim(0, 85)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)
    _name_points(axes, named)


def _name_points(axes: Axes, named: Sequence[tuple[str, np.ndarray]]) -> None:
    """Write the name beside each point, on the first of four sides where it covers least of the others."""
    half = 4.5 * axes.figure.dpi / 72  # of a marker, in pixels
    places = axes.transData.transform([point for _, point in named])
    taken = [Bbox([place - half, place + half]) for place in places]
    sides = (((7, 0), "left", "center"), ((-7, 0), "right", "center"))
    sides += (((0, 7), "center", "bottom"), ((0, -7), "center", "top"))
    for name, point in named:
        texts = [
            axes.annotate(name, point, beside, textcoords="offset points", ha=ha, va=va, fontsize=8.5)
            for beside, ha, va in sides
        ]
        covered = [text.get_window_extent().count_overlaps(taken) for text in texts]
        taken.append(texts.pop(int(np.argmin(covered))).get_window_extent())
        for text in texts:
            text.remove()


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


def embeddings(
    axes: Axes, points: ArrayLike, labels: ArrayLike, centers: ArrayLike, *, seen: ArrayLike, extent: float
) -> None:
    """Embeddings in a plane, one shape for each class, and rings at the centers of the classes.

    Args:
        axes: where to draw.
        points: (N, 2).
        labels: integers (N,), the class of each point.
        centers: (K, 2); at most eight classes.
        seen: bool (N,): filled, as a point that was trained on; the others are outlined.
        extent: the plane is shown from `-extent` to `extent`.

    Raises:
        ValueError: not of these shapes, or more classes than shapes.
    """
    points, labels, centers, seen = map(np.asarray, (points, labels, centers, seen))
    if points.shape != (len(labels), 2) or centers.shape[1:] != (2,) or len(centers) > len(SHAPES):
        raise ValueError(
            f"points (N, 2) and at most {len(SHAPES)} centers (K, 2) are needed; "
            f"got {points.shape} with {len(labels)} labels, and {centers.shape}"
        )
    for label, shape in zip(range(len(centers)), SHAPES, strict=False):
        for which, face in ((seen, IDENTITY), (~seen, "none")):
            mine = points[(labels == label) & which]
            axes.scatter(*mine.T, s=28, marker=shape, facecolor=face, edgecolor=IDENTITY, linewidth=0.8)
    axes.scatter(*centers.T, s=150, facecolor="none", edgecolor=CENTERS, linewidth=1.5, zorder=3)
    axes.set(xlim=(-extent, extent), ylim=(-extent, extent), aspect="equal")


def center_step(axes: Axes, points: ArrayLike, before: ArrayLike, after: ArrayLike) -> None:
    """One step of a center towards the points of its class in a plane, and their mean.

    Args:
        axes: where to draw.
        points: (n, 2), the points of the class in the batch.
        before: (2,), the center before the step.
        after: (2,), the center after it.
    """
    points, before, after = map(np.asarray, (points, before, after))
    middle = points.mean(0)
    axes.plot(*np.stack([before, middle]).T, ":", color=GREY, zorder=0)
    axes.annotate("", after, before, arrowprops={"arrowstyle": "->", "color": CENTERS, "linewidth": 2})
    axes.scatter(*points.T, s=40, marker="s", color=IDENTITY, label="embeddings")
    axes.scatter(*middle, s=60, marker="+", color=GREY, label="their mean")
    axes.scatter(*before, s=90, facecolor="white", edgecolor=CENTERS, linewidth=1.5, label="center before")
    axes.scatter(*after, s=90, color=CENTERS, label="center after")
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


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
