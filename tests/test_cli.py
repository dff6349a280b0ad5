import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix

from eifn.cli import main
from eifn.network import Variant
from eifn.training import PRESETS, Divergence, load_model


@pytest.fixture(autouse=True)
def small_and_here(tiny, monkeypatch):
    """The preset `laptop` made tiny, and the folds trained in this process rather than in a pool."""
    monkeypatch.setitem(PRESETS, "laptop", tiny)
    monkeypatch.setattr("torch.cpu.get_capabilities", dict, raising=False)
    monkeypatch.setattr("eifn.cli.local_pool", lambda workers, gpus: ThreadPoolExecutor(1))


@pytest.fixture
def data(make_database):
    """The folder of databases, with one to test on and the twin on which stage one trains."""
    make_database("synth-oulu", subjects=3, seed=1)
    return make_database().parent


@pytest.fixture
def runs(data, tmp_path, capsys):
    """Results of two variants."""
    out = tmp_path / "runs"
    assert run("crossval", "--database", data / "tiny", "--variant", "efn,eifn", "--out", out) == 0
    capsys.readouterr()
    return out


def run(*arguments):
    return main([str(argument) for argument in arguments])


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def listing(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("command", [[], ["train"], ["crossval"], ["report"]])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([*command, "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert " ".join(["usage: eifn", *command]) in out
    expected = {
        "train": ["--database", "--variant", "--fold", "--out", "torchrun"],
        "crossval": ["--database", "--stage-one", "--variant", "--workers", "resumes"],
        "report": ["folder", "--json"],
    }
    for word in expected[command[0]] if command else expected:
        assert word in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["evaluate"], "invalid choice: 'evaluate'"),
        (["crossval"], "the following arguments are required: --database"),
        (
            ["crossval", "--database", "d", "--variant", "efn,eifm"],
            "'eifm' is not a valid Variant; the variants are",
        ),
        (["crossval", "--database", "d", "--preset", "phone"], "invalid choice: 'phone'"),
        (["crossval", "--database", "d", "--workers", "0"], "0 is not at least 1"),
        (["train", "--database", "d", "--out", "m", "--fold", "10"], "invalid choice: 10"),
        (["train", "--database", "d", "--out", "m", "--seed", "one"], "invalid int value: 'one'"),
    ],
)
def test_wrong_arguments(arguments, complaint, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.slow
def test_crossval_prints_a_table_and_leaves_predictions(data, tmp_path, capsys):
    out = tmp_path / "runs"
    assert run("crossval", "--database", data / "tiny", "--out", out) == 0
    title, *table = capsys.readouterr().out.splitlines()
    assert title == f"{out}/laptop/tiny: tiny, stage one on synth-oulu (synthetic faces)"
    assert len(table) == 1 + 3
    for word in ("variant", "sequences", "95 % interval", "mean ± sd", "frames"):
        assert word in table[0]
    for row, title in zip(table[1:], ("EFN ", "EIFN* ", "EIFN "), strict=True):
        assert title in row
        assert "10 of 10" in row
        assert "of 24" in row
    for variant in Variant:
        assert len(list((out / "laptop" / "tiny" / variant).glob("seed-0/fold-*/predictions.csv"))) == 10


@pytest.mark.slow
def test_report_agrees_with_scikit_learn(runs, capsys):
    assert run("report", runs, "--json") == 0
    outcome = json.loads(capsys.readouterr().out)
    assert [entry["variant"] for entry in outcome["runs"]] == ["efn", "eifn"]
    for entry in outcome["runs"]:
        table = pd.concat(pd.read_csv(file) for file in Path(entry["folder"]).glob("fold-*/predictions.csv"))
        columns = ["p_happiness", "p_sadness"]
        for level in ("frame", "sequence"):
            if level == "sequence":  # the mean of the probabilities decides
                table = table.groupby(["subject", "sequence", "truth", "fold"], as_index=False)[
                    columns
                ].mean()
            answer = np.array(["happiness", "sadness"])[table[columns].to_numpy().argmax(1)]
            assert entry[level]["accuracy"] == pytest.approx(accuracy_score(table["truth"], answer))
            assert entry[level]["confusion"] == confusion_matrix(table["truth"], answer).tolist()
            folds = [
                accuracy_score(table["truth"][table["fold"] == k], answer[table["fold"] == k])
                for k in range(10)
            ]
            assert entry[level]["fold_mean"] == pytest.approx(np.mean(folds))
            assert entry[level]["fold_sd"] == pytest.approx(np.std(folds, ddof=1))
            low, high = entry[level]["interval"]
            assert 0 <= low < entry[level]["accuracy"] < high <= 1 or entry[level]["accuracy"] in (0, 1)


@pytest.mark.slow
def test_report_prints_every_table_and_says_what_is_missing(runs, capsys):
    assert run("report", runs) == 0
    out = capsys.readouterr().out
    for title in ("Accuracy", "Differences in points", "Training loss", "How the runs were made"):
        assert out.count(f"\n{title}") == 1
    assert out.count("sequences of 10 of 10 folds, rows are the truth") == 2
    assert "Ha" in out
    assert "Sa" in out
    assert "note      no run of EIFN* is here to compare with" in out


@pytest.mark.slow
def test_crossval_again_prints_the_same(runs, data, capsys):
    before = files(runs)
    assert run("crossval", "--database", data / "tiny", "--variant", "efn,eifn", "--out", runs, "--json") == 0
    captured = capsys.readouterr()
    outcome = json.loads(captured.out)
    assert [entry["folds"] for entry in outcome["runs"]] == [10, 10]
    assert files(runs) == before


def test_train_saves_a_model_and_tests_it_on_the_fold_held_out(data, tmp_path, capsys):
    out = tmp_path / "models" / "model.safetensors"
    command = ["train", "--database", data / "tiny", "--variant", "eifn-star", "--fold", 1, "--out", out]
    assert run(*command) == 0
    text = capsys.readouterr().out
    assert "trained on 40 frames of tiny" in text
    assert "fold 1: " in text
    assert "of 8 frames" in text
    model = load_model(out)
    assert model.variant == Variant.EIFN_STAR
    assert model.identity_classifier.out_features == 10
    before = out.read_bytes()
    assert run(*command, "--json") == 0
    outcome = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)  # called for NaN
    assert out.read_bytes() == before
    assert outcome["model"] == str(out)
    assert outcome["frame"]["fold_sd"] is None
    assert outcome["frame"]["n"] == 8
    assert [epoch["epoch"] for epoch in outcome["history"]] == [1, 1, 2]


def test_train_on_everybody_from_scratch(data, tmp_path, capsys):
    out = tmp_path / "model.safetensors"
    assert run("train", "--database", data / "tiny", "--stage-one", "none", "--out", out) == 0
    assert "trained on 48 frames of tiny" in capsys.readouterr().out
    assert load_model(out).identity_classifier.out_features == 12


def _break(data, what):
    database = data / "tiny"
    frames, table = database / "frames.npy", database / "frames.csv"
    if what == "no database":
        shutil.rmtree(database)
    elif what == "truncated frames":
        frames.write_bytes(frames.read_bytes()[:-1000])
    elif what == "wrong checksum":
        table.write_text(table.read_text().replace("S00", "S99", 1))
    elif what == "unknown expression":
        about = json.loads((database / "database.json").read_text())
        about["expressions"] = ["happiness", "glee"]
        (database / "database.json").write_text(json.dumps(about))
    elif what == "no stage one":
        shutil.rmtree(data / "synth-oulu")


@pytest.mark.slow
def test_train_under_torchrun(data, tmp_path):
    """As the manual has it: two processes learn what one does, and one of them writes and answers."""
    eifn = Path(sys.executable).with_name("eifn")
    torchrun = [eifn.with_name("torchrun"), "--standalone", "--nproc-per-node", 2, "--no-python"]
    arguments = ["train", "--database", data / "tiny", "--fold", 0, "--accelerator", "cpu", "--views", 1]
    arguments += ["--stage-one", "none", "--weights", "none", "--precision", "32-true", "--json", "--out"]
    said = []
    for launcher, name in (([], "one"), (torchrun, "two")):
        command = [*launcher, eifn, *arguments, tmp_path / f"{name}.safetensors"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            list(map(str, command)), env=environment, capture_output=True, text=True, timeout=300, check=True
        )
        said.append(json.loads(done.stdout)["history"])
        assert load_model(tmp_path / f"{name}.safetensors").variant == Variant.EIFN
    one, two = ([row["total"] for row in history[:5]] for history in said)
    assert one == pytest.approx(two, rel=1e-3)
    assert one[4] < one[0]


@pytest.mark.parametrize("command", ["crossval", "train"])
@pytest.mark.parametrize(
    ("what", "more", "complaint"),
    [
        ("no database", [], "tiny/database.json: not found"),
        ("truncated frames", [], "frames.npy: checksum differs"),
        ("wrong checksum", [], "frames.csv: checksum differs"),
        ("unknown expression", [], "'glee'"),
        ("no stage one", [], "synth-oulu: not found, and stage one trains on it"),
        ("", ["--stage-one", "nowhere"], "nowhere/database.json: not found"),
        ("", ["--weights", "nowhere.safetensors"], "nowhere.safetensors: no such file; weights are"),
        ("", ["--out", "file/below"], "file"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    command, what, more, complaint, data, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("in the way")
    _break(data, what)
    before = listing(tmp_path)
    arguments = [command, "--database", "data/tiny", "--out", "new/model.safetensors", *more]
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    errors = [line for line in captured.err.splitlines() if line and not line.startswith("training")]
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert complaint in errors[0]
    assert captured.out == ""
    left = [path for path in listing(tmp_path) if path not in before]
    assert not [path for path in left if (tmp_path / path).is_file() and not path.endswith(".lock")]


def test_imagenet_weights_without_a_network(data, tmp_path, capsys, monkeypatch):
    def offline(*positional, **named):
        raise OSError("no route to host")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    command = ["train", "--database", data / "tiny", "--out", tmp_path / "m.safetensors"]
    assert run(*command, "--preset", "paper", "--accelerator", "cpu") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ImageNet weights could not be downloaded")
    assert "--weights PATH" in error
    assert "none" in error
    assert not (tmp_path / "m.safetensors").exists()


def test_a_folder_is_no_file_for_a_model(data, tmp_path, capsys):
    assert run("train", "--database", data / "tiny", "--out", tmp_path) == 2
    assert "is a folder; --out names the file of the model" in capsys.readouterr().err


@pytest.mark.parametrize("stage_one", ["tiny", "copy"])
def test_stage_one_on_the_database_of_interest_is_refused(data, stage_one, tmp_path, capsys):
    if stage_one == "copy":
        shutil.copytree(data / "tiny", data / "copy")
    command = ["crossval", "--database", data / "tiny", "--stage-one", data / stage_one]
    assert run(*command, "--out", tmp_path / "runs") == 2
    assert "would train on the test subjects" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("what", ["no folder", "empty folder", "damaged predictions", "damaged provenance"])
def test_report_of_what_is_no_result(what, request, tmp_path, capsys):
    folder = tmp_path / "results"
    if what.startswith("damaged"):
        folder = request.getfixturevalue("runs")
        fold = next(folder.rglob("fold-03"))
        if what.endswith("predictions"):
            file = fold / "predictions.csv"
            file.write_bytes(file.read_bytes()[:-4])
        else:
            (fold.parent / "fold-00" / "provenance.json").write_text("{")
    elif what == "empty folder":
        folder.mkdir()
    assert run("report", folder) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1


def test_divergence_ends_with_status_1(data, tmp_path, capsys, monkeypatch):
    def diverge(*positional, **named):
        raise Divergence("epoch 3, step 1: the expression loss is nan; try another --seed")

    monkeypatch.setattr("eifn.cli.train_stage_one", diverge)
    assert run("train", "--database", data / "tiny", "--out", tmp_path / "m.safetensors") == 1
    assert "error: epoch 3, step 1: the expression loss is nan" in capsys.readouterr().err


def test_a_killed_worker_ends_with_status_1(data, tmp_path, capsys, monkeypatch):
    def die(*positional, **named):
        raise BrokenProcessPool("a child process terminated abruptly")

    monkeypatch.setattr("eifn.crossval.train_stage_one", die)
    assert run("crossval", "--database", data / "tiny", "--out", tmp_path / "runs") == 1
    assert "a worker process was killed" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_ctrl_c_ends_with_status_130_and_no_half_fold(make_database, tmp_path):
    """A real process with a real pool of workers."""
    data = make_database(frames=1)
    command = [
        "crossval",
        "--database",
        data,
        "--stage-one",
        "none",
        "--variant",
        "efn",
        "--out",
        tmp_path / "runs",
    ]
    eifn = [sys.executable, "-c", "import sys; from eifn.cli import main; sys.exit(main())"]
    process = subprocess.Popen(
        [*eifn, *map(str, command)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    while not list(tmp_path.rglob("history.csv")):  # training has begun
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert errors.splitlines()[-1] == "interrupted; the same command resumes"
    assert "Traceback" not in errors
    assert not [path for path in tmp_path.rglob("fold-*") if not (path / "provenance.json").exists()]


def test_train_goes_on_where_it_was_interrupted(data, tmp_path, capsys, monkeypatch):
    command = ("train", "--database", data / "tiny", "--fold", "0", "--json", "--out")
    assert run(*command, tmp_path / "whole.safetensors") == 0
    whole = json.loads(capsys.readouterr().out)

    def interrupt(epoch):
        raise KeyboardInterrupt

    original = sys.modules["eifn.cli"].train_stage_two
    with monkeypatch.context() as patch:  # after the first epoch of stage two
        patch.setattr(
            "eifn.cli.train_stage_two",
            lambda *positional, **named: original(*positional, **named | {"after_epoch": interrupt}),
        )
        assert run(*command, tmp_path / "model.safetensors") == 130
    assert not (tmp_path / "model.safetensors").exists()
    assert run(*command, tmp_path / "model.safetensors") == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome | {"model": ""} == whole | {"model": ""}
    assert (tmp_path / "model.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert sorted(path.name for path in tmp_path.glob("*model*")) == ["model.safetensors"]
    assert not list(tmp_path.glob(".*"))


def test_another_batch_or_more_views_are_another_recipe(data, tmp_path, capsys):
    out = tmp_path / "runs"
    command = ("crossval", "--database", data / "tiny", "--variant", "efn", "--out", out)
    with pytest.raises(SystemExit):
        run(*command, "--views", "15")
    assert "argument --views: invalid choice: 15" in capsys.readouterr().err
    assert run(*command, "--batch-size", "16", "--views", "2", "--tensorboard", tmp_path / "events") == 0
    about = json.loads(next(out.rglob("fold-00/provenance.json")).read_text())
    assert about["settings"]["preset"]["batch_size"] == 16
    assert about["settings"]["preset"]["views"] == 2
    assert "--batch-size 16 --views 2 --tensorboard events" in about["made"]["command"]
    assert len(list((tmp_path / "events").rglob("events.*"))) == 11
    assert run(*command) == 2


def test_no_scheduler_is_a_mistake(data, tmp_path, capsys):
    command = ("crossval", "--database", data / "tiny", "--out", tmp_path / "runs")
    assert run(*command, "--scheduler", "tcp://127.0.0.1:9") == 2
    assert capsys.readouterr().err.startswith("error: tcp://127.0.0.1:9: no Dask scheduler answers there")


@pytest.mark.parametrize(
    ("has", "asked", "precision"),
    [
        (True, (), "bf16-mixed"),
        (False, (), "32-true"),
        (None, (), "32-true"),
        (True, ("--precision", "32-true"), "32-true"),
        (False, ("--precision", "bf16-mixed"), "bf16-mixed"),
    ],
)
def test_the_precision_suits_the_processor(data, tmp_path, monkeypatch, has, asked, precision):
    if has is None:
        monkeypatch.delattr("torch.cpu.get_capabilities")
    else:
        monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": has})
    seen = []
    monkeypatch.setattr("eifn.cli.crossval", lambda runs, executor, workers: seen.extend(runs) or exit(0))
    with pytest.raises(SystemExit):
        run("crossval", "--accelerator", "cpu", "--database", data / "tiny", "--out", tmp_path, *asked)
    assert {run.recipe.precision for run in seen} == {precision}
