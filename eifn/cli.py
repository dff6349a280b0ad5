"""The command `eifn`: train, crossval, report."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from tqdm import tqdm

from eifn.augment import VIEWS
from eifn.crossval import (
    Run,
    RunError,
    check_writable,
    code_sha256,
    crossval,
    dask_cluster,
    local_pool,
    visible_gpus,
)
from eifn.database import DatabaseError, FaceDatabase, read_database
from eifn.device import precision_for
from eifn.extractor import WeightsError
from eifn.folds import FoldError, subject_folds
from eifn.network import Variant
from eifn.paper import BATCH_SIZE, FOLDS
from eifn.report import TITLES, find_runs, render, render_accuracies, report, without_nan
from eifn.results import ResultsError, summarize, tabulate
from eifn.training import (
    EPOCH_IMAGES,
    PRESETS,
    Checkpoint,
    Divergence,
    Epoch,
    OutOfMemory,
    Preset,
    Trainer,
    derive_seed,
    save_model,
    train_stage_one,
    train_stage_two,
)

STAGE_ONE = {
    "ck-plus": "oulu-casia",
    "oulu-casia": "ck-plus",
    "synth-ck": "synth-oulu",
    "synth-oulu": "synth-ck",
}
"""The other database, on which stage one trains (Section 3.1); `synth-oulu` for any that is not listed."""

MISTAKES = (DatabaseError, FoldError, ResultsError, RunError, WeightsError)
"""What goes wrong because of what was asked or given, not because of this program."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 0; 1 if a training diverged, ran out of memory or its worker died; 2 for a user's
        mistake; 130 for Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    options.typed = _as_typed(sys.argv[1:] if arguments is None else arguments)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    try:
        options.command(options)
    except BrokenPipeError:  # `eifn report | head`: enough was read
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except MISTAKES as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (Divergence, OutOfMemory) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenExecutor:
        print(
            "error: a worker process was killed, perhaps for want of memory; "
            "the same command resumes, and fewer --workers need less",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command resumes", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="eifn",
        description="Train and test the Expression-Identity Fusion Network on a prepared face database "
        "(`python -m data_prep` prepares one).",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    recipe = argparse.ArgumentParser(add_help=False)
    recipe.add_argument(
        "--database",
        type=Path,
        required=True,
        metavar="DIR",
        help="the prepared database to train and test on",
    )
    recipe.add_argument(
        "--preset",
        choices=PRESETS,
        default="laptop",
        help="paper: full width, ImageNet start, all 14 views, wants a GPU; wide: fewer views and "
        "about half the epochs; laptop: fewer views and an eighth of the width, pre-trained on drawn faces, "
        "minutes on two cores (default: %(default)s)",
    )
    recipe.add_argument(
        "--stage-one",
        metavar="DIR",
        help="the other prepared database, on which stage one trains, or `none` to leave stage one out "
        "(default: the twin that the paper's recipe calls for, beside --database)",
    )
    recipe.add_argument(
        "--weights",
        metavar="imagenet|laptop|none|PATH",
        help="where the extractors start: torchvision's ImageNet weights, those that come with the package "
        "for 1/8 width, from scratch, or a file (default: paper and wide imagenet, laptop laptop)",
    )
    recipe.add_argument(
        "--precision",
        choices=["32-true", "bf16-mixed"],
        help="number format (default: paper and wide bf16-mixed; laptop 32-true, and bf16-mixed on a CPU "
        "that multiplies in it)",
    )
    recipe.add_argument(
        "--batch-size",
        type=_positive,
        metavar="N",
        help=f"images a step, for a device with little memory (default: the paper's {BATCH_SIZE})",
    )
    recipe.add_argument(
        "--views",
        type=int,
        choices=range(1, VIEWS + 1),
        metavar="N",
        help=f"how many of its {VIEWS} augmented views an epoch shows of each image, for a longer or shorter "
        f"training (default: paper {VIEWS}; wide and laptop 1 in stage one, and in stage two as few as make "
        f"{EPOCH_IMAGES} images)",
    )
    recipe.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    recipe.add_argument(
        "--accelerator",
        choices=["auto", "cpu", "cuda", "mps"],
        default="auto",
        help="the device (default: %(default)s)",
    )
    recipe.add_argument("--json", action="store_true", help="print one JSON object instead of a table")

    train = commands.add_parser(
        "train",
        parents=[recipe],
        help="train one model by the two-stage recipe and save it",
        description="Train one model by the paper's two-stage recipe and save it. The same command resumes "
        "after an interruption. Under `torchrun`, all processes train it together.",
    )
    train.add_argument("--variant", choices=list(Variant), default=Variant.EIFN, help="default: %(default)s")
    train.add_argument(
        "--fold",
        type=int,
        choices=range(FOLDS),
        metavar="K",
        help=f"hold out fold K of 0 to {FOLDS - 1} and test on it (default: train on everybody)",
    )
    train.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="where to save the model, a .safetensors file"
    )
    train.set_defaults(command=_train)

    cross = commands.add_parser(
        "crossval",
        parents=[recipe],
        help="10-fold subject-independent cross-validation; resumes where it was interrupted",
        description="10-fold subject-independent cross-validation of one variant or several. Finished folds "
        "are kept, so the same command resumes after an interruption.",
    )
    cross.add_argument(
        "--variant",
        type=_variants,
        default=list(TITLES),
        metavar="V,V",
        help=f"of {', '.join(Variant)} (default: all, as in the paper's ablation)",
    )
    cross.add_argument(
        "--folds",
        choices=["interleaved", "blocks"],
        default="interleaved",
        help="which subjects share a fold: every tenth, or neighbours (default: %(default)s)",
    )
    cross.add_argument(
        "--workers",
        type=_positive,
        metavar="N",
        help="processes that train at a time (default: one a core, or one a GPU)",
    )
    cross.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="train on the workers of this Dask cluster, which see the same files, instead of here",
    )
    cross.add_argument(
        "--tensorboard", type=Path, metavar="DIR", help="also write the losses there, for TensorBoard"
    )
    cross.add_argument(
        "--out", type=Path, default=Path("runs"), metavar="DIR", help="for the results (default: %(default)s)"
    )
    cross.set_defaults(command=_crossval)

    tables = commands.add_parser(
        "report",
        help="accuracies, differences and confusion of finished folds, beside the paper's tables",
        description="Tables 1 to 4 of the paper beside what `eifn crossval` left: accuracies, differences "
        "between the variants, confusion, how flat the training loss had become, and how each run was made.",
    )
    tables.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("runs"),
        help="any folder of results (default: %(default)s)",
    )
    tables.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    tables.set_defaults(command=_report)
    return parser


def _variants(text: str) -> list[Variant]:
    try:
        return list(dict.fromkeys(Variant(name) for name in text.split(",")))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; the variants are {', '.join(Variant)}") from None


def _as_typed(arguments: Sequence[str]) -> str:
    """The command for the record, without the folders of this machine."""
    words = [Path(word).name if Path(word).is_absolute() else word for word in arguments]
    return shlex.join(["eifn", *words])


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def _recipe(options: argparse.Namespace) -> Preset:
    """The preset, with what was asked for and what suits the processor."""
    names = ("weights", "precision", "batch_size", "views")
    given = {name: getattr(options, name) for name in names if getattr(options, name)}
    preset = PRESETS[options.preset]
    device = Fabric(accelerator=options.accelerator, devices=1).device
    return replace(preset, **{"precision": precision_for(preset, device), **given})


def _stage_one(options: argparse.Namespace) -> Path | None:
    """The database of stage one: as asked, or the one that goes with --database, beside it."""
    if options.stage_one == "none":
        return None
    if options.stage_one:
        return Path(options.stage_one)
    name = STAGE_ONE.get(read_database(options.database).name, "synth-oulu")
    folder = options.database.parent / name
    if not folder.is_dir():
        raise DatabaseError(
            f"{folder}: not found, and stage one trains on it; prepare it with `python -m data_prep`, "
            "or name another with --stage-one"
        )
    return folder


def _train(options: argparse.Namespace) -> None:
    recipe, other = _recipe(options), _stage_one(options)
    database, other = read_database(options.database), other and read_database(other)
    rows, test = np.arange(len(database)), None
    if options.fold is not None:
        rows, test = subject_folds(database.subjects, folds=FOLDS)[options.fold].rows(database)
    check_writable(options.out.parent)
    if options.out.is_dir():
        raise RunError(f"{options.out}: is a folder; --out names the file of the model")

    # torchrun says how many processes there are; without it there is one.
    world, local = (int(os.environ.get(name, 1)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    fabric = Fabric(
        accelerator=options.accelerator,
        devices=local,
        num_nodes=world // local,
        strategy="ddp" if world > 1 else "auto",
        precision=recipe.precision,
    )
    fabric.launch()
    trainer = Trainer(fabric)
    stages = recipe.stage_two_epochs + (recipe.stage_one_epochs if other else 0)
    history: list[Epoch] = []
    with tqdm(total=stages, desc="training", unit=" epochs", disable=not fabric.is_global_zero) as bar:

        def after_epoch(epoch: Epoch) -> None:
            history.append(epoch)
            bar.set_postfix(loss=f"{epoch.total:.3f}", expression=f"{epoch.expression:.3f}", refresh=False)
            bar.update()

        start = None
        one, two = _checkpoints(options, recipe, database, other)
        if other is not None:
            start = train_stage_one(
                trainer,
                other,
                variant=options.variant,
                preset=recipe,
                seed=options.seed,
                checkpoint=one,
                after_epoch=after_epoch,
            )
        model = train_stage_two(
            trainer,
            database,
            rows,
            start=start,
            variant=options.variant,
            preset=recipe,
            seed=derive_seed(options.seed, options.fold or 0),
            checkpoint=two,
            after_epoch=after_epoch,
        )
    outcome: dict[str, Any] = {"model": str(options.out), "history": [asdict(epoch) for epoch in history]}
    if test is not None:
        predictions = tabulate(
            database.table.iloc[test],
            trainer.predict(model, database.frames[test]),
            expressions=database.expressions,
            fold=options.fold,
        )
        outcome |= {level: asdict(summarize(predictions, level)) for level in ("frame", "sequence")}
    if not fabric.is_global_zero:
        return
    save_model(model, options.out)
    for checkpoint in (one, two):
        checkpoint.path.unlink(missing_ok=True)
    if options.json:
        print(json.dumps(without_nan(outcome), allow_nan=False))
        return
    print(f"saved {options.out}, trained on {len(rows)} frames of {database.name}")
    if test is not None:
        print(
            f"fold {options.fold}: {_percent(outcome['frame'])} of {len(test)} frames, "
            f"{_percent(outcome['sequence'])} of {outcome['sequence']['n']} sequences"
        )


def _checkpoints(
    options: argparse.Namespace, recipe: Preset, database: FaceDatabase, other: FaceDatabase | None
) -> tuple[Checkpoint, Checkpoint]:
    """One for each stage, beside the model that is to be, of this very training."""
    settings = [asdict(recipe), options.variant, options.seed, options.fold, code_sha256()]
    key = json.dumps([*settings, database.sha256, other and other.sha256])
    names = (f".{options.out.name}.stage-{stage}" for stage in ("one", "two"))
    one, two = (Checkpoint(options.out.with_name(name), key) for name in names)
    return one, two


def _crossval(options: argparse.Namespace) -> None:
    recipe, other = _recipe(options), _stage_one(options)
    if options.scheduler:  # whose workers may have been started in other folders
        options.database, options.out = options.database.resolve(), options.out.resolve()
        other = other and other.resolve()
        options.tensorboard = options.tensorboard and options.tensorboard.resolve()
    runs = [
        Run(
            database=options.database,
            stage_one=other,
            variant=variant,
            preset=options.preset,
            recipe=recipe,
            seed=options.seed,
            rule=options.folds,
            out=options.out,
            accelerator=options.accelerator,
            command=options.typed,
            tensorboard=options.tensorboard,
        )
        for variant in options.variant
    ]
    with _executor(options) as (executor, workers):
        folders = crossval(runs, executor, workers)
    outcome = report(folders)
    print(json.dumps(outcome) if options.json else render_accuracies(outcome))


@contextlib.contextmanager
def _executor(options: argparse.Namespace) -> Iterator[tuple[Executor, int]]:
    """Where the folds are trained, and how many at once."""
    if options.scheduler:
        with dask_cluster(options.scheduler) as cluster:
            yield cluster
        return
    device = Fabric(accelerator=options.accelerator, devices=1).device
    gpus = visible_gpus() if device.type == "cuda" else []
    default = torch.get_num_threads() if device.type == "cpu" else max(1, len(gpus))
    workers = options.workers or default
    with local_pool(workers, gpus) as pool:
        yield pool, workers


def _report(options: argparse.Namespace) -> None:
    outcome = report(find_runs(options.folder))
    print(json.dumps(outcome) if options.json else render(outcome))


def _percent(summary: dict[str, Any]) -> str:
    return f"{100 * summary['accuracy']:.1f} %"
