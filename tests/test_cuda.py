"""What only a GPU can show: the recorded step, the bits of a resumed training, and that nothing waits."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from test_crossval import contents, here
from test_training import build, faces, fit, state

from eifn import training
from eifn.crossval import crossval, local_pool
from eifn.fusion import fuse
from eifn.network import Variant
from eifn.training import Checkpoint, Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

__all__ = ["faces"]  # a fixture

# 240 images: nine full batches, and one of 15; the learning rate falls in between.
LONG = {"epochs": 4, "drop_every": 2, "views": 5, "batch_size": 25, "clip": 1}


@pytest.fixture(params=["32-true", "bf16-mixed"])
def trainer(request):
    return Trainer(Fabric(accelerator="cuda", devices=1, precision=request.param))


def without_graph(monkeypatch):
    monkeypatch.setattr(training, "CudaGraph", lambda step, size, device: step)


def assert_same(model, history, other, expected):
    np.testing.assert_equal(list(map(vars, history)), list(map(vars, expected)))
    for (key, value), wanted in zip(state(model).items(), state(other).values(), strict=True):
        assert torch.equal(value, wanted), key


@pytest.mark.parametrize("variant", list(Variant))
def test_a_recorded_step_learns_the_same_bits(trainer, faces, monkeypatch, variant):
    recorded = []
    graph = training.CudaGraph
    monkeypatch.setattr(training, "CudaGraph", lambda *given: recorded.append(graph(*given)) or recorded[-1])
    model, other = build(variant), build(variant)
    history = fit(trainer, model, faces, **LONG)
    assert [one._steps for one in recorded] == [18, 18]
    without_graph(monkeypatch)
    assert_same(model, history, other, fit(trainer, other, faces, **LONG))
    assert len(recorded) == 2


@pytest.mark.parametrize("variant", list(Variant))
def test_a_resumed_training_ends_with_the_same_bits(trainer, faces, tmp_path, variant):
    whole, resumed = build(variant), build(variant)
    expected = fit(trainer, whole, faces, **LONG)
    checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors", "this training")
    fit(trainer, build(variant), faces, **LONG | {"epochs": 3}, checkpoint=checkpoint)
    assert_same(resumed, fit(trainer, resumed, faces, **LONG, checkpoint=checkpoint), whole, expected)


def test_the_host_does_not_wait_inside_an_epoch(trainer, faces, monkeypatch):
    without_graph(monkeypatch)
    batches, checked = trainer._batches, []

    def forbidding(*given):
        every = list(batches(*given))
        if given[-1] > 1:  # in the first epoch the libraries set themselves up
            torch.cuda.set_sync_debug_mode("error")
        yield from every
        torch.cuda.set_sync_debug_mode("default")
        checked.append(len(every))

    monkeypatch.setattr(trainer, "_batches", forbidding)
    try:
        fit(trainer, build(), faces, **LONG)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert checked == [10] * 4


def test_a_gpu_learns_what_a_cpu_learns(trainer, faces):
    cpu = Trainer(Fabric(accelerator="cpu", devices=1))
    ours, theirs = build(), build()
    (epoch,), (expected,) = (fit(t, m, faces) for t, m in ((trainer, ours), (cpu, theirs)))
    assert vars(epoch) == pytest.approx(vars(expected), rel=0.03)
    probabilities = (t.predict(m, faces.frames) for t, m in ((trainer, ours), (cpu, theirs)))
    np.testing.assert_allclose(*probabilities, atol=0.03)


def test_a_gpu_fuses_as_a_cpu_does():
    """All images at once there, a few at a time here."""
    torch.manual_seed(0)
    maps = torch.randn(2, 5, 512, 2, 2).relu_()
    upstream = torch.randn(5, 512 * 512)
    found = []
    for device in ("cpu", "cuda"):
        ours = [m.to(device).requires_grad_() for m in maps]
        z = fuse(*ours)
        gradients = torch.autograd.grad(z, ours, upstream.to(device))
        found.append([tensor.detach().cpu() for tensor in (z, *gradients)])
    for cpu, cuda in zip(*found, strict=True):
        torch.testing.assert_close(cuda, cpu, rtol=1e-4, atol=1e-5)


def test_processes_share_a_gpu(run):
    run = replace(run, accelerator="cuda", recipe=replace(run.recipe, batch_size=5), tensorboard=None)
    (alone,) = here(run)
    run = replace(run, out=run.out.with_name("shared"))
    with local_pool(3, ["0"]) as pool:
        (shared,) = crossval([run], pool, 3)
    assert contents(shared) == contents(alone)
