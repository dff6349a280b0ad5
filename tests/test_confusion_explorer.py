"""The confusion explorer: what it embeds, against scikit-learn and the faces; what it shows in a browser."""

import base64
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix

from eifn.database import read_database
from eifn.paper import CK_PLUS
from eifn.results import tabulate
from eifn.widgets.confusion_explorer import ConfusionExplorer

browser_test = pytest.mark.browser
EXPRESSIONS = ("anger", "happiness", "sadness")


@pytest.fixture
def faces(make_database):
    return read_database(make_database("drawn", expressions=EXPRESSIONS, subjects=20))


@pytest.fixture
def predict(faces):
    """Predictions for all frames: right with some probability, and wrong with the rest."""

    def predict(seed=0, expressions=EXPRESSIONS):
        generator = np.random.default_rng(seed)
        scores = generator.normal(size=(len(faces), len(expressions)))
        scores[np.arange(len(faces)), faces.labels] += 1.5
        powers = np.exp(scores)
        return tabulate(faces.table, powers / powers.sum(1, keepdims=True), expressions=expressions, fold=0)

    return predict


def by_sequence(predictions):
    """Truth, answer, mean probabilities and last frame of each sequence, by a loop."""
    names = [f"p_{name}" for name in EXPRESSIONS]
    for (subject, sequence), group in predictions.groupby(["subject", "sequence"]):
        mean = group[names].astype(float).mean().to_numpy()
        last = group[group["position"] == 0].index[0]
        yield subject, sequence, group["truth"].iloc[0], EXPRESSIONS[mean.argmax()], mean, last


def test_the_counts_are_those_of_scikit_learn(predict):
    predictions = predict()
    truth, answer = zip(*[(one[2], one[3]) for one in by_sequence(predictions)], strict=True)
    (matrix,) = ConfusionExplorer({"ours": predictions}).data["matrices"][2:]
    np.testing.assert_array_equal(matrix["counts"], confusion_matrix(truth, answer, labels=EXPRESSIONS))
    (frames,) = ConfusionExplorer({"ours": predictions}, level="frame").data["matrices"][2:]
    answer = predictions[[f"p_{name}" for name in EXPRESSIONS]].to_numpy().argmax(1)
    wanted = confusion_matrix(predictions["truth"], np.array(EXPRESSIONS)[answer], labels=EXPRESSIONS)
    np.testing.assert_array_equal(frames["counts"], wanted)
    assert frames["unit"] == "frames"


def test_tables_of_folds_laid_together(predict, faces):
    predictions = predict()
    half = len(predictions) // 2
    parts = [predictions[:half], predictions[half:].reset_index(drop=True)]
    together = ConfusionExplorer({"ours": pd.concat(parts)}, [faces]).data
    assert together == ConfusionExplorer({"ours": predictions}, [faces]).data


def test_each_cell_holds_the_surest_answers_and_their_faces(predict, faces):
    predictions = predict()
    data = ConfusionExplorer({"ours": predictions}, [faces]).data
    pixels = np.frombuffer(base64.b64decode(data["pixels"]), np.uint8).reshape(-1, 32, 32)
    cells = {}
    for subject, sequence, truth, answer, mean, last in by_sequence(predictions):
        cells.setdefault(f"{truth} {answer}", []).append((-mean.max(), subject, sequence, mean, last))
    assert set(data["matrices"][2]["cells"]) == set(cells)
    for cell, wanted in cells.items():
        shown = data["matrices"][2]["cells"][cell]
        assert len(shown) == min(len(wanted), 4)
        for (index, who, *probabilities), one in zip(shown, sorted(wanted)[:4], strict=True):
            _, subject, sequence, mean, last = one
            assert who == f"subject {subject}, sequence {sequence}"
            np.testing.assert_allclose(probabilities, mean, atol=0.00051)
            grey = faces.frames[last].astype(float) @ [0.299, 0.587, 0.114]
            small = (grey[::2, ::2] + grey[1::2, ::2] + grey[::2, 1::2] + grey[1::2, 1::2]) / 4
            np.testing.assert_allclose(pixels[index], small, atol=0.51)


def test_a_face_of_several_runs_is_embedded_once(predict, faces):
    one = ConfusionExplorer({"a": predict()}, [faces]).data["pixels"]
    two = ConfusionExplorer({"a": predict(), "b": predict()}, [faces]).data
    assert two["pixels"] == one
    assert two["matrices"][2]["cells"] == two["matrices"][3]["cells"]


def test_fewer_faces_where_the_page_could_not_carry_them(predict, faces, monkeypatch):
    monkeypatch.setattr("eifn.widgets.confusion_explorer.LIMIT", 30_000)
    explorer = ConfusionExplorer({"a": predict(0), "b": predict(1)}, [faces])
    shown = [len(cell) for matrix in explorer.data["matrices"] for cell in matrix["cells"].values()]
    assert 1 <= max(shown) < 4
    assert len(json.dumps(explorer.data)) < 30_000
    monkeypatch.setattr("eifn.widgets.confusion_explorer.LIMIT", 1000)
    with pytest.raises(ValueError, match=r"^runs: the faces of 1 runs are more than a page can carry"):
        ConfusionExplorer({"a": predict()}, [faces])


def test_without_faces_there_are_only_numbers(predict):
    data = ConfusionExplorer({"ours": predict()}).data
    assert data["pixels"] == ""
    assert all(matrix["cells"] == {} for matrix in data["matrices"])


def test_faces_that_may_not_be_passed_on_are_refused(predict, faces):
    licensed = replace(faces, name="ck-plus", licence="research only")
    with pytest.raises(ValueError, match=r"^faces: those of ck-plus may not be passed on \(research only\)"):
        ConfusionExplorer({"ours": predict()}, [licensed])


def test_faces_of_another_database_are_refused(predict, faces, make_database):
    other = read_database(make_database("other", expressions=EXPRESSIONS, subjects=3))
    with pytest.raises(ValueError, match=r"^faces: no run was made on the frames of other"):
        ConfusionExplorer({"ours": predict()}, [other])
    table = faces.table.assign(expression=faces.table["expression"].to_numpy()[::-1])
    with pytest.raises(
        ValueError, match=r"^faces: sequence 0 of subject S00 is anger in a run and something else in drawn"
    ):
        ConfusionExplorer({"ours": predict()}, [replace(faces, table=table)])


def test_a_run_does_not_take_the_title_of_a_table(predict):
    with pytest.raises(ValueError, match=r"^runs: 'Table 3: EIFN on CK\+' is a table of the paper"):
        ConfusionExplorer({"Table 3: EIFN on CK+": predict()})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("left", "Table 5", "one of 'Table 3: EIFN on CK\\+', .* is needed; got 'Table 5'"),
        ("right", None, "one of .* is needed; got None"),
        ("measure", "share", "one of 'percent', 'count' is needed"),
        ("difference", 1, "one of False, True is needed"),
        ("cell", "anger", r"a pair \(truth, answer\) of anger, "),
        ("cell", ("anger", "envy"), r"a pair \(truth, answer\) of anger, "),
    ],
)
def test_a_bad_value_is_named_and_changes_nothing(predict, name, value, message):
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        ConfusionExplorer({"ours": predict()}, **{name: value})
    explorer = ConfusionExplorer({"ours": predict()})
    before = getattr(explorer, name)
    with pytest.raises(ValueError, match=f"^{name}: {message}"):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before


def test_it_starts_with_the_most_frequent_mistake(predict):
    predictions = predict()
    explorer = ConfusionExplorer({"ours": predictions})
    pairs = pd.Series([(one[2], one[3]) for one in by_sequence(predictions) if one[2] != one[3]])
    assert (explorer.left, explorer.right) == ("Table 3: EIFN on CK+", "ours")
    assert pairs.value_counts()[tuple(explorer.cell)] == pairs.value_counts().max()


def test_a_notebook_saves_the_same_each_time(predict, faces):
    first, second = (ConfusionExplorer({"ours": predict()}, [faces])._repr_mimebundle_()[0] for _ in range(2))
    assert first["text/html"] == second["text/html"]
    assert first["text/plain"] == second["text/plain"]


def numbers(page, panel=0):
    table = page.locator("table").nth(panel)
    rows = "rows => rows.slice(1).map(r => [...r.querySelectorAll('data')].map(d => Number(d.value)))"
    return np.array(table.locator("tr").evaluate_all(rows))


@browser_test
def test_percent_counts_and_the_paper_as_printed(show, predict):
    explorer = ConfusionExplorer({"ours": predict()})
    page = show(explorer)
    np.testing.assert_array_equal(numbers(page), CK_PLUS.confusion)
    counts = np.array(explorer.data["matrices"][2]["counts"])
    percent = 100 * counts / counts.sum(1, keepdims=True)
    np.testing.assert_allclose(numbers(page, 1), percent)
    page.get_by_label("count").check()
    np.testing.assert_array_equal(numbers(page), CK_PLUS.counts)
    np.testing.assert_array_equal(numbers(page, 1), counts)
    told = page.get_by_role("status").inner_text().replace("\xa0", " ")
    assert told.startswith(
        "Shown as count. Table 3: EIFN on CK+: 314 of 327 sequences right, 96.02 %; ours: "
    )


@browser_test
def test_the_difference_is_over_the_expressions_of_both(show, predict):
    page = show(ConfusionExplorer({"ours": predict(0), "theirs": predict(1)}, left="theirs"))
    both = numbers(page, 0) - numbers(page, 1)
    page.get_by_label("difference").check()
    np.testing.assert_allclose(numbers(page), both)
    page.get_by_role("combobox", name="Right").select_option("Table 3: EIFN on CK+")
    caption = page.locator("figcaption").inner_text()
    assert "Left out, since one of them lacks it: contempt, disgust, fear, surprise." in caption
    at = [CK_PLUS.expressions.index(name) for name in EXPRESSIONS]
    page.get_by_label("difference").uncheck()
    left = numbers(page)
    page.get_by_label("difference").check()
    np.testing.assert_allclose(numbers(page), left - np.array(CK_PLUS.confusion)[np.ix_(at, at)])


@browser_test
def test_a_cell_shows_its_faces_and_probabilities(show, predict, faces):
    explorer = ConfusionExplorer({"ours": predict()}, [faces], left="Table 4: EIFN on Oulu-CASIA")
    page = show(explorer)
    page.get_by_role("gridcell", name="happiness answered as happiness").nth(1).click()
    told = page.get_by_role("status").inner_text().replace("\xa0", " ")
    ours = explorer.data["matrices"][2]
    count, total = ours["counts"][1][1], sum(ours["counts"][1])
    assert told == (
        "happiness, told right. Table 4: EIFN on Oulu-CASIA: 223 of 240 frames, 92.92 %; "
        f"ours: {count} of {total} sequences, {round(100 * count / total, 2):g} %."
    )
    shown = page.locator("li")
    entries = ours["cells"]["happiness happiness"]
    assert shown.count() == len(entries)
    pixels = np.frombuffer(base64.b64decode(explorer.data["pixels"]), np.uint8).reshape(-1, 32 * 32)
    for n, (index, who, *probabilities) in enumerate(entries):
        assert who in shown.nth(n).inner_text()
        bars = shown.nth(n).locator("data").evaluate_all("all => all.map(d => Number(d.value))")
        assert bars == sorted(probabilities, reverse=True)
        drawn = (
            shown.nth(n)
            .locator("canvas")
            .evaluate(
                "c => [...c.getContext('2d').getImageData(0, 0, 32, 32).data].filter((_, i) => i % 4 === 0)"
            )
        )
        np.testing.assert_array_equal(drawn, pixels[index])
    assert "may not be passed on, so none are shown" in page.locator(".eifn-matrices").nth(1).inner_text()
    assert "CC0 1.0" in page.locator(".eifn-matrices").nth(1).inner_text()


@browser_test
def test_the_keyboard_is_enough(show, predict):
    page = show(ConfusionExplorer({"ours": predict()}, cell=("anger", "anger")))
    while page.evaluate("document.activeElement.role") != "gridcell":
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.locator(".eifn-title").inner_text() == "anger answered as contempt"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")  # there is nothing further left
    assert page.get_by_role("status").inner_text().startswith("contempt answered as anger. Table 3")
    assert page.evaluate("document.activeElement.ariaLabel").startswith("contempt answered as anger: 0")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('table').ariaLabel") == "ours"


@browser_test
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_narrow_page_in_both_themes(show, violations, predict, faces, theme):
    explorer = ConfusionExplorer({"ours": predict()}, [faces])
    page = show(explorer, theme=theme, width=360)
    for _ in range(2):
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        fits = "(w => w.scrollWidth <= w.clientWidth)(document.querySelector('.eifn-widget'))"
        assert page.evaluate(fits)
        assert violations(page) == []
        page.get_by_label("difference").check()
