import csv

import numpy as np
import pytest
from drawn_photographs import draw, place
from PIL import Image

import data_prep.photographs
from data_prep import csv_manifest
from data_prep.__main__ import main
from data_prep.align import align_face
from data_prep.csv_manifest import COLUMNS, EYES, prepare_csv
from eifn.database import read_database

ROWS = [
    # path, subject, sequence, frame, expression
    ["anna/07.png", "anna", "1", "7", "happiness"],
    ["anna/12.png", "anna", "1", "12", "happiness"],
    ["anna/9.png", "anna", "1", "9", "happiness"],
    ["anna/08.png", "anna", "1", "008", "happiness"],
    ["one, alone.png", "ben", "1", "0", "neutral"],
]


def picture(number):
    return place(draw(3, "happiness"), middle=(120 + 4 * number, 100), degrees=number)


def write(folder, rows=ROWS, header=COLUMNS):
    with (folder / "faces.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return folder / "faces.csv"


@pytest.fixture
def manifest(tmp_path):
    folder = tmp_path / "faces"
    (folder / "anna").mkdir(parents=True)
    for path, *_, number, _ in ROWS:
        Image.fromarray(picture(int(number))[0]).save(folder / path)
    return write(folder)


ABOUT = {"name": "mine", "licence": "mine alone", "citation": "none"}


def command(manifest, *more):
    about = [argument for key, value in ABOUT.items() for argument in (f"--{key}", value)]
    return main(
        ["csv", "--manifest", str(manifest), *about, "--out", str(manifest.parents[1] / "out"), *more]
    )


def test_the_last_three_frames_of_each_sequence_or_all(manifest, tmp_path, capsys):
    assert command(manifest) == 0
    faces = read_database(tmp_path / "out")
    assert (faces.name, faces.licence, faces.citation) == ("mine", "mine alone", "none")
    assert faces.made_by == "python -m data_prep csv --name mine"
    assert faces.expressions == ("happiness", "neutral")
    assert faces.table.to_numpy().tolist() == [
        ["anna", "1", 2, "happiness", "anna/08.png"],
        ["anna", "1", 1, "happiness", "anna/9.png"],
        ["anna", "1", 0, "happiness", "anna/12.png"],
        ["ben", "1", 0, "neutral", "one, alone.png"],
    ]
    assert (
        "note: sequences of fewer than 3 frames, of which all are taken (1): ben/1\n"
        in capsys.readouterr().err
    )


def test_given_eyes_are_taken_as_they_are(manifest, tmp_path, monkeypatch):
    def no_search(_):
        raise AssertionError("eyes are sought")

    monkeypatch.setattr(data_prep.photographs, "find_eyes", no_search)
    eyes = {row[0]: picture(int(row[3]))[1] for row in ROWS}
    write(manifest.parent, [[*row, *np.ravel(eyes[row[0]])] for row in ROWS], [*COLUMNS, *EYES])
    faces = read_database(prepare_csv(manifest, tmp_path / "out", on_failure="error", **ABOUT))
    for frame, name in zip(faces.frames, faces.table["source"], strict=True):
        image = np.asarray(Image.open(manifest.parent / name))
        np.testing.assert_array_equal(frame, align_face(image, *eyes[name]))


def test_eyes_given_for_some_and_columns_in_any_order(manifest, tmp_path):
    plain = read_database(prepare_csv(manifest, tmp_path / "plain", **ABOUT))
    header = [*EYES, *COLUMNS[::-1]]
    rows = [["", "", "", "", *row[::-1]] for row in ROWS]
    rows[2][:4] = np.ravel(picture(9)[1])
    write(manifest.parent, rows, header)
    faces = read_database(prepare_csv(manifest, tmp_path / "out", **ABOUT))
    assert faces.table.equals(plain.table)
    assert [np.array_equal(*pair) for pair in zip(faces.frames, plain.frames, strict=True)] == [
        True,
        False,
        True,
        True,
    ]


def test_files_of_spreadsheets(manifest, tmp_path):
    expected = read_database(prepare_csv(manifest, tmp_path / "expected", **ABOUT)).sha256
    text = manifest.read_text()
    manifest.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode() + b"\r\n,,,,\r\n")
    assert read_database(prepare_csv(manifest, tmp_path / "out", **ABOUT)).sha256 == expected


def test_a_path_that_leaves_the_folder_and_comes_back(manifest, tmp_path):
    write(manifest.parent, [["../faces/./anna/07.png", *ROWS[0][1:]]])
    faces = read_database(prepare_csv(manifest, tmp_path / "out", **ABOUT))
    assert faces.table["source"].tolist() == ["anna/07.png"]


def changed(line, column, value):
    def change(manifest):
        rows = [list(row) for row in ROWS]
        rows[line - 2][column] = value
        write(manifest.parent, rows)

    return change


def with_eyes(*values):
    def change(manifest):
        write(manifest.parent, [[*ROWS[0], *values]], [*COLUMNS, *EYES])

    return change


def as_text(text):
    return lambda manifest: manifest.write_bytes(text.encode("latin-1"))


def link(manifest):
    (manifest.parents[1] / "elsewhere.png").write_bytes((manifest.parent / "anna" / "9.png").read_bytes())
    (manifest.parent / "anna" / "9.png").unlink()
    (manifest.parent / "anna" / "9.png").symlink_to(manifest.parents[1] / "elsewhere.png")


HEADER = "path,subject,sequence,frame,expression\n"

MISTAKES = [
    (lambda manifest: manifest.unlink(), ": not a readable CSV file (No such file or directory); give"),
    (
        as_text(""),
        ", line 1: the columns must be path,subject,sequence,frame,expression and, if you have them,",
    ),
    (
        as_text("path;subject;sequence;frame;expression\n"),
        "right_y; got path;subject;sequence;frame;expression",
    ),
    (as_text("path,subject,sequence,frame\n"), "; got path,subject,sequence,frame"),
    (as_text(HEADER.replace("\n", ",left_x\n")), "; got path,subject,sequence,frame,expression,left_x"),
    (as_text(HEADER), ": no rows below the header; add one for each image"),
    (as_text(HEADER + '"never closed'), ": not a readable CSV file (unexpected end of data); give"),
    (as_text(HEADER + "\xff,a,1,1,fear\n"), ": not a readable CSV file ('utf-8' codec can't decode"),
    (as_text(HEADER + "anna/9.png,a,1,1,fear,\n"), ", line 2: 6 fields, but the header has 5; quote fields"),
    (as_text(HEADER + "\n\nanna/9.png,a,1,1\n"), ", line 4: 4 fields, but the header has 5; quote fields"),
    (changed(3, 0, ""), ", line 3: empty path; name an image"),
    (
        changed(3, 0, "../faces/anna/9.png"),
        ", line 4: anna/9.png is in line 3 already; remove one of the two",
    ),
    (
        changed(3, 0, "../out.png"),
        ", line 3: ../out.png leads out of the folder of this file; put the images in",
    ),
    (changed(3, 0, "anna/../../out.png"), ", line 3: anna/../../out.png leads out of the folder"),
    (changed(3, 0, "/etc/passwd"), ", line 3: /etc/passwd leads out of the folder"),
    (link, ", line 4: anna/9.png leads out of the folder"),
    (changed(3, 0, "anna/13.png"), ", line 3: anna/13.png: no such image; correct the path, relative to"),
    (changed(3, 0, "anna"), ", line 3: anna: no such image"),
    (changed(3, 0, "anna/9.png"), ", line 4: anna/9.png is in line 3 already; remove one of the two"),
    (changed(3, 1, " "), ", line 3: empty subject; every image needs one"),
    (changed(3, 2, ""), ", line 3: empty sequence; every image needs one"),
    (changed(3, 1, "an\nna"), r", line 4: subject 'an\nna' is not plain text"),
    (
        changed(3, 3, "7"),
        ", line 3: frame 7 of sequence 1 of subject anna is in another line already; number",
    ),
    (changed(3, 3, "-1"), ", line 3: frame '-1' is not a whole number from 0; number the frames"),
    (changed(3, 3, "1.5"), ", line 3: frame '1.5' is not a whole number"),
    (changed(3, 3, ""), ", line 3: frame '' is not a whole number"),
    (changed(3, 3, "²"), ", line 3: frame '²' is not a whole number"),
    (changed(3, 4, "joy"), ", line 3: unknown expression 'joy'; use one of anger, contempt, disgust, fear,"),
    (changed(3, 4, "Happiness"), ", line 3: unknown expression 'Happiness'; use one of"),
    (
        changed(3, 4, "neutral"),
        ", line 3: sequence 1 of subject anna is happiness before and neutral here; make",
    ),
    (
        with_eyes("1", "2", "3", ""),
        ", line 2: left_x,left_y,right_x,right_y are 1,2,3,; give four numbers, or",
    ),
    (with_eyes("1", "2", "x", "4"), ", line 2: left_x,left_y,right_x,right_y are 1,2,x,4; give four numbers"),
    (
        with_eyes("3", "2", "1", "2"),
        ", line 2: left_x is not less than right_x; left is the left of the image",
    ),
    (with_eyes("nan", "2", "1", "2"), ", line 2: left_x is not less than right_x"),
]


@pytest.mark.parametrize(("change", "complaint"), MISTAKES)
def test_a_mistake_is_one_line_that_names_file_line_and_remedy(manifest, tmp_path, capsys, change, complaint):
    change(manifest)
    before = sorted(tmp_path.rglob("*"))
    assert command(manifest) == 2
    output = capsys.readouterr()
    assert output.err.startswith(f"error: {manifest}")
    assert complaint in output.err
    assert output.err.count("\n") == 1
    assert ";" in output.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("eyes", [(400, 100, 450, 100), (-5, 100, 50, 100), (100, 100, 150, float("inf"))])
def test_eyes_outside_the_image(manifest, capsys, eyes):
    with_eyes(*eyes)(manifest)
    assert command(manifest) == 2
    assert "anna/07.png: its eyes, " in capsys.readouterr().err


def test_damaged_images_can_be_left_out(manifest, tmp_path, capsys):
    (manifest.parent / "anna" / "9.png").write_bytes(b"<html>")
    assert command(manifest) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"error: {manifest.parent}/anna/9.png: damaged image (not an image); get")
    assert command(manifest, "--on-failure", "skip") == 0
    assert read_database(tmp_path / "out").table["position"].tolist() == [2, 0, 0]


def test_nothing_is_left_is_an_error(manifest, capsys):
    for path, *_ in ROWS:
        (manifest.parent / path).write_bytes(b"<html>")
    assert command(manifest, "--on-failure", "skip") == 2
    errors = capsys.readouterr().err
    assert "error: 4 photographs failed:\n" in errors
    assert "--on-failure" not in errors


def test_the_help_shows_the_way_of_crema_d_and_ravdess(capsys):
    with pytest.raises(SystemExit):
        main(["csv", "--help"])
    help_text = capsys.readouterr().out
    assert csv_manifest.__doc__.strip() in help_text
    for line in help_text.splitlines():  # the examples are rows that the reader takes
        if line.strip().startswith("frames/"):
            assert len(line.strip().split(",")) == len(COLUMNS)
            assert line.rpartition(",")[2] in csv_manifest.EXPRESSIONS
