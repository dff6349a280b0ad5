"""What the benchmarks share: clocks that compare in one run, memory, the machine, how a result is printed."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torchvision
from lightning_fabric import Fabric
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torchvision.models.vgg import make_layers

from eifn import paper
from eifn.crossval import Run, crossval, local_pool, plan
from eifn.database import COLUMNS, SIZE, FaceDatabase, write_database
from eifn.device import device_name, precision_for
from eifn.extractor import STAGES
from eifn.network import EIFN, Variant
from eifn.training import PRESETS, Checkpoint, Epoch, Preset, Trainer, loss_weights

# Taken at the start: a benchmark adds its own threads to it.
LOAD_BEFORE = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else "unknown"

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # PyTorch's profiler tells stderr that there is no GPU


def options_of(description: str) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has; it answers a wrong one with one line."""
    parser = argparse.ArgumentParser(
        usage=argparse.SUPPRESS,  # the description shows it
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--accelerator", choices=["auto", "cpu", "cuda"], default="auto", help="default: %(default)s"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    return parser


def add_precision(parser: argparse.ArgumentParser) -> None:
    """The option for the number format of a training."""
    parser.add_argument(
        "--precision",
        choices=["32-true", "bf16-mixed"],
        help="number format of the training (default: what `eifn` chooses for this preset and device)",
    )


def positive(text: str) -> int:
    """The type of an option that counts something."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def fabric_for(accelerator: str, precision: str = "32-true") -> Fabric:
    """One device, as `eifn` would choose it; ends the program if there is none of that kind."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    if accelerator == "cuda" and not torch.cuda.is_available():
        print("error: --accelerator cuda, and PyTorch finds no CUDA device here", file=sys.stderr)
        raise SystemExit(2)
    return Fabric(accelerator=accelerator, devices=1, precision=precision)


def preset_for(name: str, options: argparse.Namespace) -> Preset:
    """A preset in the number format that was asked for, or in that which `eifn` chooses for the device."""
    device = fabric_for(options.accelerator).device
    return replace(PRESETS[name], precision=options.precision or precision_for(PRESETS[name], device))


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """How long a call takes, with all that it left the device to do."""
    _wait(device)
    start = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - start


def in_turns(
    sides: Mapping[str, Callable[[], object]], *, rounds: int, device: torch.device
) -> dict[str, np.ndarray]:
    """Seconds of every side in every round: (rounds,) each, after a round of warm-up that is not kept.

    The sides take turns, so that a machine that grows busy or hot slows all of them.
    """
    times = [[seconds(run, device) for run in sides.values()] for _ in range(rounds + 1)]
    return dict(zip(sides, np.array(times[1:]).T, strict=True))


def epochs_in_turns(
    fit: Callable[[int, Callable[[Epoch], None]], None],
    *rivals: Callable[[], object],
    rounds: int,
    device: torch.device,
) -> tuple[np.ndarray, ...]:
    """Seconds of the epochs of one training, and of rivals that run between them: (rounds,) each.

    What `Trainer.fit` does once, before its first epoch, falls into the round of warm-up.

    Args:
        fit: trains for the epochs of its first argument, and calls its second after each.
        rivals: each is called after each epoch.
        rounds: how many are kept.
        device: where all run.
    """
    times = []
    start = time.perf_counter()

    def after_epoch(_: Epoch) -> None:
        nonlocal start
        _wait(device)
        own = time.perf_counter() - start
        times.append([own, *(seconds(rival, device) for rival in rivals)])
        start = time.perf_counter()

    fit(rounds + 1, after_epoch)
    return tuple(np.array(times[1:]).T)


def peak_megabytes(run: Callable[[], object], device: torch.device) -> float:
    """The most that the tensors of a call take at a time, beyond those that were there before it.

    On CUDA by PyTorch's allocator; on the CPU by the profiler's log of every tensor made and freed, which
    leaves out the scratch space of the libraries beneath.
    """
    if device.type == "cuda":
        _wait(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        _wait(device)
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as log:
        run()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "trace.json")
        log.export_chrome_trace(str(file))
        events = json.loads(file.read_text("utf-8"))["traceEvents"]
    changes = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e["name"] == "[memory]")
    return max(np.cumsum([size for _, size in changes])) / 1e6


def spread(values: np.ndarray, name: str, *, digits: int = 3) -> dict[str, Any]:
    """Columns of a row: the median and the quartiles of `values`, to some significant digits, and n."""
    low, median, high = (float(f"{v:.{digits}g}") for v in np.percentile(values, [25, 50, 75]))
    return {name: median, "IQR": f"{low:g}-{high:g}", "n": len(values)}


def random_faces(images: int, like: paper.Evaluation = paper.CK_PLUS) -> FaceDatabase:
    """Noise in place of faces, of as many people and expressions as a database of the paper has.

    What a step costs does not depend on what is seen.

    The noise is faint, since a network without pre-training diverges on strong contrasts that mean nothing.
    """
    generator = np.random.default_rng(0)
    subjects, expressions = like.subjects, like.expressions
    rows = [
        (f"S{i % subjects:03d}", f"{i // subjects}", 0, expressions[i % len(expressions)], "")
        for i in range(images)
    ]
    return FaceDatabase(
        name="noise",
        expressions=expressions,
        frames=generator.integers(115, 135, (images, SIZE, SIZE, 3), dtype=np.uint8),
        table=pd.DataFrame(rows, columns=list(COLUMNS)),
        licence="CC0 1.0",
        citation="noise",
        made_by="benchmarks",
    )


def plain_trunk(width: float) -> nn.Sequential:
    """VGG-16 up to the last max-pool, of torchvision's layers and started like ours."""
    plan = [channels for stage in STAGES for channels in (*(int(full * width) for full in stage), "M")]
    layers = make_layers(plan)
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return layers


def write_faces(faces: FaceDatabase, folder: Path) -> Path:
    """Write a database to a new folder."""
    return write_database(
        folder,
        name=faces.name,
        frames=faces.frames,
        table=faces.table,
        expressions=faces.expressions,
        licence=faces.licence,
        citation=faces.citation,
        made_by=faces.made_by,
    )


def fit(
    trainer: Trainer,
    faces: FaceDatabase,
    preset: Preset,
    epochs: int,
    after_epoch: Callable[[Epoch], None] = lambda epoch: None,
    *,
    variant: Variant = Variant.EIFN,
    identities: int | None = None,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Train a new EIFN by `Trainer.fit`, on all of a database, with one view of each image an epoch.

    Args:
        trainer: the device.
        faces: the database.
        preset: what is taken from it are width, batch size and clipping.
        epochs: how many.
        after_epoch: see `Trainer.fit`.
        variant: of the network.
        identities: how many people it tells apart, if more than those in the database.
        checkpoint: see `Trainer.fit`.
    """
    torch.manual_seed(0)
    people, expressions = identities or len(faces.subjects), len(faces.expressions)
    model = EIFN(people, expressions, variant=variant, width=preset.width)
    trainer.fit(
        model,
        faces,
        np.arange(len(faces)),
        weights=loss_weights(faces),
        epochs=epochs,
        drop_every=None,
        views=1,
        batch_size=preset.batch_size,
        clip=preset.clip,
        seed=0,
        checkpoint=checkpoint,
        after_epoch=after_epoch,
    )


@contextlib.contextmanager
def cross_validation(
    recipe: Preset, images: int, workers: int, accelerator: str
) -> Iterator[tuple[Callable[[], None], int]]:
    """A cross-validation of ten folds and three epochs, to be carried out as often as one likes.

    The workers are there before it is called; what their start takes is in `benchmarks.protocol`.

    Args:
        recipe: of the training; it starts from He's initialization.
        images: in the database.
        workers: processes, which share the threads.
        accelerator: what they train on.

    Yields:
        What carries it out once more, and how many images are shown in that.
    """
    with tempfile.TemporaryDirectory() as folder, local_pool(workers) as pool:
        run = Run(
            database=write_faces(random_faces(images), Path(folder, "noise")),
            stage_one=None,
            variant=Variant.EIFN,
            preset="benchmark",
            recipe=replace(recipe, weights="none", stage_two_epochs=3),
            seed=0,
            rule="interleaved",
            out=Path(folder, "runs"),
            accelerator=accelerator,
            command="python -m benchmarks",
        )

        def carry_out() -> None:
            shutil.rmtree(run.out, ignore_errors=True)
            with contextlib.redirect_stderr(io.StringIO()):  # a bar for each would drown the table
                crossval([run], pool, workers)

        yield carry_out, sum(piece.images * piece.epochs for piece in plan(run))


def print_result(
    question: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    ratio: float,
    ratio_of: str,
    device: torch.device,
    as_json: bool,
    notes: Sequence[str] = (),
) -> None:
    """Print a result, as a table or as one JSON object that holds the same."""
    result = {
        "question": question,
        "ratio": float(f"{ratio:.3g}"),
        "ratio_of": ratio_of,
        "rows": [dict(row) for row in rows],
        "notes": list(notes),
        "machine": machine(device),
    }
    if as_json:
        print(json.dumps(result))
        return
    print(question)
    print(", ".join(f"{name} {value}" for name, value in result["machine"].items()))
    table = pd.DataFrame(result["rows"])
    print(table.to_string(index=False, na_rep="", float_format="{:.15g}".format))
    for note in result["notes"]:
        print(note)
    print(f"ratio {result['ratio']:g}: {ratio_of}")


def machine(device: torch.device) -> dict[str, Any]:
    """The device, what it is driven by, and how busy the machine was before."""
    return {
        "device": device_name(device),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "load before": LOAD_BEFORE,
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
