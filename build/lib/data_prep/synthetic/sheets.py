"""Contact sheets of the synthetic faces, for looking at what was drawn."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from tqdm import tqdm

from data_prep.synthetic.action_units import ACTION_UNITS, UNITS
from data_prep.synthetic.anatomy import TRAITS, describe
from data_prep.synthetic.renderer import render
from data_prep.synthetic.twins import TWINS, draw_sequence

LIGHT = (-0.35, 0.6, 0.8, 0.3, 1.05, 1.05, 1.05)
"""Of the faces that show one action unit each."""

LABEL = 16
"""Height of a line of text in pixels."""


def write_sheets(out: str | os.PathLike[str]) -> list[Path]:
    """Draw all sheets as PNG files: people and expressions at 64 and 256, units, the dial, sequences.

    Args:
        out: a folder, made if there is none; sheets of the same name are replaced.

    Returns:
        The files.

    Raises:
        OSError: `out` cannot be written.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    jobs = {
        **{f"{name}-64": lambda name=name: people(name, range(1, 13), 64, zoom=2) for name in TWINS},
        **{f"{name}-256": lambda name=name: people(name, range(13, 17), 256) for name in TWINS},
        "action-units": action_units,
        "entanglement": entanglement,
        "sequences": sequences,
    }
    files = []
    for name, draw in tqdm(jobs.items(), desc="contact sheets", unit="sheet"):
        files.append(out / f"{name}.png")
        draw().save(files[-1])
    return files


def people(name: str, subjects: range, size: int, zoom: int = 1) -> Image.Image:
    """Peaks of a twin: a row for each subject, a column for each expression."""
    twin = TWINS[name]
    rows = [
        [draw_sequence(twin, subject, expression, last=1, size=size)[0] for expression in twin.sequences]
        for subject in subjects
    ]
    return _sheet(rows, list(twin.sequences), [f"{twin.letter}{subject:03d}" for subject in subjects], zoom)


def action_units() -> Image.Image:
    """An average person at rest, and with each unit fully on."""
    shown: list[int | None] = [None, *UNITS]
    units = np.zeros((len(shown), 2, len(UNITS)))
    for row, unit in enumerate(shown):
        if unit is not None:
            units[row, :, UNITS.index(unit)] = 1
    n = len(shown)
    faces = render(
        describe(np.zeros((n, len(TRAITS)))),
        units,
        pose=np.zeros((n, 5)),
        light=np.tile(LIGHT, (n, 1)),
        texture=np.zeros(n, int),
        size=192,
    )
    faces = np.round(255 * faces).astype(np.uint8)
    titles = ["at rest"] + [f"AU {unit} {ACTION_UNITS[unit].split(':')[0]}" for unit in UNITS]
    images = [_sheet([[face]], [title], None) for face, title in zip(faces, titles, strict=True)]
    rows = [np.concatenate([np.asarray(i) for i in images[k : k + 5]], 1) for k in range(0, n, 5)]
    return Image.fromarray(np.concatenate(rows))


def entanglement() -> Image.Image:
    """People at rest, as the dial goes from 0 to 1: the first frame of a sequence."""
    dial = (0, 0.25, 0.5, 0.75, 1)
    rows = [
        [draw_sequence(TWINS["synth-oulu"], s, "fear", entanglement=e, size=128)[0] for e in dial]
        for s in range(21, 29)
    ]
    return _sheet(rows, [f"entanglement {e:g}" for e in dial], [f"O{s:03d}" for s in range(21, 29)])


def sequences() -> Image.Image:
    """From rest to the peak: ten frames of a sequence a row."""
    rows, titles = [], []
    for subject, expression in enumerate(TWINS["synth-ck"].sequences, start=31):
        frames = draw_sequence(TWINS["synth-ck"], subject, expression, size=128)
        rows.append(list(frames[np.linspace(0, len(frames) - 1, 10).round().astype(int)]))
        titles.append(expression)
    return _sheet(rows, ["first frame", *[""] * 8, "peak"], titles)


def _sheet(
    rows: list[list[np.ndarray]], columns: list[str], names: list[str] | None, zoom: int = 1
) -> Image.Image:
    """Pictures in rows and columns with their titles."""
    grid = np.concatenate([np.concatenate(row, 1) for row in rows])
    picture = Image.fromarray(grid).resize(
        (grid.shape[1] * zoom, grid.shape[0] * zoom), Image.Resampling.BICUBIC
    )
    left = 0 if names is None else 8 + 7 * max(map(len, names))
    sheet = Image.new("RGB", (picture.width + left, picture.height + LABEL), "white")
    sheet.paste(picture, (left, LABEL))
    pen = ImageDraw.Draw(sheet)
    width, height = picture.width / len(rows[0]), picture.height / len(rows)
    for i, title in enumerate(columns):
        pen.text((left + i * width + 3, 2), title, fill="black")
    for i, title in enumerate(names or []):
        pen.text((4, LABEL + (i + 0.45) * height), title, fill="black")
    return sheet
