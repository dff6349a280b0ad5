import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data_prep.__main__ import main
from data_prep.align import LEFT_PUPIL, RIGHT_PUPIL, SourceError
from data_prep.ck_plus import prepare_ck_plus, read_landmarks
from data_prep.london_set import read_template
from eifn import paper
from eifn.database import read_database

# Sequences of the small tree: label (None: no file; "empty": a folder without one) and number of frames.
SEQUENCES = {
    ("S005", "001"): ("3.0000000e+00", 5),
    ("S005", "002"): (None, 4),
    ("S010", "001"): ("   5.0000000e+00\n", 12),
    ("S010", "003"): ("0.0000000e+00", 6),
    ("S010", "004"): ("empty", 4),
    ("S999", "001"): ("2.0000000e+00", 3),
}


def eyes(number):
    """Where the eyes of the number-th frame of a sequence are: the head moves a little."""
    return np.array([250.0 + number, 200.0]), np.array([330.0 + number, 190.0 + number])


def landmarks(number):
    points = np.full((68, 2), 300.0)
    ring = np.array([[-15, 0], [-6, -6], [6, -6], [15, 0], [6, 6], [-6, 6]])
    for start, eye in zip((36, 42), eyes(number), strict=True):
        points[start : start + 6] = eye + ring
    return "".join(f"   {x:.7e}   {y:.7e}\n" for x, y in points)


def draw(number, grey):
    image = np.full((490, 640, 3), (90, 120, 150), np.uint8)
    for eye in eyes(number):
        cv2.circle(image, tuple(int(v) for v in eye.round()), 8, (0, 0, 0), -1)
    image[300:, :, :] = 10 * number  # tells the frames apart
    return Image.fromarray(image).convert("L") if grey else Image.fromarray(image)


@pytest.fixture
def source(tmp_path):
    """A small CK+ in its official layout."""
    folder = tmp_path / "in"
    for (subject, sequence), (label, count) in SEQUENCES.items():
        where = [
            folder / name / subject / sequence for name in ("cohn-kanade-images", "Emotion", "Landmarks")
        ]
        for place in where[: 3 if label else 1 : 2] + ([where[1]] if label else []) + [where[2]]:
            place.mkdir(parents=True, exist_ok=True)
        for number in range(1, count + 1):
            stem = f"{subject}_{sequence}_{number:08d}"
            draw(number, grey=subject != "S999").save(where[0] / f"{stem}.png")
            (where[2] / f"{stem}_landmarks.txt").write_text(landmarks(number))
        if label and label != "empty":
            (where[1] / f"{subject}_{sequence}_{count:08d}_emotion.txt").write_text(label)
    (folder / "cohn-kanade-images" / ".DS_Store").write_bytes(b"\0")
    (folder / "cohn-kanade-images" / "S005" / ".DS_Store").write_bytes(b"\0")
    (folder / "Emotion" / "S010" / "001" / "._S010_001_00000012_emotion.txt").write_bytes(b"\0\5")
    (folder / "cohn-kanade-images" / "S010" / "001" / "._S010_001_00000012.png").write_bytes(b"\0\5")
    return folder


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_the_last_three_frames_of_every_labelled_sequence(source, tmp_path):
    faces = read_database(prepare_ck_plus(source, tmp_path / "out"))
    assert faces.name == "ck-plus"
    assert faces.expressions == paper.CK_PLUS.expressions
    rows = faces.table[["subject", "sequence", "position", "expression"]].to_numpy().tolist()
    assert rows == [
        [*key, position, expression]
        for key, expression in (
            (("S005", "001"), "disgust"),
            (("S010", "001"), "happiness"),
            (("S999", "001"), "contempt"),
        )
        for position in (2, 1, 0)
    ]
    assert faces.table["source"].tolist()[3:6] == [
        f"cohn-kanade-images/S010/001/S010_001_{number:08d}.png" for number in (10, 11, 12)
    ]
    # The lower part of a frame has the shade 10 x its number: in the frame it comes from, and no other.
    assert [int(frame[60, 32, 0]) for frame in faces.frames[3:6]] == [100, 110, 120]
    assert (np.ptp(faces.frames[0], axis=2) == 0).all()
    assert np.ptp(faces.frames[-1], axis=2).max() > 20


def test_eyes_come_to_the_same_place_in_every_frame(source, tmp_path):
    faces = read_database(prepare_ck_plus(source, tmp_path / "out"))
    for frame in faces.frames.astype(float).mean(3):
        for x, y in (LEFT_PUPIL, RIGHT_PUPIL):
            rows, columns = np.mgrid[int(y) - 5 : int(y) + 7, int(x) - 5 : int(x) + 7]
            dark = (100 - frame[rows, columns]).clip(0)
            assert (dark * columns).sum() / dark.sum() == pytest.approx(x, abs=0.4)
            assert (dark * rows).sum() / dark.sum() == pytest.approx(y, abs=0.4)


@pytest.mark.parametrize("nested", ["Emotion_labels/Emotion", "Emotion/Emotion"])
def test_archives_within_folders_of_their_names(source, tmp_path, nested):
    expected = read_database(prepare_ck_plus(source, tmp_path / "plain"))
    moves = {
        "cohn-kanade-images": "extended-cohn-kanade-images/cohn-kanade-images",
        "Emotion": nested,
        "Landmarks": "Landmarks/Landmarks",
    }
    for name, place in moves.items():
        aside = source / "aside"
        (source / name).rename(aside)
        (source / place).parent.mkdir(parents=True)
        aside.rename(source / place)
    faces = read_database(prepare_ck_plus(source, tmp_path / "nested"))
    assert faces.sha256 == expected.sha256


def test_what_is_missing_is_named(source, tmp_path, capsys):
    (source / "cohn-kanade-images" / "S999" / "001" / "S999_001_00000001.png").unlink()
    faces = read_database(prepare_ck_plus(source, tmp_path / "out"))
    assert "S999" not in faces.subjects
    errors = capsys.readouterr().err
    assert "note: left out, sequences of fewer than 3 frames (1): S999/001 with 2\n" in errors
    assert "note: 327 labelled sequences of 118 people expected, found 3 of 3\n" in errors
    assert "is the archive whole" not in errors


def test_labels_without_images_and_sequences_without_their_peak_are_named(source, tmp_path, capsys):
    shutil.rmtree(source / "cohn-kanade-images" / "S005" / "001")
    (source / "cohn-kanade-images" / "S010" / "001" / "S010_001_00000012.png").unlink()
    faces = read_database(prepare_ck_plus(source, tmp_path / "out"))
    assert faces.subjects == ["S010", "S999"]
    errors = capsys.readouterr().err
    assert "note: left out, sequences of fewer than 3 frames (1): S005/001 with 0\n" in errors
    assert "is not the one that the label names, is the archive whole? (1): S010/001\n" in errors


def test_what_fails_is_left_out_on_demand(source, tmp_path, capsys):
    for what in ("image", "67 landmarks"):
        damage(source, what)
    (source / "Landmarks" / "S010" / "001" / "S010_001_00000012_landmarks.txt").unlink()
    arguments = ["ck-plus", "--source", str(source), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    errors = capsys.readouterr().err
    assert "error: 2 photographs failed" in errors
    assert main([*arguments, "--on-failure", "skip"]) == 0
    errors = capsys.readouterr().err
    assert "note: left out (2): " in errors
    assert "S010_001_00000011_landmarks.txt: expected 68 points" in errors
    assert "S010_001_00000012_landmarks.txt: not found" in errors
    positions = read_database(tmp_path / "out").table.groupby("subject")["position"].apply(list)
    assert positions.to_dict() == {"S005": [2, 1, 0], "S010": [2], "S999": [2, 1, 0]}


def damage(source, what):
    image = source / "cohn-kanade-images" / "S010" / "001" / "S010_001_00000011.png"
    label = source / "Emotion" / "S010" / "001" / "S010_001_00000012_emotion.txt"
    points = source / "Landmarks" / "S010" / "001" / "S010_001_00000011_landmarks.txt"
    if what == "image":
        image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    elif what == "no image":
        image.write_bytes(b"")
    elif what in ("8", "1.5", "happy", "nan"):
        label.write_text(what)
    elif what == "two labels":
        shutil.copy(label, label.with_name("S010_001_00000011_emotion.txt"))
    elif what == "no landmarks":
        points.unlink()
    elif what == "67 landmarks":
        points.write_text("".join(points.read_text().splitlines(keepends=True)[:67]))
    elif what == "words":
        points.write_text("left eye\n" * 68)
    elif what == "one point":
        points.write_text("3 4\n" * 68)
    elif what == "points of another image":
        points.write_text("".join(f"{1000 + 3 * i} 4\n" for i in range(68)))
    elif what == "second copy":
        shutil.copytree(source / "Emotion", source / "backup" / "Emotion")
    elif what == "no labels":
        for file in (source / "Emotion").rglob("*_emotion.txt"):
            file.unlink()
    elif what == "two frames a sequence":
        for folder in (source / "cohn-kanade-images").glob("S*/*"):
            for file in sorted(folder.glob("S*.png"))[:-2]:
                file.unlink()
    else:
        shutil.rmtree(source / what)


@pytest.mark.parametrize(
    ("what", "complaint"),
    [
        ("image", "S010_001_00000011.png: damaged image"),
        ("no image", "S010_001_00000011.png: damaged image"),
        ("8", "S010_001_00000012_emotion.txt: not a label (8 is not"),
        ("1.5", "S010_001_00000012_emotion.txt: not a label (1.5 is not"),
        ("happy", "S010_001_00000012_emotion.txt: not a label"),
        ("nan", "S010_001_00000012_emotion.txt: not a label"),
        ("two labels", "S010_001_00000012_emotion.txt: a second label"),
        ("no landmarks", "S010_001_00000011_landmarks.txt: not found, and it says where the eyes are"),
        ("67 landmarks", "S010_001_00000011_landmarks.txt: expected 68 points"),
        ("words", "S010_001_00000011_landmarks.txt: not readable landmarks"),
        ("one point", "S010_001_00000011.png: pupils at"),
        ("points of another image", "S010_001_00000011.png: its eyes, "),
        ("second copy", "Emotion: a second copy, after"),
        ("no labels", "Emotion: no labels (such as S005/001/S005_001_00000011_emotion.txt) in it"),
        ("two frames a sequence", "cohn-kanade-images: no frames of a labelled sequence in it"),
        ("cohn-kanade-images", "no folder cohn-kanade-images with subjects"),
        ("Emotion", "no folder Emotion with subjects"),
        ("Landmarks", "no folder Landmarks with subjects"),
    ],
)
def test_damage_is_one_line_that_names_the_file(source, tmp_path, capsys, what, complaint):
    damage(source, what)
    before = files(tmp_path)
    assert main(["ck-plus", "--source", str(source), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert complaint in error
    assert files(tmp_path) == before


def test_from_the_command_line(source, tmp_path, capsys):
    assert main(["ck-plus", "--source", str(source), "--out", str(tmp_path / "out")]) == 0
    assert "FaceDatabase('ck-plus': 9 frames, 3 sequences, 3 subjects" in capsys.readouterr().out


def test_no_source(tmp_path):
    with pytest.raises(SourceError, match="nowhere: not a folder"):
        prepare_ck_plus(tmp_path / "nowhere", tmp_path / "out")


def test_landmarks_are_read_as_pairs(tmp_path):
    file = tmp_path / "landmarks.txt"
    file.write_text(landmarks(3))
    np.testing.assert_allclose(read_landmarks(file)[36:42].mean(0), eyes(3)[0])


def test_the_middle_of_an_eye_is_close_to_its_pupil():
    """By the points of the London Set that are like those of CK+: corners, upper and lower lids."""
    templates = sorted(Path(__file__).parents[2].glob("shared/data/london_set/neutral_front/[0-9]*.tem"))
    if not templates:
        pytest.skip("no London Set in ../shared/data/london_set")
    points = np.array([read_template(file) for file in templates])  # (people, points, x and y)
    distance = points[:, 1, 0] - points[:, 0, 0]
    for pupil, around in ((0, [18, 19, 21, 22, 28, 30]), (1, [23, 24, 26, 27, 31, 33])):
        off = (points[:, around].mean(1) - points[:, pupil]) / distance[:, None]
        assert off.mean(0) == pytest.approx((0, 0.03), abs=0.008)
