"""Confusion matrices side by side: the paper's Tables 3 and 4, recorded runs, and the faces behind a cell.

Book: chapter 9, *Confusion matrices*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import traitlets

from eifn.database import SIZE, FaceDatabase
from eifn.paper import CK_PLUS, CODES, OULU_CASIA, Evaluation
from eifn.results import Level, answers, confusion_matrix, expressions_of
from eifn.widgets.host import Checked, HostedWidget, encode, module

TABLES = {"Table 3: EIFN on CK+": CK_PLUS, "Table 4: EIFN on Oulu-CASIA": OULU_CASIA}
"""The paper's matrices, by title; they are always there."""

THUMBNAIL = 32
"""Height and width of an embedded face in pixels."""

FACES_PER_CELL = 4
"""The surest answers of a cell; fewer where the page could not carry so many."""

LIMIT = 320_000
"""Characters of embedded data; with the module, a page then carries less than 400 kB."""

MEASURES = ("percent", "count")


class ConfusionExplorer(HostedWidget):
    """Two confusion matrices, their difference, and the faces and probabilities behind each cell.

    Faces are embedded in grey at 32 x 32, those of the surest answers of a cell. They end up in the page and
    in the saved notebook, so only a database that may be passed on has its faces shown.

    Args:
        runs: title -> predictions, as `eifn.results.read_predictions` gives them.
        faces: databases with the faces of some runs.
        level: what is counted in the runs: sequences, shown by their last frame and their mean
            probabilities, or frames.
        settings: any of the traits below.

    Each of these is a trait: assign to it, or `observe` what the reader does.

    Attributes:
        left, right: the titles of the two matrices, keys of `TABLES` or of `runs`; at the start Table 3 and
            the first run.
        measure: `"percent"` of the truth (of each row), or `"count"`.
        difference: show left less right instead of both.
        cell: (truth, answer), the cell that is looked at; at the start the most frequent mistake on the
            right.

    Raises:
        ValueError: a run with the title of a table; faces that may not be passed on, or that belong to no
            run; faces whose expression is not the truth of the run; more than a page can carry; a trait
            outside what is listed here. It names the argument or the trait.
        ResultsError: malformed predictions.
    """

    _esm = module("confusion_explorer.js")

    data = traitlets.Dict(read_only=True).tag(sync=True)
    left = Checked().tag(sync=True)
    right = Checked().tag(sync=True)
    measure = Checked(MEASURES[0]).tag(sync=True)
    difference = Checked(False).tag(sync=True)
    cell = Checked().tag(sync=True)

    def __init__(
        self,
        runs: Mapping[str, pd.DataFrame],
        faces: Sequence[FaceDatabase] = (),
        *,
        level: Level = "sequence",
        **settings: Any,
    ) -> None:
        taken = [title for title in runs if title in TABLES]
        if taken:
            raise ValueError(f"runs: {taken[0]!r} is a table of the paper; choose another title")
        # Tables of ten folds laid together count from 0 in each.
        runs = {title: predictions.reset_index(drop=True) for title, predictions in runs.items()}
        _refuse_faces(faces, runs)
        matrices = [_of_paper(title, evaluation) for title, evaluation in TABLES.items()]
        matrices += [_of_run(title, predictions, level) for title, predictions in runs.items()]
        self._titles = [matrix["title"] for matrix in matrices]
        self._expressions = sorted({name for matrix in matrices for name in matrix["expressions"]})
        self.set_trait("data", _embed(matrices, runs, faces, level))
        right = matrices[len(TABLES) if runs else 1]
        start = {"left": matrices[0]["title"], "right": right["title"], "cell": _most_frequent_mistake(right)}
        super().__init__(**start | settings)

    @traitlets.validate("left", "right")
    def _check_title(self, proposal: dict[str, Any]) -> str:
        return _one_of(proposal, self._titles)

    @traitlets.validate("measure")
    def _check_measure(self, proposal: dict[str, Any]) -> str:
        return _one_of(proposal, MEASURES)

    @traitlets.validate("difference")
    def _check_difference(self, proposal: dict[str, Any]) -> bool:
        return _one_of(proposal, (False, True))

    @traitlets.validate("cell")
    def _check_cell(self, proposal: dict[str, Any]) -> list[str]:
        cell = proposal["value"]
        pair = isinstance(cell, (list, tuple)) and len(cell) == 2
        if not pair or not all(name in self._expressions for name in cell):
            known = ", ".join(self._expressions)
            raise ValueError(f"cell: a pair (truth, answer) of {known} is needed; got {cell!r}")
        return list(cell)


def _one_of(proposal: dict[str, Any], known: Sequence[Any]) -> Any:
    name, value = proposal["trait"].name, proposal["value"]
    if not any(value is one or (isinstance(value, str) and value == one) for one in known):
        raise ValueError(f"{name}: one of {', '.join(map(repr, known))} is needed; got {value!r}")
    return value


def _of_paper(title: str, evaluation: Evaluation) -> dict[str, Any]:
    return {
        "title": title,
        "unit": evaluation.counted_in,
        "expressions": list(evaluation.expressions),
        "counts": [list(row) for row in evaluation.counts],
        "printed": [list(row) for row in evaluation.confusion],  # a row of it does not round as we would
        "faces": f"Faces of {evaluation.name} may not be passed on, so none are shown.",
        "cells": {},
    }


def _of_run(title: str, predictions: pd.DataFrame, level: Level) -> dict[str, Any]:
    return {
        "title": title,
        "unit": f"{level}s",
        "expressions": list(expressions_of(predictions)),
        "counts": confusion_matrix(predictions, level).tolist(),
        "faces": "No faces were given for this run.",
        "cells": {},
    }


def _most_frequent_mistake(matrix: dict[str, Any]) -> list[str]:
    counts = np.array(matrix["counts"])
    np.fill_diagonal(counts, -1)
    truth, answer = np.unravel_index(counts.argmax(), counts.shape)
    return [matrix["expressions"][truth], matrix["expressions"][answer]]


def _refuse_faces(faces: Sequence[FaceDatabase], runs: Mapping[str, pd.DataFrame]) -> None:
    for database in faces:
        # Whatever is embedded is passed on with every copy of the page or the notebook.
        if not database.licence.startswith("CC"):
            raise ValueError(
                f"faces: those of {database.name} may not be passed on ({database.licence}), "
                "and a widget is saved with its notebook; leave them out"
            )
        if not any(_rows(predictions, database) is not None for predictions in runs.values()):
            raise ValueError(f"faces: no run was made on the frames of {database.name}; leave it out")


def _rows(predictions: pd.DataFrame, database: FaceDatabase) -> np.ndarray | None:
    """Where the frames of a run are in a database, (N,); None where some are not in it."""
    keys = ["subject", "sequence", "position"]
    places = pd.MultiIndex.from_frame(database.table[keys])
    rows = places.get_indexer(pd.MultiIndex.from_frame(predictions[keys]))
    if (rows < 0).any():
        return None
    odd = np.flatnonzero(database.table["expression"].to_numpy()[rows] != predictions["truth"].to_numpy())
    if odd.size:
        subject, sequence, truth = predictions.loc[odd[0], ["subject", "sequence", "truth"]]
        raise ValueError(
            f"faces: sequence {sequence} of subject {subject} is {truth} in a run and something else in "
            f"{database.name}; give the database that the run was made on"
        )
    return rows


def _embed(
    matrices: list[dict[str, Any]],
    runs: Mapping[str, pd.DataFrame],
    faces: Sequence[FaceDatabase],
    level: Level,
) -> dict[str, Any]:
    """The trait `data`: all matrices, and the faces of their cells, each face once."""
    listed = []
    for matrix in matrices[len(TABLES) :]:
        predictions = runs[matrix["title"]]
        for database in faces:
            rows = _rows(predictions, database)
            if rows is not None:
                listed.append((matrix, database, _answered(predictions, rows, level)))
                matrix["faces"] = f"Faces: {database.name}, {database.licence}. {database.citation}"
                break
    for per_cell in range(FACES_PER_CELL, 0, -1):
        places: dict[tuple[str, int], int] = {}  # (database, row) -> which of the thumbnails
        thumbnails, size = [], 0
        for matrix, database, answered in listed:
            surest = answered.groupby(["truth", "answer"], sort=False).head(per_cell)
            matrix["cells"] = {}
            for one in surest.itertuples():
                key = (database.name, one.row)
                if key not in places:
                    places[key] = len(thumbnails)
                    thumbnails.append(_thumbnail(database.frames[one.row]))
                entry = [places[key], f"subject {one.subject}, sequence {one.sequence}"]
                entry += [round(float(p), 3) for p in one.probabilities]
                matrix["cells"].setdefault(f"{one.truth} {one.answer}", []).append(entry)
                size += 40 + 7 * len(one.probabilities)
        if size + len(thumbnails) * THUMBNAIL**2 * 4 / 3 < LIMIT:
            break
    else:
        raise ValueError(f"runs: the faces of {len(listed)} runs are more than a page can carry; give fewer")
    return {
        "matrices": matrices,
        "codes": dict(CODES) | {"neutral": "Ne"},
        "pixels": encode(np.array(thumbnails, np.uint8)),
        "side": THUMBNAIL,
        "shown": "last frame" if level == "sequence" else "frame",
    }


def _answered(predictions: pd.DataFrame, rows: np.ndarray, level: Level) -> pd.DataFrame:
    """Each frame or sequence: its answer, its probabilities, the row of its (last) frame; surest first."""
    names = [f"p_{expression}" for expression in expressions_of(predictions)]
    table = predictions.assign(row=rows)
    answered = answers(predictions, level)
    if level == "sequence":
        groups = table.astype(dict.fromkeys(names, np.float64)).groupby(["subject", "sequence"], sort=False)
        probabilities = groups[names].mean().to_numpy()
        row = table.loc[groups["position"].idxmin(), "row"].to_numpy()
    else:
        probabilities, row = table[names].to_numpy(np.float64), rows
    answered = answered.assign(row=row, probabilities=list(probabilities), sure=probabilities.max(1))
    return answered.sort_values(["sure", "subject", "sequence"], ascending=[False, True, True], kind="stable")


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    """A frame, (64, 64, 3), in grey at half its size."""
    step = SIZE // THUMBNAIL
    grey = frame @ np.array([0.299, 0.587, 0.114])
    return np.round(grey.reshape(THUMBNAIL, step, THUMBNAIL, step).mean((1, 3))).astype(np.uint8)
