"""Gradients of losses into modules, against backward passes done directly."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from eifn.center_loss import CenterLoss
from eifn.gradients import LOSSES, MODULES, gradient_norms, gradient_products
from eifn.network import EIFN, Variant
from eifn.objective import LossWeights, losses

SUBJECTS, EXPRESSIONS = 5, 3


def batch(variant, n=8):
    torch.manual_seed(0)
    model = EIFN(SUBJECTS, EXPRESSIONS, variant=variant, width=1 / 64).double()
    images = torch.randn(n, 3, 64, 64).double()
    center_loss = CenterLoss(SUBJECTS, model.identity_extractor.channels).double()
    center_loss.centers.normal_()
    return model, images, torch.arange(n) % SUBJECTS, torch.arange(n) % EXPRESSIONS, center_loss


def direct(model, images, subjects, expressions, center_loss, loss):
    """The gradient of one loss, by a backward pass of it alone: module -> one long vector."""
    output = model(images)
    terms = {
        "identity": lambda: functional.cross_entropy(output.identity_logits, subjects),
        "center": lambda: (output.embedding - center_loss.centers[subjects]).pow(2).sum() / (2 * len(images)),
        "expression": lambda: functional.cross_entropy(output.expression_logits, expressions),
    }
    model.zero_grad()
    terms[loss]().backward()
    grads = {
        name: [torch.zeros_like(p) if p.grad is None else p.grad for p in getattr(model, name).parameters()]
        for name in MODULES
    }
    model.zero_grad()
    return {name: torch.cat([slope.flatten() for slope in of]) for name, of in grads.items()}


@pytest.mark.parametrize("variant", [Variant.EIFN, Variant.EIFN_STAR])
def test_products_are_those_of_single_backward_passes(variant):
    data = batch(variant)
    products, norms = gradient_products(*data), gradient_norms(*data)
    assert list(norms.index) == list(MODULES)
    assert list(norms.columns) == list(LOSSES)
    by_hand = {loss: direct(*data, loss) for loss in LOSSES}
    for module in MODULES:
        for one in LOSSES:
            for other in LOSSES:
                a, b = by_hand[one][module], by_hand[other][module]
                # The objective computes its softmax losses in float32.
                close = pytest.approx((a @ b).item(), rel=1e-5, abs=1e-5 * (a.norm() * b.norm()).item())
                assert products.loc[(module, one), other] == close
            assert norms.loc[module, one] == pytest.approx(by_hand[one][module].norm().item(), rel=1e-5)


def test_each_loss_reaches_what_the_paper_says():
    reached = {variant: gradient_norms(*batch(variant)) > 0 for variant in Variant}
    everywhere = {
        "identity": ["identity_extractor", "identity_layers", "identity_classifier"],
        "center": ["identity_extractor", "identity_layers"],
        "expression": ["identity_extractor", "expression_extractor", "expression_classifier"],
    }
    for loss, modules in everywhere.items():
        assert sorted(reached[Variant.EIFN].index[reached[Variant.EIFN][loss]]) == sorted(modules)
    star = reached[Variant.EIFN_STAR]
    assert (star != reached[Variant.EIFN]).to_numpy().sum() == 1
    assert not star.loc["identity_extractor", "expression"]
    efn = reached[Variant.EFN]
    assert not efn[["identity", "center"]].to_numpy().any()
    assert (efn["expression"] == reached[Variant.EIFN]["expression"]).all()


@pytest.mark.parametrize("variant", list(Variant))
def test_any_weights_follow_from_the_products(variant):
    """The length of the gradient of equation 5, from the nine numbers and from one backward pass."""
    model, images, subjects, expressions, center_loss = data = batch(variant)
    weights = LossWeights(center=0.3, identity=0 if variant == Variant.EFN else 2, expression=6)
    total = losses(model(images), subjects, expressions, weights=weights, center_loss=center_loss).total
    total.backward()
    lengths = {
        name: sum(p.grad.pow(2).sum().item() for p in getattr(model, name).parameters() if p.grad is not None)
        for name in MODULES
    }
    factors = np.array([weights.identity, weights.identity * weights.center, weights.expression])
    products = gradient_products(*data)
    for name in MODULES:
        np.testing.assert_allclose(factors @ products.loc[name] @ factors, lengths[name], rtol=1e-5)


def test_nothing_is_changed():
    model, *rest, center_loss = batch(Variant.EIFN)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    centers = center_loss.centers.clone()
    gradient_norms(model, *rest, center_loss)
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(center_loss.centers, centers)


def test_what_does_not_fit_is_named():
    model, images, subjects, expressions, center_loss = batch(Variant.EIFN)
    with pytest.raises(ValueError, match=r"^subjects: \(7,\) labels for 8 images"):
        gradient_norms(model, images, subjects[:7], expressions, center_loss)
    with pytest.raises(ValueError, match=r"^expressions: labels from 0 to 2 are needed; got 0 to 3"):
        gradient_norms(model, images, subjects, expressions.clamp(max=1) * 3, center_loss)
    with pytest.raises(ValueError, match=r"^subjects: labels from 0 to 4 are needed; got -1 to 3"):
        gradient_norms(model, images, subjects - 1, expressions, center_loss)
    with pytest.raises(ValueError, match=r"^center_loss: its centers are \(4, 8\)"):
        gradient_norms(model, images, subjects, expressions, CenterLoss(4, 8))
