"""The claim ledger: the paper's numbers of its own variants, each beside its counterpart in recorded runs.

`eifn.report` gathers the runs; here every number of Tables 1 to 4 that one of them answers becomes a row. All
is counted over sequences, in percent or in points of percent, as in the tables.

Book: appendix, *The claim ledger*.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from eifn.network import Variant
from eifn.report import TITLES
from eifn.results import wilson_interval


def accuracies(outcome: dict[str, Any]) -> pd.DataFrame:
    """Tables 1 and 2: the accuracies of EFN, EIFN* and EIFN.

    Args:
        outcome: what `report` of `eifn.report` returned.

    Returns:
        A row for each finished run on a database that the paper has a table of: `table`, `number` (the
        variant), `printed`, `ours`, `low` and `high` (Wilson's 95 % interval), `n` and `run` (its folder).
    """
    return pd.DataFrame(
        {
            "table": paper["accuracy_table"],
            "number": TITLES[Variant(run["variant"])],
            "printed": paper["accuracies"][run["variant"]],
            "ours": 100 * run["sequence"]["accuracy"],
            "low": 100 * run["sequence"]["interval"][0],
            "high": 100 * run["sequence"]["interval"][1],
            "n": run["sequence"]["n"],
            "run": _end(run["folder"], 4),
        }
        for paper, run in _finished(outcome)
    )


def differences(outcome: dict[str, Any]) -> pd.DataFrame:
    """Tables 1 and 2: what the paper concludes from, one variant less another.

    Args:
        outcome: what `report` of `eifn.report` returned.

    Returns:
        The columns of `accuracies`. The interval is the bootstrap's over people, see `compare` of
        `eifn.results`, and `run` the folder of all runs that were compared.
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
            "run": _end(group["folder"], 2),
        }
        for paper, group in _with_paper(outcome)
        for entry in group["comparisons"]
        for pair in [(entry["first"], entry["second"])]
    )


def recalls(outcome: dict[str, Any]) -> pd.DataFrame:
    """Tables 3 and 4, the diagonals: how much of each expression EIFN recognizes.

    Args:
        outcome: what `report` of `eifn.report` returned.

    Returns:
        The columns of `accuracies`, a row for each expression of each finished run of EIFN.
    """
    rows = []
    for paper, run in _finished(outcome):
        if run["variant"] != Variant.EIFN:
            continue
        for i, expression in enumerate(run["expressions"]):
            counts = run["sequence"]["confusion"][i]
            low, high = wilson_interval(counts[i], sum(counts))
            place = paper["expressions"].index(expression)
            rows.append(
                {
                    "table": paper["confusion_table"],
                    "number": expression,
                    "printed": paper["confusion"][place][place],
                    "ours": 100 * counts[i] / sum(counts),
                    "low": 100 * low,
                    "high": 100 * high,
                    "n": sum(counts),
                    "run": _end(run["folder"], 4),
                }
            )
    return pd.DataFrame(rows)


def to_markdown(claims: pd.DataFrame, *, computed_in: str, signed: bool = False) -> str:
    """A table of claims as Markdown.

    Args:
        claims: what one of the functions above returned.
        computed_in: chapter and cell of the book that compute them too, as Markdown.
        signed: whether a plus is written before what is above 0.
    """
    plus = "+" if signed else ""
    lines = [
        "| Table | number | the paper | recorded run | 95 % interval | n | run | chapter |",
        "|:-:|:--|--:|--:|:-:|--:|:--|:--|",
    ]
    for row in claims.itertuples():
        cells = (
            row.table,
            row.number.replace("*", r"\*"),
            f"{row.printed:{plus}.2f}",
            f"{row.ours:{plus}.1f}",
            f"{row.low:{plus}.1f}\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}{row.high:{plus}.1f}",
            row.n,
            row.run,
            computed_in,
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _with_paper(outcome: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The groups on databases that the paper has tables of."""
    for group in outcome["groups"]:
        if group["paper"]:
            yield group["paper"], group


def _finished(outcome: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Their runs with all folds."""
    runs = {run["folder"]: run for run in outcome["runs"]}
    for paper, group in _with_paper(outcome):
        for run in (runs[folder] for folder in group["runs"]):
            if run["folds"] == run["of"]:
                yield paper, run


def _end(folder: str, parts: int) -> str:
    """The end of a path: `<preset>/<database>/<variant>/seed-<n>` has four parts."""
    return "/".join(Path(folder).parts[-parts:])
