"""What the pages of the book need beside Jupyter Book: see `setup` at the end."""

from __future__ import annotations

import copy
import json
import os
import platform
import re
from datetime import UTC, datetime
from enum import EnumType
from importlib import metadata
from pathlib import Path
from typing import Any

from docutils import nodes
from myst_nb.core import render
from myst_nb.sphinx_ import NbMetadataCollector
from nbformat import NotebookNode
from PIL import Image
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import inspect
from sphinx.util.docutils import SphinxDirective
from traitlets import HasTraits

WORDS_A_MINUTE = 120
"""Of technical prose with formulas; reading its code and outputs is in it."""

CHAPTER = re.compile(r"\d\d_")
"""How the file of a chapter is named; the appendix has notebooks, too."""

WAITED_FOR = re.compile(r"<script (?=[^>]*\bsrc=)(?![^>]*(\bdefer\b|documentation_options))")
"""The start of the tag of a script for which a browser stops."""

SHOWN = (
    "torch",
    "torchvision",
    "lightning-fabric",
    "numpy",
    "jupyter-book",
    "anywidget",
)
"""Whose versions the status page gives."""


def without_launch_buttons(app: Sphinx, config: Config) -> None:
    """Where `_config.yml` names no repository there is nothing to launch: no button, no broken one."""
    options = config.html_theme_options
    if not options.get("repository_url"):
        for name in ("launch_buttons", "repository_url", "use_repository_button"):
            options.pop(name, None)


def without_widget_state(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Leave out the state that Jupyter keeps of widgets: a page shows them by their own HTML."""
    context["script_files"] = [
        file
        for file in context.get("script_files", [])
        if getattr(file, "attributes", {}).get("type") != "application/vnd.jupyter.widget-state+json"
    ]


def with_sizes(app: Sphinx, doctree: nodes.document, name: str) -> None:
    """Say how large pictures are, so that the text below does not jump when they arrive."""
    for node in doctree.findall(nodes.image):
        if node["uri"].endswith(".png") and "width" not in node:
            with Image.open(Path(app.srcdir, node["uri"])) as picture:
                node["width"], node["height"] = map(str, picture.size)


def tidy(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """What docutils writes and a browser wants otherwise.

    The size of a picture as attributes, which a narrow page may scale; as a style it would distort it. No
    roles on a bibliography: the one for its entries is deprecated, and it holds no list items.
    """
    if "body" in context:
        body = re.sub(r'style="width: (\d+)px; height: (\d+)px;"', r'width="\1" height="\2"', context["body"])
        body = body.replace(' role="doc-biblioentry"', "").replace(
            '<div role="list" class="cit', '<div class="cit'
        )
        context["body"] = body


def with_whole_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """The outputs of a cell, with what it printed in one piece wherever its kernel happened to flush.

    MyST-NB's own function ends every piece with one newline: lines are cut in two, and empty ones go.
    """
    whole: list[NotebookNode] = []
    for output in outputs:
        before = whole[-1] if whole else {}
        if output["output_type"] == "stream" and before.get("name") == output["name"]:
            before["text"] += output["text"]
        else:
            whole.append(copy.copy(output))
    return whole


def with_deferred_scripts(app: Sphinx, exception: Exception | None) -> None:
    """Let no script keep a reader waiting for the text: Sphinx's are to run once it is there, in their order.

    `documentation_options.js` is small, and lines in the page itself use it at once. Some of the scripts are
    named by the theme's template, out of reach of `html_js_files`.
    """
    if exception is None and app.builder.format == "html":
        for page in Path(app.outdir).rglob("*.html"):
            text = page.read_text("utf-8")
            deferred = WAITED_FOR.sub("<script defer ", text)
            if deferred != text:
                page.write_text(deferred, "utf-8")


def with_whole_sentences(
    app: Sphinx, what: str, name: str, documented: Any, options: Any, lines: list[str]
) -> None:
    """Keep the docstring of an attribute whole: Napoleon takes what precedes a colon for a type."""
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]  # an empty comment


def without_machinery(
    app: Sphinx,
    what: str,
    name: str,
    documented: Any,
    options: Any,
    signature: str | None,
    returns: str | None,
) -> tuple[str, None] | None:
    """Show how a class is called, and not how its metaclass or its base makes one.

    An enumeration is documented by its members. What has traits takes any arguments in `__new__`, and says in
    `__init__` which.
    """
    if what != "class" or not isinstance(documented, type):
        return None
    if isinstance(documented, EnumType) or not {"__init__", "__new__"} & vars(documented).keys():
        return "", None
    if issubclass(documented, HasTraits):
        called = inspect.signature(documented.__init__, bound_method=True)
        return inspect.stringify_signature(
            called, show_return_annotation=False, unqualified_typehints=True
        ), None
    return None


class Computed(nodes.General, nodes.Element):
    """Stands where a table goes that is known only when all notebooks have been run."""


class ComputedTable(SphinxDirective):
    """`chapter-times` or `notebook-status`: how long chapters take, by what ran where."""

    def run(self) -> list[nodes.Node]:
        # myst-nb renews the pages with this mark whenever a notebook was run again.
        NbMetadataCollector.set_doc_data(self.env, self.env.docname, "has_exec_table", True)
        return [Computed(kind=self.name)]


class FillIn(SphinxPostTransform):
    """Puts the tables in their places."""

    default_priority = 8  # before references are resolved, like myst-nb's own table

    def run(self, **kwargs: Any) -> None:
        """Replace every `Computed`."""
        for node in list(self.document.findall(Computed)):
            ran = {
                name: data["exec_data"]
                for name, data in NbMetadataCollector.get_doc_data(self.env).items()
                if data.get("exec_data")
            }
            make = {
                "chapter-times": self.times,
                "notebook-status": self.status,
            }[node["kind"]]
            node.replace_self(make(dict(sorted(ran.items()))))

    def times(self, ran: dict[str, Any]) -> list[nodes.Node]:
        """How long the chapters take to read and to run."""
        rows = []
        for name, data in ran.items():
            if not CHAPTER.match(Path(name).name):
                continue
            words = count_words(Path(self.env.doc2path(name)))
            rows.append(
                [
                    self.link(name),
                    f"{words / WORDS_A_MINUTE:.0f} min",
                    seconds(data["runtime"]),
                ]
            )
        return [table(["chapter", "to read", "to run"], rows), self.machine()]

    def status(self, ran: dict[str, Any]) -> list[nodes.Node]:
        """Whether, when and how long each notebook ran."""
        rows = []
        for name, data in ran.items():
            when = nodes.paragraph(text=date(data["mtime"]))
            rows.append(
                [
                    self.link(name),
                    when,
                    seconds(data["runtime"]),
                    "yes" if data["succeeded"] else "no",
                ]
            )
        return [
            table(["notebook", "run on", "took", "to its end"], rows),
            self.machine(),
        ]

    def link(self, name: str) -> nodes.paragraph:
        """The title of a page, leading to it."""
        text = self.env.titles[name].astext()
        uri = self.app.builder.get_relative_uri(self.env.docname, name)
        return nodes.paragraph("", "", nodes.reference("", text, internal=True, refuri=uri))

    def machine(self) -> nodes.paragraph:
        """Where this build ran its notebooks."""
        versions = ", ".join(f"{name} {metadata.version(name)}" for name in SHOWN)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        text = f"Measured by this build: {platform.system()} {platform.machine()}, {cores} processor cores, "
        return nodes.paragraph(text=f"{text}Python {platform.python_version()}, {versions}.")


def count_words(notebook: Path) -> int:
    """The words of a notebook's prose."""
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    prose = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return len(re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", prose))


def seconds(runtime: float | None) -> str:
    """How long a notebook ran, for readers."""
    return "under a second" if runtime is None or runtime < 1 else f"{runtime:.0f} s"


def date(timestamp: float) -> str:
    """The day of a time stamp."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d")


def table(head: list[str], rows: list[list[str | nodes.Node]]) -> nodes.table:
    """A table of texts and paragraphs."""

    def row(entries: list[str | nodes.Node]) -> nodes.row:
        cells = [entry if isinstance(entry, nodes.Node) else nodes.paragraph(text=entry) for entry in entries]
        return nodes.row("", *(nodes.entry("", cell) for cell in cells))

    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in head), cols=len(head))
    group += nodes.thead("", row(list(head)))
    group += nodes.tbody("", *map(row, rows))
    return nodes.table("", group, classes=["colwidths-auto"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect what is above: whole lines, fewer buttons, smaller pages, docstrings, filled tables."""
    render.coalesce_streams = with_whole_streams
    app.connect("autodoc-process-docstring", with_whole_sentences, priority=400)  # before Napoleon
    app.connect("autodoc-process-signature", without_machinery)
    app.connect("config-inited", without_launch_buttons)
    app.connect("build-finished", with_deferred_scripts)
    app.connect("doctree-resolved", with_sizes)
    app.connect("html-page-context", without_widget_state, priority=900)
    app.connect("html-page-context", tidy)
    app.add_node(Computed)
    app.add_directive("chapter-times", ComputedTable)
    app.add_directive("notebook-status", ComputedTable)
    app.add_post_transform(FillIn)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
