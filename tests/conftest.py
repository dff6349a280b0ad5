import numpy as np
import pandas as pd
import pytest

from eifn.crossval import Run
from eifn.database import write_database
from eifn.network import Variant
from eifn.training import Preset


@pytest.fixture
def tiny():
    """A preset whose training takes seconds for ten folds."""
    return Preset(
        width=1 / 64,
        weights="none",
        views=1,
        stage_one_epochs=1,
        stage_two_epochs=2,
        batch_size=100,
        clip=None,
        precision="32-true",
    )


@pytest.fixture
def make_database(tmp_path):
    """Writes a small database in which person and expression are patterns in noise; returns its folder."""

    def make(name="tiny", *, subjects=12, expressions=("happiness", "sadness"), frames=2, seed=0):
        generator = np.random.default_rng(seed)
        patterns = generator.integers(0, 100, (subjects + len(expressions), 8, 8, 3))
        patterns = patterns.repeat(8, axis=1).repeat(8, axis=2)  # (patterns, 64, 64, 3)
        images, rows = [], []
        for subject in range(subjects):
            for number, expression in enumerate(expressions):
                for position in reversed(range(frames)):
                    noise = generator.integers(0, 50, (64, 64, 3))
                    images.append(patterns[subject] + patterns[subjects + number] + noise)
                    rows.append((f"S{subject:02d}", f"{number}", position, expression, ""))
        return write_database(
            tmp_path / "data" / name,
            name=name,
            frames=np.stack(images).astype(np.uint8),
            table=pd.DataFrame(rows, columns=["subject", "sequence", "position", "expression", "source"]),
            expressions=expressions,
            licence="CC0 1.0",
            citation="noise",
            made_by="a test",
        )

    return make


@pytest.fixture
def run(make_database, tiny, tmp_path):
    return Run(
        database=make_database(),
        stage_one=make_database("other", subjects=3, seed=1),
        variant=Variant.EIFN,
        preset="tiny",
        recipe=tiny,
        seed=0,
        rule="interleaved",
        out=tmp_path / "runs",
        accelerator="cpu",
        command="eifn crossval --preset tiny",
    )
