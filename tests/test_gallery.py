"""The six figures in the page that Jupyter Book builds, served from here: no kernel, no request elsewhere."""

import functools
import http.server
import threading
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "_build" / "html" / "book" / "gallery.html"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not PAGE.exists(), reason="the book is not built; `make book` builds it"),
]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *what):
        pass


@pytest.fixture(scope="module")
def server():
    handler = functools.partial(Quiet, directory=PAGE.parents[1])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(params=[("light", 1300), ("dark", 1300), ("light", 360), ("dark", 360)], ids=str)
def page(request, browser, server):
    theme, width = request.param
    context = browser.new_context(viewport={"width": width, "height": 900})
    context.add_init_script(
        f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')"
    )
    page, problems = context.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("request", lambda r: None if r.url.startswith((server, "data:")) else problems.append(r.url))
    page.goto(f"{server}/book/gallery.html")
    page.wait_for_function("document.querySelectorAll('.eifn-widget').length === 6", timeout=20_000)
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    page.wait_for_load_state("networkidle")
    assert problems == []
    yield page
    context.close()


def test_all_six_are_there_and_hinder_nobody(page, violations):
    names = page.eval_on_selector_all(".eifn-widget", "widgets => widgets.map(w => w.ariaLabel)")
    assert names == [
        "Fusion inspector",
        "Face dials",
        "Bilinear stepper",
        "Center loss playground",
        "Gradient router",
        "Confusion explorer",
    ]
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(page) == []


def test_each_read_out_answers(page):
    """A control of each figure, by the keyboard, in the page among all others."""
    for name, role, control, key in [
        ("Fusion inspector", "checkbox", "L2 normalization", "Space"),
        ("Face dials", "button", "fear", "Enter"),
        ("Bilinear stepper", "button", "Next", "Enter"),
        ("Center loss playground", "button", "Step", "Enter"),
        ("Gradient router", "checkbox", "fusion → identity extractor", "Space"),
        ("Confusion explorer", "checkbox", "difference, left less right", "Space"),
    ]:
        figure = page.locator(f".eifn-widget[aria-label='{name}']")
        before = figure.get_by_role("status").inner_text()
        figure.get_by_role(role, name=control, exact=True).press(key)
        page.wait_for_function(
            "([name, before]) => document.querySelector(`.eifn-widget[aria-label='${name}'] [role=status]`)"
            ".innerText !== before",
            arg=[name, before],
            timeout=5_000,
        )
