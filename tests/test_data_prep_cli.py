import ast
import importlib
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drawn_photographs import draw, place
from PIL import Image

import data_prep.photographs
from data_prep.__main__ import SOURCES, TWINS, main
from data_prep.synthetic import twins


def listing(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def module(*arguments):
    return subprocess.run([sys.executable, "-m", "data_prep", *arguments], capture_output=True, text=True)


def test_alone_it_lists_the_sources_and_what_they_need():
    process = module()
    assert process.returncode == 0
    assert process.stderr == ""
    blocks = process.stdout.split("\n\n")
    about = {block.split(":")[0].strip(): " ".join(block.split()) for block in blocks if " needs " in block}
    assert set(about) == {"synthetic", "london-set", "ck-plus", "oulu-casia", "csv"} == set(SOURCES)
    for name, block in about.items():
        for word in (" needs ", " ask ", " licence "):
            assert word in block, name
    assert (
        "https://doi.org/10.6084/m9.figshare.5047666, a free download licence CC BY 4.0"
        in about["london-set"]
    )
    assert "by a signed agreement: https://" in about["ck-plus"]
    assert "by a signed agreement: https://" in about["oulu-casia"]


def test_a_reader_of_the_output_who_leaves_is_no_mistake():
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "wb") as nobody_reads:
        run = subprocess.run(
            [sys.executable, "-m", "data_prep"], stdout=nobody_reads, stderr=subprocess.PIPE, text=True
        )
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "module_name"),
    [("london-set", "london_set"), ("ck-plus", "ck_plus"), ("oulu-casia", "oulu_casia")],
)
def test_what_the_command_says_is_what_the_source_says(name, module_name):
    source = importlib.import_module(f"data_prep.{module_name}")
    words = set(re.findall(r"\w+", source.LICENCE.lower())) - {
        "agreement",
        "casia",
        "ck",
        "oulu",
        "to",
        "not",
    }
    assert words <= set(re.findall(r"\w+", SOURCES[name].licence.lower())) | {"be"}


def test_the_choices_of_oulu_casia_are_its_recordings(tmp_path):
    from data_prep.oulu_casia import CAMERAS, LIGHTS

    for camera, light in itertools.product(CAMERAS, LIGHTS):
        command = ["oulu-casia", "--source", str(tmp_path), "--camera", camera, "--light", light]
        assert main([*command, "--out", str(tmp_path / "out")]) == 2


@pytest.mark.parametrize("source", [*SOURCES, "overlay"])
def test_help(source, capsys):
    with pytest.raises(SystemExit) as end:
        main([source, "--help"])
    assert end.value.code == 0
    assert f"usage: python -m data_prep {source}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["ck-pluss", "--out", "x"], "invalid choice: 'ck-pluss'"),
        (["london-set", "--out", "x"], "the following arguments are required: --source"),
        (["london-set", "--source", "x"], "the following arguments are required: --out"),
        (["synthetic", "--twin", "synth-ckk", "--out", "x"], "invalid choice: 'synth-ckk'"),
        (["synthetic", "--twin", "synth-ck", "--seed", "one", "--out", "x"], "invalid int value: 'one'"),
        (["synthetic", "--twin", "synth-ck", "--entanglement", "2", "--out", "x"], "2 is not from 0 to 1"),
    ],
)
def test_wrong_arguments(arguments, complaint, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert complaint in capsys.readouterr().err


def test_a_mistake_ends_with_status_2_and_no_traceback(tmp_path):
    process = module("london-set", "--source", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out"))
    assert process.returncode == 2
    assert process.stdout == ""
    (line,) = process.stderr.splitlines()
    assert line.startswith(
        f"error: {tmp_path / 'nowhere'}: not a folder; get the London Set from https://doi.org/"
    )


@pytest.mark.parametrize("command", [["london-set", "--source", "x"], ["synthetic", "--twin", "synth-ck"]])
@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ("file/out", "cannot be written (Not a directory)"),
        ("file", "exists and is not a folder"),
        ("thesis", "exists and is not a prepared database (it holds 'chapter.tex')"),
    ],
)
def test_a_wrong_destination_is_noticed_before_the_work(
    tmp_path, monkeypatch, capsys, command, place, complaint
):
    def work(*_):
        raise AssertionError("the work has begun")

    monkeypatch.setattr("data_prep.__main__._prepare_london_set", work)
    monkeypatch.setattr("data_prep.__main__._prepare_synthetic", work)
    (tmp_path / "file").write_text("")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("")
    before = listing(tmp_path)
    assert main([*command, "--out", str(tmp_path / place)]) == 2
    output = capsys.readouterr()
    assert output.err.startswith(f"error: {tmp_path / place}: {complaint}")
    assert output.err.count("\n") == 1
    assert output.out == ""
    assert listing(tmp_path) == before


def a_source(folder):
    """One person of a London Set."""
    image, eyes = place(draw(3, "happiness"))
    for name in ("001_03.jpg", "001_08.jpg"):
        Image.fromarray(image).save(folder / name)
    points = "".join(f"{x} {y}\n" for x, y in [*eyes, *[(60, 60)] * 187])
    (folder / "001_03.tem").write_text(f"189\n{points}")


def test_a_disk_that_fills_up(tmp_path, monkeypatch, capsys):
    a_source(tmp_path)
    before = listing(tmp_path)
    save = np.save

    def save_on_the_full_disk(path, array):
        Path(path).write_bytes(b"half of it")
        with Path("/dev/full").open("wb") as full:
            save(full, array)

    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    monkeypatch.setattr(np, "save", save_on_the_full_disk)
    assert main(["london-set", "--source", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"error: {tmp_path / 'out'}: cannot be written (No space left on device)"
    # The frames are kept for another try.
    assert {name.partition("/")[0] for name in set(listing(tmp_path)) - set(before)} == {".out.partial"}
    monkeypatch.undo()
    assert main(["london-set", "--source", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    assert "going on: 2 of 2" in capsys.readouterr().err
    assert not (tmp_path / ".out.partial").exists()


def test_ctrl_c(tmp_path, monkeypatch, capsys):
    a_source(tmp_path)
    before = listing(tmp_path)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(data_prep.photographs, "align_face", interrupted)
    assert main(["london-set", "--source", str(tmp_path), "--out", str(tmp_path / "out")]) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "interrupted; no half-written database is left"
    assert listing(tmp_path) == before


def test_success_is_one_line(tmp_path, capsys):
    a_source(tmp_path)
    assert main(["london-set", "--source", str(tmp_path), "--out", str(tmp_path / "new" / "out")]) == 0
    assert capsys.readouterr().out == (
        "FaceDatabase('london': 2 frames, 2 sequences, 1 subjects, 2 expressions) "
        f"written to {tmp_path / 'new' / 'out'}\n"
    )
    assert listing(tmp_path / "new") == ["out", "out/database.json", "out/frames.csv", "out/frames.npy"]


def test_the_twins_of_the_command_are_those_that_can_be_drawn():
    assert set(TWINS) == {*twins.TWINS, "synth-start"}


@pytest.mark.parametrize(
    ("package", "allowed"), [("eifn", {"eifn"}), ("data_prep", {"data_prep", "eifn.database"})]
)
def test_imports_run_one_way(package, allowed):
    files = sorted((Path(__file__).parents[1] / package).rglob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                imported = [f"{node.module}.{name.name}" for name in node.names]
            elif isinstance(node, ast.Import):
                imported = [name.name for name in node.names]
            else:
                continue
            for name in imported:
                if name.split(".")[0] in ("eifn", "data_prep"):
                    assert any(f"{name}.".startswith(f"{start}.") for start in allowed), f"{file}: {name}"
