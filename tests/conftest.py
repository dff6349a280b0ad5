import shutil

import numpy as np
import pandas as pd
import pytest

from eifn.crossval import Run
from eifn.database import write_database
from eifn.network import Variant
from eifn.training import Preset


@pytest.fixture
def tiny():
    """A preset whose training takes seconds for ten folds."""
    return Preset(
        width=1 / 64,
        weights="none",
        views=1,
        stage_one_epochs=1,
        stage_two_epochs=2,
        batch_size=100,
        clip=None,
        precision="32-true",
    )


@pytest.fixture
def make_database(tmp_path):
    """Writes a small database in which person and expression are patterns in noise; returns its folder."""

    def make(name="tiny", *, subjects=12, expressions=("happiness", "sadness"), frames=2, seed=0):
        generator = np.random.default_rng(seed)
        patterns = generator.integers(0, 100, (subjects + len(expressions), 8, 8, 3))
        patterns = patterns.repeat(8, axis=1).repeat(8, axis=2)  # (patterns, 64, 64, 3)
        images, rows = [], []
        for subject in range(subjects):
            for number, expression in enumerate(expressions):
                for position in reversed(range(frames)):
                    noise = generator.integers(0, 50, (64, 64, 3))
                    images.append(patterns[subject] + patterns[subjects + number] + noise)
                    rows.append((f"S{subject:02d}", f"{number}", position, expression, ""))
        return write_database(
            tmp_path / "data" / name,
            name=name,
            frames=np.stack(images).astype(np.uint8),
            table=pd.DataFrame(rows, columns=["subject", "sequence", "position", "expression", "source"]),
            expressions=expressions,
            licence="CC0 1.0",
            citation="noise",
            made_by="a test",
        )

    return make


@pytest.fixture(scope="module")
def browser():
    """A Chromium that is already installed; without one, the test is skipped."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no Chromium on the PATH")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture
def show(browser, tmp_path):
    """Opens widgets in one page, which must end without an error or a request to the network.

    The page is a file, as in the rendered book: no kernel, no network.
    """
    context = browser.new_context(viewport={"width": 1300, "height": 900})
    page, problems = context.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else problems.append(r.url))

    def show(*widgets, theme="light", width=1300):
        body = "\n".join(widget._repr_mimebundle_()[0]["text/html"] for widget in widgets)
        file = tmp_path / "page.html"
        file.write_text(
            f'<!doctype html><html lang="en" data-theme="{theme}"><meta charset="utf-8">{body}</html>',
            encoding="utf-8",
        )
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(file.as_uri())
        page.wait_for_function(
            f"document.querySelectorAll('.eifn-widget').length === {len(widgets)}", timeout=10_000
        )
        return page

    yield show
    context.close()
    assert problems == []


@pytest.fixture
def violations():
    """Looks for what hinders readers in a page: the rules of axe that it breaks, and where."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()

    def violations(page):
        found = axe.run(page, ".eifn-widget").response["violations"]
        return [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found]

    return violations


@pytest.fixture
def run(make_database, tiny, tmp_path):
    return Run(
        database=make_database(),
        stage_one=make_database("other", subjects=3, seed=1),
        variant=Variant.EIFN,
        preset="tiny",
        recipe=tiny,
        seed=0,
        rule="interleaved",
        out=tmp_path / "runs",
        accelerator="cpu",
        command="eifn crossval --preset tiny",
    )
