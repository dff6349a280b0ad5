"""The gradient router: what it refuses, and what its page computes against passes through detached wires."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from eifn.center_loss import CenterLoss
from eifn.fusion import fuse
from eifn.gradients import MODULES, gradient_products
from eifn.network import EIFN, Variant
from eifn.widgets.gradient_router import WIRES, GradientRouter

browser_test = pytest.mark.browser


def batch(variant):
    torch.manual_seed(0)
    model = EIFN(5, 3, variant=variant, width=1 / 64)
    images = torch.randn(8, 3, 64, 64)
    center_loss = CenterLoss(5, model.identity_extractor.channels)
    center_loss.centers.normal_()
    return model, images, torch.arange(8) % 5, torch.arange(8) % 3, center_loss


@pytest.fixture(scope="module")
def products():
    return {variant: gradient_products(*batch(variant)) for variant in Variant}


def lengths(variant, cuts, center, identity, expression):
    """The gradient of equation 5 into each module, by one backward pass through a network with cut wires."""
    model, images, subjects, expressions, center_loss = batch(variant)
    if variant == Variant.EFN:
        identity = 0
    if variant == Variant.EIFN_STAR:
        cuts = [*cuts, "fusion > identity extractor"]

    def through(wire, value):
        return value.detach() if wire in cuts else value

    identity_map = model.identity_extractor(images)
    expression_map = model.expression_extractor(images)
    embedding = model.identity_layers(through("identity layers > identity extractor", identity_map))
    identity_logits = model.identity_classifier(through("identity classifier > identity layers", embedding))
    fused = fuse(
        through("fusion > identity extractor", identity_map),
        through("fusion > expression extractor", expression_map),
    )
    logits = model.expression_classifier(through("expression classifier > fusion", fused))
    embedding = through("center loss > identity layers", embedding)
    total = (
        identity
        * functional.cross_entropy(through("identity loss > identity classifier", identity_logits), subjects)
        + identity * center * center_loss(embedding, subjects)
        + expression
        * functional.cross_entropy(through("expression loss > expression classifier", logits), expressions)
    )
    if total.requires_grad:
        total.backward()
    grads = [[p.grad for p in getattr(model, name).parameters() if p.grad is not None] for name in MODULES]
    return [torch.cat([g.flatten() for g in of]).norm().item() if of else 0.0 for of in grads]


def together(page):
    """The last column of the table."""
    rows = "rows => rows.map(r => Number([...r.querySelectorAll('data')].at(-1).value))"
    return page.eval_on_selector_all("tbody tr", rows)


@browser_test
@pytest.mark.slow
@pytest.mark.parametrize("variant", list(Variant))
def test_every_cut_is_that_of_a_detached_tensor(show, products, variant):
    page = show(GradientRouter(products, variant=variant, center_weight=0.5))
    np.testing.assert_allclose(together(page), lengths(variant, [], 0.5, 2, 1), rtol=1e-3)
    for wire in WIRES:
        switch = page.get_by_label(wire.replace(">", "→"))
        if switch.is_disabled():
            continue
        switch.check()
        np.testing.assert_allclose(together(page), lengths(variant, [wire], 0.5, 2, 1), rtol=1e-3, atol=1e-6)
        switch.uncheck()


@browser_test
def test_every_lambda_scales_as_equation_5_says(show, products):
    page = show(GradientRouter(products, cuts=["expression classifier > fusion"]))
    page.get_by_label("λ1").fill("41")  # the place of 1 on its logarithmic scale
    page.get_by_label("λ2").fill("0.5")
    page.get_by_label("λ3").fill("7")
    cuts = ["expression classifier > fusion"]
    np.testing.assert_allclose(together(page), lengths("eifn", cuts, 1, 0.5, 7), rtol=1e-3)
    page.get_by_label("expression classifier → fusion").uncheck()
    page.get_by_role("button", name="λ of Oulu-CASIA").click()
    np.testing.assert_allclose(together(page), lengths("eifn", [], 1e-4, 1, 6), rtol=1e-3)
    page.get_by_role("button", name="Reset").click()
    np.testing.assert_allclose(together(page), lengths("eifn", cuts, 1e-4, 2, 1), rtol=1e-3, atol=1e-6)


@browser_test
def test_eifn_with_one_cut_is_eifn_star(show, products):
    page = show(GradientRouter(products))
    page.get_by_label("fusion → identity extractor").check()
    told = page.get_by_role("status").inner_text()
    assert told.startswith("Cut: fusion → identity extractor. Together: identity extractor ")
    assert told.endswith(" This is the routing of EIFN*.")
    cut = together(page)
    page.get_by_role("button", name="Reset").click()
    page.get_by_label("EIFN*").check()
    assert page.get_by_label("fusion → identity extractor").is_disabled()
    np.testing.assert_allclose(together(page), cut, rtol=1e-3)


@browser_test
def test_the_cosine_is_that_of_the_two_gradients(show, products):
    page = show(GradientRouter(products, center_weight=0))
    table = products["eifn"].loc["identity_extractor"]
    wanted = table.loc["identity", "expression"] / np.sqrt(
        table.loc["identity", "identity"] * table.loc["expression", "expression"]
    )
    shown = page.locator("p data").get_attribute("value")
    assert float(shown) == pytest.approx(wanted, abs=1e-3)


@browser_test
def test_a_dead_module_is_told_and_shown(show, products):
    page = show(GradientRouter(products))
    page.get_by_label("EFN").check()
    told = page.get_by_role("status").inner_text()
    assert "identity layers" in told
    assert "→ no gradient" in told
    dead = page.eval_on_selector_all("g.eifn-dead", "all => all.map(g => g.textContent)")
    assert [text.replace("no gradient", "") for text in dead] == ["identityclassifier", "identity layers"]
    page.locator(".eifn-hit").first.click(force=True)
    assert page.get_by_role("status").inner_text().startswith("Nothing done: in EFN nothing flows there")


@browser_test
def test_a_click_on_a_wire_cuts_it(show, products):
    page = show(GradientRouter(products))
    page.locator(".eifn-hit").last.click(force=True)
    assert page.get_by_role("status").inner_text().startswith("Cut: fusion → expression extractor. ")
    assert page.get_by_label("fusion → expression extractor").is_checked()


@browser_test
def test_the_keyboard_is_enough(show, products):
    page = show(GradientRouter(products))
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    assert page.get_by_role("status").inner_text().startswith("EIFN*. Together: identity extractor ")
    while not page.evaluate("document.activeElement.labels?.[0]?.textContent.includes('identity loss')"):
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert page.get_by_role("status").inner_text().startswith("Cut: identity loss → identity classifier. ")


@browser_test
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_narrow_page_in_both_themes(show, violations, products, theme):
    page = show(GradientRouter(products, center_weight=1), theme=theme, width=360)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("(w => w.scrollWidth <= w.clientWidth)(document.querySelector('.eifn-widget'))")
    assert violations(page) == []
    page.get_by_label("EFN").check()
    assert violations(page) == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("variant", "fan", "one of eifn, eifn-star, efn is needed; got 'fan'"),
        ("center_weight", -1, "a number from 0 to 10 is needed; got -1"),
        ("identity_weight", None, "a number from 0 to 10 is needed; got None"),
        ("expression_weight", float("nan"), "a number from 0 to 10 is needed; got nan"),
        ("cuts", ["identity loss"], "a list of 'identity loss > identity classifier', "),
        ("cuts", "fusion > identity extractor", "a list of 'identity loss > identity classifier', "),
    ],
)
def test_a_bad_value_is_named_and_changes_nothing(products, name, value, message):
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        GradientRouter(products, **{name: value})
    router = GradientRouter(products)
    before = getattr(router, name)
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        setattr(router, name, value)
    assert getattr(router, name) == before


def test_bad_products_are_named(products):
    table = products["eifn"]
    for bad in (table.iloc[:3], table.to_numpy(), table.rename(columns={"center": "triplet"})):
        with pytest.raises(ValueError, match=r"^products: eifn is not a table of `eifn.gradients.gradient_p"):
            GradientRouter({"eifn": bad})
    for bad in (table * np.nan, -table, table.where(np.eye(15, 3) == 1, 1e9)):
        with pytest.raises(ValueError, match=r"^products: those of eifn are of no gradients"):
            GradientRouter({"eifn": bad})
    with pytest.raises(ValueError, match=r"^products: one of eifn, .* got 'fan'"):
        GradientRouter({"fan": table})
    with pytest.raises(ValueError, match=r"^products: those of one variant"):
        GradientRouter({})
    with pytest.raises(ValueError, match=r"^variant: efn was not measured, only eifn"):
        GradientRouter({"eifn": table}, variant="efn")


def test_python_sees_what_the_reader_does(products):
    router, seen = GradientRouter(products), []
    router.observe(lambda change: seen.append((change.name, change.new)), ["variant", "cuts"])
    router.set_state({"variant": "efn", "cuts": ["fusion > identity extractor"]})
    assert sorted(seen) == [("cuts", ["fusion > identity extractor"]), ("variant", "efn")]


def test_a_notebook_saves_the_same_each_time(products):
    first, second = (GradientRouter(products)._repr_mimebundle_()[0] for _ in range(2))
    assert first["text/html"] == second["text/html"]
    assert first["text/plain"] == second["text/plain"]
    assert len(first["text/html"]) < 400_000
