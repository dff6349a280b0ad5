"""From a list of photographs to a prepared database: what all sources of photographs have in common.

Each photograph is read, its eyes are found where the source does not give them, and its face is cut out, on
all cores. What is done is kept in a hidden folder `.NAME.partial` beside the database until that is complete,
so that a run that was interrupted or killed goes on where it was.

Book: chapter 11, *Real faces, your faces*.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from data_prep import align
from data_prep.align import EyesNotFound, Point, SourceError, align_face, find_eyes, read_image
from eifn.database import COLUMNS, write_database

LISTED = 20
"""So many failures are named; the others are counted."""

FEW = 32
"""So many photographs are done sooner by one process than others are started."""

MARGIN = 0.15
"""How far found eyes may be from where a person marked them, in distances of the eyes."""


@dataclass(frozen=True)
class Photograph:
    """A photograph that is to become a frame: its row of the database, where it is, and its eyes."""

    subject: str
    sequence: str
    position: int
    expression: str
    source: str
    path: Path
    eyes: tuple[Point, Point] | None = None
    """The pupils on the left and on the right of the image, in its pixels; None: they have to be found."""
    marked: tuple[Point, Point] | None = None
    """Where somebody marked the eyes that have to be found: a check."""


class _Cut(NamedTuple):
    """What became of a photograph: its frame and where the eyes were, or why there is none."""

    frame: np.ndarray | None = None
    eyes: np.ndarray | None = None
    failure: str = ""
    eyes_not_found: bool = False


def write_photographs(
    out: str | os.PathLike[str],
    photographs: Sequence[Photograph],
    *,
    failures: Sequence[str] = (),
    on_failure: str,
    name: str,
    expressions: Sequence[str],
    licence: str,
    citation: str,
    made_by: str,
) -> Path:
    """Cut the face out of every photograph and write the database.

    A photograph in which no eyes are found takes the mean of those found in its sequence, in photographs of
    the same size. Such photographs are named on stderr, and so are those left out.

    Args:
        out: the database to write.
        photographs: in the order of the frames.
        failures: what has failed before: a line each, with the file and the reason.
        on_failure: `"error"`, or `"skip"` to leave out what fails.
        name, expressions, licence, citation, made_by: as `write_database` takes them.

    Returns:
        `out`.

    Raises:
        SourceError: some failed and `on_failure` is `"error"`, or all failed; the message names them.
        DatabaseError, OSError: `out` holds something else or cannot be written.
    """
    partial = partial_folder(out)
    try:
        cuts = _borrow_eyes(photographs, list(_cut_all(photographs, partial, name)))
        failed = [*failures, *(cut.failure for cut in cuts if cut.failure)]
        done = [(photograph, cut.frame) for photograph, cut in zip(photographs, cuts, strict=True)]
        done = [(photograph, frame) for photograph, frame in done if frame is not None]
        if failed and (on_failure == "error" or not done):
            raise SourceError(_refusal(failed, skippable=bool(done)))
        if failed:
            note("left out", failed)
        written = write_database(
            out,
            name=name,
            frames=np.stack([frame for _, frame in done]),
            table=pd.DataFrame(
                [[getattr(p, column) for column in COLUMNS] for p, _ in done], columns=COLUMNS
            ),
            expressions=expressions,
            licence=licence,
            citation=citation,
            made_by=made_by,
        )
    except SourceError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(partial, ignore_errors=True)
    return written


def partial_folder(out: str | os.PathLike[str]) -> Path:
    """Where the frames of a database wait until all are done."""
    place = Path(os.path.realpath(out))
    return place.with_name(f".{place.name}.partial")


def _cut_all(photographs: Sequence[Photograph], partial: Path, name: str) -> Iterator[_Cut]:
    """What became of each photograph, in their order."""
    version = _version()
    kept = [partial / f"{_key(photograph, version)}.npz" for photograph in photographs]
    before = {file: cut for file in kept if (cut := _load(file))}
    todo = [
        (photograph, file) for photograph, file in zip(photographs, kept, strict=True) if file not in before
    ]
    if before:
        print(f"going on: {len(before)} of {len(photographs)} photographs are done already", file=sys.stderr)
    with tqdm(total=len(photographs), initial=len(before), desc=name, unit="photograph") as progress:
        pool = None
        if len(todo) > FEW:
            # Not forked: threads of OpenCV or torch in this process would be missing in its copies.
            context = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(_cores(), mp_context=context, initializer=_begin)
        try:
            new = (
                pool.map(_cut, *zip(*todo, strict=True), chunksize=4)
                if pool
                else (_cut(*job) for job in todo)
            )
            for file in kept:
                if file in before:
                    yield before[file]
                else:
                    yield next(new)
                    progress.update()
        except BrokenProcessPool:
            raise OSError(
                f"{partial}: a process was killed, perhaps for lack of memory; "
                "the same command goes on from there"
            ) from None
        except OSError as error:
            raise OSError(f"{partial}: cannot be written ({error.strerror or error})") from error
        finally:
            if pool:
                pool.shutdown(cancel_futures=True)


def _cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin() -> None:
    """At the start of a process of the pool: leave Ctrl-C to the one that started it, and end with that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)

    def end_with_parent() -> None:
        wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _cut(photograph: Photograph, file: Path) -> _Cut:
    """Cut one face out, and keep it in `file`."""
    try:
        image = read_image(photograph.path)
        eyes = photograph.eyes or find_eyes(image)
        if not ((np.array(eyes) > -0.5) & (np.array(eyes) < np.array(image.shape[1::-1]) - 0.5)).all():
            raise ValueError(f"its eyes, {eyes}, lie outside the image; are they given in its pixels?")
        if photograph.marked:
            off = np.linalg.norm(np.subtract(eyes, photograph.marked), axis=1).max()
            if not off <= MARGIN * np.linalg.norm(np.subtract(*photograph.marked)):
                raise ValueError(
                    "the eyes found are not where its template has them; get the original size of both again"
                )
        cut = _Cut(align_face(image, *eyes), np.array(eyes))
    except SourceError as error:
        return _Cut(failure=str(error))
    except ValueError as error:
        return _Cut(failure=f"{photograph.path}: {error}", eyes_not_found=isinstance(error, EyesNotFound))
    file.parent.mkdir(parents=True, exist_ok=True)
    scratch = file.with_suffix(f".{os.getpid()}")
    with scratch.open("wb") as opened:
        np.savez(opened, frame=cut.frame, eyes=cut.eyes)
    scratch.replace(file)
    return cut


def _version() -> str:
    """Changes with the code that cuts."""
    return hashlib.sha256(Path(align.__file__).read_bytes()).hexdigest()


def _key(photograph: Photograph, version: str) -> str:
    """Changes with the file and with all that decides what is cut out of it."""
    try:
        stat = photograph.path.stat()
    except OSError:  # reading it will say so
        return "missing"
    what = (
        os.path.realpath(photograph.path),
        stat.st_size,
        stat.st_mtime_ns,
        photograph.eyes,
        photograph.marked,
    )
    return hashlib.sha256(f"{version}{what}".encode()).hexdigest()


def _load(file: Path) -> _Cut | None:
    try:
        with np.load(file) as kept:  # never unpickles
            return _Cut(kept["frame"], kept["eyes"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _borrow_eyes(photographs: Sequence[Photograph], cuts: list[_Cut]) -> list[_Cut]:
    """Cut faces whose eyes were not found by those of their sequence, and name them on stderr."""
    sequences = defaultdict(list)
    for i, photograph in enumerate(photographs):
        sequences[photograph.subject, photograph.sequence].append(i)
    borrowed = []
    for i, (photograph, cut) in enumerate(zip(photographs, cuts, strict=True)):
        if not cut.eyes_not_found:
            continue
        others = [j for j in sequences[photograph.subject, photograph.sequence] if cuts[j].eyes is not None]
        image = read_image(photograph.path) if others else None
        eyes = [cuts[j].eyes for j in others if read_image(photographs[j].path).shape == image.shape]
        if eyes:
            cuts[i] = _Cut(align_face(image, *np.mean(eyes, axis=0).tolist()))
            borrowed.append(f"{photograph.path}")
    if borrowed:
        note("no eyes found, aligned by those of the other frames of the sequence", borrowed)
    return cuts


def note(what: str, which: Sequence[str]) -> None:
    """Name on stderr what is not as expected, if anything is."""
    if which:
        print(f"note: {what} ({len(which)}): {', '.join(which)}", file=sys.stderr)


def _refusal(failed: list[str], *, skippable: bool) -> str:
    """The message about what has failed, which names at most `LISTED`."""
    skip = "--on-failure skip" if skippable else ""
    if len(failed) == 1:
        return failed[0] + (skip and f"; or leave it out with {skip}")
    heading = f"{len(failed)} photographs failed" + (skip and f"; mend them, or leave them out with {skip}")
    more = [f"and {len(failed) - LISTED} more"] if len(failed) > LISTED else []
    return "\n  ".join([f"{heading}:", *failed[:LISTED], *more])
