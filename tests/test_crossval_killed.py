"""Cross-validation that loses its processes, its disk or its checkpoints, and ends with the same bytes.

EIFN_KILLS is how often the run is killed at random moments; 50 take about ten minutes.
"""

import contextlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import psutil
import pytest
import torch
from filelock import FileLock
from test_crossval import contents, here

from eifn.crossval import RunError, check_writable, crossval, dask_cluster, local_pool, plan, read_provenance

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("EIFN_KILLS", 4))

SCRIPT = """
import json, sys
from pathlib import Path
from eifn.crossval import Run, crossval, local_pool
from eifn.network import Variant
from eifn.training import Preset

if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    for key in ("database", "stage_one", "out"):
        given[key] = Path(given[key])
    run = Run(**given | {"recipe": Preset(**given["recipe"]), "variant": Variant(given["variant"])})
    with local_pool(2) as pool:
        crossval([run], pool, 2)
"""


@pytest.fixture
def longer(run):
    """Folds that last long enough to be killed in."""
    return replace(run, recipe=replace(run.recipe, stage_two_epochs=25), tensorboard=None)


@pytest.fixture
def start(longer, tmp_path):
    """Starts the run in a process of its own, with two workers; gives the process."""
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    processes = []

    def start(out, limit=None):
        given = {key: str(value) for key, value in vars(longer).items() if key != "tensorboard"}
        given |= {"seed": 0, "out": str(out), "recipe": asdict(longer.recipe)}
        process = subprocess.Popen(
            [sys.executable, str(script), json.dumps(given)],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            preexec_fn=limit,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()


def family(process):
    """A process and all that it has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        return [parent, *parent.children(recursive=True)]
    return []


def test_killed_at_random_moments(start, tmp_path):
    begin = time.monotonic()
    quiet = start(tmp_path / "quiet")
    assert quiet.wait(timeout=300) == 0
    duration = time.monotonic() - begin
    moments = random.Random(0)
    out, kills, finished = tmp_path / "killed-0", 0, []
    while kills < KILLS:
        process = start(out)
        seen = set()
        moment = time.monotonic() + moments.uniform(0.1, duration)
        while process.poll() is None and time.monotonic() < moment:
            seen.update(family(process))
            time.sleep(0.02)
        seen.update(family(process))
        if process.poll() is None:
            # Now the command itself, now one of its workers, which makes the command give up.
            victim = moments.choice([member for member in seen if member.is_running()])
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate(timeout=60)
        _, alive = psutil.wait_procs(seen, timeout=30)
        assert not alive, "workers outlive the command"
        if process.returncode == 0:  # it was done before the kill, or whatever was killed was not needed
            finished.append(out)
            out = tmp_path / f"killed-{len(finished)}"
    assert start(out).wait(timeout=300) == 0
    for folder in [*finished, out]:
        assert contents(folder) == contents(tmp_path / "quiet")
        assert not list(folder.rglob("*.safetensors*")) or [
            path.name for path in folder.rglob("*.safetensors*")
        ] == ["model.safetensors"]


def wait_for_epochs(out, epochs):
    """Until a fold is in the middle; gives its checkpoint."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for history in out.rglob(".fold-*/history.csv"):
            checkpoint = history.parent.with_name(f"{history.parent.name}.safetensors")
            with contextlib.suppress(OSError):
                if history.read_bytes().count(b"\n") > epochs and checkpoint.exists():
                    return checkpoint
        time.sleep(0.005)
    raise AssertionError("no fold came that far")


def test_a_fold_goes_on_from_its_last_epoch(start, tmp_path):
    assert start(tmp_path / "quiet").wait(timeout=300) == 0
    out = tmp_path / "killed"
    process = start(out)
    checkpoint = wait_for_epochs(out, 5)
    process.kill()
    process.communicate()
    assert start(out).wait(timeout=300) == 0
    assert contents(out) == contents(tmp_path / "quiet")
    fold = checkpoint.with_name(checkpoint.name.removeprefix(".").removesuffix(".safetensors"))
    assert read_provenance(fold)["made"]["resumed"]


@pytest.mark.parametrize("damage", ["truncated", "one bit"])
def test_a_fold_with_a_corrupt_checkpoint_is_done_again(start, tmp_path, damage):
    assert start(tmp_path / "quiet").wait(timeout=300) == 0
    out = tmp_path / "killed"
    process = start(out)
    checkpoint = wait_for_epochs(out, 3)
    process.kill()
    process.communicate()
    time.sleep(1)  # the workers end by themselves
    content = bytearray(checkpoint.read_bytes())
    if damage == "one bit":
        content[-500] ^= 16
    checkpoint.write_bytes(content if damage == "one bit" else content[: len(content) // 2])
    process = start(out)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0
    assert f"{checkpoint.name}: damaged; this training starts again" in told
    assert contents(out) == contents(tmp_path / "quiet")


def test_two_commands_on_one_folder(start, tmp_path):
    """The second waits for the folds of the first, and says so."""
    assert start(tmp_path / "quiet").wait(timeout=300) == 0
    out = tmp_path / "both"
    first = start(out)
    wait_for_epochs(out, 1)
    second = start(out)
    told = [process.communicate(timeout=300)[1] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0]
    assert "another command is at work on it; waiting for that" in "".join(told)
    assert contents(out) == contents(tmp_path / "quiet")


def test_who_waits_says_so(run, capfd):
    run = replace(run, stage_one=None)
    piece = plan(run)[0]
    piece.folder.parent.mkdir(parents=True)
    with ThreadPoolExecutor(1) as executor:
        with FileLock(piece.folder.with_name(f".{piece.folder.name}.lock")):
            running = executor.submit(here, run)
            time.sleep(2)
            assert not running.done()
        running.result(timeout=60)
    assert "fold-00: another command is at work on it; waiting for that" in capfd.readouterr().err


def test_a_dask_worker_killed_in_the_middle_of_a_fold(longer, monkeypatch, tmp_path):
    distributed = pytest.importorskip("distributed")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a worker of Dask has it, for equal bits
    try:
        with local_pool(2) as pool:
            crossval([replace(longer, out=tmp_path / "quiet")], pool, 2)
    finally:
        torch.set_num_threads(threads)
    out = tmp_path / "cluster"
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        dask_cluster(cluster.scheduler_address) as (executor, workers),
        distributed.Client(cluster) as client,
        ThreadPoolExecutor(1) as aside,
    ):
        assert workers == 2
        running = aside.submit(crossval, [replace(longer, out=out)], executor, workers)
        victim = None
        while victim is None:  # the one at work on a fold that can go on
            history = wait_for_epochs(out, 5).with_suffix("") / "history.csv"
            for worker in client.run(os.getpid).values():
                if str(history) in [file.path for file in psutil.Process(worker).open_files()]:
                    victim = worker
        os.kill(victim, signal.SIGKILL)
        running.result(timeout=300)
    assert contents(out) == contents(tmp_path / "quiet")
    made = [json.loads(path.read_text())["made"] for path in out.rglob("fold-*/provenance.json")]
    assert len(made) == 10
    assert any(each["resumed"] for each in made)


def test_no_scheduler_there():
    with pytest.raises(RunError, match=r"tcp://127\.0\.0\.1:9: no Dask scheduler answers there"):
        dask_cluster("tcp://127.0.0.1:9").__enter__()


def test_a_disk_that_is_full_in_the_middle(start, tmp_path):
    """A limit on the size of files stands for it; what is there stays good, and the same command resumes."""
    out = tmp_path / "full"
    model = 60_000  # bytes; the model of stage one is larger

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (model, model))

    process = start(out, limit)
    _, told = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "cannot be written" in told
    assert not [path for path in out.rglob("*") if path.is_file() and path.suffix not in (".lock", ".csv")]
    assert start(out).wait(timeout=300) == 0
    assert len(list(out.rglob("fold-*/predictions.csv"))) == 10


def test_a_folder_that_may_only_be_read(tmp_path):
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    root = os.geteuid() == 0
    if root:  # whom no mode stops
        os.seteuid(65534)
    try:
        with pytest.raises(
            RunError, match=r"runs: cannot be written \(Permission denied\); choose another --out"
        ):
            check_writable(folder / "runs")  # the first that crossval does
    finally:
        if root:
            os.seteuid(0)
    assert not list(folder.iterdir())
