"""The report as one HTML file: template, style and script go into it; nothing is loaded."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from mfubench.show.blocks import Report
from mfubench.show.svg import clean


def as_html(report: Report) -> str:
    """The whole page. Every text is escaped by the template, and only our own script may run."""
    environment = Environment(
        loader=PackageLoader("mfubench.show", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["clean"] = clean
    environment.filters["kind"] = lambda block: type(block).__name__
    environment.filters["prose"] = prose
    environment.filters["brief"] = lambda value: f"{value:.6g}"
    script = _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("page.html.j2").render(
        report=report,
        style=Markup(_asset("page.css")),
        script=Markup(script),
        script_digest=digest,
    )


_UNIT = re.compile(r"(?<=\d) (?=(?:%|ms|µs|s|min|h|[KMGT]iB|[kMGTP]?(?:FLOP|B|tok|op)/s)(?![\w]))")


_CODE = re.compile(r"`([^`]+)`")


def prose(text: str) -> Markup:
    """A sentence as HTML: escaped, numbers with their units, and what is to be typed as code.

    >>> prose("run `mfubench run` <now>")
    Markup('run <code>mfubench run</code> &lt;now&gt;')
    """
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(glued(clean(text))))))


def glued(text: str) -> str:
    """A text whose numbers keep their unit on their line.

    >>> glued("takes 13 % of 40 ms").replace("\\u00a0", "_")
    'takes 13_% of 40_ms'
    """
    return _UNIT.sub("\u00a0", text)


def style() -> str:
    """The style sheet, which the pictures need too where they stand alone."""
    return _asset("page.css")


def _asset(name: str) -> str:
    return resources.files("mfubench.show.page").joinpath(name).read_text("utf-8")
