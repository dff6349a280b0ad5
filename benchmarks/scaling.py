"""How do speed and memory grow with batch size, width, identities and workers?

    python -m benchmarks.scaling [--preset laptop] [--precision P] [--batch N ...] [--width W ...]
        [--identities K ...] [--workers N ...] [--images N] [--steps N] [--rounds N] [--json]

A training is measured with one of batch size, width and number of identities changed at a time, and the rest
as the preset has it, with 118 people (CK+). Its memory is that of all that it needs: network, gradients,
momentum, images, activations. Then a small cross-validation, of ten folds and three epochs, is carried out by
one worker process, which has all threads, and by several, which share them. The ratio is images a second,
most workers to fewest.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

from benchmarks import measure
from eifn import paper
from eifn.training import PRESETS, Epoch, Preset, Trainer


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print a table or one JSON object."""
    parser = measure.options_of(__doc__)
    parser.add_argument("--preset", choices=PRESETS, default="laptop", help="default: %(default)s")
    measure.add_precision(parser)
    parser.add_argument(
        "--batch", type=measure.positive, nargs="+", default=[25, 50, 100, 200, 400], metavar="N"
    )
    parser.add_argument(
        "--width", type=width_of, nargs="+", default=[1 / 8, 1 / 4, 1 / 2, 1], metavar="W", help="e.g. 1/8"
    )
    parser.add_argument(
        "--identities", type=measure.positive, nargs="+", default=[10, 118, 1000, 10000], metavar="K"
    )
    parser.add_argument(
        "--workers",
        type=measure.positive,
        nargs="+",
        default=list(doubling(min(os.cpu_count(), 8))),
        metavar="N",
        help="default: %(default)s",
    )
    parser.add_argument(
        "--images",
        type=measure.positive,
        default=200,
        metavar="N",
        help=f"of the cross-validation, {paper.FOLDS} or more (default: %(default)s)",
    )
    parser.add_argument(
        "--steps",
        type=measure.positive,
        metavar="N",
        help="an epoch of a training (default: 2; 1 from half the width on a CPU)",
    )
    parser.add_argument(
        "--rounds", type=measure.positive, metavar="N", help="default: 5; 2 from half the width on a CPU"
    )
    options = parser.parse_args(arguments)
    if options.images < paper.FOLDS:
        parser.error(f"--images: {options.images} do not make {paper.FOLDS} folds")
    recipe = measure.preset_for(options.preset, options)
    trainer = Trainer(measure.fabric_for(options.accelerator, recipe.precision))
    device = trainer.fabric.device

    points = [("batch size", n, replace(recipe, batch_size=n), paper.CK_PLUS.subjects) for n in options.batch]
    points += [("width", w, replace(recipe, width=w), paper.CK_PLUS.subjects) for w in options.width]
    points += [("identities", k, recipe, k) for k in options.identities]
    rows = [
        {"what": what, "value": value}
        | time_training(trainer, changed, identities, options.steps, options.rounds)
        for what, value, changed, identities in points
    ]
    with contextlib.ExitStack() as stack:
        validations = {
            n: stack.enter_context(measure.cross_validation(recipe, options.images, n, options.accelerator))
            for n in options.workers
        }
        times = measure.in_turns(
            {n: carry_out for n, (carry_out, _) in validations.items()},
            rounds=options.rounds or 3,
            device=device,
        )
    speeds = {n: shown / times[n] for n, (_, shown) in validations.items()}
    rows += [
        {"what": "workers", "value": n, **measure.spread(speed, "images/s")} for n, speed in speeds.items()
    ]
    fewest, most = min(speeds), max(speeds)
    ratio = measure.spread(speeds[most] / speeds[fewest], "ratio")
    measure.print_result(
        "How do speed and memory grow with batch size, width, identities and workers?",
        rows,
        ratio=ratio["ratio"],
        ratio_of=f"images a second of a cross-validation, {most} workers to {fewest} (IQR {ratio['IQR']}), "
        f"preset {options.preset}, {recipe.precision}",
        notes=[
            f"where not said otherwise: batch {recipe.batch_size}, width {recipe.width:g}, "
            f"{paper.CK_PLUS.subjects} identities",
            "peak MB: all tensors of a training, from its start to the end of its second step",
        ],
        device=device,
        as_json=options.json,
    )


def width_of(text: str) -> float:
    """The type of an option for a width, as a number or a fraction."""
    try:
        width = Fraction(text)
    except (ValueError, ZeroDivisionError):
        width = Fraction(0)
    if width <= 0 or (64 * width).denominator != 1:
        raise argparse.ArgumentTypeError(f"{text} does not make 64 x width a whole number")
    return float(width)


def doubling(most: int) -> Iterator[int]:
    """1, 2, 4 and so on, and the most."""
    number = 1
    while number < most:
        yield number
        number *= 2
    yield most


def time_training(
    trainer: Trainer, recipe: Preset, identities: int, steps: int | None, rounds: int | None
) -> dict[str, Any]:
    """Columns of a row: images a second of `Trainer.fit`, and the memory that two steps of it take."""
    device = trainer.fabric.device
    slow = device.type == "cpu" and recipe.width >= 1 / 2
    images = recipe.batch_size * (steps or (1 if slow else 2))
    like = replace(paper.CK_PLUS, subjects=identities)

    def fit(images: int, epochs: int, after_epoch: Callable[[Epoch], None]) -> None:
        faces = measure.random_faces(images, like)
        measure.fit(trainer, faces, recipe, epochs, after_epoch, identities=identities)

    (seconds,) = measure.epochs_in_turns(
        partial(fit, images), rounds=rounds or (2 if slow else 5), device=device
    )
    peak = measure.peak_megabytes(partial(fit, recipe.batch_size, 2, lambda epoch: None), device)
    return measure.spread(images / seconds, "images/s") | {"peak MB": float(f"{peak:.3g}")}


if __name__ == "__main__":
    main()
