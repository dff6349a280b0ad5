"""The widgets in a browser, as the rendered book shows them: from a file, with no kernel and no network."""

import pytest
import torch

from eifn.fusion import bilinear_pool, fuse, signed_sqrt
from eifn.widgets.bilinear_stepper import BilinearStepper

pytestmark = pytest.mark.browser


def entries(page):
    """The table on the page, read from the full-precision value of each entry."""
    rows = "rows => rows.map(r => [...r.querySelectorAll('data')].map(d => Number(d.value)))"
    return torch.tensor(page.eval_on_selector_all("tbody tr", rows), dtype=torch.float64)


def readout(page):
    return page.get_by_role("status").inner_text()


@pytest.mark.parametrize("channels", [(3, 2), (2, 3), (3, 3)])
def test_every_step_computes_what_the_package_computes(show, channels):
    torch.manual_seed(0)
    identity, expression = (torch.randn(1, n, 2, 2, dtype=torch.float64) * 3 for n in channels)
    page = show(BilinearStepper(identity_map=identity[0], expression_map=expression[0]))
    for step in range(1, 7):
        seen = slice(0, min(step, 4))  # the locations that have been added
        pooled = bilinear_pool(
            identity.flatten(2)[:, :, None, seen], expression.flatten(2)[:, :, None, seen]
        )[0]
        if step == 5:
            pooled = signed_sqrt(pooled)
        if step == 6:
            pooled = fuse(identity, expression).reshape(channels)
        torch.testing.assert_close(entries(page), pooled)
        page.get_by_role("button", name="Next").click()


def test_an_edit_is_computed_and_told(show):
    page = show(BilinearStepper(step=4))
    page.get_by_label("identity channel i1, bottom right").fill("5")
    identity = torch.tensor([[[[2, 0], [1, 0]], [[0, 1], [0, 5]], [[0, 1], [0, 0]]]]).double()
    expression = torch.tensor([[[[1, 0], [2, 0]], [[0, 4], [1, 3]]]]).double()
    torch.testing.assert_close(entries(page), bilinear_pool(identity, expression)[0])
    assert readout(page) == "identity channel i1, bottom right is 5. Changed: i1·e1 16 → 19."
    page.get_by_role("button", name="Reset").click()
    assert page.get_by_label("identity channel i1, bottom right").input_value() == "4"


def test_the_arithmetic_is_written_out(show):
    page = show(BilinearStepper(identity_map=[[[0, 2], [0, 0]]] * 2, expression_map=[[[0, -8], [0, 0]]] * 2))
    written = []
    for _ in range(6):
        written.append(" ".join(page.locator("tbody td").first.inner_text().split()))
        page.get_by_role("button", name="Next").click()
    assert written[:2] == ["0 × 0 = 0", "0 + 2 × (−8) = −16"]
    assert written[4:] == ["−√16 = −4", "−4 ÷ 8 = −0.5"]


def test_scale_changes_the_sum_and_not_the_fused_vector(show):
    page = show(BilinearStepper(step=4))
    before = entries(page)
    page.get_by_role("button", name="Both maps × 10").click()
    torch.testing.assert_close(entries(page), 100 * before)
    page.get_by_role("slider").fill("6")
    page.get_by_role("button", name="Both maps × 10").click()
    assert readout(page) == "Both maps × 10. No entry changed."


def test_all_zero_maps_stay_zero(show):
    page = show(BilinearStepper(identity_map=torch.zeros(2, 2, 2), step=6))
    assert (entries(page) == 0).all()


def test_what_is_not_a_number_is_refused_and_told(show):
    page = show(BilinearStepper())
    field = page.get_by_label("expression channel e0, top left")
    for text in ("", "99999"):
        field.fill(text)
        field.blur()
        assert "is needed. 1 is kept" in readout(page)
        assert field.input_value() == "1"


def test_the_keyboard_is_enough(show):
    page = show(BilinearStepper())
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowUp")  # the first field, from 2 to 3
    assert entries(page)[0, 0] == 3
    while page.evaluate("document.activeElement.textContent") != "Next":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert readout(page).startswith("Step 2 of 6, top right.")
    page.keyboard.press("Tab")
    page.keyboard.press("End")  # the slider
    assert readout(page).startswith("Step 6 of 6, L2 normalization.")


def test_each_field_has_a_name_of_its_own(show):
    page = show(BilinearStepper())
    names = page.eval_on_selector_all("input[type=number]", "fields => fields.map(f => f.ariaLabel)")
    assert len(set(names)) == 20
    assert page.get_by_role("slider", name="Step").get_attribute("aria-valuetext") == "Step 1 of 6, top left"


def test_copies_on_one_page_do_not_meet(show):
    page = show(BilinearStepper(), BilinearStepper(), BilinearStepper(step=5))
    second = page.locator(".eifn-widget").nth(1)
    second.get_by_role("button", name="Next").click()
    steps = page.eval_on_selector_all("input[type=range]", "sliders => sliders.map(s => s.value)")
    assert steps == ["1", "2", "5"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_themes_and_a_narrow_page(show, theme):
    wide = torch.full((3, 2, 2), -123.4)
    page = show(
        BilinearStepper(), BilinearStepper(identity_map=wide, expression_map=wide), theme=theme, width=360
    )
    page.get_by_role("button", name="Next").nth(1).click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(
        "[...document.querySelectorAll('.eifn-widget')].every(w => w.scrollWidth <= w.clientWidth)"
    )
    paper = page.evaluate("getComputedStyle(document.querySelector('.eifn-widget')).backgroundColor")
    brightness = sum(int(part) for part in paper[4:-1].split(",")) / 3
    assert (brightness > 200) == (theme == "light")
