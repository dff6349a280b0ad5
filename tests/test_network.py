"""Which loss reaches which module: the whole content of the ablation, read off the gradients."""

import pytest
import torch

from eifn.center_loss import CenterLoss
from eifn.network import EIFN, Variant
from eifn.objective import LossWeights, losses

MODULES = (
    "identity_extractor",
    "identity_layers",
    "identity_classifier",
    "expression_extractor",
    "expression_classifier",
)
IDENTITY_HEAD = {"identity_layers", "identity_classifier"}


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return torch.randn(6, 3, 64, 64), torch.tensor([0, 1, 2, 3, 0, 1]), torch.tensor([0, 1, 2, 0, 1, 2])


def build(variant):
    torch.manual_seed(1)
    return EIFN(4, 3, variant=variant, width=1 / 16)


def reached(model, loss):
    """The modules in which every weight gets a gradient that is not all zero; the others must get none."""
    model.zero_grad()
    if loss.requires_grad:
        loss.backward()
    modules = set()
    for name in MODULES:
        gradients = [p.grad for p in getattr(model, name).parameters()]
        some = [g is not None and bool(g.any()) for g in gradients]
        assert all(some) or not any(some), name
        if all(some):
            modules.add(name)
    return modules


@pytest.mark.parametrize(
    ("variant", "expression_reaches", "identity_reaches"),
    [
        (
            Variant.EIFN,
            {"identity_extractor", "expression_extractor", "expression_classifier"},
            {"identity_extractor"} | IDENTITY_HEAD,
        ),
        (
            Variant.EIFN_STAR,
            {"expression_extractor", "expression_classifier"},
            {"identity_extractor"} | IDENTITY_HEAD,
        ),
        (
            Variant.EFN,
            {"identity_extractor", "expression_extractor", "expression_classifier"},
            set(),
        ),
    ],
)
def test_which_loss_reaches_which_module(batch, variant, expression_reaches, identity_reaches):
    images, subject, expression = batch
    model, center_loss = build(variant), CenterLoss(4, 32)
    weights = LossWeights(center=1, identity=0 if variant == Variant.EFN else 1, expression=1)

    def terms():
        return losses(model(images), subject, expression, weights=weights, center_loss=center_loss)

    assert reached(model, terms().expression) == expression_reaches
    assert reached(model, terms().identity) == identity_reaches
    # Center loss acts on the embedding, in front of the identity classifier.
    assert reached(model, terms().center) == identity_reaches - {"identity_classifier"}
    assert reached(model, terms().total) == expression_reaches | identity_reaches


def test_the_variants_differ_in_gradients_only(batch):
    outputs = [build(variant).eval()(batch[0]) for variant in Variant]
    for other in outputs[1:]:
        for ours, theirs in zip(outputs[0], other, strict=True):
            assert torch.equal(ours, theirs)


def test_one_efn_step_changes_nothing_in_the_identity_head(batch):
    images, subject, expression = batch
    model = build(Variant.EFN)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    # All parameters are handed over, with weight decay: those without a gradient must still stay.
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    weights = LossWeights(center=1e-4, identity=0, expression=1)
    losses(
        model(images), subject, expression, weights=weights, center_loss=CenterLoss(4, 32)
    ).total.backward()
    optimizer.step()
    for key, value in model.state_dict().items():
        in_head = key.split(".")[0] in IDENTITY_HEAD
        assert torch.equal(value, before[key]) == in_head, key


@pytest.mark.parametrize("variant", list(Variant))
def test_what_nothing_trains_asks_for_no_gradient(variant):
    """Ranks of a distributed training would wait for it."""
    model = build(variant)
    model.replace_heads(9, 5)
    for name in MODULES:
        asked = {p.requires_grad for p in getattr(model, name).parameters()}
        assert asked == {not (variant == Variant.EFN and name in IDENTITY_HEAD)}, name


def test_shapes_are_the_papers():
    with torch.no_grad():
        out = EIFN(118, 7)(torch.randn(1, 3, 64, 64))
    assert out.identity_map.shape == out.expression_map.shape == (1, 512, 2, 2)
    assert out.embedding.shape == (1, 512)
    assert out.fused.shape == (1, 512 * 512)
    assert out.identity_logits.shape == (1, 118)
    assert out.expression_logits.shape == (1, 7)


def test_new_heads_leave_the_extractors(batch):
    model = build(Variant.EIFN)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.replace_heads(9, 5)
    out = model(batch[0])
    assert out.identity_logits.shape == (6, 9)
    assert out.expression_logits.shape == (6, 5)
    for key, value in model.state_dict().items():
        if "classifier" in key:
            assert value.shape[0] in (9, 5)
        else:
            assert torch.equal(value, before[key]) == ("extractor" in key), key


def test_expression_logits_start_at_unit_variance():
    torch.manual_seed(0)
    model = EIFN(2, 200, width=1 / 8)
    assert 0.8 < model(torch.randn(8, 3, 64, 64)).expression_logits.std() < 1.2
    assert not model.expression_classifier.bias.any()


def test_unknown_variant():
    with pytest.raises(ValueError, match="eifn-plus"):
        EIFN(2, 2, variant="eifn-plus", width=1 / 64)
