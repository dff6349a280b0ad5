import pytest
import torch
from torch.nn import functional

from eifn.fusion import bilinear_pool, fuse, signed_sqrt


def oracle(identity_map, expression_map):
    """Equations 3 and 4 and the two normalizations, location by location, in float64."""
    a, b = identity_map.double(), expression_map.double()
    pooled = torch.zeros(a.shape[0], a.shape[1], b.shape[1], dtype=torch.float64)
    for n in range(a.shape[0]):
        for y in range(a.shape[2]):
            for x in range(a.shape[3]):
                pooled[n] = pooled[n] + torch.outer(a[n, :, y, x], b[n, :, y, x])
    y = pooled.flatten(1)
    y = torch.sign(y) * torch.sqrt(torch.abs(y))
    return pooled, y / torch.sqrt((y**2).sum(1, keepdim=True))


@pytest.fixture
def maps():
    torch.manual_seed(0)
    return torch.randn(3, 5, 2, 2), torch.randn(3, 7, 2, 2)


def test_values_agree_with_a_loop_of_outer_products(maps):
    pooled, z = oracle(*maps)
    torch.testing.assert_close(bilinear_pool(*maps).double(), pooled, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(fuse(*maps).double(), z, rtol=1e-5, atol=1e-6)


def test_gradients_agree_with_the_loop(maps):
    weight = torch.randn(3, 35, dtype=torch.float64)
    ours = [m.double().requires_grad_() for m in maps]
    theirs = [m.double().requires_grad_() for m in maps]
    (fuse(*ours) * weight).sum().backward()
    (oracle(*theirs)[1] * weight).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize(("images", "channels"), [(5, (512, 512)), (3, (1024, 768)), (0, (5, 7))])
def test_images_that_are_fused_a_few_at_a_time(images, channels):
    """At full width a CPU takes two at a time; of a wider network, one; and there may be none."""
    torch.manual_seed(0)
    maps = [torch.randn(images, c, 2, 2).relu_() for c in channels]
    weight = torch.randn(images, channels[0] * channels[1])
    ours = [m.clone().requires_grad_() for m in maps]
    theirs = [m.double().requires_grad_() for m in maps]
    z = fuse(*ours)
    expected = functional.normalize(signed_sqrt(bilinear_pool(*theirs).flatten(1)))
    torch.testing.assert_close(z.double(), expected, rtol=1e-5, atol=1e-7)
    (z * weight).sum().backward()
    (expected * weight).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad.double(), b.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("held", [0, 1])
def test_a_map_that_needs_no_gradient(maps, held):
    """EIFN* cuts one of them off; the other gets what it would have got."""
    both = [m.clone().requires_grad_() for m in maps]
    fuse(*both)[:, ::3].sum().backward()
    one = [m.clone().requires_grad_(i != held) for i, m in enumerate(maps)]
    fuse(*one)[:, ::3].sum().backward()
    assert one[held].grad is None
    assert torch.equal(one[1 - held].grad, both[1 - held].grad)


def test_what_is_no_number_stays_none(maps):
    """A training that has diverged must show."""
    maps[0][1] = torch.nan
    ours = [m.requires_grad_() for m in maps]
    z = fuse(*ours)
    z.sum().backward()
    assert torch.isnan(z).any(1).tolist() == [False, True, False]
    for m in ours:
        assert torch.isnan(m.grad).flatten(1).any(1).tolist() == [False, True, False]


def test_gradcheck():
    torch.manual_seed(1)
    a = torch.rand(2, 3, 2, 2, dtype=torch.float64) + 0.1  # away from 0, where the root has no derivative
    b = torch.rand(2, 4, 2, 2, dtype=torch.float64) + 0.1
    assert torch.autograd.gradcheck(fuse, (a.requires_grad_(), b.requires_grad_()))
    assert torch.autograd.gradcheck(fuse, (a, (-b.detach()).requires_grad_()))


@pytest.mark.parametrize("dead", ["all", "one map", "channels", "one image"])
def test_dead_features_give_finite_gradients(dead):
    torch.manual_seed(0)
    a, b = torch.rand(3, 5, 2, 2), torch.rand(3, 7, 2, 2)
    if dead in ("all", "one map"):
        a.zero_()
    if dead == "all":
        b.zero_()
    if dead == "channels":
        a[:, 1:3] = 0
        b[:, ::2] = 0
    if dead == "one image":
        a[1] = 0
    a.requires_grad_()
    b.requires_grad_()
    z = fuse(a, b)
    (z * torch.randn_like(z)).sum().backward()
    for tensor in (z, a.grad, b.grad):
        assert torch.isfinite(tensor).all()


def test_the_textbook_form_does_give_nan():
    """Why `signed_sqrt` is more than one line: the paper's formula, differentiated as it stands."""
    z = torch.zeros(1, requires_grad=True)
    (torch.sign(z) * torch.sqrt(torch.abs(z))).backward()
    assert torch.isnan(z.grad).all()
    z = torch.zeros(1, requires_grad=True)
    signed_sqrt(z).backward()
    assert z.grad == 0


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3])
def test_scale_invariance(maps, scale):
    torch.testing.assert_close(fuse(maps[0] * scale, maps[1] * scale), fuse(*maps), rtol=1e-5, atol=1e-6)


def test_bfloat16_autocast_keeps_root_and_norm_in_float32(maps):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = [m.bfloat16() for m in maps]
        z = fuse(*low)
    assert z.dtype == torch.float32
    # The same numbers, rounded to bfloat16 beforehand, fused in float64: nothing else may have been lost.
    torch.testing.assert_close(z.double(), oracle(*[m.float() for m in low])[1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(3))


def test_backward_under_autocast_stays_in_float32(maps):
    inside, outside = [[m.clone().requires_grad_() for m in maps] for _ in range(2)]
    fuse(*outside)[:, ::3].sum().backward()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fuse(*inside)[:, ::3].sum().backward()
    for a, b in zip(inside, outside, strict=True):
        assert torch.equal(a.grad, b.grad)


def test_rank_is_at_most_the_number_of_locations():
    torch.manual_seed(0)
    pooled = bilinear_pool(torch.rand(2, 32, 2, 2).double(), torch.rand(2, 48, 2, 2).double())
    assert torch.linalg.matrix_rank(pooled).tolist() == [4, 4]


@pytest.mark.parametrize(
    ("first", "second"),
    [((2, 3, 2, 2), (2, 3, 2, 3)), ((2, 3, 2, 2), (1, 3, 2, 2)), ((3, 2, 2), (3, 2, 2)), ((2, 3), (2, 3))],
)
def test_maps_that_do_not_fit(first, second):
    with pytest.raises(ValueError, match="differ in channels only"):
        bilinear_pool(torch.zeros(first), torch.zeros(second))
