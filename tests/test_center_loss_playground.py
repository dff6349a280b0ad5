"""The playground of center loss: its traits, and its steps in a browser against torch and `CenterLoss`."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from eifn.center_loss import CenterLoss
from eifn.widgets.center_loss_playground import CenterLossPlayground

browser_test = pytest.mark.browser


@pytest.mark.parametrize(
    ("name", "bad", "limits"),
    [
        ("center_weight", [-0.1, 11, float("nan"), "much", None], "a number from 0 to 10"),
        ("alpha", [-0.1, 1.1, [0.5]], "a number from 0 to 1"),
        ("classes", [1, 9, 2.5, "four"], "a whole number from 2 to 8"),
        ("batch_size", [0, 121, None], "a whole number from 1 to 120"),
        ("seed", [-1, 2**32, 0.5], "a whole number from 0 to 4294967295"),
        ("step", [-1, 1001, 1.5], "a whole number from 0 to 1000"),
    ],
)
def test_a_bad_value_is_named_and_changes_nothing(name, bad, limits):
    playground = CenterLossPlayground()
    before = getattr(playground, name)
    for value in bad:
        with pytest.raises(ValueError, match=f"^{name}: {limits} is needed; got"):
            CenterLossPlayground(**{name: value})
        with pytest.raises(ValueError, match=f"^{name}: {limits} is needed; got"):
            setattr(playground, name, value)
    assert getattr(playground, name) == before


def test_python_sees_what_the_reader_does():
    playground, seen = CenterLossPlayground(), []
    playground.observe(lambda change: seen.append((change.name, change.new)), ["alpha", "step"])
    playground.set_state({"alpha": 0, "step": 12})  # what the kernel does with a message from the browser
    assert sorted(seen) == [("alpha", 0), ("step", 12)]


def test_a_notebook_saves_the_same_each_time():
    first, second = (CenterLossPlayground(seed=3)._repr_mimebundle_()[0] for _ in range(2))
    assert first["text/html"] == second["text/html"]
    assert (
        first["text/plain"]
        == second["text/plain"]
        == CenterLossPlayground.__name__ + (": an interactive figure, seen in Jupyter and in the book")
    )
    assert len(first["text/html"]) < 400_000


def state(page):
    """All coordinates in full precision, and which points are in the batch."""
    lines = "(lines) => lines.map(l => ['x1', 'y1', 'x2', 'y2'].map(n => Number(l.getAttribute(n))))"
    spokes, rays = (
        torch.tensor(page.eval_on_selector_all(f".eifn-plane {group} line", lines), dtype=torch.float64)
        for group in ("g g:nth-child(2)", ".eifn-rays")
    )
    here = page.eval_on_selector_all(
        ".eifn-plane path", "paths => paths.flatMap((p, i) => p.matches('.eifn-here') ? [i] : [])"
    )
    classes = len(rays)
    return {
        "points": spokes[:, :2],
        "centers": spokes[:classes, 2:],  # point k is of class k, and its line ends at that center
        "classifier": rays[:, 2:],
        "labels": torch.arange(len(spokes)) % classes,
        "batch": torch.tensor(here, dtype=torch.int64),
    }


def expected_step(before, batch, *, center_weight, alpha):
    """The same step by torch's autograd and the package's center loss, in float64."""
    labels = before["labels"][batch]
    center_loss = CenterLoss(len(before["centers"]), 2, alpha=alpha).double()
    center_loss.centers.copy_(before["centers"])
    points = before["points"].clone().requires_grad_()
    classifier = before["classifier"].clone().requires_grad_()
    softmax = functional.cross_entropy(points[batch] @ classifier.mT, labels)
    # The mean of the batch is the loss; a free point follows its own term of it, so times the batch.
    total = softmax + center_weight * center_loss(points[batch], labels)
    slope = torch.autograd.grad(total, points, retain_graph=True)[0] * len(batch)
    slope_of_classifier = torch.autograd.grad(softmax, classifier)[0]
    center_loss.update(before["points"][batch], labels)
    return {
        "points": before["points"] - 0.1 * slope,
        "classifier": before["classifier"] - 0.1 * slope_of_classifier,
        "centers": center_loss.centers,
    }


@browser_test
@pytest.mark.slow
@pytest.mark.parametrize(
    ("center_weight", "alpha", "classes", "batch_size"),
    [(1, 0.5, 4, 40), (0, 0.5, 3, 120), (0.05, 1, 8, 5), (10, 0, 2, 1)],
)
def test_every_step_is_that_of_autograd_and_of_the_package(show, center_weight, alpha, classes, batch_size):
    settings = {"center_weight": center_weight, "alpha": alpha}
    page = show(CenterLossPlayground(**settings, classes=classes, batch_size=batch_size))
    assert (state(page)["centers"] == 0).all()
    for _ in range(6):
        before = state(page)
        page.get_by_role("button", name="Step", exact=True).click()
        after = state(page)
        assert len(after["batch"]) == batch_size
        wanted = expected_step(before, after["batch"], **settings)
        for name, values in wanted.items():
            torch.testing.assert_close(after[name], values, rtol=0, atol=1e-12)


@browser_test
def test_the_numbers_beside_are_those_of_the_points(show):
    page = show(CenterLossPlayground(step=30, classes=5))
    shown = page.eval_on_selector_all("dl data", "all => all.map(d => Number(d.value))")
    now = state(page)
    points, labels = now["points"].numpy(), now["labels"].numpy()
    means = np.stack([points[labels == k].mean(0) for k in range(5)])
    gaps = [np.linalg.norm(a - b) for i, a in enumerate(means) for b in means[i + 1 :]]
    answers = (points @ now["classifier"].numpy().T).argmax(1)
    wanted = [
        np.sqrt(np.square(points - means[labels]).sum(1).mean()),
        min(gaps),
        np.sqrt(np.square(means - now["centers"].numpy()).sum(1).mean()),
        (answers == labels).mean(),
    ]
    np.testing.assert_allclose(shown, wanted, atol=1e-12)
    rows = page.eval_on_selector_all(
        "tbody tr", "rows => rows.map(r => [...r.querySelectorAll('data')].map(d => Number(d.value)))"
    )
    np.testing.assert_allclose(np.array(rows)[:, 1:3], now["centers"], atol=1e-12)
    counts = np.bincount(labels[now["batch"].numpy()], minlength=5)
    np.testing.assert_array_equal(np.array(rows)[:, 0], counts)


@browser_test
@pytest.mark.parametrize(
    ("center_weight", "alpha", "verdict"),
    [
        (0, 0.5, "classes are apart, but wide"),
        (1, 0.5, "every class has collapsed to a point of its own"),
        (10, 0, "everything has collapsed to one place"),
    ],
)
def test_what_collapses_is_told(show, center_weight, alpha, verdict):
    page = show(CenterLossPlayground(center_weight=center_weight, alpha=alpha, step=150))
    assert f"Step 150: {verdict}. " in page.get_by_role("status").inner_text()
    assert verdict in page.locator(".eifn-events").inner_text()


@browser_test
def test_the_same_seed_is_the_same_world(show):
    page = show(*(CenterLossPlayground(seed=seed, step=9) for seed in (5, 5, 6)))
    planes = page.eval_on_selector_all(".eifn-plane", "all => all.map(p => p.innerHTML)")
    assert planes[0] == planes[1] != planes[2]


@browser_test
def test_run_pause_and_reset(show):
    page = show(CenterLossPlayground())
    first = state(page)
    page.get_by_role("button", name="Run").click()
    page.wait_for_function("document.querySelector('.eifn-plane').ariaLabel.match(/after [1-9]\\d steps/)")
    page.get_by_role("slider", name="α").fill("0.25")  # acts while it runs
    page.get_by_role("button", name="Pause").click()
    assert page.get_by_role("status").inner_text().startswith("Paused. Step ")
    page.get_by_role("button", name="Reset").click()
    assert page.get_by_role("status").inner_text().startswith("Reset. Step 0: ")
    assert page.get_by_role("slider", name="α").input_value() == "0.5"
    torch.testing.assert_close(state(page)["points"], first["points"], rtol=0, atol=0)


@browser_test
def test_without_motion_run_jumps(show):
    page = show(CenterLossPlayground(step=950))
    page.emulate_media(reduced_motion="reduce")
    run = page.get_by_role("button", name="Run")
    run.click()
    assert page.get_by_role("status").inner_text().startswith("50 steps. Step 1000: ")
    run.click()
    assert page.get_by_role("status").inner_text().startswith("Nothing done: 1000 steps are the most.")


@browser_test
def test_the_keyboard_is_enough(show):
    page = show(CenterLossPlayground())
    told = page.get_by_role("status")
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    assert told.inner_text().startswith("λ1 is 10. Step 0: ")
    page.keyboard.press("Home")
    assert told.inner_text().startswith("λ1 is 0. ")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert told.inner_text().startswith("Classes is 5. ")
    assert len(state(page)["centers"]) == 5
    while page.evaluate("document.activeElement.textContent") != "Step":
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert told.inner_text().startswith("One step. Step 1: ")


@browser_test
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_narrow_page_in_both_themes(show, violations, theme):
    page = show(CenterLossPlayground(classes=8, step=600), theme=theme, width=360)
    page.get_by_text("Numbers of each class").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("(w => w.scrollWidth <= w.clientWidth)(document.querySelector('.eifn-widget'))")
    assert violations(page) == []
