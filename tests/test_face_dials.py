"""Face dials: what is embedded, what Python draws, and what a page without Python puts together."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from data_prep.synthetic import dials
from data_prep.synthetic.action_units import UNITS
from data_prep.synthetic.anatomy import describe, resting_face, sample_identity
from data_prep.synthetic.renderer import render
from eifn.widgets.face_dials import FaceDials

browser_test = pytest.mark.browser

NAMES = {"AU 1": "brows up", "AU 12": "a smile", "AU 25": "lips part"}
PEOPLE = ("Ada", "Bo", "Cy")
PRESETS = {"joy": {"AU 12": 1, "AU 25": 0.6}}


def draw(identity, entanglement, units):
    """Faces of four flat quarters, whose brightness the dials set; two dials on at once are not their sum."""
    faces = np.full((len(identity), 64, 64, 3), 40.0)
    faces += 20 * identity[:, None, None, None]
    faces[:, :32, :32] += 80 * units[:, 0, None, None, None]
    faces[:, :32, 32:] += 80 * (units[:, 1] * (1 - 0.5 * units[:, 2]))[:, None, None, None]
    faces[:, 32:, :32] += 80 * np.square(units[:, 2])[:, None, None, None]
    faces[:, 32:, 32:] += 60 * entanglement[:, None, None, None]
    return faces.round().astype(np.uint8)


def make(**settings):
    return FaceDials(draw, NAMES, PEOPLE, PRESETS, **settings)


def one(identity=0.0, entanglement=0.0, units=(0, 0, 0)):
    return draw(np.array([identity]), np.array([entanglement]), np.array([units], float))[0].astype(float)


def decoded(url):
    file = io.BytesIO(base64.b64decode(url.partition(",")[2]))
    return np.asarray(Image.open(file).convert("RGB")).astype(float)


def test_the_sheets_hold_each_dial_alone_and_the_presets():
    for person, url in enumerate(make().data["sheets"]):
        faces = decoded(url).reshape(-1, 64, 64, 3)
        wanted = [one(person)]
        wanted += [one(person, 0, np.eye(3)[unit] * step / 4) for unit in range(3) for step in range(1, 5)]
        wanted += [one(person, step / 4) for step in range(1, 5)]
        wanted += [one(person, 0, (0, 1, 0.6))]
        assert len(faces) == len(wanted)
        assert np.abs(faces - np.stack(wanted)).max() < 8  # at the edges of the quarters: it is JPEG


def test_python_draws_what_the_dials_say():
    widget, seen = make(), []
    widget.observe(lambda change: seen.append(change.new), "drawn")
    # What the kernel does with a message from the browser.
    widget.set_state({"intensities": {"AU 12": 0.55, "AU 25": 0.3}})
    widget.identity = 1.25
    assert [len(seen), seen[-1]["setting"]] == [2, [1.25, 0, 0, 0.55, 0.3]]
    np.testing.assert_array_equal(decoded(seen[-1]["face"]), one(1.25, 0, (0, 0.55, 0.3)))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("identity", 2.1, "a number from 0 to 2 is needed; got 2.1"),
        ("identity", None, "a number from 0 to 2 is needed; got None"),
        ("entanglement", -0.1, "a number from 0 to 1 is needed; got -0.1"),
        ("entanglement", float("nan"), "a number from 0 to 1 is needed; got nan"),
        ("intensities", {"AU 12": 2}, "a number from 0 to 1 is needed; got 2"),
        ("intensities", {"AU 99": 1}, "intensities of AU 1, AU 12, AU 25 are needed"),
        ("intensities", [1], "intensities of AU 1, AU 12, AU 25 are needed"),
    ],
)
def test_a_bad_value_is_named_and_changes_nothing(name, value, message):
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        make(**{name: value})
    widget = make()
    before = getattr(widget, name), widget.drawn
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        setattr(widget, name, value)
    assert (getattr(widget, name), widget.drawn) == before


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"^people: two or more are needed; got \['Ada'\]"):
        FaceDials(draw, NAMES, ["Ada"])
    with pytest.raises(ValueError, match=r"^units: one or more"):
        FaceDials(draw, {}, PEOPLE)
    with pytest.raises(ValueError, match=r"^presets: intensities of AU 1, AU 12, AU 25 are needed"):
        FaceDials(draw, NAMES, PEOPLE, {"joy": {"AU 6": 1}})
    with pytest.raises(ValueError, match=r"^render: uint8 \(17, S, S, 3\) is needed; got float64 \(17, 64"):
        FaceDials(lambda *dials: draw(*dials) / 255, NAMES, PEOPLE)

    def noise(identity, entanglement, units):
        return np.random.default_rng(0).integers(256, size=(len(identity), 64, 64, 3), dtype=np.uint8)

    with pytest.raises(ValueError, match=r"^units: 3 units of 30 people take \d+ kB, and a page carries 340"):
        FaceDials(noise, NAMES, [str(n) for n in range(30)])


def test_a_notebook_saves_the_same_each_time():
    first, second = (make(identity=1)._repr_mimebundle_()[0] for _ in range(2))
    assert first["text/html"] == second["text/html"]
    assert first["text/plain"] == second["text/plain"]


def canvas(page):
    page.wait_for_selector(".eifn-face[data-ready]")
    page.wait_for_timeout(50)
    pixels = page.locator("canvas").evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    )
    return np.array(pixels, float).reshape(64, 64, 4)[..., :3]


@browser_test
def test_what_python_drew_is_shown_to_the_bit(show):
    settings = {"identity": 0.4, "entanglement": 0.3, "intensities": {"AU 12": 0.5, "AU 25": 0.7}}
    page = show(make(**settings))
    np.testing.assert_array_equal(canvas(page), one(0.4, 0.3, (0, 0.5, 0.7)))
    assert page.locator("figcaption").inner_text() == "Drawn with these dials."


@browser_test
def test_without_python_the_effects_of_the_dials_are_added_up(show):
    page = show(make(identity=2))
    canvas(page)
    page.get_by_label("AU 25").fill("0.75")
    np.testing.assert_allclose(canvas(page), one(2, 0, (0, 0, 0.75)), atol=8)
    assert page.locator("figcaption").inner_text() == "Drawn with these dials."
    page.get_by_label("AU 12").fill("0.6")
    page.get_by_label("Identity").fill("1.5")
    added = one(1.5, 0, (0, 0.6, 0)) + one(1.5, 0, (0, 0, 0.75)) - one(1.5)
    np.testing.assert_allclose(canvas(page), added, atol=8)
    assert page.locator("figcaption").inner_text().startswith("Put together in this page")
    truth = one(1.5, 0, (0, 0.6, 0.75))
    assert np.abs(canvas(page) - truth)[:32, 32:].mean() > 8  # an approximation, as the page says


@browser_test
def test_presets_are_drawn_and_told(show):
    page = show(make(identity=1, intensities={"AU 1": 1}))
    canvas(page)
    page.get_by_role("button", name="joy").click()
    told = page.get_by_role("status").inner_text()
    assert told == "Units of joy. The face: Bo, entanglement 0, AU 12 at 1, AU 25 at 0.6."
    np.testing.assert_allclose(canvas(page), one(1, 0, (0, 1, 0.6)), atol=8)
    assert page.locator("figcaption").inner_text() == "Drawn with these dials."
    page.get_by_role("slider", name="Entanglement").fill("0.5")
    np.testing.assert_allclose(canvas(page), one(1, 0.5, (0, 1, 0.6)), atol=8)
    assert page.locator("figcaption").inner_text().startswith("Put together in this page")
    page.get_by_role("button", name="Reset").click()
    assert page.get_by_role("status").inner_text() == "Reset. The face: Bo, entanglement 0, AU 1 at 1."


@browser_test
def test_the_keyboard_is_enough(show):
    page = show(make())
    canvas(page)
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("status").inner_text().startswith("Identity is 95 % Ada and 5 % Bo. The face: ")
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    assert page.get_by_role("status").inner_text().startswith("Entanglement is 1. ")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.get_by_role("status").inner_text().startswith("Units of joy. ")
    assert "entanglement 1, AU 12 at 1" in page.locator("canvas").get_attribute("aria-label")


@browser_test
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_narrow_page_in_both_themes(show, violations, theme):
    page = show(make(), theme=theme, width=360)
    canvas(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("(w => w.scrollWidth <= w.clientWidth)(document.querySelector('.eifn-widget'))")
    assert violations(page) == []


def test_the_drawn_people_are_those_of_the_twin():
    identity, entanglement = np.array([0.0, 1, 2]), np.array([0, 0.5, 1])
    units = np.zeros((3, len(dials.UNITS)))
    units[:, list(dials.UNITS).index("AU 4")] = 0.5
    latents = np.stack([sample_identity(np.random.default_rng([0, 2, int(n[1:])])) for n in dials.PEOPLE])
    rest = np.concatenate([resting_face(latents[i : i + 1], entanglement[i]) for i in range(3)])
    rest[:, UNITS.index(4)] = 1 - (1 - rest[:, UNITS.index(4)]) * 0.5
    wanted = render(
        describe(latents),
        np.stack([rest, rest], axis=1),
        pose=np.zeros((3, 5)),
        light=np.tile(dials.LIGHT, (3, 1)),
        texture=np.zeros(3, int),
    )
    drawn = dials.draw_faces(identity, entanglement, units)
    assert np.abs(drawn - 255 * wanted).max() <= 1


def test_between_two_people_is_somebody_else():
    none = np.zeros((3, len(dials.UNITS)))
    first, middle, second = dials.draw_faces(np.array([0, 0.5, 1]), np.zeros(3), none).astype(float)
    assert min(np.abs(middle - first).mean(), np.abs(middle - second).mean()) > 2
    assert set(dials.PRESETS) == {"anger", "disgust", "fear", "happiness", "sadness", "surprise"}
    assert all(set(preset) <= set(dials.UNITS) for preset in dials.PRESETS.values())


@pytest.mark.slow
def test_the_faces_of_the_book_fit_a_page():
    widget = FaceDials(dials.draw_faces, dials.UNITS, dials.PEOPLE, dials.PRESETS)
    assert len(widget._repr_mimebundle_()[0]["text/html"]) < 400_000
