import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from drawn_photographs import draw, place
from PIL import Image

import data_prep.photographs
from data_prep.__main__ import main
from data_prep.photographs import FEW, LISTED, Photograph, partial_folder, write_photographs
from eifn.database import read_database

COUNT = 3 * FEW


@pytest.fixture
def photographs(tmp_path):
    """A CSV file of more photographs than one process does alone, all of them the last of their sequence."""
    folder = tmp_path / "in"
    folder.mkdir()
    with (folder / "faces.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "subject", "sequence", "frame", "expression"])
        for number in range(COUNT):
            image, _ = place(draw(3, "happiness"), middle=(120 + number % 80, 100), scale=0.5)
            Image.fromarray(image).save(folder / f"{number:03d}.png")
            rows.writerow([f"{number:03d}.png", f"S{number:03d}", "1", "1", "happiness"])
    return folder


def arguments(folder, out):
    manifest = str(folder / "faces.csv")
    return ["csv", "--manifest", manifest, "--name", "mine", "--licence", "mine", "--out", str(out)]


def start(folder, out):
    return subprocess.Popen(
        [sys.executable, "-m", "data_prep", *arguments(folder, out)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=Path(__file__).parents[1],
    )


def done(out):
    return sorted(partial_folder(out).glob("*.npz"))


def wait_for(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited for half a minute")


def end_of_all(process):
    """What was written on stderr, once all have closed it that the process started."""
    try:
        return process.communicate(timeout=30)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError("some that it started go on") from None


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_after_kill_9_the_same_command_goes_on(photographs, tmp_path, capsys):
    assert main(arguments(photographs, tmp_path / "whole")) == 0
    out = tmp_path / "out"
    process = start(photographs, out)
    wait_for(lambda: len(done(out)) >= 10)
    process.kill()
    end_of_all(process)  # those that it started end by themselves
    finished = len(done(out))
    assert 10 <= finished < COUNT
    assert not out.exists()
    # Whatever is read again now comes out damaged: nothing of what is finished may be.
    for file in photographs.glob("*.png"):
        shutil.copy2(file, tmp_path / file.name)
    order = sorted(photographs.glob("*.png"))
    keys = {file: partial_folder(out) / f"{key(file)}.npz" for file in order}
    spoilt = [file for file in order if keys[file].is_file()]
    assert len(spoilt) == finished
    for file in spoilt:
        before = file.stat()
        file.write_bytes(bytes(before.st_size))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert main(arguments(photographs, out)) == 0
    assert f"going on: {finished} of {COUNT} photographs are done already\n" in capsys.readouterr().err
    for file in ("frames.npy", "frames.csv", "database.json"):
        assert (out / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert not partial_folder(out).exists()


def key(file):
    return data_prep.photographs._key(Photograph("", "", 0, "", "", file), data_prep.photographs._version())


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_says_so(photographs, tmp_path, capsys):
    out = tmp_path / "out"
    process = start(photographs, out)
    wait_for(lambda: len(done(out)) >= 10)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    errors = end_of_all(process)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert errors.splitlines()[-1] == (
        f"interrupted; {partial_folder(out)} keeps what is done: the same command goes on from there"
    )
    assert not out.exists()
    assert done(out)
    assert main(arguments(photographs, out)) == 0
    assert "going on: " in capsys.readouterr().err
    assert len(read_database(out)) == COUNT
    assert not partial_folder(out).exists()


def some(folder, count=3):
    """Photographs of one sequence."""
    files = [folder / f"{number:03d}.png" for number in range(count)]
    return [
        Photograph("S1", "1", count - 1 - number, "fear", file.name, file)
        for number, file in enumerate(files)
    ]


ABOUT = {"name": "x", "expressions": ("fear",), "licence": "x", "citation": "x", "made_by": "x"}


def interrupted_after(count, monkeypatch):
    """Ctrl-C comes after so many photographs."""
    cut, left = data_prep.photographs._cut, iter(range(count))

    def cut_some(*job):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return cut(*job)

    monkeypatch.setattr(data_prep.photographs, "_cut", cut_some)


@pytest.mark.parametrize("change", ["nothing", "content", "eyes", "damage"])
def test_what_is_kept_is_used_only_if_nothing_has_changed(photographs, tmp_path, monkeypatch, capsys, change):
    jobs, out = some(photographs), tmp_path / "out"
    with monkeypatch.context() as patch:
        interrupted_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            write_photographs(out, jobs, on_failure="error", **ABOUT)
    assert len(done(out)) == 2
    if change == "content":
        shutil.copy(photographs / "050.png", jobs[0].path)
    elif change == "eyes":
        jobs[0] = Photograph("S1", "1", 2, "fear", "", jobs[0].path, eyes=((100, 100), (130, 100)))
    elif change == "damage":
        file = done(out)[0]
        file.write_bytes(file.read_bytes()[:100])
    write_photographs(out, jobs, on_failure="error", **ABOUT)
    assert f"going on: {2 if change == 'nothing' else 1} of 3" in capsys.readouterr().err
    write_photographs(tmp_path / "new", jobs, on_failure="error", **ABOUT)
    assert read_database(out).sha256 == read_database(tmp_path / "new").sha256


def test_many_failures_are_counted(photographs, tmp_path, capsys):
    for file in photographs.glob("*.png"):
        file.write_bytes(b"")
    assert main(arguments(photographs, tmp_path / "out")) == 2
    errors = capsys.readouterr().err.partition("error: ")[2].splitlines()
    assert errors[0] == f"{COUNT} photographs failed:"
    assert all(line.startswith(f"  {photographs}") for line in errors[1 : 1 + LISTED])
    assert errors[1 + LISTED :] == [f"  and {COUNT - LISTED} more"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_found_eyes_have_to_be_where_they_are_marked(photographs, tmp_path):
    job = some(photographs, 1)[0]
    eyes = place(draw(3, "happiness"), middle=(120, 100), scale=0.5)[1]
    good = Photograph(*list(vars(job).values())[:6], marked=eyes)
    write_photographs(tmp_path / "out", [good], on_failure="error", **ABOUT)
    moved = tuple((x + 15, y) for x, y in eyes)
    with pytest.raises(ValueError, match=r"000\.png: the eyes found are not where its template has them"):
        write_photographs(
            tmp_path / "out",
            [Photograph(*list(vars(job).values())[:6], marked=moved)],
            on_failure="error",
            **ABOUT,
        )


@pytest.mark.slow
def test_one_process_or_several_give_the_same(photographs, tmp_path, monkeypatch):
    several = [*some(photographs, COUNT)]
    write_photographs(tmp_path / "several", several, on_failure="error", **ABOUT)
    monkeypatch.setattr(data_prep.photographs, "FEW", COUNT)
    write_photographs(tmp_path / "one", several, on_failure="error", **ABOUT)
    assert read_database(tmp_path / "one").sha256 == read_database(tmp_path / "several").sha256
    assert np.ptp(read_database(tmp_path / "one").frames, axis=0).max() > 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk(photographs, tmp_path, monkeypatch):
    def savez(file, **_):
        with Path("/dev/full").open("wb") as full:
            full.write(bytes(10**6))

    monkeypatch.setattr(np, "savez", savez)
    with pytest.raises(OSError, match=r"\.out\.partial: cannot be written \(No space left on device\)"):
        write_photographs(tmp_path / "out", some(photographs), on_failure="error", **ABOUT)
