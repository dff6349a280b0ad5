"""Recorded runs beside the paper's tables, each cell with how it was obtained.

What `eifn.crossval` left is gathered into groups, a group being the runs in one `<preset>/<database>` folder
whose settings are alike but for variant and seed. `report` derives everything as plain data, fit for JSON:

- `runs`, a list: each run with its accuracies, confusion matrices and where, when and how it was made;
- `groups`, a list: Table 1 or 2 and 3 or 4 of the paper where it has a counterpart, the mean over the seeds,
  the paired comparisons, the confusion of each variant, and how flat the training loss and
  accuracy had become.

`render` is the same as text. Accuracies are fractions of 1 in the data, except for the paper's own, which are
percent as printed; the text is in percent throughout.

Book: chapter 9, *Confusion matrices*, and chapter 13, *Reading critically*.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eifn.crossval import read_fold, read_provenance
from eifn.network import Variant
from eifn.paper import CK_PLUS, CODES, OULU_CASIA, Evaluation
from eifn.results import (
    ResultsError,
    average,
    compare,
    confusion_matrix,
    expressions_of,
    holm,
    summarize,
)

TITLES = {Variant.EFN: "EFN", Variant.EIFN_STAR: "EIFN*", Variant.EIFN: "EIFN"}
"""The names of the variants in print, in the order of the paper's tables."""

COMPARISONS = (
    (Variant.EIFN, Variant.EFN),
    (Variant.EIFN_STAR, Variant.EFN),
    (Variant.EIFN, Variant.EIFN_STAR),
)
"""Which variant is compared with which: first less second."""

PAPER: dict[str, tuple[Evaluation, int, int]] = {
    "ck-plus": (CK_PLUS, 1, 3),
    "synth-ck": (CK_PLUS, 1, 3),
    "oulu-casia": (OULU_CASIA, 2, 4),
    "synth-oulu": (OULU_CASIA, 2, 4),
}
"""The paper's counterpart of a prepared database, with its tables of accuracies and of confusion."""

LAST_EPOCHS = 5
"""How many epochs at the end of the training are set beside as many before them."""

WIDTH = 118
"""Characters in a line of text."""

APART = ("variant", "seed", "fold", "code", "eifn")
"""Settings in which the runs of one group may differ."""


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """What one run has left so far."""

    folder: Path
    settings: dict[str, Any]
    """Those of its folds, which differ in nothing but their number."""
    made: list[dict[str, Any]]
    """Of each fold: when, where, how long, and with which versions."""
    predictions: pd.DataFrame
    histories: list[pd.DataFrame]
    """Of each fold: a row an epoch of its training."""

    @property
    def variant(self) -> Variant:
        """Which network was trained."""
        return Variant(self.settings["variant"])

    @property
    def seed(self) -> int:
        """Where its random numbers start."""
        return self.settings["seed"]

    @property
    def of(self) -> int:
        """How many folds a finished run has."""
        return self.settings["folds"]["of"]

    @property
    def finished(self) -> bool:
        """Whether all folds are there."""
        return len(self.made) == self.of


def find_runs(folder: Path) -> list[Path]:
    """The folders of all runs in a folder that have a finished fold.

    Raises:
        ResultsError: there is no such folder, or no finished fold in it.
    """
    if not folder.is_dir():
        raise ResultsError(f"{folder}: no such folder; `eifn crossval` writes one")
    folders = sorted({file.parent.parent for file in folder.rglob("fold-*/provenance.json")})
    if not folders:
        raise ResultsError(f"{folder}: no finished folds in it; `eifn crossval` makes them")
    return folders


def read_run(folder: Path) -> RecordedRun:
    """Read the finished folds of a run.

    Raises:
        RunError: a fold is damaged.
        ResultsError: no finished fold, impossible predictions, or folds made with different settings.
    """
    settings, made, tables, histories = [], [], [], []
    for fold in sorted(file.parent for file in folder.glob("fold-*/provenance.json")):
        about, predictions = read_fold(fold)
        settings.append(about | {"folds": {k: v for k, v in about["folds"].items() if k != "fold"}})
        if settings[-1] != settings[0]:
            raise ResultsError(
                f"{fold}: made with other settings than the folds beside it "
                f"({_difference(settings[-1], settings[0])}); remove it and run the cross-validation again"
            )
        made.append(read_provenance(fold)["made"])
        tables.append(predictions)
        histories.append(pd.read_csv(fold / "history.csv"))
    if not settings:
        raise ResultsError(
            f"{folder}: no finished fold of a run is there; a run is a folder such as "
            "results/laptop/synth-ck/eifn/seed-0, which `eifn crossval` fills"
        )
    return RecordedRun(
        folder=folder,
        settings=settings[0],
        made=made,
        predictions=pd.concat(tables, ignore_index=True),
        histories=histories,
    )


def report(folders: Iterable[Path]) -> dict[str, Any]:
    """All that the runs in some folders amount to, see the top of this module. What is undefined is None.

    Raises:
        RunError: a fold is damaged.
        ResultsError: impossible predictions, folds made with different settings, or a run that occurs twice.
    """
    runs = [read_run(folder) for folder in folders]
    runs.sort(key=lambda run: (run.folder.parent.parent, list(TITLES).index(run.variant), run.seed))
    groups: dict[tuple[Path, str], list[RecordedRun]] = {}
    for run in runs:
        key = (run.folder.parent.parent, json.dumps(_alike(run.settings), sort_keys=True))
        groups.setdefault(key, []).append(run)
    described = []
    for (folder, _), members in groups.items():
        others = [other for (place, _), other in groups.items() if place == folder and other is not members]
        described.append(_group(members, others))
    return without_nan({"runs": [_run(run) for run in runs], "groups": described})


def _run(run: RecordedRun) -> dict[str, Any]:
    stage_one = run.settings["stage_one"]
    return {
        "folder": run.folder.as_posix(),
        "database": run.settings["database"]["name"],
        "stage_one": stage_one and stage_one["database"]["name"],
        "variant": run.variant.value,
        "seed": run.seed,
        "rule": run.settings["folds"]["rule"],
        "folds": len(run.made),
        "of": run.of,
        "expressions": expressions_of(run.predictions),
        "subjects": run.predictions["subject"].nunique(),
        **{
            level: asdict(summarize(run.predictions, level))
            | {"confusion": confusion_matrix(run.predictions, level).tolist()}
            for level in ("sequence", "frame")
        },
        "eifn": run.settings["eifn"],
        "code": run.settings["code"],
        "made": {
            "started": min(made["started"] for made in run.made),
            "seconds": round(sum(made["seconds"] for made in run.made), 1),
            **{
                name: _distinct(made.get(name) for made in run.made)
                for name in ("command", "commit", "device", "threads", "platform", "versions")
            },
        },
    }


def _group(runs: list[RecordedRun], others: list[list[RecordedRun]]) -> dict[str, Any]:
    """What runs with like settings amount to; others are in the same folder with other settings."""
    first = runs[0]
    seeds: dict[Variant, dict[int, RecordedRun]] = {variant: {} for variant in TITLES}
    for run in runs:
        if run.seed in seeds[run.variant]:
            twin = seeds[run.variant][run.seed].folder
            raise ResultsError(f"{run.folder}: the same variant and seed as {twin}; remove one")
        seeds[run.variant][run.seed] = run
    database, stage_one = first.settings["database"]["name"], first.settings["stage_one"]
    notes = [
        f"{run.folder.as_posix()} has {len(run.made)} of {run.of} folds: it is left out of means and "
        "comparisons; the command that made it goes on with it"
        for run in runs
        if not run.finished
    ]
    if database.endswith("-leak"):  # as `data_prep leak` names its copies
        notes.append(
            "made to leak: every frame claims to show another person, so the folds share people, and no "
            "accuracy here says how well anything works on new ones"
        )
    missing = [TITLES[variant] for variant in TITLES if not seeds[variant]]
    if missing:
        notes.append(f"no run of {' and '.join(missing)} is here to compare with")
    for other in others:
        notes.append(
            f"{other[0].folder.as_posix()} has other settings, so it is shown apart and compared with none "
            f"of these ({_difference(_alike(other[0].settings), _alike(first.settings))})"
        )
    if len({run.settings["code"] for run in runs}) > 1:
        notes.append("the code that decides the outcome was not the same for all of these runs")

    comparisons = []
    for pair in COMPARISONS:
        one, two = ({n: run for n, run in seeds[variant].items() if run.finished} for variant in pair)
        both = sorted(one.keys() & two.keys())
        if one.keys() != two.keys() and one and two:
            notes.append(f"{_minus(pair)} takes the seeds that both have: {_list(both) or 'none'}")
        if both:
            found = compare([one[n].predictions for n in both], [two[n].predictions for n in both])
            comparisons.append(
                {"first": pair[0].value, "second": pair[1].value, "seeds": both, **asdict(found)}
            )
    for entry, p in zip(comparisons, holm([entry["p"] for entry in comparisons]), strict=True):
        entry["holm"] = p

    counted = {
        variant.value: [run.predictions for run in each.values() if run.finished]
        for variant, each in seeds.items()
    }
    return {
        "folder": first.folder.parent.parent.as_posix(),
        "database": database,
        "synthetic": _synthetic(database),
        "stage_one": stage_one and stage_one["database"]["name"],
        "settings": _alike(first.settings),
        "expressions": expressions_of(first.predictions),
        "runs": [run.folder.as_posix() for run in runs],
        "notes": notes,
        "paper": _paper(database),
        "means": {
            variant: {level: asdict(average(tables, level)) for level in ("sequence", "frame")}
            for variant, tables in counted.items()
            if tables
        },
        "comparisons": comparisons,
        "confusion": {
            variant.value: _confusion(list(each.values())) for variant, each in seeds.items() if each
        },
        "training": {
            what: {
                variant.value: _training(list(each.values()), column)
                for variant, each in seeds.items()
                if each
            }
            for what, column in (("loss", "expression"), ("accuracy", "accuracy"))
        },
    }


def _paper(database: str) -> dict[str, Any] | None:
    if database not in PAPER:
        return None
    evaluation, accuracies, confusion = PAPER[database]
    return {
        "database": evaluation.name,
        "accuracy_table": accuracies,
        "accuracies": {variant.value: evaluation.accuracy(title) for variant, title in TITLES.items()},
        "confusion_table": confusion,
        "expressions": evaluation.expressions,
        "confusion": evaluation.confusion,
        "counts": evaluation.counts,
        "counted_in": evaluation.counted_in,
    }


def _confusion(runs: list[RecordedRun]) -> dict[str, Any]:
    return {
        "folds": sum(len(run.made) for run in runs),
        "of": sum(run.of for run in runs),
        **{
            level: sum(confusion_matrix(run.predictions, level) for run in runs).tolist()
            for level in ("sequence", "frame")
        },
    }


def _training(runs: list[RecordedRun], column: str) -> dict[str, Any]:
    """The loss or the accuracy of the expression on the training data, mean over all folds of all seeds."""
    epochs = np.stack([history[column].to_numpy() for run in runs for history in run.histories])
    last, before = epochs[:, -LAST_EPOCHS:], epochs[:, -2 * LAST_EPOCHS : -LAST_EPOCHS]  # (folds, epochs)
    enough = before.shape[1] == LAST_EPOCHS
    return {
        "folds": len(epochs),
        "epochs": epochs.shape[1],
        "first_epoch": float(epochs[:, 0].mean()),
        "epochs_before": float(before.mean()) if enough else None,
        "last_epochs": float(last.mean()),
        "change": float(last.mean() - before.mean()) if enough else None,
        "last_epoch": float(epochs[:, -1].mean()),
        "lowest_fold": float(last.mean(1).min()),
        "highest_fold": float(last.mean(1).max()),
    }


def _alike(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that the runs of a group share."""
    return {
        name: _alike(value) if isinstance(value, dict) else value
        for name, value in settings.items()
        if name not in APART
    }


def _difference(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """The settings that differ, by name."""
    flat = [pd.json_normalize(settings).iloc[0].to_dict() for settings in (ours, theirs)]
    names = dict.fromkeys([*flat[0], *flat[1]])
    return ", ".join(name for name in names if flat[0].get(name) != flat[1].get(name))


def without_nan(value: Any) -> Any:
    """The value with None for every NaN in it, since JSON has no NaN; tuples become lists."""
    if isinstance(value, dict):
        return {name: without_nan(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def render_accuracies(outcome: dict[str, Any]) -> str:
    """The accuracies in what `report` returned, as text."""
    return "\n\n".join(
        f"{group['folder']}: {_faces(group['database'])}, stage one on {_faces(group['stage_one'])}\n"
        + _accuracies(group, runs)
        for group, runs in _groups(outcome)
    )


def render(outcome: dict[str, Any]) -> str:
    """What `report` returned, as text of at most 120 columns."""
    return "\n\n\n".join("\n\n".join(_sections(group, runs)) for group, runs in _groups(outcome))


def _groups(outcome: dict[str, Any]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Each group with its runs."""
    runs = {run["folder"]: run for run in outcome["runs"]}
    return [(group, [runs[folder] for folder in group["runs"]]) for group in outcome["groups"]]


def _sections(group: dict[str, Any], runs: list[dict[str, Any]]) -> list[str]:
    paper = group["paper"]
    beside = f", beside Table {paper['accuracy_table']} of the paper" if paper else ""
    largest = max(runs, key=lambda run: run["folds"])
    ours = (
        f"recorded runs on {_faces(group['database'])}: {largest['sequence']['n']} sequences, "
        f"{largest['frame']['n']} frames, {largest['subjects']} people; {largest['of']} folds "
        f"({largest['rule']}) that share nobody; stage one on {_faces(group['stage_one'])}; "
        + ", ".join(f"{name} {value}" for name, value in group["settings"]["preset"].items())
    )
    sections = [
        f"{group['folder']}\n{'=' * len(group['folder'])}",
        "\n".join(
            [*_named("ours", [ours]), *_named("paper", [_source(group)]), *_named("note", group["notes"])]
        ),
        f"Accuracy{beside}\n{_accuracies(group, runs)}\n"
        + _key(
            "95 % interval: Wilson's, which takes sequences for independent; of a mean, the bootstrap's over "
            "people. mean ± sd: of the folds; in the row of a mean, of the seeds."
        ),
    ]
    if group["comparisons"]:
        sections.append(
            f"Differences in points, over sequences{beside}\n{_differences(group)}\n"
            + _key(
                "95 % interval: the bootstrap's over people, since the sequences of one person are not "
                "independent. only first, only second: sequences that one of the two got right, all seeds "
                "together. exact p: McNemar's, over sequences (with several seeds, over their sums). Holm: "
                f"p, allowing for {len(group['comparisons'])} comparisons. detectable: the smallest true "
                "difference that so many sequences, discordant as often as here, show at p <= 0.05 with a "
                "power of 80 %, one seed."
            )
        )
    return [
        *sections,
        "Training loss of the expression, mean over the folds of all seeds\n"
        f"{_progress(group['training']['loss'])}\n"
        + _key(
            f"chance: {math.log(len(group['expressions'])):.3f}. Variants whose loss still falls are "
            "compared by how fast they learn. lowest, highest fold: mean of its last epochs."
        ),
        "Training accuracy of the expression: augmented images told right while they are learned\n"
        f"{_progress(group['training']['accuracy'])}",
        *_confusions(group),
        f"How the runs were made\n{_making(runs)}",
    ]


def _faces(database: str | None) -> str:
    if database is None:
        return "nothing"
    return f"{database} (synthetic faces)" if _synthetic(database) else database


def _source(group: dict[str, Any]) -> str:
    paper = group["paper"]
    if paper is None:
        return f"has no table of {group['database']}"
    about = (
        f"Zhang, Su and Wang (2019), Tables {paper['accuracy_table']} and {paper['confusion_table']}, as "
        f"printed: real faces of {paper['database']}, full VGG-16 from ImageNet weights; counts derived from "
        "the percentages"
    )
    if group["synthetic"]:
        about += ". The faces here are drawn, so the paper's numbers beside ours are no comparison of methods"
    return about


def _accuracies(group: dict[str, Any], runs: list[dict[str, Any]]) -> str:
    paper, rows = group["paper"], []
    for variant, title in TITLES.items():
        printed = (
            {f"Table {paper['accuracy_table']}": f"{paper['accuracies'][variant]:.2f} %"} if paper else {}
        )
        every = [run for run in runs if run["variant"] == variant]
        for run in every:
            sequence = run["sequence"]
            rows.append(
                {
                    "variant": title,
                    "seed": run["seed"],
                    "folds": f"{run['folds']} of {run['of']}",
                    **printed,
                    "sequences": _percent(sequence["accuracy"]),
                    "95 % interval": _interval(sequence["interval"], ".1f"),
                    "correct": f"{sequence['correct']} of {sequence['n']}",
                    "mean ± sd": _spread(sequence["fold_mean"], sequence["fold_sd"]),
                    "frames": _percent(run["frame"]["accuracy"]),
                }
            )
        mean = group["means"].get(variant)
        if mean and len(mean["sequence"]["accuracies"]) > 1:
            sequence = mean["sequence"]
            folds = sum(run["folds"] for run in every if run["folds"] == run["of"])
            rows.append(
                {
                    "variant": title,
                    "seed": "mean",
                    "folds": f"{folds} of {folds}",
                    **printed,
                    "sequences": _percent(sequence["accuracy"]),
                    "95 % interval": _interval(sequence["interval"], ".1f"),
                    "correct": "",
                    "mean ± sd": _spread(sequence["accuracy"], sequence["sd"]),
                    "frames": _percent(mean["frame"]["accuracy"]),
                }
            )
    return _table(rows)


def _differences(group: dict[str, Any]) -> str:
    paper, rows = group["paper"], []
    for entry in group["comparisons"]:
        pair = entry["first"], entry["second"]
        printed = {}
        if paper:
            first, second = (paper["accuracies"][variant] for variant in pair)
            printed = {f"Table {paper['accuracy_table']}": f"{first - second:+.2f}"}
        rows.append(
            {
                "comparison": _minus(pair),
                "seeds": _list(entry["seeds"]),
                **printed,
                "difference": f"{100 * entry['difference']:+.1f}",
                "95 % interval": _interval(entry["interval"], "+.1f"),
                "only first": sum(entry["only_first"]),
                "only second": sum(entry["only_second"]),
                "exact p": f"{entry['p']:.3f}",
                "Holm": f"{entry['holm']:.3f}",
                "detectable": "none" if entry["detectable"] is None else f"{100 * entry['detectable']:.1f}",
            }
        )
    return _table(rows)


def _progress(training: dict[str, Any]) -> str:
    rows = []
    for variant, found in training.items():
        end = found["epochs"]
        row = {"variant": TITLES[Variant(variant)], "folds": found["folds"], "epoch 1": found["first_epoch"]}
        if found["change"] is not None:
            row[f"epochs {end - 2 * LAST_EPOCHS + 1}-{end - LAST_EPOCHS}"] = found["epochs_before"]
            row[f"epochs {end - LAST_EPOCHS + 1}-{end}"] = found["last_epochs"]
            row["change"] = f"{found['change']:+.4f}"
        row[f"epoch {end}"] = found["last_epoch"]
        rows.append(row | {"lowest fold": found["lowest_fold"], "highest fold": found["highest_fold"]})
    return _table(
        [
            {name: f"{value:.4f}" if isinstance(value, float) else value for name, value in row.items()}
            for row in rows
        ]
    )


def _confusions(group: dict[str, Any]) -> list[str]:
    paper, sections = group["paper"], []
    unit = paper["counted_in"] if paper else "sequences"
    for variant, confusion in group["confusion"].items():
        counts = np.array(confusion[unit.removesuffix("s")])
        blocks = [
            ("ours, %", group["expressions"], _percentages(counts)),
            ("ours, counts", group["expressions"], counts),
        ]
        beside = ""
        if paper and variant == Variant.EIFN:
            beside = f", beside Table {paper['confusion_table']} of the paper"
            printed = [[f"{value:.2f}" if value else "0" for value in row] for row in paper["confusion"]]
            theirs = [("paper, %", printed), ("paper, counts", paper["counts"])]
            pairs = [
                [(name, paper["expressions"], values), block]
                for (name, values), block in zip(theirs, blocks, strict=True)
            ]
        else:
            pairs = [blocks]
        folds = f"{confusion['folds']} of {confusion['of']} folds"
        sections.append(
            f"Confusion of {TITLES[Variant(variant)]}, {unit} of {folds}, rows are the truth{beside}\n"
            + "\n".join(_side_by_side(*pair) for pair in pairs)
        )
    return sections


def _percentages(counts: np.ndarray) -> list[list[str]]:
    return [
        [f"{100 * cell / row.sum():.1f}" if cell else "0" if row.sum() else "" for cell in row]
        for row in counts
    ]


def _side_by_side(*blocks: tuple[str, list[str], Any]) -> str:
    """Matrices, each with its name and its classes."""
    columns = []
    for name, expressions, values in blocks:
        codes = [CODES.get(expression, expression[:2].title()) for expression in expressions]
        columns.append([name, *pd.DataFrame(values, index=codes, columns=codes).to_string().splitlines()])
    widths = [max(map(len, lines)) for lines in columns]
    return "\n".join(
        "    ".join(line.ljust(width) for line, width in zip(lines, widths, strict=True)).rstrip()
        for lines in zip_longest(*columns, fillvalue="")
    )


def _making(runs: list[dict[str, Any]]) -> str:
    rows = []
    for run in runs:
        made = run["made"]
        rows.append(
            {
                "variant": TITLES[Variant(run["variant"])],
                "seed": run["seed"],
                "started (UTC)": made["started"][:16].replace("T", " "),
                "minutes": f"{made['seconds'] / 60:.1f}",
                "device": _list(made["device"]),
                "threads": _list(made["threads"]),
                "torch": _list(_distinct(versions["torch"] for versions in made["versions"])),
                "eifn": run["eifn"],
                "commit": _list(commit[:12] for commit in made["commit"]) or "not recorded",
            }
        )
    commands, platforms = (
        _distinct(value for run in runs for value in run["made"][name]) for name in ("command", "platform")
    )
    return "\n".join(
        [
            _table(rows),
            _key(
                "minutes: of all folds, one after the other, without stage one; of a resumed fold, the rest."
            ),
            *_named("platform", platforms),
            *_named("command", commands or ["not recorded"]),
        ]
    )


def _table(rows: list[dict[str, Any]]) -> str:
    return pd.DataFrame(rows).to_string(index=False)


def _key(text: str) -> str:
    """What the heads of the table above mean."""
    return textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


def _named(name: str, texts: list[str]) -> list[str]:
    """Paragraphs with a name in front."""
    return [
        textwrap.fill(
            text, WIDTH, initial_indent=f"{name:10}", subsequent_indent=" " * 10, break_on_hyphens=False
        )
        for text in texts
    ]


def _minus(pair: Iterable[str]) -> str:
    return " − ".join(TITLES[Variant(name)] for name in pair)


def _synthetic(database: str) -> bool:
    """Whether the faces of a database are drawn: `data_prep` names those alone so."""
    return database.startswith("synth-")


def _distinct(values: Iterable[Any]) -> list[Any]:
    """Each value once, in the order in which they come; what was not recorded (None) is left out."""
    kept: list[Any] = []
    for value in values:
        if value is not None and value not in kept:
            kept.append(value)
    return kept


def _list(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))


def _percent(accuracy: float) -> str:
    return f"{100 * accuracy:.1f} %"


def _interval(bounds: tuple[float, float], form: str) -> str:
    return " to ".join(f"{100 * bound:{form}}" for bound in bounds)


def _spread(mean: float, sd: float | None) -> str:
    return f"{100 * mean:.1f}" + ("" if sd is None else f" ± {100 * sd:.1f}")
