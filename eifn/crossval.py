"""The 10-fold subject-independent protocol, over any `concurrent.futures` executor, resumable.

Each variant and seed is one `Run`: a stage one, then ten folds that all start from it. What a run leaves::

    runs/<preset>/stage-one/<other database>/<variant>/seed-<n>/    model.safetensors
    runs/<preset>/<database>/<variant>/seed-<n>/fold-<nn>/          predictions.csv

each with `history.csv`, one row an epoch, and `provenance.json`: the settings that decide the outcome, the
checksums, and by which command, at which commit, when, where, how long and with which versions it was made. A
piece appears whole or not at all, so a rerun after a kill does what is missing, and goes on with a piece that
was begun from a checkpoint after its last epoch. Stage one does not depend on the database of interest: runs
that start alike share it.

Book: chapter 12, *Bigger machines*.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import heapq
import json
import logging
import math
import multiprocessing
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from filelock import FileLock, Timeout
from lightning_fabric import Fabric
from tqdm import tqdm

import eifn
from eifn import (
    augment,
    center_loss,
    cuda_graph,
    database,
    extractor,
    folds,
    fusion,
    network,
    objective,
    training,
)
from eifn.database import FaceDatabase, read_database
from eifn.device import device_name
from eifn.extractor import LAPTOP
from eifn.folds import Rule, subject_folds
from eifn.network import Variant
from eifn.paper import FOLDS
from eifn.results import read_predictions, tabulate, write_predictions
from eifn.training import (
    Checkpoint,
    Epoch,
    Preset,
    Trainer,
    derive_seed,
    load_model,
    loss_weights,
    save_model,
    train_stage_one,
    train_stage_two,
)

DECIDING = (
    augment,
    center_loss,
    cuda_graph,
    database,
    extractor,
    folds,
    fusion,
    network,
    objective,
    training,
)
"""The modules whose code decides what a training gives; its checksum is among the settings of a run."""


class RunError(ValueError):
    """A results folder that cannot be used; the message names it and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One variant with one seed."""

    database: Path
    """The prepared database of interest."""
    stage_one: Path | None
    """The other database, on which stage one trains; None leaves stage one out."""
    variant: Variant
    preset: str
    """The name of the preset, for the folder."""
    recipe: Preset
    """Its settings."""
    seed: int
    rule: Rule
    """How subjects are dealt into folds."""
    out: Path
    """The folder of all runs."""
    accelerator: str
    """Fabric's name of the device, e.g. `"auto"` or `"cpu"`."""
    command: str
    """The command that asked for it, to be told again."""
    tensorboard: Path | None = None
    """A folder for TensorBoard to watch, with the losses of every piece; None writes none."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What is trained, written and resumed as one: a stage one, or a fold."""

    run: Run
    fold: int | None
    """None is stage one."""
    folder: Path
    settings: dict[str, object]
    """All that decides the outcome."""
    start: Path | None
    """The model that a fold starts from."""
    images: int
    """How many images an epoch shows."""
    epochs: int

    @property
    def scratch(self) -> Path:
        """Where the piece is made, before it is moved to `folder` in one step."""
        return self.folder.with_name(f".{self.folder.name}")

    @property
    def checkpoint(self) -> Checkpoint:
        """What goes on from the last epoch after a kill."""
        settings = hashlib.sha256(json.dumps(self.settings).encode()).hexdigest()
        return Checkpoint(self.folder.with_name(f".{self.folder.name}.safetensors"), settings)

    def remove_checkpoint(self) -> None:
        """What is not needed once `folder` is whole, and what was left of its writing."""
        for file in self.folder.parent.glob(f"{self.checkpoint.path.name}*"):
            file.unlink(missing_ok=True)

    def finished(self) -> bool:
        """Whether `folder` holds this piece, undamaged.

        Raises:
            RunError: it holds something else.
        """
        if not self.folder.exists():
            return False
        provenance = read_provenance(self.folder)
        differing = _difference(provenance["settings"], self.settings)
        if differing:
            raise RunError(
                f"{self.folder}: was made with other settings ({differing}); "
                "choose another --out, or remove that folder"
            )
        return not _damaged(self.folder, provenance)

    def shown(self) -> int:
        """How many images it has trained on so far."""
        for folder in (self.folder, self.scratch):
            with contextlib.suppress(OSError):
                rows = (folder / "history.csv").read_bytes().count(b"\n") - 1
                return self.images * max(rows, 0)
        return 0


def plan(run: Run) -> list[Piece]:
    """The pieces of a run: stage one, if there is one, and the ten folds.

    Raises:
        DatabaseError: a database is missing, malformed or damaged.
        RunError: stage one would see the test subjects.
        FoldError: fewer than ten subjects.
    """
    faces = read_database(run.database)

    def settings(database: FaceDatabase, views: int) -> dict[str, object]:
        return {
            "database": _identity(database),
            "variant": run.variant.value,
            "preset": {
                **asdict(run.recipe),
                "weights": _weights_identity(run.recipe.weights),
                "views": views,
            },
            "loss_weights": asdict(loss_weights(database)),
            "seed": run.seed,
            "eifn": eifn.__version__,
            "code": code_sha256(),
        }

    pieces, start, stage_one = [], None, None
    stage_one_views, stage_two_views = run.recipe.stage_one_views, run.recipe.stage_two_views(faces)
    if run.stage_one is not None:
        other = read_database(run.stage_one)
        if other.sha256 == faces.sha256:
            raise RunError(
                f"{run.stage_one}: stage one would train on the test subjects; give it another database"
            )
        stage_one = settings(other, stage_one_views)
        folder = run.out / run.preset / "stage-one" / other.name / run.variant / f"seed-{run.seed}"
        start = folder / "model.safetensors"
        pieces.append(
            Piece(
                run=run,
                fold=None,
                folder=folder,
                settings=stage_one,
                start=None,
                images=len(other) * stage_one_views,
                epochs=run.recipe.stage_one_epochs,
            )
        )
    for number, fold in enumerate(subject_folds(faces.subjects, folds=FOLDS, rule=run.rule)):
        folder = run.out / run.preset / faces.name / run.variant / f"seed-{run.seed}"
        pieces.append(
            Piece(
                run=run,
                fold=number,
                folder=folder / f"fold-{number:02d}",
                settings={
                    **settings(faces, stage_two_views),
                    "folds": {"rule": run.rule, "of": FOLDS, "fold": number},
                    "stage_one": stage_one,
                },
                start=start,
                images=len(fold.rows(faces)[0]) * stage_two_views,
                epochs=run.recipe.stage_two_epochs,
            )
        )
    return pieces


def crossval(runs: Sequence[Run], executor: Executor, workers: int) -> list[Path]:
    """Carry out runs, or what is missing of them, with a bar on stderr that counts training images.

    Args:
        runs: they share the executor, so that one run's folds fill the gaps of another.
        executor: where the work is done; its workers see the same files under the same paths.
        workers: how many pieces it trains at once, for the time left.

    Returns:
        The folder of each run, with its ten folds.

    Raises:
        DatabaseError: a database is missing, malformed or damaged.
        RunError: a results folder cannot be written or holds something else, or stage one would see the test
            subjects.
        WeightsError: the extractors' starting weights cannot be had.
        Divergence: a loss became NaN or infinite; the folds that are finished stay.
        OutOfMemory: a batch does not fit into the memory of the device.
    """
    plans = [plan(run) for run in runs]
    todo = [[piece for piece in pieces if not piece.finished()] for pieces in plans]
    every = [piece for pieces in plans for piece in pieces]
    for run in runs:
        check_writable(run.out)
    left = {id(piece) for pieces in todo for piece in pieces}
    for piece in every:
        if id(piece) not in left:
            piece.remove_checkpoint()  # of a process that was killed right after its last step
    before = shown = sum(piece.shown() for piece in every)
    bar = tqdm(
        desc="training",
        total=sum(piece.images * piece.epochs for piece in every),
        initial=before,
        unit=" images",
        unit_scale=True,
        smoothing=0,  # the speed of the whole, not of the last second
        mininterval=0.5 if sys.stderr.isatty() else 30,
        # Not tqdm's time left, for which a stage one that one worker trains alone goes on at that speed.
        bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}, {rate_fmt}{postfix}]",
    )
    busy = 0.0  # seconds, of all workers

    def tell() -> None:
        counts = []
        if left and shown > before:
            seconds = images_left(plans, workers) * busy / (shown - before)
            counts.append(f"about {tqdm.format_interval(seconds)} left")
        for title, of_title in (
            ("stage one", lambda p: p.fold is None),
            ("folds", lambda p: p.fold is not None),
        ):
            those = [id(piece) for piece in every if of_title(piece)]
            if those:
                counts.append(f"{title} {len(those) - len(left.intersection(those))} of {len(those)}")
        bar.set_postfix_str(", ".join(counts), refresh=False)

    futures: dict[Future[None], tuple[Piece, list[Piece]]] = {}

    def submit(pieces: list[Piece]) -> None:
        """What can start now; a stage one holds back the folds behind it."""
        ready = 1 if pieces and pieces[0].fold is None else len(pieces)
        for i, piece in enumerate(pieces[:ready]):
            futures[executor.submit(carry_out, piece)] = piece, pieces[ready:] if i == 0 else []

    try:
        tell()
        for pieces in todo:
            submit(pieces)
        while futures:
            since, at_work = time.monotonic(), min(workers, len(futures))
            done, _ = wait(futures, timeout=0.5, return_when=FIRST_COMPLETED)
            busy += at_work * (time.monotonic() - since)
            for future in done:
                piece, behind = futures.pop(future)
                future.result()
                left.remove(id(piece))
                submit(behind)
            told, shown = shown, sum(piece.shown() for piece in every)
            tell()
            bar.update(shown - told)
    finally:
        bar.close()
        for future in futures:
            future.cancel()
    return [pieces[-1].folder.parent for pieces in plans]


def images_left(plans: Sequence[Sequence[Piece]], workers: int) -> int:
    """How many images the worker that ends last has still to train on, if all workers are as fast.

    Pieces are dealt out as the executor does: in turn, each to the worker that is free first; stages one come
    before folds, and a run's folds wait for its stage one.
    """
    free = [0] * workers  # a heap: after how many images each is
    behind = []
    for pieces in plans:
        left = [piece.images * piece.epochs - piece.shown() for piece in pieces]
        ready = 0
        if pieces[0].fold is None:
            ready = heapq.heappop(free) + left.pop(0)
            heapq.heappush(free, ready)
        behind.append((ready, left))
    for ready, left in sorted(behind):
        for images in left:
            heapq.heappush(free, max(ready, heapq.heappop(free)) + images)
    return max(free)


def check_writable(folder: Path) -> None:
    """Make a folder and try to write in it, before hours of work are meant to end there.

    Raises:
        RunError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror}); choose another --out") from None


def carry_out(piece: Piece) -> None:
    """Train a piece and write it, unless it is there already. Runs in a worker.

    One process at a time works on a piece, whoever started it; the others say that they wait, then find it
    done.

    Raises: see `crossval`.
    """
    piece.folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(piece.folder.with_name(f".{piece.folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{piece.folder}: another command is at work on it; waiting for that", file=sys.stderr)
        lock.acquire()
    try:
        if piece.finished():
            piece.remove_checkpoint()
            return
        shutil.rmtree(piece.scratch, ignore_errors=True)  # of a process that was killed
        piece.scratch.mkdir()
        try:
            _make(piece)
        except BaseException:
            shutil.rmtree(piece.scratch, ignore_errors=True)
            raise
        shutil.rmtree(piece.folder, ignore_errors=True)  # a damaged one
        piece.scratch.rename(piece.folder)
        piece.remove_checkpoint()
    finally:
        lock.release()


def _make(piece: Piece) -> None:
    """Train a piece and write it to its scratch folder."""
    run = piece.run
    started, clock = datetime.now(UTC), time.monotonic()
    commit, resumed = _commit(), piece.checkpoint.path.exists()
    trainer = Trainer(Fabric(accelerator=run.accelerator, devices=1, precision=run.recipe.precision))
    with history_file(piece.scratch / "history.csv") as add_row, event_file(piece) as add_events:

        def after_epoch(epoch: Epoch) -> None:
            add_row(epoch)
            add_events(epoch)

        if piece.fold is None:
            model = train_stage_one(
                trainer,
                read_database(run.stage_one),
                variant=run.variant,
                preset=run.recipe,
                seed=run.seed,
                checkpoint=piece.checkpoint,
                after_epoch=after_epoch,
            )
            save_model(model, piece.scratch / "model.safetensors")
        else:
            faces = read_database(run.database)
            fold = subject_folds(faces.subjects, folds=FOLDS, rule=run.rule)[piece.fold]
            train, test = fold.rows(faces)
            model = train_stage_two(
                trainer,
                faces,
                train,
                start=None if piece.start is None else load_model(piece.start),
                variant=run.variant,
                preset=run.recipe,
                seed=derive_seed(run.seed, piece.fold),
                checkpoint=piece.checkpoint,
                after_epoch=after_epoch,
            )
            predictions = tabulate(
                faces.table.iloc[test],
                trainer.predict(model, faces.frames[test]),
                expressions=faces.expressions,
                fold=piece.fold,
            )
            write_predictions(piece.scratch / "predictions.csv", predictions)
    provenance = {
        "settings": piece.settings,
        "sha256": {file.name: _sha256(file) for file in sorted(piece.scratch.iterdir())},
        "made": {
            "command": run.command,
            "commit": commit,
            "resumed": resumed,
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - clock, 1),
            "device": device_name(trainer.fabric.device),
            "threads": torch.get_num_threads(),
            "platform": platform.platform(),
            "versions": {
                "python": platform.python_version(),
                **{name: metadata.version(name) for name in ("torch", "torchvision", "numpy")},
            },
        },
    }
    (piece.scratch / "provenance.json").write_text(json.dumps(provenance, indent=2) + "\n", "utf-8")


@contextlib.contextmanager
def history_file(path: Path) -> Iterator[Callable[[Epoch], None]]:
    """A CSV that grows by a row an epoch, so that it can be watched."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Epoch)], lineterminator="\n")
        writer.writeheader()

        def after_epoch(epoch: Epoch) -> None:
            writer.writerow(asdict(epoch))
            file.flush()

        yield after_epoch


@contextlib.contextmanager
def event_file(piece: Piece) -> Iterator[Callable[[Epoch], None]]:
    """The same for TensorBoard, if it is asked for.

    Raises:
        RunError: TensorBoard is not installed.
    """
    if piece.run.tensorboard is None:
        yield lambda epoch: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise RunError(
            "--tensorboard: not installed; `pip install 'eifn[tensorboard]'`, or leave it out"
        ) from None
    folder = piece.run.tensorboard / piece.folder.relative_to(piece.run.out)
    # What a killed process wrote is shown once: this one tells all epochs again from the first.
    with SummaryWriter(str(folder), purge_step=1) as writer:

        def after_epoch(epoch: Epoch) -> None:
            for name, value in asdict(epoch).items():
                if name != "epoch" and not math.isnan(value):
                    writer.add_scalar(name, value, epoch.epoch)

        yield after_epoch


def read_provenance(folder: Path) -> dict[str, Any]:
    """What `provenance.json` of a stage one or a fold says.

    Raises:
        RunError: there is none that can be read.
    """
    try:
        provenance = json.loads((folder / "provenance.json").read_text("utf-8"))
        provenance["settings"], provenance["sha256"], provenance["made"]
    except (OSError, ValueError, KeyError, TypeError):
        raise RunError(
            f"{folder / 'provenance.json'}: not to be read, so this is no result of `eifn crossval`; "
            "choose another folder, or remove this one"
        ) from None
    return provenance


def read_fold(folder: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """The settings of a finished fold, and its predictions (see `eifn.results`).

    Raises:
        RunError: not a finished fold, or a file of it is damaged.
        ResultsError: it holds impossible predictions.
    """
    provenance = read_provenance(folder)
    for file in _damaged(folder, provenance):
        raise RunError(f"{folder / file}: missing or damaged; the command that made it makes it again")
    return provenance["settings"], read_predictions(folder / "predictions.csv")


@contextlib.contextmanager
def local_pool(workers: int, gpus: Sequence[str] = ()) -> Iterator[ProcessPoolExecutor]:
    """Processes on this machine, which share its cores and end when this one does, however it ends.

    Args:
        workers: how many.
        gpus: what CUDA_VISIBLE_DEVICES calls the GPUs to use; workers take turns at them, so there may be
            several on one.
    """
    threads = max(1, torch.get_num_threads() // workers)
    context = multiprocessing.get_context("spawn")  # forked processes cannot use CUDA
    deal = context.SimpleQueue()
    for worker in range(workers):
        deal.put(gpus[worker % len(gpus)] if gpus else None)
    with ProcessPoolExecutor(workers, context, _start_worker, (threads, deal)) as pool:
        try:
            yield pool
        except BaseException:
            # What runs now would run to its end first: an epoch is lost, not a fold waited for.
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def visible_gpus() -> list[str]:
    """The GPUs that PyTorch may use, as CUDA_VISIBLE_DEVICES calls them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return [named[i] if named[0] else str(i) for i in range(torch.cuda.device_count())]


@contextlib.contextmanager
def dask_cluster(address: str) -> Iterator[tuple[Executor, int]]:
    """A Dask cluster that is running, whose workers have this package and see the same files.

    A task whose worker dies is given to another one, which goes on from the last epoch.

    Args:
        address: of its scheduler, e.g. `"tcp://10.0.0.1:8786"`.

    Yields:
        The cluster, and how many tasks it does at once by now: workers may come and go.

    Raises:
        RunError: Dask is not installed, or no scheduler answers there.
        BrokenExecutor: worker after worker was killed by the same piece.
    """
    try:
        from distributed import Client, KilledWorker
    except ImportError:
        raise RunError("--scheduler: Dask is not installed; `pip install 'eifn[cluster]'`") from None
    try:
        client = Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise RunError(
            f"{address}: no Dask scheduler answers there ({error}); see `dask scheduler`"
        ) from None
    with client:
        executor = client.get_executor()
        try:
            yield executor, max(1, sum(client.nthreads().values()))
        except KilledWorker:
            raise BrokenExecutor from None
        finally:
            executor.shutdown(wait=False)


def _start_worker(threads: int, deal: multiprocessing.SimpleQueue) -> None:
    gpu = deal.get()
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    torch.set_num_threads(threads)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the main process decides
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _damaged(folder: Path, provenance: dict[str, Any]) -> list[str]:
    """The files that are not what they were when the piece was made."""
    return [
        file
        for file, sha256 in provenance["sha256"].items()
        if not (folder / file).is_file() or _sha256(folder / file) != sha256
    ]


def _identity(faces: FaceDatabase) -> dict[str, str]:
    return {"name": faces.name, "sha256": faces.sha256}


def _weights_identity(source: str) -> str:
    """A file of weights is what is in it, not where it lies."""
    file = LAPTOP if source == "laptop" else Path(source)
    return _sha256(file) if file.is_file() else source


def code_sha256() -> str:
    """One checksum for the code of all `DECIDING` modules."""
    return hashlib.sha256(b"".join(Path(module.__file__).read_bytes() for module in DECIDING)).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _commit() -> str | None:
    """The commit of this package's checkout, `-dirty` if files were changed since; None outside of one."""
    git = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--abbrev=40",
        "--dirty",
        "--exclude=*",
    ]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    return None


def _difference(theirs: Any, ours: Any, name: str = "") -> str:
    """The first setting that differs, as `name: theirs, not ours`; empty if none does."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in [*ours, *theirs]:
            found = _difference(theirs.get(key), ours.get(key), f"{name}.{key}".lstrip("."))
            if found:
                return found
        return ""
    return "" if theirs == ours else f"{name}: {str(theirs)[:16]}, not {str(ours)[:16]}"
