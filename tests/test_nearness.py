import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from eifn import nearness

PEOPLE = np.array(["A", "A", "B", "B", "B", "C"])
EXPRESSIONS = np.array(["anger", "fear", "anger", "fear", "fear", "anger"])


@pytest.fixture
def features():
    return np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3)).astype(np.uint8)


def test_every_pair_as_a_loop_finds_it(features):
    pairs = nearness.compare(features, PEOPLE, EXPRESSIONS)
    found = {kind: [] for kind in nearness.KINDS}
    for i in range(6):
        for j in range(i):
            alike = (PEOPLE[i] == PEOPLE[j], EXPRESSIONS[i] == EXPRESSIONS[j])
            squared = sum(
                (int(a) - int(b)) ** 2 for a, b in zip(features[i].flat, features[j].flat, strict=True)
            )
            assert pairs.distances[i, j] == pairs.distances[j, i] == squared
            if alike != (True, True):
                kind = {(True, False): 0, (False, True): 1, (False, False): 2}[alike]
                found[nearness.KINDS[kind]].append(squared)
    for kind, squared in found.items():
        assert sorted(pairs.of(kind)) == sorted(squared)
        assert pairs.means()[kind] == pytest.approx(np.mean(squared))
    assert sum(map(len, found.values())) == 6 * 5 / 2 - 1  # all but B's two pictures of fear


def test_the_nearest_as_scikit_learn_finds_it():
    generator = np.random.default_rng(1)
    people, expressions = np.repeat(np.arange(20), 3), np.tile(np.arange(3), 20)
    features = generator.normal(size=(60, 5)) + 2 * generator.normal(size=(20, 5))[people]
    pairs = nearness.compare(features, people, expressions)
    _, order = NearestNeighbors(n_neighbors=2).fit(features).kneighbors(features)
    np.testing.assert_array_equal(pairs.nearest(), order[:, 1])
    same = people[order[:, 1]] == people
    counts = pairs.count_nearest()
    assert counts["same person"] == same.sum()
    assert sum(counts.values()) == 60


def test_the_same_person_with_the_same_expression_is_passed_over():
    pairs = nearness.compare(
        [[0.0], [0.1], [4.0], [9.0]], ["A", "A", "A", "B"], ["fear", "fear", "anger", "fear"]
    )
    assert pairs.nearest().tolist() == [2, 2, 1, 2]
    assert pairs.count_nearest() == {"same person": 3, "same expression": 0, "neither": 1}


def test_a_kind_without_pairs_has_no_mean():
    means = nearness.compare(np.eye(2), ["A", "B"], ["fear", "anger"]).means()
    assert np.isnan([means["same person"], means["same expression"]]).all()
    assert means["neither"] == 2


def test_what_cannot_be_compared():
    with pytest.raises(ValueError, match="3 descriptions, 2 people"):
        nearness.compare(np.eye(3), ["A", "B"], ["fear"] * 3)
    with pytest.raises(ValueError, match="picture 0 has nothing"):
        nearness.compare(np.eye(2), ["A", "A"], ["fear", "fear"]).nearest()
