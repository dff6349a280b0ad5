import math

import pytest
import torch

from eifn.center_loss import CenterLoss
from eifn.network import Output
from eifn.objective import LossWeights, losses


@pytest.fixture
def output():
    torch.manual_seed(0)
    return Output(*(torch.randn(8, n) for n in (1, 1, 5, 4, 1, 3)))


def by_hand(output, subject, expression, centers, weights):
    """Equation 5 with sums over samples, in plain Python."""

    def softmax_loss(logits, labels):
        return sum(
            math.log(sum(math.exp(v) for v in row)) - row[y]
            for row, y in zip(logits.tolist(), labels.tolist(), strict=True)
        ) / len(labels)

    center = sum(
        0.5 * sum((x - c) ** 2 for x, c in zip(row, centers[y].tolist(), strict=True))
        for row, y in zip(output.embedding.tolist(), subject.tolist(), strict=True)
    ) / len(subject)
    identity = softmax_loss(output.identity_logits, subject)
    expression_loss = softmax_loss(output.expression_logits, expression)
    total = weights.identity * (identity + weights.center * center) + weights.expression * expression_loss
    return total, identity, center, expression_loss


@pytest.mark.parametrize("weights", [(1e-4, 2, 1), (1e-4, 1, 6), (0.5, 3, 2)])
def test_equation_5(output, weights):
    weights = LossWeights(center=weights[0], identity=weights[1], expression=weights[2])
    subject, expression = torch.arange(8) % 4, torch.arange(8) % 3
    center_loss = CenterLoss(4, 5)
    center_loss.centers.normal_()
    before = center_loss.centers.clone()
    ours = losses(output, subject, expression, weights=weights, center_loss=center_loss)
    expected = by_hand(output, subject, expression, center_loss.centers, weights)
    assert [term.item() for term in ours] == pytest.approx(expected, rel=1e-5)
    assert torch.equal(center_loss.centers, before)


def test_without_identity_the_identity_terms_are_not_computed(output):
    weights = LossWeights(center=1e-4, identity=0, expression=6)
    labels = torch.arange(8) % 3
    broken = output._replace(identity_logits=None, embedding=None)  # touching them would raise
    terms = losses(broken, labels, labels, weights=weights, center_loss=CenterLoss(4, 5))
    assert terms.identity.isnan()
    assert terms.center.isnan()
    assert terms.total.item() == pytest.approx(6 * terms.expression.item())


def test_bfloat16_logits_give_float32_losses(output):
    low = Output(*(t.bfloat16() for t in output))
    weights = LossWeights(center=1, identity=1, expression=1)
    labels = torch.arange(8) % 3
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = losses(low, labels, labels, weights=weights, center_loss=CenterLoss(4, 5))
    assert {term.dtype for term in terms} == {torch.float32}
