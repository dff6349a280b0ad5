import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing

from eifn.center_loss import CenterLoss


def oracle(centers, embedding, labels, alpha):
    """Loss and new centers of Wen et al. (2016), sample by sample, in float64."""
    loss, moved = 0.0, centers.copy()
    for x, y in zip(embedding, labels, strict=True):
        loss += 0.5 * ((x - centers[y]) ** 2).sum() / len(labels)
    for j in range(len(centers)):
        delta, n = np.zeros_like(centers[j]), 0
        for x, y in zip(embedding, labels, strict=True):
            if y == j:
                delta, n = delta + (centers[j] - x), n + 1
        moved[j] = centers[j] - alpha * delta / (1 + n)
    return loss, moved


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return torch.randn(12, 5), torch.tensor([0, 0, 0, 1, 1, 3, 3, 3, 3, 3, 5, 0])


@pytest.mark.parametrize(("rate", "alpha"), [({}, 0.5), ({"alpha": 1.0}, 1.0)])
def test_agrees_with_a_loop(batch, rate, alpha):
    embedding, labels = batch
    center_loss = CenterLoss(6, 5, **rate)
    centers = np.zeros((6, 5))
    for step in range(4):
        x = embedding + step
        expected, centers_after = oracle(centers, x.double().numpy(), labels.numpy(), alpha)
        assert center_loss(x, labels).item() == pytest.approx(expected, rel=1e-5)
        center_loss.update(x, labels)
        np.testing.assert_allclose(center_loss.centers, centers_after, rtol=1e-4, atol=1e-6)
        centers = centers_after


def test_absent_classes_stay_and_the_centers_have_no_gradient(batch):
    center_loss = CenterLoss(6, 5)
    center_loss.centers.normal_()
    before = center_loss.centers.clone()
    embedding = batch[0].requires_grad_()
    center_loss(embedding, batch[1]).backward()
    assert torch.equal(center_loss.centers, before)  # the loss only reads
    center_loss.update(embedding, batch[1])
    assert torch.equal(center_loss.centers[[2, 4]], before[[2, 4]])
    assert not torch.equal(center_loss.centers[0], before[0])
    assert not list(center_loss.parameters())
    assert "centers" in center_loss.state_dict()
    # d/dx of the half squared distance, averaged: (x - c) / N
    torch.testing.assert_close(embedding.grad, (embedding - before[batch[1]]).detach() / 12)


def test_a_fixed_class_is_approached_and_reached():
    center_loss, target = CenterLoss(1, 3), torch.tensor([[1.0, -2.0, 3.0]])
    for _ in range(60):
        center_loss.update(target, torch.tensor([0]))
    torch.testing.assert_close(center_loss.centers, target)


def test_bfloat16_embeddings_leave_the_loss_in_float32(batch):
    center_loss = CenterLoss(6, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = center_loss(batch[0].bfloat16(), batch[1])
    center_loss.update(batch[0].bfloat16(), batch[1])
    assert loss.dtype == center_loss.centers.dtype == torch.float32
    assert loss.item() == pytest.approx(0.5 * batch[0].bfloat16().double().square().sum(1).mean().item())


def _rank(rank, store, embedding, labels, out):
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    center_loss = CenterLoss(6, 5)
    for step in range(3):
        center_loss.update(embedding[rank::2] + step, labels[rank::2])
    torch.save(center_loss.centers, out / f"rank-{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_equal_one_on_the_joint_batch(batch, tmp_path):
    multiprocessing.spawn(_rank, (tmp_path / "store", *batch, tmp_path), nprocs=2)
    first, second = (torch.load(tmp_path / f"rank-{rank}.pt", weights_only=True) for rank in (0, 1))
    alone = CenterLoss(6, 5)
    for step in range(3):
        alone.update(batch[0] + step, batch[1])
    assert torch.equal(first, second)
    torch.testing.assert_close(first, alone.centers)
