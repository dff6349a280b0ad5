"""What does the paper's whole ablation cost here, and where does the time go?

    python -m benchmarks.protocol [--preset laptop] [--precision P] [--rounds N] [--runs DIR] [--json]

The ablation is 66 trainings: on each of two databases, three variants with one stage one and ten folds each.
It is not run: every part of it is measured a few times, on noise of as many people, expressions and images as
CK+ and Oulu-CASIA have, and multiplied by how often the ablation does it. On a CPU each part runs on one
thread, as in the workers of `eifn crossval`, which has one a core; the minutes are those of one worker, and
`benchmarks.scaling` tells what several make of them. The ratio is the share of `Trainer.fit` in the whole.

`--runs` names a folder of recorded runs, whose own clocks are then set against the estimate.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from os import getpid
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile, schedule

from benchmarks import measure
from eifn import paper
from eifn.crossval import Piece, Run, RunError, carry_out, local_pool, plan, read_provenance
from eifn.network import Variant
from eifn.report import TITLES, find_runs
from eifn.results import ResultsError
from eifn.training import PRESETS, Checkpoint, Preset, Trainer

DATABASES = {"ck-plus": paper.CK_PLUS, "oulu-casia": paper.OULU_CASIA}

TWINS = {"synth-ck": "ck-plus", "synth-oulu": "oulu-casia"}
"""Databases that cost what another one does, being as large."""

CHECKPOINT = "checkpoint"
STAGE_ONE = "stage one without its epochs"
FOLD = "fold without its epochs"
PLAN = "plan of a variant"
WORKER = "start of a worker"

OPERATIONS = {
    "convolutions, backward": ("convolution_backward",),
    "convolutions, forward": ("conv",),
    "ReLU": ("threshold_backward", "clamp_min", "relu"),
    "max-pool": ("max_pool",),
    "rotation": ("grid_sampler", "affine_grid"),
    "matrix products": ("mm",),
    "optimizer": ("fused_sgd", "SGD.step"),
}
"""What a training step consists of, by words in the names of PyTorch's operators; the first fit counts."""

OTHER_OPERATIONS = "all else"


@dataclass(frozen=True)
class RepeatedCheckpoint(Checkpoint):
    """A checkpoint that can be written again."""

    state: list[Any] = field(default_factory=list)

    def save(self, *state: Any) -> None:
        """Replace the checkpoint, in one step."""
        self.state[:] = state
        super().save(*state)


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print a table or one JSON object."""
    parser = measure.options_of(__doc__)
    parser.add_argument("--preset", choices=PRESETS, default="laptop", help="default: %(default)s")
    measure.add_precision(parser)
    parser.add_argument(
        "--images",
        type=measure.positive,
        metavar="N",
        help="an epoch that is timed (default: laptop 300, paper 100; 2000 on a GPU)",
    )
    parser.add_argument(
        "--rounds",
        type=measure.positive,
        metavar="N",
        help="how often each part is timed (default: laptop 5, paper 2; 10 on a GPU)",
    )
    parser.add_argument("--runs", type=Path, metavar="DIR", help="recorded runs to check the estimate with")
    options = parser.parse_args(arguments)
    recorded = {}
    if options.runs:
        try:
            recorded = read_recorded(options.runs)
        except (ResultsError, RunError) as error:
            parser.error(str(error))
    recipe = measure.preset_for(options.preset, options)
    trainer = Trainer(measure.fabric_for(options.accelerator, recipe.precision))
    device = trainer.fabric.device
    on_gpu = device.type != "cpu"
    rounds = options.rounds or (10 if on_gpu else 5 if recipe.width < 1 else 2)
    images = options.images or (2000 if on_gpu else 300 if recipe.width < 1 else 100)
    workers = 1 if on_gpu else torch.get_num_threads()
    if not on_gpu:
        torch.set_num_threads(1)

    with tempfile.TemporaryDirectory() as folder:
        runs = all_runs(Path(folder), options.preset, recipe, options.accelerator)
        pieces = [piece for run in runs for piece in plan(run)]
        seconds = time_epochs(trainer, recipe, images, rounds)
        seconds |= time_checkpoint(trainer, recipe, rounds, Path(folder))
        seconds |= time_the_rest(runs[0], rounds, device)
    shares = share_of_operations(trainer, recipe, images, rounds)

    counts = count_parts(pieces, seconds)
    counts.update({PLAN: len(runs), WORKER: len(DATABASES) * workers})
    minutes = {part: times * seconds[part] / 60 for part, times in counts.items()}  # (rounds,) each
    training = sum(spent for part, spent in minutes.items() if part.startswith("train "))
    everything = sum(minutes.values())

    def row(part: str, spent: np.ndarray) -> dict[str, Any]:
        share = measure.spread(spent / everything, "share")["share"]
        return {"part": part, **measure.spread(spent, "minutes (measured x times)"), "share": share}

    rows = [
        row(part, minutes[part])
        | {"times": times, "ms each": measure.spread(1e3 * seconds[part], "ms")["ms"]}
        for part, times in sorted(counts.items(), key=lambda item: -np.median(minutes[item[0]]))
    ]
    rows.append(row("everything", everything))
    rows += [row(f"of the training: {name}", training * share) for name, share in shares.items()]
    measure.print_result(
        "What does the paper's whole ablation cost here, and where does the time go?",
        rows,
        ratio=float(np.median(training / everything)),
        ratio_of=f"share of Trainer.fit in the {np.median(everything):.3g} minutes of one worker that "
        f"{len(pieces)} trainings are estimated to take, preset {options.preset}, {recipe.precision}",
        notes=[
            "a training is counted in images; its operations are told apart by PyTorch's profiler",
            "not counted: reading the weights that the extractors start from",
            *check(recorded, pieces, seconds),
        ],
        device=device,
        as_json=options.json,
    )


def all_runs(folder: Path, preset: str, recipe: Preset, accelerator: str) -> list[Run]:
    """The ablation, on databases of noise that are as large as the paper's, written to a folder."""
    for name, evaluation in DATABASES.items():
        images = paper.FRAMES_PER_SEQUENCE * sum(evaluation.sequences.values())
        measure.write_faces(measure.random_faces(images, evaluation), folder / name)
    return [
        Run(
            database=folder / name,
            stage_one=folder / other,
            variant=variant,
            preset=preset,
            recipe=recipe,
            seed=0,
            rule="interleaved",
            out=folder / "runs",
            accelerator=accelerator,
            command="python -m benchmarks.protocol",
        )
        for name, other in zip(DATABASES, reversed(DATABASES), strict=True)
        for variant in TITLES
    ]


def count_parts(pieces: Iterable[Piece], seconds: dict[str, np.ndarray]) -> Counter[str]:
    """How often some pieces do each part, of so many seconds; a training is counted in images."""
    counts: Counter[str] = Counter()
    for piece in pieces:
        database = piece.run.stage_one if piece.fold is None else piece.run.database
        training, images = training_of(piece.run.variant, database.name), piece.images * piece.epochs
        counts[training] += images
        # After the first and the last epoch, and in between in a tenth of the time: see `Trainer.fit`.
        between = images * np.median(seconds[training]) / (10 * np.median(seconds[CHECKPOINT]))
        counts[CHECKPOINT] += min(piece.epochs, 2 + int(between))
        counts[STAGE_ONE if piece.fold is None else FOLD] += 1
    return counts


def training_of(variant: Variant, database: str) -> str:
    """The name of the part that trains on an image."""
    return f"train {TITLES[variant]} on {DATABASES[database].name}"


def time_epochs(trainer: Trainer, recipe: Preset, images: int, rounds: int) -> dict[str, np.ndarray]:
    """Seconds of a training image of each variant and database: (rounds,) each."""
    seconds = {}
    for name, evaluation in DATABASES.items():
        faces = measure.random_faces(images, evaluation)
        for variant in TITLES:
            fit = partial(
                measure.fit, trainer, faces, recipe, variant=variant, identities=evaluation.subjects
            )
            epochs, _ = measure.epochs_in_turns(
                fit, lambda: None, rounds=rounds, device=trainer.fabric.device
            )
            seconds[training_of(variant, name)] = epochs / images
    return seconds


def time_checkpoint(trainer: Trainer, recipe: Preset, rounds: int, folder: Path) -> dict[str, np.ndarray]:
    """Seconds of a checkpoint of an EIFN on CK+: (rounds,)."""
    checkpoint = RepeatedCheckpoint(folder / "checkpoint.safetensors", "the benchmark")
    measure.fit(trainer, measure.random_faces(10), recipe, 1, identities=118, checkpoint=checkpoint)
    again = {CHECKPOINT: lambda: checkpoint.save(*checkpoint.state)}
    return measure.in_turns(again, rounds=rounds, device=trainer.fabric.device)


def time_the_rest(run: Run, rounds: int, device: torch.device) -> dict[str, np.ndarray]:
    """Seconds of all that is done once for a piece, a variant or a worker: (rounds,) each.

    A piece of no epochs still reads its database and its model, predicts, and writes all that it leaves.
    """
    recipe = replace(run.recipe, weights="none", stage_one_epochs=0, stage_two_epochs=0)
    run = replace(run, recipe=recipe)
    stage_one, fold = plan(run)[:2]

    def again(piece: Piece) -> None:
        shutil.rmtree(piece.folder, ignore_errors=True)
        carry_out(piece)

    def start_worker() -> None:
        with local_pool(1) as pool:
            pool.submit(getpid).result()

    calls = {
        STAGE_ONE: partial(again, stage_one),
        FOLD: partial(again, fold),
        PLAN: partial(plan, run),
        WORKER: start_worker,
    }
    return measure.in_turns(calls, rounds=rounds, device=device)


def share_of_operations(trainer: Trainer, recipe: Preset, images: int, rounds: int) -> dict[str, np.ndarray]:
    """The share of each kind of operation in the epochs of an EIFN on CK+: (rounds,) each.

    On a GPU full batches are replayed as a whole, so it is taken from batches of one image less.
    """
    on_gpu = trainer.fabric.device.type == "cuda"
    images = min(images, recipe.batch_size - 1) if on_gpu else images
    epochs: list[Counter[str]] = []

    def note(log: profile) -> None:
        spent: Counter[str] = Counter()
        for event in log.key_averages():
            if event.device_type == DeviceType.CPU:  # the operators, not the kernels that they start
                time = event.self_device_time_total if on_gpu else event.self_cpu_time_total
                spent[operation_of(event.key)] += time
        epochs.append(spent)

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Warning: Profiler clears events")  # `note` has read them by then
        with profile(
            activities=activities,
            schedule=schedule(wait=0, warmup=1, active=1, repeat=rounds),
            on_trace_ready=note,
        ) as log:
            measure.fit(trainer, measure.random_faces(images), recipe, 2 * rounds, lambda _: log.step())
    return {
        name: np.array([spent[name] / spent.total() for spent in epochs])
        for name in [*OPERATIONS, OTHER_OPERATIONS]
    }


def operation_of(operator: str) -> str:
    """The kind of operation that an operator of PyTorch belongs to."""
    for name, words in OPERATIONS.items():
        if any(word in operator for word in words):
            return name
    return OTHER_OPERATIONS


def read_recorded(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The provenance of the folds of every run in a folder.

    Raises:
        ResultsError: there are none.
        RunError: one cannot be read.
    """
    return {
        run.relative_to(folder).as_posix(): [
            read_provenance(file.parent) for file in sorted(run.glob("fold-*/provenance.json"))
        ]
        for run in find_runs(folder)
    }


def check(
    recorded: dict[str, list[dict[str, Any]]],
    pieces: list[Piece],
    seconds: dict[str, np.ndarray],
) -> list[str]:
    """How long recorded folds took by their own clocks, beside the estimate for them; a line for each run."""
    lines = []
    for name, folds in recorded.items():
        settings = folds[0]["settings"]
        database = settings["database"]["name"]
        database = TWINS.get(database, database)
        numbers = {fold["settings"]["folds"]["fold"] for fold in folds}
        those = [
            piece
            for piece in pieces
            if piece.run.variant == settings["variant"]
            and piece.run.database.name == database
            and piece.fold in numbers
        ]
        recipe = {**settings["preset"], "weights": None}  # which does not decide how long it takes
        same = those and all({**piece.settings["preset"], "weights": None} == recipe for piece in those)
        if not same or any(fold["made"]["resumed"] for fold in folds):
            continue
        counts = count_parts(those, seconds)
        estimate = sum(times * np.median(seconds[part]) for part, times in counts.items())
        took = sum(fold["made"]["seconds"] for fold in folds)
        lines.append(
            f"recorded {name}, on {folds[0]['made']['device']}: {len(folds)} folds took {took / 60:.3g} "
            f"minutes, {took / estimate:.3g} times the estimate"
        )
    if recorded and not lines:
        lines.append("no recorded run is of these databases, trained by this preset in one go")
    return lines


if __name__ == "__main__":
    main()
