import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GroupKFold

from eifn.database import FaceDatabase
from eifn.folds import Fold, subject_folds

PEOPLE = [f"S{i:03d}" for i in range(118)]


@pytest.mark.parametrize("rule", ["interleaved", "blocks"])
@pytest.mark.parametrize("folds", [2, 10, 118])
def test_everybody_is_tested_once_by_a_model_that_never_saw_them(rule, folds):
    built = subject_folds(PEOPLE, folds=folds, rule=rule)
    assert len(built) == folds
    assert sorted(s for fold in built for s in fold.test) == PEOPLE
    for fold in built:
        assert not set(fold.train) & set(fold.test)
        assert sorted(fold.train + fold.test) == PEOPLE
    sizes = [len(fold.test) for fold in built]
    assert max(sizes) - min(sizes) <= 1


def test_interleaved_is_the_usual_rule_whatever_the_order():
    shuffled = list(np.random.default_rng(0).permutation(PEOPLE))
    for i, fold in enumerate(subject_folds(shuffled)):
        assert list(fold.test) == sorted(PEOPLE)[i::10]


def test_blocks_are_contiguous():
    tested = [s for fold in subject_folds(PEOPLE, rule="blocks") for s in fold.test]
    assert tested == PEOPLE


def test_rows_separate_the_subjects_as_scikit_learn_would_check():
    rng = np.random.default_rng(0)
    subjects = rng.choice(PEOPLE[:20], 200)
    table = pd.DataFrame({"subject": subjects, "expression": "anger"})
    database = FaceDatabase("x", ("anger",), np.zeros((200, 64, 64, 3), np.uint8), table, "", "", "")
    for fold in subject_folds(database.subjects):
        train, test = fold.rows(database)
        assert sorted([*train, *test]) == list(range(200))
        assert not set(subjects[train]) & set(subjects[test])
    # scikit-learn's own splitter makes groups with the same property, and of the same number.
    assert GroupKFold(10).get_n_splits(groups=subjects) == 10


def test_a_subject_on_both_sides_cannot_be_built():
    with pytest.raises(ValueError, match=r"subject S001 is in training and test"):
        Fold(train=("S000", "S001"), test=("S001", "S002"))


@pytest.mark.parametrize("sides", [((), ("a",)), (("a",), ())])
def test_an_empty_side_cannot_be_built(sides):
    with pytest.raises(ValueError, match="both sides"):
        Fold(*sides)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subjects": PEOPLE[:9]}, "9 subjects cannot be split into 10"),
        ({"subjects": PEOPLE, "folds": 1}, "into 1 folds"),
        ({"subjects": [*PEOPLE, "S000"]}, "named twice"),
        ({"subjects": PEOPLE, "rule": "random"}, "interleaved"),
    ],
)
def test_bad_requests(arguments, message):
    with pytest.raises(ValueError, match=message):
        subject_folds(**arguments)
