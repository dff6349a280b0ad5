"""The fusion inspector: what it embeds, what it shows in a page without a kernel, and how it follows one."""

import base64
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from eifn.database import FaceDatabase
from eifn.fusion import signed_sqrt
from eifn.network import EIFN, Variant
from eifn.probe import Regions, exciting_regions, probe
from eifn.training import save_model
from eifn.widgets import fusion_inspector
from eifn.widgets.fusion_inspector import PLACES, FusionInspector

EXPRESSIONS = ("anger", "fear", "happiness")
ROWS = [1, 4, 7, 8]
CHANNELS = 16
SETTINGS = ["face", "identity", "variant", "location", "locations", "signed_sqrt", "l2", "expression", "pair"]


@pytest.fixture(scope="module")
def database():
    """Nine frames of three people: smooth patterns, so that their pictures are as small as those of faces."""
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 256, (9, 16, 16, 1)).repeat(4, 1).repeat(4, 2).repeat(3, 3)
    rows = [(f"P{person}", f"{n}", 0, EXPRESSIONS[n], "") for person in range(3) for n in range(3)]
    table = pd.DataFrame(rows, columns=["subject", "sequence", "position", "expression", "source"])
    about = {"licence": "CC0 1.0", "citation": "noise", "made_by": "a test"}
    return FaceDatabase(
        name="patterns", expressions=EXPRESSIONS, frames=frames.astype(np.uint8), table=table, **about
    )


def trained(variant=Variant.EIFN, *, expressions=3, width=1 / 32, seed=0):
    """A model that counts as trained, since its bias is not 0."""
    torch.manual_seed(seed)
    model = EIFN(subjects=2, expressions=expressions, variant=variant, width=width)
    nn.init.normal_(model.expression_classifier.bias)
    nn.init.normal_(model.expression_classifier.weight, std=3)  # probabilities far from even
    return model


@pytest.fixture(scope="module")
def models():
    return [trained(variant, seed=n) for n, variant in enumerate(["efn", "eifn-star", "eifn"])]


@pytest.fixture(scope="module")
def fusions(models, database):
    """What the page has to agree with, by variant."""
    return {str(model.variant): probe(model, database.frames[ROWS]) for model in models}


@pytest.fixture(scope="module")
def built(models, database):
    return FusionInspector(models, database, ROWS)


@pytest.fixture
def inspector(built):
    """At its start, as if built for each test anew."""
    start = {name: getattr(built, name) for name in SETTINGS}
    yield built
    for name, value in start.items():
        setattr(built, name, value)


def embedded(widget):
    html = widget._repr_mimebundle_()[0]["text/html"]
    return json.loads(re.search(r'<script type="application/json">(.*?)</script', html, re.DOTALL)[1])[
        "state"
    ]


def array(text, dtype, *shape):
    return np.frombuffer(base64.b64decode(text), dtype).reshape(shape).astype(float)


# What is embedded.


def test_the_start(inspector):
    state = embedded(inspector)
    assert state.pop("data") == inspector.data
    assert state == {
        "face": 1,
        "identity": None,
        "variant": "eifn",
        "location": "top left",
        "locations": 4,
        "signed_sqrt": True,
        "l2": True,
        "expression": "fear",  # that of row 1
        "pair": None,
    }
    faces = [(face["row"], face["name"], face["expression"]) for face in inspector.data["faces"]]
    assert faces[0] == (1, "person P0, fear", "fear")
    assert faces[3] == (8, "person P2, happiness", "happiness")


def test_settings_are_taken_and_made_plain(models, database):
    settings = {"face": np.int64(7), "variant": Variant.EFN, "pair": (np.int64(3), 15), "l2": False}
    inspector = FusionInspector(models[:1], database, np.array([1, 7]), **settings)
    state = embedded(inspector)
    assert (state["face"], state["variant"], state["pair"], state["l2"]) == (7, "efn", [3, 15], False)
    assert state["expression"] == "fear"  # that of row 7


def test_two_frames_of_one_expression_have_two_names(models, database):
    database.table.loc[2, "expression"] = "fear"
    try:
        faces = FusionInspector(models[:1], database, [1, 2, 4]).data["faces"]
    finally:
        database.table.loc[2, "expression"] = "happiness"
    assert [f["name"] for f in faces] == [
        "person P0, fear, row 1",
        "person P0, fear, row 2",
        "person P1, fear",
    ]


def test_the_error_of_the_embedding_is_the_one_it_states(inspector, fusions):
    worst = 0
    for network in inspector.data["networks"]:
        n, k = len(ROWS), len(EXPRESSIONS)
        scale = np.array(network["map_scale"])[:, :, None, None]
        maps = array(network["maps"], "<u2", n, 2, CHANNELS, 4) * scale
        weight = array(network["weight"], "i1", k, CHANNELS**2) * np.array(network["weight_scale"])[:, None]
        for face in range(n):
            for person in range(n):
                z = np.sqrt(maps[person, 0] @ maps[face, 1].T).ravel()
                powers = np.exp(weight @ (z / np.linalg.norm(z)) + network["bias"])
                exact = fusions[network["variant"]].swap_identity([face], [person]).probabilities[0]
                worst = max(worst, np.abs(powers / powers.sum() - exact.numpy()).max())
    assert 0 < worst < 0.02
    assert inspector.probability_error == inspector.data["error"] == pytest.approx(worst, rel=0.05)


def test_regions_are_embedded_in_fifteen_steps(inspector, models, database):
    regions = torch.stack(exciting_regions(models[0], database.frames[ROWS]), 1).flatten(3).clamp(min=0)
    network = inspector.data["networks"][0]
    packed = np.frombuffer(base64.b64decode(network["regions"]), np.uint8)
    steps = np.stack([packed >> 4, packed & 15], 1).reshape(regions.shape)
    peaks = array(network["peaks"], "u1", *regions.shape[:3]) / 100
    np.testing.assert_allclose(peaks, regions.amax(3), atol=0.005)
    np.testing.assert_allclose(
        steps / 15 * regions.amax(3, keepdim=True).numpy(), regions, atol=1 / 30 + 1e-9
    )


def test_eight_faces_and_three_networks_fit_into_a_page(database, monkeypatch):
    silence = torch.rand(8, 64, 8, 8)
    monkeypatch.setattr(fusion_inspector, "exciting_regions", lambda *_: Regions(silence, silence))
    models = [trained(variant, expressions=3, width=1 / 8) for variant in Variant]
    inspector = FusionInspector(models, database, range(8))
    assert len(inspector._repr_mimebundle_()[0]["text/html"].encode()) < 400_000
    monkeypatch.setattr(fusion_inspector, "LIMIT", 200_000)
    with pytest.raises(
        ValueError, match=r"^rows: 8 faces, as 3 models with 64 channels .* carries 200; give fewer"
    ):
        FusionInspector(models, database, range(8))


def test_what_a_notebook_saves_is_the_same_each_time(models, database):
    first, second = (FusionInspector(models[:1], database, ROWS[:2])._repr_mimebundle_()[0] for _ in range(2))
    assert first["text/html"] == second["text/html"]
    assert first["text/plain"] == second["text/plain"]
    assert not re.search(r" at 0x|https?://(?!www.w3.org/2000/svg)|\bfetch\(|@import", first["text/html"])


def test_python_sees_what_changes(inspector):
    seen = []
    inspector.observe(lambda change: seen.append((change.name, change.new)), ["face", "pair"])
    inspector.face = 8
    inspector.set_state({"pair": [2, 3]})  # what the kernel does with a message from the browser
    assert seen == [("face", 8), ("pair", [2, 3])]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("face", 2, "a row is needed, one of 1, 4, 7, 8; got 2"),
        ("face", None, "a row is needed"),
        ("face", True, "a row is needed"),
        ("identity", "P0", "a row is needed, one of 1, 4, 7, 8; got 'P0'"),
        ("variant", "vgg", "a variant is needed, one of efn, eifn-star, eifn; got 'vgg'"),
        ("location", "middle", "a location is needed, one of top left"),
        ("locations", 0, "a number is needed, one of 1, 2, 3, 4; got 0"),
        ("signed_sqrt", 1, "True or False is needed; got 1"),
        ("l2", "yes", "True or False is needed; got 'yes'"),
        ("expression", "sadness", "an expression of patterns is needed, one of anger, fear, happiness"),
        ("pair", (0, 16), r"two channels from 0 to 15, or None, are needed; got \(0, 16\)"),
        ("pair", 3, "two channels"),
    ],
)
def test_a_bad_setting_is_named_and_changes_nothing(inspector, models, database, name, value, message):
    kept = getattr(inspector, name)
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        setattr(inspector, name, value)
    assert getattr(inspector, name) == kept
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        FusionInspector(models, database, ROWS, **{name: value})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "one of each variant is needed; got none"),
        ([trained(), trained()], "one of each variant is needed; got eifn, eifn"),
        ([trained(expressions=2)], "the eifn tells 2 expressions apart, and patterns has 3"),
        ([trained("efn"), trained(width=1 / 64)], r"all need the same width; they have \[8, 16\] channels"),
    ],
)
def test_models_that_do_not_fit_are_refused(database, wrong, message):
    with pytest.raises(ValueError, match=f"^models: {message}"):
        FusionInspector(wrong, database, ROWS)


def test_an_untrained_model_is_refused(database):
    with pytest.raises(ValueError, match=r"^model: this eifn is untrained"):
        FusionInspector([EIFN(subjects=2, expressions=3, width=1 / 32)], database, ROWS)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([0, 9], "patterns has the rows 0 to 8; got 9"),
        ([-1], "patterns has the rows 0 to 8; got -1"),
        ([], "a list of different whole numbers"),
        ([3, 3], "a list of different whole numbers"),
        ([0.5], "a list of different whole numbers"),
        (3, "a list of different whole numbers"),
    ],
)
def test_rows_that_are_not_there_are_refused(models, database, rows, message):
    with pytest.raises(ValueError, match=f"^rows: {message}"):
        FusionInspector(models, database, rows)


# What is shown. The page computes from 16-bit maps and 8-bit weights, hence the tolerances.


def values(page, selector):
    """The full-precision numbers in the rows of a table."""
    rows = "rows => rows.map(r => [...r.querySelectorAll('data')].map(d => Number(d.value)))"
    return np.array(page.eval_on_selector_all(f"{selector} tbody tr", rows))


def channels(page, selector, kind):
    heads = page.eval_on_selector_all(
        f"{selector} th.eifn-{kind}", "heads => heads.map(h => h.firstChild.data)"
    )
    return [int(head[1:]) for head in heads]


def probabilities(page):
    return values(page, ".eifn-answer").T  # (now, as trained)


def readout(page):
    return page.get_by_role("status").inner_text()


def ordered(activity):
    return activity.argsort(descending=True, stable=True)[:8].tolist()


@pytest.mark.browser
def test_every_network_answers_for_every_face(show, inspector, fusions):
    page = show(inspector)
    for variant, title in (("efn", "EFN"), ("eifn-star", "EIFN*"), ("eifn", "EIFN")):
        page.get_by_role("radio", name=re.compile(rf"^{re.escape(title)} ")).check()
        for n, face in enumerate(inspector.data["faces"]):
            page.get_by_role("radio", name=face["name"]).check()
            now, own = probabilities(page)
            exact = fusions[variant].probabilities[n].numpy()
            np.testing.assert_allclose(now, exact, atol=1.05 * inspector.probability_error)
            np.testing.assert_array_equal(now, own)
            best = exact.argmax()
            label = page.get_by_role("radio", name=re.compile(rf"^{re.escape(title)} "))
            answer = f"{EXPRESSIONS[best]} {100 * now[best]:.0f} %"
            assert label.evaluate("input => input.labels[0].innerText").strip() == f"{title} {answer}"
            true = page.locator(".eifn-answer tbody th", has_text="✓").inner_text()
            assert true == f"✓ {face['expression']}"


@pytest.mark.browser
def test_a_swapped_identity_moves_the_probabilities(show, inspector, fusions):
    page = show(inspector)
    for person, name in enumerate(face["name"] for face in inspector.data["faces"]):
        page.get_by_label("Identity map of").select_option(label=name)
        now, own = probabilities(page)
        swapped = fusions["eifn"].swap_identity([0], [person]).probabilities[0]
        np.testing.assert_allclose(now, swapped, atol=1.05 * inspector.probability_error)
        np.testing.assert_allclose(
            own, fusions["eifn"].probabilities[0], atol=1.05 * inspector.probability_error
        )
    assert page.locator(".eifn-note").first.inner_text() == (
        "The expression map of person P0, fear meets the identity map of person P2, happiness."
    )
    assert page.locator(".eifn-donor").inner_text().strip() == "person P2, happiness"
    assert " % → " in readout(page)
    page.get_by_label("Identity map of").select_option(label="this face")
    np.testing.assert_array_equal(*probabilities(page))


@pytest.mark.browser
def test_each_location_shows_its_most_active_channels_and_their_products(show, inspector, fusions):
    page = show(inspector)
    for place, name in enumerate(PLACES):
        page.get_by_role("radio", name=name).check()
        fusion = fusions["eifn"]
        order = [
            ordered(fusion.identity_descriptors[0, place]),
            ordered(fusion.expression_descriptors[0, place]),
        ]
        table = ".eifn-split:has(.eifn-places) .eifn-pairs"
        assert channels(page, table, "identity") == order[0]
        assert channels(page, table, "expression") == order[1]
        expected = fusion.products[0, place][order[0]][:, order[1]]
        np.testing.assert_allclose(values(page, table), expected, rtol=1e-2, atol=1e-4 * expected.max())


@pytest.mark.browser
@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize("norm", [True, False])
def test_the_sum_builds_up_and_goes_through_root_and_length(show, inspector, fusions, models, root, norm):
    page = show(inspector)
    page.get_by_label("signed square root").set_checked(root)
    page.get_by_label("L2 normalization").set_checked(norm)
    fusion, classifier = fusions["eifn"], models[-1].expression_classifier.double()
    order = [ordered(m[0].sum((1, 2))) for m in (fusion.identity_map, fusion.expression_map)]
    table = ".eifn-split:has(canvas) .eifn-pairs"
    for locations in (1, 2, 3, 4):
        page.get_by_role("slider").fill(str(locations))
        fused = fusion.products[0, :locations].sum(0)
        fused = signed_sqrt(fused) if root else fused
        fused = fused / fused.norm() if norm else fused
        expected = fused[order[0]][:, order[1]]
        assert channels(page, table, "identity") == order[0]
        np.testing.assert_allclose(values(page, table), expected, rtol=1e-2, atol=2e-3 * expected.max())
        if norm:  # without it, logits are so large that the rounding of a weight can decide
            expected = classifier(fused.flatten()).softmax(0).detach()
            np.testing.assert_allclose(probabilities(page)[0], expected, atol=0.01)
    classifier.float()
    assert ("never saw" in page.locator(".eifn-note").first.inner_text()) == (not (root and norm))
    drawn = (
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((_, n) => n % 4 == 3)"
    )
    alpha = np.reshape(page.locator("canvas").evaluate(drawn), (CHANNELS, CHANNELS))
    np.testing.assert_allclose(alpha[:8, :8], 255 * values(page, table) / fused.max().item(), atol=2)


@pytest.mark.browser
def test_the_evidence_adds_up_to_the_logit(show, inspector, fusions):
    page = show(inspector)
    fusion = fusions["eifn"]
    for k, name in enumerate(EXPRESSIONS):
        page.get_by_label("Evidence for").select_option(name)
        table = values(page, ".eifn-evidence")  # six pairs, the others, bias, logit
        strongest = fusion.strongest(0, k, 6)
        labels = page.locator(".eifn-evidence tbody label").all_inner_texts()
        pairs = [tuple(map(int, re.findall(r"\d+", label))) for label in labels]
        expected = np.array([fusion.evidence[0, :, i, j].numpy() for i, j in pairs])
        np.testing.assert_allclose(table[:6], expected, atol=0.01)
        # Pairs may change places where they differ by less than a weight's rounding.
        sizes = [abs(evidence) for _, _, evidence in strongest]
        np.testing.assert_allclose(np.abs(table[:6, k]), sizes, atol=0.01)
        assert pairs[0] == strongest[0][:2]
        np.testing.assert_allclose(table[:8].sum(0), table[8], atol=1e-9)
        np.testing.assert_allclose(table[8], fusion.logits[0], atol=0.05)
        listed = page.locator(".eifn-inspector ol li").all_inner_texts()
        i, j, evidence = strongest[0]
        sign = "−" if evidence < 0 else "+"
        pair = f"identity channel {i} with expression channel {j}: {sign}"
        assert listed[0].startswith(pair)
        assert abs(float(listed[0].removeprefix(pair)) - abs(evidence)) < 0.01


@pytest.mark.browser
def test_any_pair_can_be_looked_at_and_shows_what_excites_it(show, inspector, fusions, models, database):
    page = show(inspector)
    page.get_by_label("Identity map of").select_option(label="person P2, fear")
    fusion = fusions["eifn"].swap_identity([0], [2])
    i = ordered(fusion.identity_map[0].sum((1, 2)))[1]
    e = ordered(fusion.expression_map[0].sum((1, 2)))[2]
    page.locator("label.eifn-identity select").last.select_option(str(i))
    page.locator("label.eifn-expression select").select_option(str(e))
    assert page.locator(".eifn-evidence input:checked").get_attribute("aria-label") == (
        f"identity channel {i} with expression channel {e}"
    )
    row = values(page, ".eifn-evidence")[6]  # below the six strongest
    np.testing.assert_allclose(row, fusion.evidence[0, :, i, e], atol=0.01)
    assert f" → i{i} · e{e} (" in readout(page)

    regions = exciting_regions(models[-1], database.frames[[7, 1]])
    pictures = page.locator("figure svg")
    for n, (kind, channel, name) in enumerate(
        [("identity", i, "person P2, fear"), ("expression", e, "person P0, fear")]
    ):
        share = getattr(regions, kind)[n, channel].clamp(min=0).flatten()
        opacity = pictures.nth(n).evaluate(
            "s => [...s.querySelectorAll('rect')].map(r => Number(r.getAttribute('fill-opacity')))"
        )
        np.testing.assert_allclose(np.array(opacity) / 0.75, share / share.max(), atol=1 / 30 + 1e-3)
        text = pictures.nth(n).get_attribute("aria-label")
        assert text.startswith(f"{kind} channel {channel} on {name}: covering the ")
        assert text.endswith(f" takes away {100 * share.max():.0f} % of it.")


@pytest.mark.browser
def test_a_region_is_named_where_it_is(show, models, database, monkeypatch):
    where = {
        0: "upper left",
        12: "upper middle",
        28: "middle",
        31: "right",
        56: "lower left",
        63: "lower right",
    }
    regions = torch.zeros(1, CHANNELS, 64)
    for channel, region in enumerate(where):
        regions[0, channel, region] = 0.5
    regions = regions.view(1, CHANNELS, 8, 8)
    monkeypatch.setattr(fusion_inspector, "exciting_regions", lambda *_: Regions(regions, regions))
    page = show(FusionInspector(models, database, ROWS[:1]))
    for channel, name in enumerate(where.values()):
        page.locator("label.eifn-expression select").select_option(str(channel))
        caption = page.locator("figcaption").last.inner_text()
        assert caption.endswith(f"covering the {name} takes away 50 % of it.")
    page.locator("label.eifn-expression select").select_option(str(len(where)))
    assert "leaves it as it is" in page.locator("figcaption").last.inner_text()


@pytest.mark.browser
def test_every_control_tells_what_it_changes(show, inspector):
    page = show(inspector)
    assert readout(page) == "Change something: this line tells what it does."
    page.get_by_role("radio", name="bottom right").check()
    assert re.match(r"Location: bottom right\. most active identity channel i\d+ \(", readout(page))
    page.get_by_label("L2 normalization").uncheck()
    assert re.match(r"L2 normalization off\. .*largest entry [\d.]+ → [\d.]+", readout(page))
    page.get_by_label("L2 normalization").check()
    assert readout(page).startswith("L2 normalization on. ")
    page.get_by_label("Evidence for").select_option("anger")
    assert re.match(
        r"Evidence for anger\. pair i\d+ · e\d+ \(.* for fear\) → i\d+ · e\d+ \(.* for anger\)\.$",
        readout(page),
    )
    page.get_by_role("radio", name="person P1, fear").check()
    assert readout(page).startswith("Face: person P1, fear. ")
    page.get_by_role("slider").fill("4")
    assert readout(page) == "Locations added: 4. No number changed."
    page.get_by_role("button", name="Reset").click()
    assert readout(page).startswith("Reset. ")
    assert page.get_by_role("radio", name="person P0, fear").is_checked()
    assert page.get_by_label("Evidence for").input_value() == "fear"


@pytest.mark.browser
def test_the_keyboard_is_enough(show, inspector):
    page = show(inspector)

    def tab_to(condition):
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate(f"(e => {condition})(document.activeElement)"):
                return
        raise AssertionError(condition)

    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")  # the second face
    assert readout(page).startswith("Face: person P1, fear.")
    tab_to("e.value === 'eifn'")
    page.keyboard.press("ArrowLeft")
    assert readout(page).startswith("Network: EIFN*.")
    tab_to("e.tagName === 'SELECT'")
    page.keyboard.press("ArrowDown")
    assert readout(page).startswith("Identity map of person P0, fear.")
    tab_to("e.value === 'top left'")
    page.keyboard.press("ArrowDown")
    assert readout(page).startswith("Location: top right.")
    tab_to("e.type === 'range'")
    page.keyboard.press("Home")
    assert readout(page).startswith("Locations added: 1.")
    tab_to("e.type === 'checkbox'")
    page.keyboard.press("Space")
    assert readout(page).startswith("Signed square root off.")
    tab_to("e.name === 'Pair'")
    for n in (1, 2):  # the table is drawn anew each time, and the focus stays
        page.keyboard.press("ArrowDown")
        assert page.evaluate("document.activeElement.name") == "Pair"
        assert page.locator(".eifn-evidence input").nth(n).is_checked()
    tab_to("e.tagName === 'BUTTON'")
    page.keyboard.press("Enter")
    assert readout(page).startswith("Reset.")


@pytest.mark.browser
def test_copies_on_one_page_do_not_meet(show, inspector):
    page = show(inspector, inspector)
    page.locator(".eifn-widget").nth(1).get_by_role("radio", name="person P1, fear").check()
    checked = page.eval_on_selector_all(".eifn-portraits input:checked", "inputs => inputs.map(i => i.value)")
    assert checked == ["1", "4"]


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 1300])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_themes_widths_and_the_rules_of_accessibility(show, violations, inspector, theme, width):
    inspector.identity = 8
    inspector.l2 = inspector.signed_sqrt = False  # the widest numbers
    page = show(inspector, theme=theme, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    inside = """widget => {
        const edge = widget.getBoundingClientRect().left + widget.clientWidth;
        return [...widget.querySelectorAll("*")].every((e) => e.getBoundingClientRect().right <= edge);
    }"""
    assert page.locator(".eifn-widget").evaluate(inside)
    assert violations(page) == []


@pytest.mark.browser
def test_bars_move_only_where_motion_is_welcome(show, inspector):
    page = show(inspector)
    duration = "getComputedStyle(document.querySelector('.eifn-now')).transitionDuration"
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(duration) == "0.3s"
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate(duration) == "0s"


# With a kernel.


@pytest.fixture
def lab(tmp_path):
    """A running JupyterLab on the folder `tmp_path`, with settings of its own; the address of it."""
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--port={port}", "--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=0"]
    command += ["--IdentityProvider.token=", f"--ServerApp.root_dir={tmp_path}", "--LabApp.news_url="]
    places = ["JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR"]
    places += ["JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR"]
    environment = os.environ | {name: str(tmp_path / "settings" / name) for name in places}
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/api", timeout=10).close()
                break
            except OSError:
                assert server.poll() is None, (tmp_path / "lab.log").read_text()
                time.sleep(1)
        yield address
    finally:
        server.terminate()
        server.wait()


@pytest.mark.browser
@pytest.mark.slow
def test_page_and_kernel_stay_in_step(browser, lab, tmp_path, make_database):
    make_database("tiny", subjects=2)
    save_model(trained(expressions=2, width=1 / 64), tmp_path / "model.safetensors")
    cells = [
        "from pathlib import Path\n"
        "from eifn.database import read_database\n"
        "from eifn.training import load_model\n"
        "from eifn.widgets.fusion_inspector import FusionInspector\n"
        "models = [load_model(Path('model.safetensors'))]\n"
        "inspector = FusionInspector(models, read_database('data/tiny'), [0, 2, 4])\n"
        "seen = []\n"
        "inspector.observe(lambda change: seen.append(change.new), 'face')\n"
        "inspector",
        "print('Python has', inspector.face, 'and saw', seen)",
        "inspector.face = 2",
    ]
    empty = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    notebook = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "cells": [empty | {"id": f"cell{n}", "source": source} for n, source in enumerate(cells)],
    }
    (tmp_path / "notebook.ipynb").write_text(json.dumps(notebook))
    page = browser.new_page()
    page.set_default_timeout(120_000)
    page.goto(f"{lab}/lab/tree/notebook.ipynb")

    def run(cell):
        page.locator(".jp-Notebook .jp-CodeCell").nth(cell).locator(".cm-content").click()
        page.keyboard.press("Shift+Enter")

    page.get_by_text(
        "Python 3 (ipykernel) | Idle"
    ).wait_for()  # what is run before the kernel is there, is lost
    run(0)
    page.locator(".eifn-widget").wait_for()
    page.get_by_role("radio", name="person S01, happiness").check()
    run(1)
    page.get_by_text("Python has 4 and saw [4]", exact=True).wait_for()
    run(2)
    page.get_by_role("status").filter(has_text="Set from Python. ").wait_for()
    assert page.get_by_role("radio", name="person S00, sadness").is_checked()
    page.close()
