import csv
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_photographs import draw, place
from PIL import Image

from data_prep.__main__ import main
from data_prep.align import LEFT_PUPIL, RIGHT_PUPIL, SourceError, find_eyes
from data_prep.london_set import PEOPLE, prepare_london_set, read_template
from eifn.database import read_database

REAL = Path(__file__).parents[2] / "shared" / "data" / "london_set"

# Three people who are drawn, not photographed: each holds the head differently, and lower when smiling.
POSES = {
    "001": {"subject": 1, "middle": (150, 130), "degrees": 3},
    "016": {"subject": 5, "middle": (170, 140), "degrees": -8},
    "173": {"subject": 4, "middle": (140, 120), "degrees": 0},
}
LOWER = 18


def photograph(person, smiling):
    """A photograph, 320 x 320, and where its pupils are."""
    pose = dict(POSES[person], size=(320, 320), scale=0.7)
    face = draw(pose.pop("subject"), "happiness" if smiling else "anger")
    x, y = pose.pop("middle")
    return place(face, middle=(x, y + LOWER * smiling), **pose)


def template(person):
    points = [*photograph(person, smiling=False)[1], *[(150, 150 + i / 2) for i in range(187)]]
    return "\n".join(["189", *(f"{x:.1f}\t{y:.1f}" for x, y in points), "1", "0", "3", "0 1 2", ""])


@pytest.fixture
def source(tmp_path):
    """A small London Set in its official layout."""
    folder = tmp_path / "in" / "london_set"
    for archive, ending in (("neutral_front", "03"), ("smiling_front", "08")):
        (folder / archive).mkdir(parents=True)
        for person in POSES:
            image, _ = photograph(person, smiling=ending == "08")
            Image.fromarray(image).save(folder / archive / f"{person}_{ending}.jpg", quality=95)
    for person in POSES:
        (folder / "neutral_front" / f"{person}_03.tem").write_text(template(person))
    (folder / "london_faces_info.csv").write_text(
        "face_id,face_age,face_gender,face_eth\n001,24,female,white\n"
    )
    return folder


@pytest.fixture
def out(tmp_path):
    return tmp_path / "london"


def test_all_that_the_format_asks_for(source, out):
    assert prepare_london_set(source, out) == out
    database = read_database(out)
    assert database.name == "london"
    assert database.expressions == ("happiness", "neutral")
    assert database.licence == "CC BY 4.0"
    assert "10.6084/m9.figshare.5047666" in database.citation
    assert database.made_by == "python -m data_prep london-set"
    assert database.table.to_numpy().tolist() == [
        ["001", "001_08", 0, "happiness", "smiling_front/001_08.jpg"],
        ["001", "001_03", 0, "neutral", "neutral_front/001_03.jpg"],
        ["016", "016_08", 0, "happiness", "smiling_front/016_08.jpg"],
        ["016", "016_03", 0, "neutral", "neutral_front/016_03.jpg"],
        ["173", "173_08", 0, "happiness", "smiling_front/173_08.jpg"],
        ["173", "173_03", 0, "neutral", "neutral_front/173_03.jpg"],
    ]


def test_every_face_lies_where_it_should_with_and_without_a_smile(source, out):
    database = read_database(prepare_london_set(source, out))
    for frame in database.frames:
        assert frame[32, 32, 0] > frame[32, 32, 2] + 20  # more red than blue
        found = (np.array(find_eyes(cv2.resize(frame, (256, 256)))) + 0.5) / 4 - 0.5
        np.testing.assert_allclose(found, [LEFT_PUPIL, RIGHT_PUPIL], atol=1.5)  # found at 64 pixels


# The layouts that unzipping leaves.


def test_files_of_macos_are_no_photographs(source, out):
    prepare_london_set(source, out)
    expected = read_database(out).sha256
    for archive in ("neutral_front", "smiling_front"):
        for file in list((source / archive).iterdir()):
            (source / archive / f"._{file.name}").write_bytes(b"\x00\x05\x16\x07 resource fork")
        (source / archive / ".DS_Store").write_bytes(b"Bud1")
        shutil.copytree(
            source / archive, source / "__MACOSX" / archive, ignore=shutil.ignore_patterns("[0-9]*")
        )
    prepare_london_set(source, out)
    assert read_database(out).sha256 == expected


@pytest.mark.parametrize("layout", ["nested", "parent", "flat"])
def test_other_layouts_give_the_same_database(source, out, layout):
    prepare_london_set(source, out)
    expected = read_database(out).sha256
    for archive in ("neutral_front", "smiling_front"):
        if layout == "nested":
            (source / archive).rename(source / "x")
            (source / archive).mkdir()
            (source / "x").rename(source / archive / archive)
        elif layout == "flat":
            for file in list((source / archive).iterdir()):
                file.rename(source / file.name)
    prepare_london_set(source.parent if layout == "parent" else source, out)
    assert read_database(out).sha256 == expected


# What is missing and kept out, but no error.


def test_what_is_missing_is_reported(source, out, capsys):
    (source / "smiling_front" / "016_08.jpg").unlink()
    (source / "neutral_front" / "173_03.jpg").unlink()
    assert main(["london-set", "--source", str(source), "--out", str(out)]) == 0
    output = capsys.readouterr()
    smiling, neutral = re.findall(r"note: missing in (\w+), of 102 photographs \((\d+)\): (.*)\n", output.err)
    assert smiling[:2] == ("smiling_front", "100")
    assert {"002_08.jpg", "016_08.jpg"} <= set(smiling[2].split(", "))
    assert neutral[:2] == ("neutral_front", "100")
    assert {"002_03.jpg", "173_03.jpg"} <= set(neutral[2].split(", "))
    assert read_database(out).table["sequence"].tolist() == ["001_08", "001_03", "016_03", "173_08"]
    assert output.out == (
        f"FaceDatabase('london': 4 frames, 4 sequences, 3 subjects, 2 expressions) written to {out}\n"
    )


def test_the_numbers_of_the_people_are_the_official_ones():
    assert len(PEOPLE) == len(set(PEOPLE)) == 102
    info = REAL / "london_faces_info.csv"
    if not info.is_file():
        pytest.skip(f"no London Set in {REAL}")
    with info.open(newline="") as file:
        assert [row["face_id"] for row in csv.DictReader(file)] == list(PEOPLE)


# What is an error: one line, and nothing written.


def cut_image(source):
    file = source / "smiling_front" / "016_08.jpg"
    file.write_bytes(file.read_bytes()[:-2000])


def no_image(source):
    (source / "neutral_front" / "001_03.jpg").write_text("<html>404</html>")


def no_template(source):
    (source / "neutral_front" / "016_03.tem").unlink()


def no_neutral_front(source):
    shutil.rmtree(source / "neutral_front")


def no_neutral_photograph(source):
    for file in (source / "neutral_front").glob("*.jpg"):
        file.unlink()


def no_smiling_front(source):
    shutil.rmtree(source / "smiling_front")


def still_zipped(source):
    for archive in ("neutral_front", "smiling_front"):
        shutil.rmtree(source / archive)
        (source / f"{archive}.zip").write_bytes(b"PK")


def no_folder(source):
    shutil.rmtree(source)


def a_second_copy(source):
    shutil.copytree(source / "smiling_front", source / "backup")


def smaller_images(source):
    for file in source.glob("*/*.jpg"):
        cv2.imwrite(str(file), cv2.resize(cv2.imread(str(file)), (160, 160)))


def edit_template(old, new):
    def edit(source):
        file = source / "neutral_front" / "001_03.tem"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new, 1))

    return edit


def empty_template(source):
    (source / "neutral_front" / "001_03.tem").write_text("")


def cut_template(source):
    file = source / "neutral_front" / "001_03.tem"
    file.write_text("\n".join(file.read_text().splitlines()[:189]))  # the last one is missing


def binary_template(source):
    (source / "neutral_front" / "001_03.tem").write_bytes(b"\xff\xfe1\x008\x009\x00")


def no_face(source):
    Image.new("RGB", (320, 320), "grey").save(source / "smiling_front" / "016_08.jpg")


SECOND = "\t".join(f"{value:.1f}" for value in photograph("001", smiling=False)[1][1])
"""The second pupil as the template has it."""

MISTAKES = [
    (
        no_face,
        "smiling_front/016_08.jpg: no face with two eyes found; or leave it out with --on-failure skip",
    ),
    (cut_image, "smiling_front/016_08.jpg: damaged image (image file is truncated"),
    (no_image, "neutral_front/001_03.jpg: damaged image (not an image)"),
    (no_template, "neutral_front/016_03.tem: not found, and it says where the pupils are"),
    (no_neutral_front, "london_set: no photograph of neutral_front (such as 001_03.jpg) in it; get"),
    (no_neutral_photograph, "london_set: no photograph of neutral_front (such as 001_03.jpg) in it; get"),
    (no_smiling_front, "london_set: no photograph of smiling_front (such as 001_08.jpg) in it; get"),
    (still_zipped, "london_set: no photograph of smiling_front (such as 001_08.jpg) in it; get"),
    (no_folder, "london_set: not a folder"),
    (a_second_copy, "smiling_front/001_08.jpg: found a second time, after"),
    (smaller_images, "neutral_front/001_03.jpg: the eyes found are not where its template has them; get"),
    (empty_template, "001_03.tem: expected the number 189 and as many lines below it, got 'an empty file'"),
    (cut_template, "001_03.tem: expected the number 189 and as many lines below it, got '189' and 188 lines"),
    (binary_template, "001_03.tem: not a readable template"),
    (edit_template("189", "68"), "001_03.tem: expected the number 189 and as many lines below it, got '68'"),
    (edit_template(SECOND, "190.0\tnone"), "001_03.tem, line 3: expected two numbers, got '190.0\\tnone'"),
    (edit_template(SECOND, "190.0"), "001_03.tem, line 3: expected two numbers"),
    (edit_template(SECOND, "1 2 3"), "001_03.tem, line 3: expected two numbers"),
    (edit_template(SECOND, ""), "001_03.tem, line 3: expected two numbers, got ''"),
    (edit_template(SECOND, "nan 5"), "001_03.jpg: the eyes found are not where its template has them"),
    (edit_template(SECOND, "190 -1"), "001_03.jpg: the eyes found are not where its template has them"),
]


@pytest.mark.parametrize(
    ("break_it", "complaint"), MISTAKES, ids=lambda value: getattr(value, "__name__", "")
)
@pytest.mark.parametrize("old", [False, True], ids=["new", "replacing"])
def test_a_mistake_is_one_line_and_leaves_nothing(source, out, capsys, break_it, complaint, old):
    if old:
        prepare_london_set(source, out)
    break_it(source)
    capsys.readouterr()
    before = sorted(out.parent.rglob("*"))
    content = {path: path.read_bytes() for path in before if path.is_file()}
    assert main(["london-set", "--source", str(source), "--out", str(out)]) == 2
    output = capsys.readouterr()
    line = output.err.splitlines()[-1]
    if break_it is smaller_images:  # which is wrong about all
        assert "error: 3 photographs failed" in output.err
        assert complaint in output.err
    else:
        assert line.startswith("error: ")
        assert complaint in line
    assert output.out == ""
    assert sorted(out.parent.rglob("*")) == before
    assert {path: path.read_bytes() for path in before if path.is_file()} == content


def test_a_mistake_is_an_exception_to_python(source, out):
    no_template(source)
    with pytest.raises(SourceError, match=r"016_03\.tem: not found"):
        prepare_london_set(source, out)


# The real set, where there is a copy of it.


def test_templates_of_the_real_set():
    files = sorted((REAL / "neutral_front").glob("[0-9]*.tem"))
    if not files:
        pytest.skip(f"no London Set in {REAL}")
    assert len(files) == 102
    for file in files:
        left, right = read_template(file)[:2]
        assert 150 < right[0] - left[0] < 270  # the pupil on the left of the image comes first
        assert abs(right[1] - left[1]) < 40


@pytest.mark.slow
def test_the_real_set(out, capsys):
    if not REAL.is_dir():
        pytest.skip(f"no London Set in {REAL}")
    database = read_database(prepare_london_set(REAL, out))
    assert "note:" not in capsys.readouterr().err
    assert len(database) == 204
    assert database.table["expression"].value_counts().to_dict() == {"happiness": 102, "neutral": 102}
    # On the mean face of either expression the darkest place near an eye is the pupil.
    for expression in ("neutral", "happiness"):
        mean = database.frames[database.table["expression"] == expression].mean((0, 3))
        for x, y in (LEFT_PUPIL, RIGHT_PUPIL):
            eye = mean[int(y) - 3 : int(y) + 6, int(x) - 4 : int(x) + 7]
            row, column = np.unravel_index(eye.argmin(), eye.shape)
            assert int(x) - 4 + column == pytest.approx(x, abs=0.5)
            assert int(y) - 3 + row == pytest.approx(y, abs=1)
