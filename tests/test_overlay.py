from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from drawn_photographs import draw, place
from PIL import Image

from data_prep.__main__ import main
from data_prep.align import LEFT_PUPIL, RIGHT_PUPIL
from data_prep.ck_plus import LANDMARKS, prepare_ck_plus
from data_prep.london_set import prepare_london_set
from data_prep.oulu_casia import prepare_oulu_casia
from data_prep.overlay import CAPTION, CROSS, ENLARGED, draw_overlay, mean_face
from eifn.database import write_database

LONDON_SET = Path(__file__).parents[2] / "shared" / "data" / "london_set"


@pytest.fixture
def make(tmp_path):
    def make(name, frames):
        rows = [("a", "1", number, "fear", "") for number in range(len(frames))]
        return write_database(
            tmp_path / name,
            name=name,
            frames=np.stack(frames),
            table=pd.DataFrame(rows, columns=["subject", "sequence", "position", "expression", "source"]),
            expressions=("fear",),
            licence="none",
            citation="none",
            made_by="a test",
        )

    return make


def with_square(row, column, light):
    frame = np.full((64, 64, 3), 20, np.uint8)
    frame[row : row + 8, column : column + 8] = light
    return frame


def test_the_mean_face_is_the_mean_of_all_frames(make):
    face = mean_face(make("a", [with_square(10, 10, 120), with_square(10, 40, 120)]))
    assert face.shape == (64, 64)
    expected = np.zeros((64, 64))
    expected[10:18, 10:18] = expected[10:18, 40:48] = 255
    np.testing.assert_allclose(face, expected)


def test_faces_stand_side_by_side_and_last_their_mean(make, tmp_path, capsys):
    one, other = make("one", [with_square(40, 10, 200)]), make("other", [with_square(40, 40, 90)])
    file = tmp_path / "overlay.png"
    assert main(["overlay", "--databases", str(one), str(other), "--out", str(file)]) == 0
    assert capsys.readouterr().out == f"{file} written\n"
    picture = np.asarray(Image.open(file))
    side = 64 * ENLARGED
    assert picture.shape == (side + CAPTION, 3 * side, 3)
    lit = picture[:, :, 0].astype(int)
    y, x = 44 * ENLARGED, np.array([14, 44]) * ENLARGED  # the middles of the squares
    assert lit[y, x].tolist() == [255, 0]
    assert lit[y, side + x].tolist() == [0, 255]
    np.testing.assert_allclose(lit[y, 2 * side + x], 127, atol=1)
    for column in range(3):
        for pupil in (LEFT_PUPIL, RIGHT_PUPIL):
            left, top = (int(ENLARGED * (place + 0.5)) for place in pupil)
            assert tuple(picture[top, column * side + left]) == CROSS
        caption = picture[side:, column * side : (column + 1) * side]
        assert (caption < 128).any()


def test_one_database_has_no_mean_with_others(make, tmp_path):
    draw_overlay([make("one", [with_square(40, 10, 200)])], tmp_path / "overlay.png")
    assert Image.open(tmp_path / "overlay.png").width == 64 * ENLARGED


@pytest.mark.parametrize("place", ["nowhere/overlay.png", "overlay.word"])
def test_a_picture_that_cannot_be_written(make, tmp_path, capsys, place):
    one = make("one", [with_square(40, 10, 200)])
    assert main(["overlay", "--databases", str(one), "--out", str(tmp_path / place)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / place}: cannot be written")
    assert not (tmp_path / place).exists()


def test_no_database(tmp_path, capsys):
    assert main(["overlay", "--databases", str(tmp_path), "--out", str(tmp_path / "overlay.png")]) == 2
    assert "database.json: not found; prepare it again" in capsys.readouterr().err


# One geometry for all sources: the same drawn people in two official layouts, with landmarks and without.

PEOPLE = (1, 2, 3, 4, 5, 7, 9, 10, 11, 12)
"""With dark eyes, which `drawn_photographs` finds by that."""


def draw_ck_plus(folder):
    """Sequences of one person each in 640 x 490, grey, with landmarks."""
    ring = 12 * np.array([[-1, 0], [-0.4, -0.4], [0.4, -0.4], [1, 0], [0.4, 0.4], [-0.4, 0.4]])
    random = np.random.default_rng(0)
    for subject in PEOPLE:
        images, labels, landmarks = (
            folder / name / f"S{subject:03d}" / "001"
            for name in ("cohn-kanade-images", "Emotion", "Landmarks")
        )
        for each in (images, labels, landmarks):
            each.mkdir(parents=True)
        pose = {
            "middle": random.uniform([250, 180], [390, 240]),
            "scale": random.uniform(0.9, 1.4),
            "degrees": random.uniform(-8, 8),
        }
        picture, eyes = place(draw(subject, "happiness"), size=(490, 640), **pose)
        points = np.zeros((LANDMARKS, 2))
        points[36:48] = np.concatenate([np.array(eye) + ring for eye in eyes])
        for number in (1, 2, 3):
            stem = f"S{subject:03d}_001_{number:08d}"
            Image.fromarray(picture).convert("L").save(images / f"{stem}.png")
            lines = [f"  {x:.7e}  {y:.7e}\n" for x, y in points]
            (landmarks / f"{stem}_landmarks.txt").write_text("".join(lines))
        (labels / f"{stem}_emotion.txt").write_text("   5.0000000e+00\n")


def draw_oulu_casia(folder):
    """Sequences of one person each in 320 x 240."""
    random = np.random.default_rng(1)
    for subject in PEOPLE:
        images = folder / "OriginalImg" / "VL" / "Strong" / f"P{subject:03d}" / "Happiness"
        images.mkdir(parents=True)
        pose = {
            "middle": random.uniform([130, 85], [190, 115]),
            "scale": random.uniform(0.45, 0.7),
            "degrees": random.uniform(-8, 8),
        }
        picture, _ = place(draw(subject, "happiness"), **pose)
        for number in range(3):
            Image.fromarray(picture).save(images / f"{number:03d}.jpeg", quality=95)


def darkest_row(face, rows, columns):
    """The darkest of some rows, between pixels: the lowest point of a parabola there."""
    profile = face[rows, columns].mean(1)
    i = int(profile[1:-1].argmin()) + 1
    a, b, c = profile[i - 1 : i + 2]
    return rows.start + i + (a - c) / (2 * (a - 2 * b + c))


def eyes_and_mouth(face):
    """The darkest rows: at the left and the right eye, and at the mouth."""
    left, right = slice(17, 25), slice(39, 47)
    return [darkest_row(face, slice(17, 26), eye) for eye in (left, right)], darkest_row(
        face, slice(42, 54), slice(26, 38)
    )


@pytest.mark.slow
def test_eyes_and_mouths_of_all_sources_come_together(tmp_path):
    draw_ck_plus(tmp_path / "ck")
    draw_oulu_casia(tmp_path / "oulu")
    databases = [
        prepare_ck_plus(tmp_path / "ck", tmp_path / "ck-plus"),
        prepare_oulu_casia(tmp_path / "oulu", tmp_path / "oulu-casia"),
    ]
    ck_plus, oulu_casia = map(mean_face, databases)
    # The same people. A mouth is farther from where faces are laid together: from the found eyes' distance.
    for rows, reach in ((slice(8, 36), 1.5), (slice(36, 64), 2.5)):
        one, other = ck_plus[rows].copy(), oulu_casia[rows].copy()
        window = cv2.createHanningWindow(one.shape[::-1], cv2.CV_64F)
        shift = cv2.phaseCorrelate(one, other, window)[0]
        assert np.abs(shift).max() < reach, rows
    places = [eyes_and_mouth(face) for face in (ck_plus, oulu_casia)]
    if LONDON_SET.is_dir():
        databases.append(prepare_london_set(LONDON_SET, tmp_path / "london"))
        places.append(eyes_and_mouth(mean_face(databases[-1])))
    draw_overlay(databases, tmp_path / "overlay.png")
    for eyes, mouth in places:
        np.testing.assert_allclose(eyes, LEFT_PUPIL[1], atol=1.5)
        assert mouth == pytest.approx(places[0][1], abs=4.5)  # of grins, a lip or below the teeth
