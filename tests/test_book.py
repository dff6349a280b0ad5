"""Every page that Jupyter Book built: no kernel, no network, no barrier, no broken link."""

import functools
import http.server
import json
import threading
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

BOOK = Path(__file__).parents[1] / "book"
BUILT = BOOK.parent / "_build" / "html"
PAGES = sorted((BUILT / "book").glob("*.html"))

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not PAGES, reason="the book is not built; `make book` builds it"),
]

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]

# The tables of a widget that run over the edge of its card, with how many pixels.
BEYOND_ITS_CARD = """tables => tables.flatMap(table => {
    const card = table.closest(".eifn-widget");
    const edge = card.getBoundingClientRect().right - parseFloat(getComputedStyle(card).paddingRight);
    const beyond = table.getBoundingClientRect().right - edge;
    return beyond > 1 ? [`${card.ariaLabel}: ${table.className} ${beyond}`] : [];
})"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *what):
        pass


@pytest.fixture(scope="module")
def server():
    handler = functools.partial(Quiet, directory=BUILT)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def visit(browser):
    """Opens a page in a theme and at a width; fails on an error in it, or a request beyond the book."""
    contexts, problems = [], []

    def visit(address, *, theme="light", width=1300, home=None):
        context = browser.new_context(viewport={"width": width, "height": 900})
        context.add_init_script(
            f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')"
        )
        page = context.new_page()
        contexts.append(context)
        allowed = ("data:", home or address)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
        page.on("requestfailed", lambda request: problems.append(f"failed: {request.url}"))
        page.on("response", lambda r: problems.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
        page.on("request", lambda r: None if r.url.startswith(allowed) else problems.append(r.url))
        page.goto(address)
        hosts = page.locator(".eifn-host").count()
        page.wait_for_function(
            f"document.querySelectorAll('.eifn-widget').length === {hosts}", timeout=20_000
        )
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        return page

    yield visit
    for context in contexts:
        context.close()
    assert problems == []


@pytest.mark.parametrize("width", [1300, 360])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("file", PAGES, ids=lambda path: path.stem)
def test_a_page_hinders_nobody_and_asks_for_nothing(visit, server, file, theme, width):
    """axe finds no violation of WCAG 2.2 A and AA, with all that is folded unfolded."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    page = visit(f"{server}/book/{file.name}", theme=theme, width=width, home=server)
    page.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.eval_on_selector_all(".eifn-widget table", BEYOND_ITS_CARD) == []
    found = axe.run(page, options={"runOnly": RULES, "preload": False}).response["violations"]
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []


@pytest.mark.parametrize("file", PAGES, ids=lambda path: path.stem)
def test_a_page_opens_from_a_folder(visit, file):
    """As from a USB stick: its pictures are there, and its links lead somewhere."""
    page = visit(file.as_uri(), home=BUILT.as_uri())
    assert file.stat().st_size < 1_500_000
    page.eval_on_selector_all("img", "all => all.forEach(one => { one.loading = 'eager'; })")
    missing = "all => all.filter(one => one.complete && !one.naturalWidth).map(one => one.src)"
    assert page.eval_on_selector_all("img", missing) == []
    assert page.eval_on_selector_all("article img:not([alt])", "all => all.map(one => one.src)") == []
    links = page.eval_on_selector_all("a[href]", "all => all.map(one => one.href)")
    targets = {urlsplit(link) for link in links if link.startswith("file:")}
    assert targets
    for target in targets:
        there = Path(unquote(target.path))
        assert there.is_file(), target.geturl()
        if target.fragment and there.suffix == ".html":
            text = there.read_text("utf-8")
            assert f'id="{unquote(target.fragment)}"' in text or f'name="{target.fragment}"' in text


@pytest.mark.parametrize(
    "file", [page for page in PAGES if page.name[:2].isdigit()], ids=lambda path: path.stem
)
def test_what_a_cell_printed_keeps_its_lines(visit, file):
    """Of outputs that say the same as the saved notebook does; what another processor rounds is left out."""
    page = visit(file.as_uri(), home=BUILT.as_uri())
    shown = page.eval_on_selector_all(".cell_output pre", "all => all.map(one => one.textContent)")
    notebook = json.loads((BOOK / f"{file.stem}.ipynb").read_text("utf-8"))
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    printed = ["".join(output["text"]).strip() for output in outputs if output.get("name") == "stdout"]
    there = {"".join(text.split()): text.strip() for text in shown}
    compared = [text for text in printed if "".join(text.split()) in there]
    assert len(compared) > len(printed) / 2
    for text in compared:
        assert there["".join(text.split())] == text


@pytest.mark.parametrize(
    ("chapter", "name", "role", "control", "key"),
    [
        (1, "Face dials", "button", "fear", "Enter"),
        (4, "Bilinear stepper", "button", "Next", "Enter"),
        (4, "Fusion inspector", "checkbox", "L2 normalization", "Space"),
        (5, "Center loss playground", "button", "Step", "Enter"),
        (6, "Gradient router", "checkbox", "fusion → identity extractor", "Space"),
        (9, "Confusion explorer", "checkbox", "difference, left less right", "Space"),
    ],
)
def test_each_read_out_answers(visit, server, chapter, name, role, control, key):
    """A control of each interactive figure, by the keyboard, in the page of its chapter."""
    file = next((page for page in PAGES if page.name.startswith(f"{chapter:02d}_")), None)
    assert file, f"chapter {chapter} is not built"
    page = visit(f"{server}/book/{file.name}", home=server)
    figure = page.locator(f".eifn-widget[aria-label='{name}']").first
    before = figure.get_by_role("status").inner_text()
    figure.get_by_role(role, name=control, exact=True).press(key)
    page.wait_for_function(
        "([name, before]) => document.querySelector(`.eifn-widget[aria-label='${name}'] [role=status]`)"
        ".innerText !== before",
        arg=[name, before],
        timeout=5_000,
    )
