import copy

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from eifn.augment import normalize
from eifn.fusion import fuse
from eifn.network import EIFN, Variant
from eifn.probe import BATCH, exciting_regions, linear_probe, probe


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = EIFN(subjects=4, expressions=3, width=1 / 32)  # 16 channels
    nn.init.normal_(model.expression_classifier.bias)  # as if trained
    return model


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def fusion(model, frames):
    return probe(model, frames)


def by_hand(identity_map, expression_map, weight, bias):
    """Equations 3 and 4, root, length and logits of one face, in loops over float64 arrays."""
    channels = len(identity_map)
    pooled = np.zeros((channels, channels))
    for y in range(2):
        for x in range(2):
            pooled += np.outer(identity_map[:, y, x], expression_map[:, y, x])
    rooted = np.sign(pooled) * np.sqrt(np.abs(pooled))
    fused = rooted / np.sqrt((rooted**2).sum())
    logits = [bias[k] + sum(fused.ravel() * weight[k]) for k in range(len(bias))]
    powers = np.exp(logits)
    return pooled, rooted, fused, np.array(logits), powers / powers.sum()


def test_every_step_agrees_with_a_direct_calculation(model, fusion):
    weight = model.expression_classifier.weight.detach().double().numpy()
    bias = model.expression_classifier.bias.detach().double().numpy()
    assert fusion.identity_map.shape == fusion.expression_map.shape == (3, 16, 2, 2)
    for n in range(3):
        steps = by_hand(fusion.identity_map[n].numpy(), fusion.expression_map[n].numpy(), weight, bias)
        names = ("pooled", "rooted", "fused", "logits", "probabilities")
        for name, expected in zip(names, steps, strict=True):
            np.testing.assert_allclose(getattr(fusion, name)[n], expected, rtol=1e-12, atol=1e-15)


def test_more_faces_than_a_batch_come_out_in_their_order(model):
    many = np.random.default_rng(1).integers(0, 256, (BATCH + 2, 64, 64, 3)).astype(np.uint8)
    together = probe(model, many).identity_map
    for n in (0, BATCH - 1, BATCH, BATCH + 1):
        torch.testing.assert_close(together[[n]], probe(model, many[[n]]).identity_map)


def test_the_locations_are_in_reading_order_and_their_products_add_up(fusion):
    for place, (y, x) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        a, b = fusion.identity_map[1, :, y, x], fusion.expression_map[1, :, y, x]
        assert torch.equal(fusion.identity_descriptors[1, place], a)
        assert torch.equal(fusion.expression_descriptors[1, place], b)
        torch.testing.assert_close(fusion.products[1, place], torch.outer(a, b))
    torch.testing.assert_close(fusion.products.sum(1), fusion.pooled)


@torch.no_grad()
def test_the_probe_sees_what_the_model_computes(model, frames, fusion):
    output = model.eval()(normalize(torch.from_numpy(frames)))
    close = {"rtol": 1e-4, "atol": 1e-5, "check_dtype": False}
    torch.testing.assert_close(fusion.identity_map, output.identity_map, **close)
    torch.testing.assert_close(fusion.expression_map, output.expression_map, **close)
    torch.testing.assert_close(fusion.fused.flatten(1), output.fused, **close)
    torch.testing.assert_close(fusion.logits, output.expression_logits, **close)


def test_the_evidence_of_all_pairs_is_the_logit_less_the_bias(fusion):
    assert fusion.evidence.shape == (3, 3, 16, 16)
    torch.testing.assert_close(
        fusion.evidence.sum((2, 3)), fusion.logits - fusion.bias, rtol=1e-12, atol=1e-12
    )


def test_the_evidence_of_a_pair_is_what_the_logit_loses_without_it(model, fusion):
    without = fusion.fused[0].clone()
    without[5, 11] = 0
    classifier = model.expression_classifier
    logits = classifier.weight.double() @ without.flatten() + classifier.bias.double()
    torch.testing.assert_close(fusion.logits[0] - logits, fusion.evidence[0, :, 5, 11])


def test_the_strongest_pairs_are_those_of_a_sorted_list(fusion):
    pairs = [(i, j, fusion.evidence[2, 1, i, j].item()) for i in range(16) for j in range(16)]
    expected = sorted(pairs, key=lambda pair: -abs(pair[2]))[:7]
    assert fusion.strongest(2, 1, 7) == expected
    assert {evidence > 0 for _, _, evidence in expected} == {True, False}


def test_pairs_without_evidence_are_not_strong(fusion):
    some = (fusion.evidence[0, 0] != 0).sum().item()
    assert 0 < some < 256  # dead channels
    assert len(fusion.strongest(0, 0, 256)) == some


@torch.no_grad()
def test_a_swap_fuses_one_face_with_the_identity_map_of_another(model, frames, fusion):
    swapped = fusion.swap_identity([0, 0, 2, 1], [1, 2, 0, 1])
    images = normalize(torch.from_numpy(frames))
    for n, (face, person) in enumerate([(0, 1), (0, 2), (2, 0), (1, 1)]):
        z = fuse(model.identity_extractor(images[[person]]), model.expression_extractor(images[[face]]))
        expected = model.expression_classifier(z).softmax(1)[0]
        torch.testing.assert_close(
            swapped.probabilities[n], expected, rtol=1e-4, atol=1e-5, check_dtype=False
        )
    torch.testing.assert_close(swapped.probabilities[3], fusion.probabilities[1])
    assert not torch.allclose(swapped.probabilities[0], fusion.probabilities[0], atol=1e-3)


@pytest.mark.parametrize(("faces", "people"), [([0], [3]), ([-1], [0]), ([0, 1], [0])])
def test_a_swap_with_nobody_is_refused(fusion, faces, people):
    with pytest.raises(ValueError, match="each from 0 to 2"):
        fusion.swap_identity(faces, people)


@torch.no_grad()
def test_regions_agree_with_covering_one_square_at_a_time(model, frames):
    regions = exciting_regions(model, frames[:2])
    assert regions.identity.shape == regions.expression.shape == (2, 16, 8, 8)
    image = normalize(torch.from_numpy(frames[[1]])).double()
    for name, extractor in (
        ("identity", model.identity_extractor),
        ("expression", model.expression_extractor),
    ):
        extractor = extractor.double()
        whole = extractor(image)[0].sum((1, 2))
        for row, column in [(0, 0), (3, 6), (7, 7)]:
            covered = image.clone()
            for y in range(64):
                for x in range(64):
                    # Middles of the squares are 4, 12, ..., 60; each reaches 8 pixels to every side.
                    if -8 <= y - (8 * row + 4) < 8 and -8 <= x - (8 * column + 4) < 8:
                        covered[0, :, y, x] = image[0].mean((1, 2))
            left = extractor(covered)[0].sum((1, 2))
            share = torch.where(whole == 0, 0, 1 - left / whole)
            torch.testing.assert_close(getattr(regions, name)[1, :, row, column], share)
        extractor.float()


def test_channels_are_excited_by_the_one_thing_in_the_image(model):
    frame = np.zeros((1, 64, 64, 3), np.uint8)
    frame[0, 18:22, 42:46] = 255  # white on black, in the middle of the square at row 2, column 5
    effect = exciting_regions(model, frame).identity[0].abs().mean(0)  # (8, 8)
    elsewhere = effect.clone()
    elsewhere[1:4, 4:7] = 0  # the squares that touch it
    assert effect[2, 5] > 10 * elsewhere.max() > 0


def test_a_silent_channel_has_no_regions(model, frames):
    model = copy.deepcopy(model)
    with torch.no_grad():
        model.expression_extractor[28].bias[3] = -1e9  # conv5_3
    regions = exciting_regions(model, frames).expression
    assert (regions[:, 3] == 0).all()
    assert regions.any()


def test_the_model_is_left_as_it_was(model, frames):
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fusion = probe(model, frames)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not fusion.weight.requires_grad


@pytest.mark.parametrize("look", [probe, exciting_regions])
@pytest.mark.parametrize(
    ("frames", "got"),
    [
        (np.zeros((64, 64, 3), np.uint8), r"uint8 \(64, 64, 3\)"),
        (np.zeros((1, 3, 64, 64), np.uint8), r"uint8 \(1, 3, 64, 64\)"),
        (np.zeros((1, 64, 64, 3)), r"float64 \(1, 64, 64, 3\)"),
        (np.zeros((0, 64, 64, 3), np.uint8), r"uint8 \(0, 64, 64, 3\)"),
    ],
)
def test_frames_of_another_kind_are_refused(look, model, frames, got):
    with pytest.raises(ValueError, match=f"^frames: .*got {got}"):
        look(model, frames)


@pytest.mark.parametrize("variant", list(Variant))
def test_an_untrained_model_is_refused_until_its_first_step(variant, frames):
    model = EIFN(subjects=4, expressions=3, variant=variant, width=1 / 32)
    with pytest.raises(ValueError, match=f"^model: this {variant} is untrained"):
        probe(model, frames)
    output = model(normalize(torch.from_numpy(frames)))
    nn.functional.cross_entropy(output.expression_logits, torch.tensor([0, 1, 1])).backward()
    torch.optim.SGD(model.parameters(), lr=0.01).step()
    assert probe(model, frames).probabilities.shape == (3, 3)


@pytest.mark.parametrize("penalty", [0.001, 0.1, 10])
def test_the_linear_probe_is_ridge_regression(penalty):
    random = np.random.default_rng(0)
    labels, groups = random.integers(0, 3, 60), np.repeat(np.arange(6), 10)
    features = random.normal(size=(60, 5, 2, 2)) + 0.3 * labels[:, None, None, None]
    features[:, 1] = 7  # silent
    # Standardized, 16 of the 20 columns have a mean square of 1 and 4 are silent.
    ridge = make_pipeline(StandardScaler(), Ridge(alpha=16 * penalty))
    scores = cross_val_predict(
        ridge, features.reshape(60, 20), np.eye(3)[labels], groups=groups, cv=LeaveOneGroupOut()
    )
    right = linear_probe(features, labels, groups, penalty=penalty)
    np.testing.assert_array_equal(right, scores.argmax(1) == labels)
    assert 0 < right.sum() < 60


def test_a_linear_probe_of_silent_features_gives_the_most_frequent_answer():
    right = linear_probe(np.zeros((6, 4)), [0, 1, 1, 1, 0, 1], [0, 0, 0, 1, 1, 1])
    assert right.tolist() == [False, True, True, True, False, True]


def test_a_linear_probe_needs_a_group_to_hold_out():
    with pytest.raises(ValueError, match="at least two groups; got 4 rows, 4 labels, 4 groups, 1 different"):
        linear_probe(np.ones((4, 2)), [0, 1, 0, 1], [0, 0, 0, 0])
    with pytest.raises(ValueError, match="got 4 rows, 3 labels, 4 groups, 2 different"):
        linear_probe(np.ones((4, 2)), [0, 1, 0], [0, 0, 1, 1])
