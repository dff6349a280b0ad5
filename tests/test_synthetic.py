import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from data_prep.align import LEFT_PUPIL, RIGHT_PUPIL
from data_prep.synthetic.action_units import ACTION_UNITS, EXPRESSIONS, UNITS, peak, sample_style
from data_prep.synthetic.anatomy import RESTING, TRAITS, describe, resting_face, sample_identity
from data_prep.synthetic.renderer import render
from data_prep.synthetic.twins import LAST, TWINS, draw_sequence, write_twin
from eifn import paper
from eifn.database import read_database

FRONTAL = [0.0, 0.3, 0.9, 0.4, 1.0, 1.0, 1.0]


def draw(latent=None, size=128, left=(), right=()):
    """One still face, the average one by default, with some units fully on."""
    latent = np.zeros((1, len(TRAITS))) if latent is None else latent
    units = np.zeros((len(latent), 2, len(UNITS)))
    for side, on in enumerate((left, right)):
        units[:, side, [UNITS.index(unit) for unit in on]] = 1
    n = len(latent)
    return render(
        describe(latent),
        units,
        pose=np.zeros((n, 5)),
        light=np.tile(FRONTAL, (n, 1)),
        texture=np.zeros(n, int),
        size=size,
    )


def both(*units):
    return draw(left=units, right=units)[0]  # (128, 128, 3)


def box(image, x, y):
    """The part of a 128 x 128 image between two places, in pupil distances from the middle of the pupils."""
    scale = 2 * (RIGHT_PUPIL[0] - LEFT_PUPIL[0])
    columns, rows = (
        [round(o + scale * v) for v in side] for o, side in ((63.5, x), (2 * LEFT_PUPIL[1] + 0.5, y))
    )
    return image[slice(*rows), slice(*columns)]


def grey(image, x, y):
    return box(image, x, y).mean(2)


def darkest_row(image, x, y):
    """The height of a dark line: a brow, or the seam of the lips."""
    return grey(image, x, y).mean(1).argmin()


def open_mouth(image):
    """Pixels of teeth and cavity, which are less red than skin and lips."""
    part = box(image, (-0.25, 0.25), (0.9, 1.75))
    return (part[..., 0] - part[..., 2] < 0.12).sum()


INNER_BROW, OUTER_BROW = ((-0.33, -0.20), (-0.65, -0.15)), ((-0.78, -0.64), (-0.65, -0.18))
EYE = ((-0.75, -0.25), (-0.2, 0.15))
CORNER, MIDDLE = ((-0.36, -0.30), (0.8, 1.35)), ((-0.05, 0.05), (0.95, 1.08))

# What FACS says a unit does, as something to be measured in the picture, and the sign of its change.
MOVEMENTS = [
    (1, "inner brow up", lambda face: darkest_row(face, *INNER_BROW), -1),
    (2, "outer brow up", lambda face: darkest_row(face, *OUTER_BROW), -1),
    (4, "brow down", lambda face: darkest_row(face, *INNER_BROW), 1),
    (4, "a furrow between the brows", lambda face: grey(face, (-0.12, 0.12), (-0.5, -0.25)).std(), 1),
    (5, "more white of the eye", lambda face: (grey(face, *EYE) > 0.62).sum(), 1),
    (6, "lower lid up", lambda face: (grey(face, (-0.75, -0.25), (0.0, 0.1)) < 0.35).sum(), -1),
    (7, "eye narrower", lambda face: (grey(face, *EYE) < 0.3).sum(), -1),
    (
        9,
        "wrinkles at the root of the nose",
        lambda face: np.diff(grey(face, (-0.2, 0.2), (0, 0.3)), axis=0).std(),
        1,
    ),
    (10, "upper lip up", lambda face: darkest_row(face, *MIDDLE), -1),
    (12, "corner up", lambda face: darkest_row(face, *CORNER), -1),
    (14, "a dimple beside the corner", lambda face: grey(face, (-0.5, -0.4), (0.95, 1.15)).std(), 1),
    (15, "corner down", lambda face: darkest_row(face, *CORNER), 1),
    (16, "mouth opens downward", open_mouth, 1),
    (17, "lip pushed up", lambda face: darkest_row(face, *MIDDLE), -1),
    (20, "mouth wider", lambda face: grey(face, (-0.47, -0.41), (0.9, 1.25)).min(), -1),
    (23, "mouth shorter", lambda face: grey(face, (-0.37, -0.34), (0.95, 1.2)).min(), 1),
    (24, "less of the red lips", lambda face: grey(face, (-0.1, 0.1), (1.08, 1.18)).mean(), 1),
    (25, "mouth opens", open_mouth, 1),
    (26, "mouth opens", open_mouth, 1),
    (27, "mouth opens", open_mouth, 1),
]


@pytest.mark.parametrize(
    ("unit", "movement", "measure", "sign"),
    MOVEMENTS,
    ids=[f"AU{unit} {movement}" for unit, movement, *_ in MOVEMENTS],
)
def test_a_unit_moves_what_facs_says(unit, movement, measure, sign):
    assert sign * (float(measure(both(unit))) - float(measure(both()))) > 0, movement


def test_every_unit_has_its_movement_tested():
    assert {unit for unit, *_ in MOVEMENTS} == set(ACTION_UNITS) == set(UNITS)


def test_a_mouth_stretch_opens_more_than_a_jaw_drop():
    opening = [open_mouth(both(unit)) for unit in (25, 26, 27)]
    assert opening == sorted(opening)


@pytest.mark.parametrize("unit", [2, 4, 5, 6, 12, 14, 15])
def test_a_unit_on_one_side_leaves_the_other_alone(unit):
    moved = np.abs(draw(left=[unit])[0] - draw()[0]).max(2)
    assert moved[:, :52].max() > 0.05
    assert moved[:, 80:].max() < 0.01


@pytest.mark.parametrize("seed", range(6))
def test_pupils_lie_where_alignment_puts_them(seed):
    latent = sample_identity(np.random.default_rng(seed))[None]
    latent[:, list(TRAITS).index("glasses")] = -1
    face = draw(latent, size=64)[0].mean(2)
    for x, y in (LEFT_PUPIL, RIGHT_PUPIL):
        column, row = round(x) - 5, round(y) - 2
        rows, columns = np.mgrid[row : row + 6, column : column + 11]
        weight = (0.30 - face[row : row + 6, column : column + 11]).clip(0)
        assert (weight * columns).sum() / weight.sum() == pytest.approx(x, abs=1)
        assert (weight * rows).sum() / weight.sum() == pytest.approx(y, abs=1.6)


def test_larger_pictures_show_the_same_face():
    large = draw(size=256)[0].reshape(64, 4, 64, 4, 3).mean((1, 3))
    assert np.abs(large - draw(size=64)[0]).mean() < 0.02


def test_entanglement_is_a_dial_from_none_to_full():
    latent = np.stack([sample_identity(np.random.default_rng(i)) for i in range(300)])
    assert not resting_face(latent, 0).any()
    np.testing.assert_allclose(resting_face(latent, 0.5), resting_face(latent, 1) / 2)
    assert 0 <= resting_face(latent, 1).min() <= resting_face(latent, 1).max() <= 1
    for wrong in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="0 to 1"):
            resting_face(latent, wrong)


def test_the_resting_face_follows_from_the_visible_anatomy():
    latent = np.stack([sample_identity(np.random.default_rng(i)) for i in range(300)])
    rest, anatomy = resting_face(latent, 1), describe(latent)
    for (trait, factor), unit in RESTING.items():
        correlation = spearmanr(anatomy[trait], rest[:, UNITS.index(unit)]).statistic
        assert np.sign(factor) * correlation > 0.5, (trait, unit)


def test_traits_are_independent_and_standard():
    latent = np.stack([sample_identity(np.random.default_rng(i)) for i in range(3000)])
    np.testing.assert_allclose(np.corrcoef(latent.T), np.eye(len(TRAITS)), atol=0.08)
    np.testing.assert_allclose(latent.mean(0), 0, atol=0.08)
    np.testing.assert_allclose(latent.std(0), 1, atol=0.08)


# Table 1 of Lucey et al. (2010): what a sequence of CK+ must show to be labelled so.
CRITERIA = {
    "anger": lambda on: {23, 24} <= on,
    "contempt": lambda on: 14 in on,
    "disgust": lambda on: bool({9, 10} & on),
    "fear": lambda on: {1, 2, 4} <= on or {1, 2, 5} <= on,
    "happiness": lambda on: 12 in on,
    "sadness": lambda on: {1, 4, 15} <= on or 11 in on,
    "surprise": lambda on: {1, 2} <= on or 5 in on,
}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expressions_meet_the_criteria_of_ck_plus(expression):
    assert set(EXPRESSIONS) == set(CRITERIA)
    for way in EXPRESSIONS[expression]:
        assert CRITERIA[expression](set(way)), way
        assert set(way) <= set(ACTION_UNITS)


def test_contempt_is_on_one_side_and_the_others_on_both():
    for expression in EXPRESSIONS:
        for seed in range(20):
            generator = np.random.default_rng(seed)
            sides = peak(expression, sample_style(generator), generator)
            main = UNITS.index(max(EXPRESSIONS[expression][0], key=EXPRESSIONS[expression][0].get))
            ratio = sides[:, main].min() / sides[:, main].max()
            assert ratio < 0.25 if expression == "contempt" else ratio > 0.5


def test_same_seed_same_bytes_whatever_the_threads():
    threads = torch.get_num_threads()
    try:
        drawn = []
        for torch_threads in (1, 2, 1):
            torch.set_num_threads(torch_threads)
            drawn.append(draw_sequence(TWINS["synth-oulu"], 7, "fear", last=LAST).tobytes())
    finally:
        torch.set_num_threads(threads)
    assert drawn[0] == drawn[1] == drawn[2]


def test_seed_and_subject_and_twin_make_other_people():
    ck, oulu = TWINS["synth-ck"], TWINS["synth-oulu"]
    faces = [
        draw_sequence(twin, subject, "fear", seed=seed, last=1)
        for twin, subject, seed in ((ck, 1, 0), (ck, 1, 1), (ck, 2, 0), (replace(ck, key=oulu.key), 1, 0))
    ]
    for i in range(len(faces)):
        for j in range(i):
            assert np.abs(faces[i].astype(int) - faces[j]).mean() > 5


def test_the_database_has_the_end_of_the_sequence():
    whole = draw_sequence(TWINS["synth-ck"], 3, "surprise")
    assert 10 <= len(whole) <= 20
    np.testing.assert_array_equal(draw_sequence(TWINS["synth-ck"], 3, "surprise", last=LAST), whole[-LAST:])


def test_a_sequence_goes_from_rest_to_the_peak():
    whole = draw_sequence(TWINS["synth-ck"], 3, "surprise").astype(float)
    gone = np.abs(whole - whole[0]).mean((1, 2, 3))
    assert gone[1] < 0.5 * gone[-1]  # what noise alone does
    assert gone[len(gone) // 2] < gone[-1]


def test_a_face_at_rest_shows_the_entanglement():
    low, high = (draw_sequence(TWINS["synth-ck"], 4, "fear", entanglement=e)[0] for e in (0, 1))
    assert np.abs(low.astype(int) - high).max() > 40
    with pytest.raises(ValueError, match="0 to 1"):
        draw_sequence(TWINS["synth-ck"], 4, "fear", entanglement=2)


@pytest.fixture(scope="module", params=TWINS)
def twin(request, tmp_path_factory):
    return read_database(write_twin(request.param, tmp_path_factory.mktemp("twins") / request.param))


@pytest.mark.slow
def test_a_twin_has_the_numbers_of_its_original(twin):
    original = {"synth-ck": paper.CK_PLUS, "synth-oulu": paper.OULU_CASIA}[twin.name]
    table = twin.table
    assert len(twin.subjects) == original.subjects
    assert twin.expressions == original.expressions
    ends = table[table["position"] == 0]
    assert ends["expression"].value_counts().to_dict() == dict(original.sequences)
    assert len(ends) == table.groupby(["subject", "sequence"]).ngroups == len(table) / LAST
    assert not ends.duplicated(["subject", "expression"]).any()
    assert len({hashlib.sha256(frame).digest() for frame in twin.frames}) == len(twin)
    grey = (np.ptp(twin.frames, axis=3) == 0).all()
    assert grey == (twin.name == "synth-ck")


@pytest.mark.slow
def test_people_are_recognized_across_expressions(twin):
    """The nearest other sequence in plain pixels is often the same person's: identity is there to be seen."""
    ends = np.flatnonzero(twin.table["position"] == 0)
    people = twin.table["subject"].to_numpy()[ends]
    several = np.isin(people, [p for p in np.unique(people) if (people == p).sum() > 1])
    faces = twin.frames[ends[several]].reshape(several.sum(), -1).astype(float)
    faces -= faces.mean(1, keepdims=True)
    faces /= np.linalg.norm(faces, axis=1, keepdims=True)
    likeness = faces @ faces.T - 2 * np.eye(len(faces))
    found = people[several][likeness.argmax(1)] == people[several]
    assert found.mean() > 20 / len(twin.subjects)
