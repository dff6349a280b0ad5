"""What Lighthouse finds in the built pages. How fast they are is measured by `make lighthouse`, not here."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "_build" / "html" / "book").glob("*.html"))

spec = importlib.util.spec_from_file_location("lighthouse", ROOT / "book" / "lighthouse.py")
lighthouse = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lighthouse)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not PAGES, reason="the book is not built; `make book` builds it"),
    pytest.mark.skipif(
        lighthouse.installed() is None,
        reason="Lighthouse is not installed; `npm install --prefix _build/node lighthouse` does it",
    ),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_is_accessible_and_in_good_practice(page):
    with lighthouse.served(lighthouse.BUILT) as address:
        found = lighthouse.scores(f"{address}/book/{page.name}")
    assert found["accessibility"] >= 95
    assert found["best-practices"] >= 95
