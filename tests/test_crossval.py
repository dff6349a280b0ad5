import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pandas as pd
import pytest
import torch
from filelock import FileLock
from safetensors.torch import save_file
from tqdm import tqdm

from eifn.crossval import (
    RunError,
    carry_out,
    crossval,
    images_left,
    local_pool,
    plan,
    read_provenance,
    visible_gpus,
)
from eifn.database import read_database
from eifn.extractor import Extractor, WeightsError
from eifn.folds import FoldError
from eifn.network import Variant
from eifn.results import read_predictions
from eifn.training import Divergence, load_model

pytestmark = pytest.mark.slow  # each trains ten folds, if tiny ones


def here(*runs):
    """Carry runs out in this process."""
    with ThreadPoolExecutor(1) as executor:
        return crossval(runs, executor, 1)


def contents(folder):
    """Every file of a folder that should be the same after the same run: all but when it was made."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "provenance.json" and path.suffix != ".lock"
    }


def test_every_subject_is_tested_once_by_a_model_that_never_saw_them(run):
    (folder,) = here(run)
    assert folder == run.out / "tiny" / "tiny" / "eifn" / "seed-0"
    subjects = sorted({f"S{i:02d}" for i in range(12)})
    tested = []
    for number in range(10):
        predictions = read_predictions(folder / f"fold-{number:02d}" / "predictions.csv")
        assert sorted(set(predictions["subject"])) == subjects[number::10]
        assert set(predictions["fold"]) == {number}
        tested.append(predictions)
    rows = pd.concat(tested)[["subject", "sequence", "position", "truth"]]
    table = read_database(run.database).table.rename(columns={"expression": "truth"})
    keys = ["subject", "sequence", "position", "truth"]
    pd.testing.assert_frame_equal(
        rows.sort_values(keys, ignore_index=True), table[keys].sort_values(keys, ignore_index=True)
    )
    history = pd.read_csv(folder / "fold-03" / "history.csv")
    assert history["epoch"].tolist() == [1, 2]


def test_blocks_are_neighbours(run):
    (folder,) = here(replace(run, rule="blocks", stage_one=None))
    tested = [
        sorted(set(read_predictions(folder / f"fold-{n:02d}" / "predictions.csv")["subject"]))
        for n in range(10)
    ]
    assert sum(tested, []) == [f"S{i:02d}" for i in range(12)]  # noqa: RUF017


def test_stage_one_trains_on_everybody_of_the_other_database(run):
    here(run)
    model = load_model(run.out / "tiny" / "stage-one" / "other" / "eifn" / "seed-0" / "model.safetensors")
    assert model.identity_classifier.out_features == 3
    assert model.variant == Variant.EIFN


def test_stage_one_is_trained_once_for_all_folds_and_seeds_differ(run):
    here(run, replace(run, seed=1), replace(run, variant=Variant.EFN))
    models = sorted((run.out / "tiny" / "stage-one").rglob("model.safetensors"))
    assert len({model.read_bytes() for model in models}) == len(models) == 3
    folds = run.out.rglob("fold-00/predictions.csv")
    assert len({fold.read_bytes() for fold in folds}) == 3


def test_provenance_says_how_it_was_made(run):
    (folder,) = here(run)
    about = read_provenance(folder / "fold-07")
    settings = about["settings"]
    assert settings["database"] == {"name": "tiny", "sha256": read_database(run.database).sha256}
    assert settings["folds"] == {"rule": "interleaved", "of": 10, "fold": 7}
    assert settings["loss_weights"] == {"center": 1e-4, "identity": 1, "expression": 1}
    assert settings["stage_one"]["database"]["name"] == "other"
    assert settings["preset"]["width"] == run.recipe.width
    assert about["made"]["command"] == "eifn crossval --preset tiny"
    assert about["made"]["commit"] is None or re.fullmatch("[0-9a-f]{40}(-dirty)?", about["made"]["commit"])
    assert about["made"]["resumed"] is False
    assert about["made"]["versions"].keys() == {"python", "torch", "torchvision", "numpy"}
    assert about["made"]["device"]
    if lscpu := shutil.which("lscpu"):
        about_processor = subprocess.run([lscpu], capture_output=True, text=True, check=True).stdout
        assert about["made"]["device"] in about_processor
    text = (folder / "fold-07" / "provenance.json").read_text("utf-8")
    assert str(run.out.parent) not in text
    assert os.path.expanduser("~") not in text  # noqa: PTH111


def test_finished_work_is_not_done_again(run, monkeypatch):
    (folder,) = here(run)
    before = {path: path.stat().st_mtime_ns for path in run.out.rglob("*.csv")}
    monkeypatch.setattr("eifn.crossval.train_stage_two", lambda *a, **k: pytest.fail("trained again"))
    monkeypatch.setattr("eifn.crossval.train_stage_one", lambda *a, **k: pytest.fail("trained again"))
    assert here(run) == [folder]
    assert before == {path: path.stat().st_mtime_ns for path in run.out.rglob("*.csv")}


@pytest.mark.parametrize(
    ("runs", "workers", "expected"),
    [
        (1, 1, 500 + 10 * 90),
        (1, 2, 500 + 5 * 90),
        (1, 4, 500 + 3 * 90),
        (1, 10, 500 + 90),
        (1, 11, 500 + 90),
        (3, 1, 3 * 500 + 30 * 90),
        (3, 2, 500 + 18 * 90),  # the other trains the third stage one, from 500 to 1000, and 12 folds
        (3, 5, 500 + 6 * 90),
        (3, 30, 500 + 90),
    ],
)
def test_the_images_left_are_those_of_the_worker_that_ends_last(run, runs, workers, expected):
    """Every stage one shows 500 images, every fold 90."""
    plans = [
        [replace(piece, images=500 if piece.fold is None else 90, epochs=1) for piece in plan(each)]
        for each in (replace(run, seed=seed) for seed in range(runs))
    ]
    assert images_left(plans, workers) == expected


def test_what_is_trained_already_is_not_left(run):
    pieces = plan(run)
    for piece in pieces[:4]:
        carry_out(piece)
    whole = [piece.images * piece.epochs for piece in pieces]
    assert images_left([pieces], 1) == sum(whole[4:])
    pieces[4].scratch.mkdir()
    (pieces[4].scratch / "history.csv").write_text("epoch\n1\n")  # of two
    assert images_left([pieces], 1) == sum(whole[4:]) - whole[4] // 2
    assert images_left([pieces], 7) == max(whole[5:])


def test_the_bar_tells_the_time_left_until_there_is_none(run, monkeypatch):
    told = []
    monkeypatch.setattr("eifn.crossval.tqdm.set_postfix_str", lambda bar, text, refresh: told.append(text))
    here(run)
    assert told[0] == "stage one 0 of 1, folds 0 of 10"
    assert [
        text
        for text in told
        if re.fullmatch(r"about \d+:\d\d left, stage one 1 of 1, folds [1-9] of 10", text)
    ]
    assert told[-1] == "stage one 1 of 1, folds 10 of 10"


def test_a_bar_that_is_switched_off(run, monkeypatch, capsys):
    """As TQDM_DISABLE=1 does: then a bar counts nothing."""

    class Off(tqdm):
        def __init__(self, **settings):
            super().__init__(disable=True, **settings)

    monkeypatch.setattr("eifn.crossval.tqdm", Off)
    here(run)
    assert "training" not in capsys.readouterr().err


@pytest.mark.parametrize("again", [here, lambda run: carry_out(plan(run)[4])], ids=["seen", "found"])
def test_a_kill_right_after_the_last_step_leaves_nothing_behind(run, monkeypatch, again):
    """Between the move of the finished piece and the removal of its checkpoint."""
    with monkeypatch.context() as patch:
        patch.setattr("eifn.crossval.Piece.remove_checkpoint", lambda piece: None)
        (folder,) = here(run)
    left = folder / ".fold-03.safetensors"
    assert left.is_file()
    again(run)
    assert not left.exists()


@pytest.mark.parametrize("damage", ["remove", "truncate", "alter", "no fold"])
def test_a_damaged_fold_is_done_again_and_comes_out_the_same(run, damage):
    (folder,) = here(run)
    before = contents(run.out)
    predictions = folder / "fold-04" / "predictions.csv"
    if damage == "remove":
        predictions.unlink()
    elif damage == "truncate":
        predictions.write_bytes(predictions.read_bytes()[:-40])
    elif damage == "alter":
        predictions.write_bytes(predictions.read_bytes().replace(b"0.", b"1.", 1))
    else:
        shutil.rmtree(folder / "fold-04")
    assert contents(run.out) != before
    here(run)
    assert contents(run.out) == before


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"rule": "blocks"}, "folds.rule"),
        ({"stage_one": None}, "stage_one"),
        ({"recipe": {"stage_two_epochs": 3}}, "preset.stage_two_epochs"),
    ],
)
def test_other_settings_do_not_mix_with_what_is_there(run, changes, setting):
    here(run)
    before = contents(run.out)
    if isinstance(changes.get("recipe"), dict):
        changes = {"recipe": replace(run.recipe, **changes["recipe"])}
    with pytest.raises(
        RunError, match=rf"(fold-00|stage-one.*): was made with other settings \({setting}: .*another --out"
    ):
        here(replace(run, **changes))
    assert contents(run.out) == before


def test_a_file_of_weights_is_what_is_in_it_and_not_where_it_lies(run, tmp_path, monkeypatch):
    def weights(name, seed):
        torch.manual_seed(seed)
        save_file(Extractor(width=run.recipe.width).state_dict(), tmp_path / name)
        return replace(run, recipe=replace(run.recipe, weights=str(tmp_path / name)))

    first, same, other = (
        weights("first.safetensors", 0),
        weights("same.safetensors", 0),
        weights("other.safetensors", 1),
    )
    (folder,) = here(first)
    said = read_provenance(folder / "fold-00")["settings"]["preset"]["weights"]
    assert said == hashlib.sha256((tmp_path / "first.safetensors").read_bytes()).hexdigest()
    with pytest.raises(RunError, match=r"was made with other settings \(preset\.weights: "):
        here(other)
    monkeypatch.setattr("eifn.crossval.train_stage_two", lambda *a, **k: pytest.fail("trained again"))
    assert here(same) == [folder]


def test_a_folder_of_something_else_is_left_alone(run):
    foreign = run.out / "tiny" / "tiny" / "eifn" / "seed-0" / "fold-02" / "thesis.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("mine")
    with pytest.raises(RunError, match=r"fold-02.*provenance\.json: not to be read"):
        here(run)
    assert foreign.read_text() == "mine"


def test_stage_one_must_not_see_the_test_subjects(run, tmp_path):
    copy = shutil.copytree(run.database, tmp_path / "copy")
    for database in (run.database, copy):
        with pytest.raises(RunError, match="would train on the test subjects"):
            plan(replace(run, stage_one=database))


def test_ten_folds_need_ten_subjects(run, make_database):
    with pytest.raises(FoldError, match="9 subjects cannot be split into 10 folds"):
        plan(replace(run, database=make_database("few", subjects=9)))


def test_a_place_that_cannot_be_written_is_refused_before_the_work(run, tmp_path, monkeypatch):
    monkeypatch.setattr("eifn.crossval.train_stage_one", lambda *a, **k: pytest.fail("worked"))
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(RunError, match=r"file.*cannot be written.*another --out"):
        here(replace(run, out=tmp_path / "file" / "runs"))
    assert (tmp_path / "file").read_text() == "not a folder"


def test_divergence_reaches_the_caller_and_finished_folds_stay(run, monkeypatch):
    def diverge(*positional, **named):
        raise Divergence("epoch 1, step 2: the expression loss is nan")

    original = sys.modules["eifn.crossval"].train_stage_two
    calls = []

    def train(*positional, **named):
        calls.append(1)
        return (original if len(calls) <= 3 else diverge)(*positional, **named)

    monkeypatch.setattr("eifn.crossval.train_stage_two", train)
    with pytest.raises(Divergence, match="expression loss is nan"):
        here(run)
    folder = run.out / "tiny" / "tiny" / "eifn" / "seed-0"
    assert sorted(path.name for path in folder.glob("fold-*")) == ["fold-00", "fold-01", "fold-02"]
    assert not list(folder.glob(".fold-??"))  # nothing half-written
    monkeypatch.undo()
    here(run)
    assert len(list(folder.glob("fold-*/predictions.csv"))) == 10
    assert not list(folder.glob(".fold-??"))


def test_one_at_a_time_works_on_a_fold(run, monkeypatch):
    """Another command that holds a fold is waited for; its work is then found done."""
    run = replace(run, stage_one=None)
    here(run)
    folder = run.out / "tiny" / "tiny" / "eifn" / "seed-0"
    (piece,) = (piece for piece in plan(run) if piece.fold == 5)
    aside = folder / "aside"
    piece.folder.rename(aside)
    monkeypatch.setattr("eifn.crossval.train_stage_two", lambda *a, **k: pytest.fail("trained again"))
    with ThreadPoolExecutor(1) as executor:
        with FileLock(folder / ".fold-05.lock"):
            waiting = executor.submit(carry_out, piece)
            time.sleep(0.3)
            assert not waiting.done()
            aside.rename(piece.folder)
        waiting.result(timeout=30)


def test_a_pool_of_processes_gives_the_same(run):
    """Threads differ (one a worker), so the sums may round differently; the answers may not."""
    here(run)
    with local_pool(2) as pool:
        crossval([replace(run, out=run.out.with_name("pool"))], pool, 2)
    ours, theirs = (sorted(out.rglob("predictions.csv")) for out in (run.out, run.out.with_name("pool")))
    assert len(ours) == len(theirs) == 10
    for one, other in zip(ours, theirs, strict=True):
        pd.testing.assert_frame_equal(read_predictions(one), read_predictions(other), rtol=1e-3, atol=1e-4)


def test_an_error_crosses_from_a_worker_process(run):
    missing = replace(run, recipe=replace(run.recipe, weights="missing.safetensors"))
    with local_pool(1) as pool, pytest.raises(WeightsError, match=r"missing\.safetensors: no such file"):
        crossval([missing], pool, 1)


@pytest.mark.parametrize("when", ["history", "provenance"])
def test_a_full_disk_leaves_no_half_fold(run, monkeypatch, when):
    def full(*positional, **named):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        if when == "history":
            patch.setattr("eifn.crossval.write_predictions", full)
        else:
            patch.setattr("eifn.crossval.json.dumps", full)
        with pytest.raises(OSError, match="No space left"):
            here(run)
    assert not [path for path in run.out.rglob("*") if path.is_file() and path.name == "predictions.csv"]
    assert not [path for path in run.out.rglob(".fold-*") if path.is_dir()]
    here(run)
    assert len(list(run.out.rglob("fold-*/predictions.csv"))) == 10


def test_tensorboard_is_told_every_epoch_once(run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = here(replace(run, tensorboard=tmp_path / "events"))
    piece = folder.relative_to(run.out) / "fold-03"
    events = EventAccumulator(str(tmp_path / "events" / piece)).Reload()
    history = pd.read_csv(run.out / piece / "history.csv", index_col="epoch")
    assert set(events.Tags()["scalars"]) == set(history.columns)
    for name in history:
        told = {event.step: event.value for event in events.Scalars(name)}
        assert told == pytest.approx(history[name].to_dict(), rel=1e-6)
        assert len(events.Scalars(name)) == len(history)


def _gpu():
    time.sleep(1)  # so that each worker gets one
    return os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.mark.parametrize(
    ("gpus", "expected"), [(["0"], ["0", "0", "0"]), (["2", "5"], ["2", "2", "5"]), ([], [None] * 3)]
)
def test_workers_take_turns_at_the_gpus(gpus, expected, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with local_pool(3, gpus) as pool:
        told = [future.result() for future in [pool.submit(_gpu) for _ in range(3)]]
        assert sorted(told, key=str) == expected


@pytest.mark.parametrize(("named", "expected"), [("4,7", ["4", "7"]), (None, ["0", "1"])])
def test_gpus_keep_the_names_they_were_given(named, expected, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == expected
