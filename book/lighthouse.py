"""How good does Lighthouse find the pages of the book?

    python book/lighthouse.py

Needs the built book, Chromium, and Lighthouse: on the PATH, or by
`npm install --prefix _build/node lighthouse`. Pages are served from this
machine and looked at one after the other, as on a desktop computer; how fast
they seem depends on what else the machine does. Writes
`results/lighthouse.csv`, which the status page shows.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, StaticFileHandler

ROOT = Path(__file__).parents[1]
BUILT = ROOT / "_build" / "html"
CATEGORIES = ("performance", "accessibility", "best-practices")


def installed() -> str | None:
    """Where Lighthouse is, if it is anywhere."""
    return shutil.which("lighthouse") or shutil.which(
        "lighthouse", path=ROOT / "_build" / "node" / "node_modules" / ".bin"
    )


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A server of this folder on this machine; yields its address.

    It compresses what it sends, as hosts of pages do.
    """
    files = [(r"/(.*)", StaticFileHandler, {"path": str(folder)})]
    sockets = bind_sockets(0, "127.0.0.1")
    loop = asyncio.new_event_loop()

    async def listen() -> None:
        HTTPServer(Application(files, compress_response=True)).add_sockets(
            sockets
        )

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(listen(), loop).result()
    try:
        yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def scores(address: str) -> dict[str, int]:
    """What Lighthouse gives a page in each of the `CATEGORIES`, 0 to 100.

    Raises `RuntimeError` with what it says where it does not come to an end.
    """
    chromium = next(
        filter(
            None,
            map(
                shutil.which, ("chromium", "chromium-browser", "google-chrome")
            ),
        ),
        "",
    )
    command = [
        str(installed()),
        address,
        "--preset=desktop",
        "--output=json",
        "--quiet",
    ]
    command += [f"--only-categories={','.join(CATEGORIES)}"]
    flags = "--headless --no-sandbox --disable-gpu"
    command += [f"--chrome-flags={flags} --disable-background-networking"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"CHROME_PATH": chromium},
    )
    if done.returncode:
        raise RuntimeError(
            f"lighthouse {address}: {done.stderr or done.stdout}"
        )
    found = json.loads(done.stdout)["categories"]
    return {name: round(100 * found[name]["score"]) for name in CATEGORIES}


def main() -> None:
    """Print the table and write it as CSV."""
    rows = []
    with served(BUILT) as address:
        for page in sorted((BUILT / "book").glob("*.html")):
            rows.append(
                {"page": page.stem} | scores(f"{address}/book/{page.name}")
            )
    table = pd.DataFrame(rows)
    table.to_csv(ROOT / "results" / "lighthouse.csv", index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
