"""The claim ledger: the paper's numbers of its own variants, each beside its counterpart in recorded runs.

`eifn.report` gathers the runs; here every number of Tables 1 to 4 that they answer becomes a row, ours being
the mean over the seeds. All is counted over sequences, in percent or in points of percent, as in the tables.

Book: appendix, *The claim ledger*.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eifn.network import Variant
from eifn.report import TITLES
from eifn.results import wilson_interval


def accuracies(outcome: dict[str, Any]) -> pd.DataFrame:
    """Tables 1 and 2: the accuracies of EFN, EIFN* and EIFN.

    Args:
        outcome: what `report` of `eifn.report` returned.

    Returns:
        A row for each variant with finished runs on a database that the paper has a table of: `table`,
        `number` (the variant), `printed`, `ours` (mean over the seeds), `low` and `high` (95 % interval by
        the bootstrap over people, see `average` of `eifn.results`), `n` (sequences), `seeds` (how many) and
        `runs` (the folder they are in).
    """
    return pd.DataFrame(
        {
            "table": paper["accuracy_table"],
            "number": TITLES[Variant(variant)],
            "printed": paper["accuracies"][variant],
            "ours": 100 * mean["sequence"]["accuracy"],
            "low": 100 * mean["sequence"]["interval"][0],
            "high": 100 * mean["sequence"]["interval"][1],
            "n": runs[0]["sequence"]["n"],
            "seeds": len(runs),
            "runs": f"{_end(group['folder'])}/{variant}",
        }
        for paper, group, finished in _with_paper(outcome)
        for variant, mean in group["means"].items()
        for runs in [finished[variant]]
    )


def differences(outcome: dict[str, Any]) -> pd.DataFrame:
    """Tables 1 and 2: what the paper concludes from, one variant less another.

    Args:
        outcome: what `report` of `eifn.report` returned.

    Returns:
        The columns of `accuracies`; for the interval see `compare` of `eifn.results`.
    """
    return pd.DataFrame(
        {
            "table": paper["accuracy_table"],
            "number": " − ".join(TITLES[Variant(name)] for name in pair),
            "printed": paper["accuracies"][pair[0]] - paper["accuracies"][pair[1]],
            "ours": 100 * entry["difference"],
            "low": 100 * entry["interval"][0],
            "high": 100 * entry["interval"][1],
            "n": entry["sequences"],
            "seeds": len(entry["seeds"]),
            "runs": _end(group["folder"]),
        }
        for paper, group, _ in _with_paper(outcome)
        for entry in group["comparisons"]
        for pair in [(entry["first"], entry["second"])]
    )


def recalls(outcome: dict[str, Any]) -> pd.DataFrame:
    """Tables 3 and 4, the diagonals: how much of each expression EIFN recognizes.

    Args:
        outcome: what `report` of `eifn.report` returned.

    Returns:
        The columns of `accuracies`, a row for each expression. The interval is Wilson's for the mean number
        of right answers, rounded: more seeds are no more people. (For a few sequences, all wrong perhaps, the
        bootstrap's would be too narrow.)
    """
    rows = []
    for paper, group, finished in _with_paper(outcome):
        runs = finished[Variant.EIFN]
        for i, expression in enumerate(group["expressions"] if runs else ()):
            counts = np.mean([run["sequence"]["confusion"][i] for run in runs], axis=0)
            low, high = wilson_interval(round(counts[i]), n := round(counts.sum()))
            place = paper["expressions"].index(expression)
            rows.append(
                {
                    "table": paper["confusion_table"],
                    "number": expression,
                    "printed": paper["confusion"][place][place],
                    "ours": 100 * counts[i] / n,
                    "low": 100 * low,
                    "high": 100 * high,
                    "n": n,
                    "seeds": len(runs),
                    "runs": f"{_end(group['folder'])}/{Variant.EIFN}",
                }
            )
    return pd.DataFrame(rows)


def to_markdown(claims: pd.DataFrame, *, computed_in: str, signed: bool = False) -> str:
    """A table of claims as Markdown.

    Args:
        claims: what one of the functions above returned.
        computed_in: the cell of the book that computes them too, as Markdown.
        signed: whether a plus is written before what is above 0.
    """
    plus = "+" if signed else ""
    lines = [
        "| Table | number | the paper | ours | 95 % interval | n | seeds | runs | cell |",
        "|:-:|:--|--:|--:|:-:|--:|--:|:--|:--|",
    ]
    for row in claims.itertuples():
        cells = (
            row.table,
            row.number.replace("*", r"\*"),
            f"{row.printed:{plus}.2f}",
            f"{row.ours:{plus}.1f}",
            f"{row.low:{plus}.1f}\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}{row.high:{plus}.1f}",
            row.n,
            row.seeds,
            row.runs,
            computed_in,
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _with_paper(
    outcome: dict[str, Any],
) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, list[dict[str, Any]]]]]:
    """What the paper has, the group, and its finished runs by variant, where the paper has a table."""
    runs = {run["folder"]: run for run in outcome["runs"]}
    for group in outcome["groups"]:
        if group["paper"]:
            finished: dict[str, list[dict[str, Any]]] = {variant: [] for variant in TITLES}
            for run in (runs[folder] for folder in group["runs"]):
                if run["folds"] == run["of"]:
                    finished[run["variant"]].append(run)
            yield group["paper"], group, finished


def _end(folder: str) -> str:
    """The end of a path `.../<preset>/<database>`."""
    return "/".join(Path(folder).parts[-2:])
