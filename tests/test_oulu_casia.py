import shutil

import cv2
import numpy as np
import pytest
from drawn_photographs import draw, place
from PIL import Image

from data_prep.__main__ import main
from data_prep.align import SourceError
from data_prep.oulu_casia import EXPRESSIONS, SUBJECTS, prepare_oulu_casia
from eifn import paper
from eifn.database import read_database

SEQUENCES = {"P001": ("anger", "disgust", "surprise"), "P023": ("happiness",)}


def picture(subject, expression, number):
    """A frame of a sequence, in which the head goes to the right, comes nearer and turns."""
    face = draw(int(subject[1:]), expression)
    image, _ = place(face, middle=(130 + 3 * number, 100), scale=0.04 * number + 0.1, degrees=4 * number - 44)
    return image


@pytest.fixture
def source(tmp_path):
    """A small Oulu-CASIA in its official layout; the frames before the last three are empty files."""
    folder = tmp_path / "in"
    for subject, expressions in SEQUENCES.items():
        for expression in expressions:
            place_ = folder / "OriginalImg" / "VL" / "Strong" / subject / expression.capitalize()
            place_.mkdir(parents=True)
            for number in range(5, 13):  # written without zeros in front, 10 comes before 9 in the alphabet
                if number < 10:
                    (place_ / f"{number}.jpeg").touch()
                else:
                    Image.fromarray(picture(subject, expression, number)).save(
                        place_ / f"{number}.jpeg", quality=95
                    )
            (place_ / ".DS_Store").touch()
            (place_ / "._12.jpeg").touch()
    (folder / "OriginalImg" / ".DS_Store").touch()
    (folder / "OriginalImg" / "VL" / "Strong" / "P002" / "Fear").mkdir(parents=True)
    return folder


def strong(source):
    return source / "OriginalImg" / "VL" / "Strong"


def prepare(source, out, **options):
    return read_database(prepare_oulu_casia(source, out, **options))


def test_the_last_three_frames_of_every_sequence(source, tmp_path):
    faces = prepare(source, tmp_path / "out")
    assert faces.name == "oulu-casia"
    assert faces.expressions == EXPRESSIONS == paper.OULU_CASIA.expressions
    assert len(SUBJECTS) * len(EXPRESSIONS) == sum(paper.OULU_CASIA.sequences.values())
    assert faces.table.to_numpy().tolist() == [
        [
            subject,
            expression.capitalize(),
            position,
            expression,
            f"OriginalImg/VL/Strong/{subject}/{expression.capitalize()}/{12 - position}.jpeg",
        ]
        for subject, expressions in SEQUENCES.items()
        for expression in expressions
        for position in (2, 1, 0)
    ]


def shift(one, other):
    """How far the other frame lies to the right of the one, and below it, in pixels."""
    window = cv2.createHanningWindow((64, 64), cv2.CV_64F)
    return np.array(cv2.phaseCorrelate(one.mean(2), other.mean(2), window)[0])


def test_the_face_stays_where_it_is_when_the_head_moves_in_the_picture(source, tmp_path):
    faces = prepare(source, tmp_path / "out")
    for sequence in faces.frames.reshape(4, 3, 64, 64, 3):
        for frame in sequence[1:]:
            assert np.abs(shift(sequence[0], frame)).max() < 1


@pytest.mark.parametrize(
    "layout",
    [
        "B_OriginalImg/VL/Strong",
        "B_OriginalImg/B_OriginalImg/OriginalImg/VL/Strong",
        "originalimg/vl/strong",
        "PreProcess_Img/VL_Acropped/Strong",
        "PreProcessImg/VL_Acropped/Strong",
        "PreProcess/vl_acropped/STRONG",
        "Oulu_CASIA/PreProcess_Img/PreProcess_Img/VL_Acropped/Strong",
    ],
)
def test_the_layouts_that_people_have(source, tmp_path, layout):
    expected = prepare(source, tmp_path / "expected")
    other = tmp_path / "other" / layout
    other.parent.mkdir(parents=True)
    strong(source).rename(other)
    for folder in list(other.glob("P023")):
        folder.rename(folder.with_name("p023"))
    (other / "P001" / "Anger").rename(other / "P001" / "ANGER")
    faces = prepare(tmp_path / "other", tmp_path / "out")
    np.testing.assert_array_equal(faces.frames, expected.frames)
    official = "PreProcess_Img/VL_Acropped" if "cropped" in layout else "OriginalImg/VL"
    assert faces.table["source"].str.startswith(f"{official}/Strong/P").all()
    assert official in faces.made_by


def test_original_images_go_before_crops_and_the_folder_of_the_crops_gets_these(source, tmp_path):
    crops = source / "PreProcess_Img" / "VL_Acropped" / "Strong" / "P001"
    shutil.copytree(strong(source) / "P001" / "Anger", crops / "Anger")
    assert len(prepare(source, tmp_path / "both")) == 12
    assert len(prepare(source / "PreProcess_Img", tmp_path / "crops")) == 3


def test_other_recordings(source, tmp_path):
    dark = source / "OriginalImg" / "NI" / "Dark" / "P001"
    dark.mkdir(parents=True)
    shutil.copytree(strong(source) / "P001" / "Surprise", dark / "Surprise")
    arguments = ["oulu-casia", "--source", str(source), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--camera", "NI", "--light", "Dark"]) == 0
    faces = read_database(tmp_path / "out")
    assert faces.name == "oulu-casia-ni-dark"
    assert faces.table["source"][0] == "OriginalImg/NI/Dark/P001/Surprise/10.jpeg"
    assert "--camera NI --light Dark" in faces.made_by


def test_what_is_missing_is_named(source, tmp_path, capsys):
    for file in (strong(source) / "P001" / "Disgust").glob("?.jpeg"):
        file.unlink()
    (strong(source) / "P001" / "Disgust" / "10.jpeg").unlink()
    prepare(source, tmp_path / "out")
    errors = capsys.readouterr().err
    missing = next(line for line in errors.splitlines() if "note: missing, of 480 sequences" in line)
    named = set(missing.partition("): ")[2].split(", "))
    assert {"P001/Fear", "P001/Happiness", "P001/Sadness", "P002/Anger", "P023/Anger", "P003"} <= named
    assert not named & {"P001", "P001/Anger", "P002/Fear", "P023/Happiness"}
    assert (
        "note: left out, sequences of fewer than 3 frames (2): P001/Disgust with 2, P002/Fear with 0"
        in errors
    )


def blank(file):
    Image.new("RGB", (320, 240), "grey").save(file)


def test_a_frame_without_a_face_takes_the_eyes_of_its_sequence(source, tmp_path, capsys):
    blank(strong(source) / "P001" / "Anger" / "11.jpeg")
    faces = prepare(source, tmp_path / "out")
    assert len(faces) == 12
    assert (faces.frames[1] == faces.frames[1, 0, 0]).all()
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "no eyes found" in line]
    assert "P001/Anger/11.jpeg" in line
    assert "(1)" in line


def test_eyes_are_not_taken_from_pictures_of_another_size(source, tmp_path):
    Image.new("RGB", (100, 100)).save(strong(source) / "P001" / "Anger" / "11.jpeg")
    with pytest.raises(SourceError, match=r"Anger/11\.jpeg: no face with two eyes found; or leave it out"):
        prepare(source, tmp_path / "out")


def test_failures_are_listed_or_left_out(source, tmp_path, capsys):
    for number in (10, 11, 12):
        blank(strong(source) / "P001" / "Anger" / f"{number}.jpeg")
    cut = strong(source) / "P023" / "Happiness" / "12.jpeg"
    cut.write_bytes(cut.read_bytes()[:3000])
    before = sorted(tmp_path.rglob("*"))
    arguments = ["oulu-casia", "--source", str(source), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    errors = capsys.readouterr().err
    assert "error: 4 photographs failed; mend them, or leave them out with --on-failure skip:\n" in errors
    for number in (10, 11, 12):
        assert f"P001/Anger/{number}.jpeg: no face with two eyes found\n" in errors
    assert "P023/Happiness/12.jpeg: damaged image (image file is truncated" in errors
    assert sorted(tmp_path.rglob("*")) == before
    assert main([*arguments, "--on-failure", "skip"]) == 0
    errors = capsys.readouterr().err
    assert "note: left out (4): " in errors
    assert "P001/Anger/12.jpeg" in errors
    faces = read_database(tmp_path / "out")
    assert faces.table[["subject", "expression", "position"]].to_numpy().tolist() == [
        *[["P001", expression, position] for expression in ("disgust", "surprise") for position in (2, 1, 0)],
        ["P023", "happiness", 2],
        ["P023", "happiness", 1],
    ]


def test_second_copies_are_refused(source, tmp_path):
    shutil.copytree(source / "OriginalImg", source / "backup" / "OriginalImg")
    with pytest.raises(
        SourceError, match=r"VL/Strong: a second copy, after .*VL/Strong; give the folder of one"
    ):
        prepare(source, tmp_path / "out")
    shutil.rmtree(source / "backup")
    shutil.copytree(strong(source) / "P001", strong(source) / "p001", dirs_exist_ok=True)
    if len(list(strong(source).glob("[Pp]001"))) < 2:
        pytest.skip("a file system in which P001 is p001")
    with pytest.raises(SourceError, match=r"p001: a second copy, after .*P001"):
        prepare(source, tmp_path / "out")


def test_no_such_recordings(source, tmp_path):
    with pytest.raises(
        SourceError, match=r"in: no folder OriginalImg/NI/Strong or PreProcess_Img/NI_Acropped"
    ):
        prepare(source, tmp_path / "out", camera="NI")
    with pytest.raises(SourceError, match="nowhere: not a folder"):
        prepare(tmp_path / "nowhere", tmp_path / "out")
    shutil.rmtree(strong(source) / "P001")
    shutil.rmtree(strong(source) / "P023")
    with pytest.raises(SourceError, match="Strong: no sequence of 3 frames in it"):
        prepare(source, tmp_path / "out")
