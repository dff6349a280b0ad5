"""Do other trainings look the same inside?

    python -m benchmarks.inside [MODEL ...] [--json]

Asks trained networks what chapter 10 asks of the three that come with the package, which are the default:
how many answers are right, and whose expression they tell, when identity maps are swapped; and what a linear
probe reads in each map. The faces are forty drawn people whom no network of this book was trained on, at the
peaks of seven expressions. Six donors are tried for each face. All percentages are of those 280 faces.

The ratio is right answers with the identity map of a stranger of the same expression to those with the face's
own, over all models: below 1, identity maps are worth something for whose they are. A model takes seconds.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import measure
from data_prep.synthetic.twins import TWINS, draw_sequence
from eifn.extractor import WeightsError
from eifn.probe import TRAINED, Fusion, linear_probe, probe
from eifn.training import load_model

TWIN = TWINS["synth-ck"]
EXPRESSIONS = len(TWIN.sequences)
PEOPLE = range(201, 241)
"""Numbers of its generator that are in neither twin nor in what the extractors start from."""
DONORS = 6
"""Of each kind for each face: all other expressions, or as many other people."""


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print a table or one JSON object."""
    parser = measure.options_of(__doc__)
    parser.add_argument("models", nargs="*", type=Path, default=[*TRAINED.values()], metavar="MODEL")
    options = parser.parse_args(arguments)
    if options.accelerator == "cuda":
        parser.error("--accelerator cuda: a probe computes in float64, on the CPU")
    try:
        models = {path: load_model(path) for path in options.models}
    except WeightsError as error:
        parser.error(str(error))
    for path, model in models.items():
        told = model.expression_classifier.out_features
        if told != EXPRESSIONS:
            parser.error(
                f"{path}: tells {told} expressions, these faces show {EXPRESSIONS}; take a model of synth-ck"
            )

    frames = np.concatenate(
        [draw_sequence(TWIN, number, name, last=1) for number in PEOPLE for name in TWIN.sequences]
    )
    rows = [{"model": path.stem} | look(probe(model, frames)) for path, model in models.items()]
    with_own, with_a_stranger = (sum(row[name] for row in rows) for name in ("right, %", "stranger, %"))
    measure.print_result(
        "Do other trainings look the same inside?",
        rows,
        ratio=with_a_stranger / with_own,
        ratio_of="right answers with the identity map of a stranger of the same expression to with one's own",
        notes=[
            "stranger: right with the identity map of another person of the same expression",
            "mean map: right with the mean identity map of all faces",
            "swapped: answers with the identity map of another person of another expression",
            "id, exp: what a linear probe tells from the identity map, and from the expression map",
        ],
        device=torch.device("cpu"),
        as_json=options.json,
    )


def look(fusion: Fusion) -> dict[str, Any]:
    """What becomes of the answers to the faces of `PEOPLE`, and what the maps hold."""
    who, what = np.divmod(np.arange(len(PEOPLE) * EXPRESSIONS), EXPRESSIONS)
    face, step = np.divmod(np.arange(len(what) * DONORS), DONORS)
    stranger = (who[face] + 1 + step) % len(PEOPLE)
    other = (what[face] + 1 + step) % EXPRESSIONS

    def answers_with(donor: np.ndarray) -> np.ndarray:
        return fusion.swap_identity(face.tolist(), donor.tolist()).logits.argmax(1).numpy()

    own = fusion.logits.argmax(1).numpy() == what
    alike = answers_with(EXPRESSIONS * stranger + what[face]) == what[face]
    swapped = answers_with(EXPRESSIONS * stranger + other)
    mean_map = fusion.identity_map.mean(0, keepdim=True).expand_as(fusion.identity_map)
    with_mean_map = dataclasses.replace(fusion, identity_map=mean_map).logits.argmax(1).numpy() == what
    row = {
        "right, %": _percent(own),
        "stranger, %": _percent(alike),
        "mean map, %": _percent(with_mean_map),
        "swapped: face's, %": _percent(swapped == what[face]),
        "swapped: donor's, %": _percent(swapped == other),
    }
    for name, values in (("id", fusion.identity_map), ("exp", fusion.expression_map)):
        row[f"{name}: person, %"] = _percent(linear_probe(values, who, what))
        row[f"{name}: expression, %"] = _percent(linear_probe(values, what, who % 10))
    of_a_person = 100 * own.reshape(len(PEOPLE), EXPRESSIONS).mean(1)
    return row | measure.spread(of_a_person, "right of a person, %")


def _percent(right: np.ndarray) -> float:
    return round(100 * float(right.mean()), 1)


if __name__ == "__main__":
    main()
