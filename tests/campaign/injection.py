"""Injection: hostile texts in every text of every document, through every output.

Whether one arrived alive is asked of parsers, as a reader has them: an HTML parser, a Markdown
renderer, a CSV reader, an XML parser, a terminal. Nothing is searched for as a string.
"""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mfubench.streams import UNSEEN
from tests.campaign.documents import Place, as_bytes, changed, originals, places
from tests.campaign.engine import Said, Trial

MARK = "zq9"
"""Stands in each hostile text, so that what arrived can be told from what is ours."""
HOSTILE = {
    "html": f"\"'><script>{MARK}()</script><img src=x onerror={MARK}()><svg onload={MARK}()>",
    "html entities": f"&lt;script&gt;{MARK}()&lt;/script&gt;&#60;b&#62;<!--{MARK}",
    "style": f"</style></title></textarea><style>{MARK}{{}}</style><a href=javascript:{MARK}()>x",
    "markdown": f"x\n\n# {MARK}\n\n[{MARK}](javascript:alert(1)) ![{MARK}](http://e.example/{MARK})",
    "markdown table": f"a | b |\n|---|---|\n| {MARK} | `c` **d** <b>{MARK}</b> ~~e~~ \\| |",
    "mentions": f"@{MARK} #12345 GH-1 org/repo#1 http://e.example/{MARK} www.e.example",
    "formula": f'=HYPERLINK("http://e.example/{MARK}")',
    "formulas": f"@SUM({MARK})",
    "dde": f"+cmd|'/c {MARK}'!A1",
    "minus": f"-2+3+{MARK}",
    "tab formula": f"\t={MARK}\r\n=1,=2",
    "xml": f"]]></system-out><failure message='{MARK}'/><!DOCTYPE x [<!ENTITY y '{MARK}'>]>&y;",
    "clear": f"{MARK}\x1b[2J\x1b[H\x1b[31m",
    "title": f"\x1b]0;{MARK}\x07\x1b]8;;http://e.example\x1b\\{MARK}\x1b]52;c;{MARK}\x07",
    "8 bit": f"{MARK}\x9b2J\x9d0;{MARK}\x9c\x90q\x9c",
    "backspace": f"good\r{MARK}\b\b\b\x7f\x00\x0b\x0c",
    "bidi": f"{MARK}\u202e\u2066gpj.exe\u2069\u202c\u200f\u2028\u2029",
    "tags": f"{MARK}\U000e0041\U000e0042\ufeff\ufff9",
}
TEXTS_CHANGED = 25
"""Texts of a file that are hostile at once: each meets each kind of hostile text in some trial."""


def texts(data: Any) -> list[Place]:
    """Where texts stand; those of a closed list are refused and stay what they are."""
    return [place for place in places(data) if place and isinstance(_at(data, place), str)]


def _at(data: Any, place: Place) -> Any:
    for key in place:
        data = data[key]
    return data


def injections(*, sample: bool) -> Iterator[Trial]:
    """Each text of each kind of file with each hostile text, several at once; then names of files,
    logs and traces."""
    for kind, original in originals().items():
        data = json.loads(as_bytes(original))
        found = texts(data)
        for number, (name, hostile) in enumerate(HOSTILE.items()):
            group = len(found) if sample else TEXTS_CHANGED
            step = 1 if sample else max(1, group)
            for start in range(0, 1 if sample else len(found), step):
                chosen = found[number % 5 :: 5] if sample else found[start : start + group]
                yield _document(kind, name, data, chosen, hostile)
    for name, hostile in HOSTILE.items():
        if "\0" not in hostile:
            yield _names(name, hostile)
        yield _log(name, hostile)


def _document(kind: str, name: str, data: Any, chosen: list[Place], hostile: str) -> Trial:
    def prepare(folder: Path) -> None:
        content = changed(data, (), data)
        for place in chosen:
            attempt = changed(content, place, hostile)
            if _is_valid(attempt):  # a text of a closed list stays what it is
                content = attempt
        (folder / "0001_x.json").write_bytes(as_bytes(content))

    places_said = ", ".join("/".join(map(str, place)) for place in chosen[:3])
    lines = [
        ["show", "0001_x.json"],
        ["validate", "0001_x.json"],
        ["report", "0001_x.json", "-o", "page.html", "--csv", "frame.csv", "--png", "png"],
        ["report", "0001_x.json", "--markdown"],
        *([["junit"], ["gate text"]] if kind == "gate" else []),
    ]
    return Trial(
        name=f"{kind}, {name}: {places_said}",
        area="injection",
        commands=lines,
        expect=frozenset({"ok", "refused", "failed"}),
        prepare=prepare,
        main=_command,
        check=parsed,
    )


def _is_valid(data: Any) -> bool:
    from mfubench.report.bodies import BODIES
    from mfubench.results.schema import problems

    return not problems(data, BODIES)


def _command(words: list[str]) -> int:
    """mfubench's own commands, and the outputs of a gate that is read from its file."""
    if words[0] not in ("junit", "gate text"):
        from mfubench.cli import main

        return main(words)
    from mfubench.gate.rules.document import GateVerdict
    from mfubench.gate.show.text import gate_junit, gate_markdown, gate_text
    from mfubench.results.read import read_document
    from mfubench.streams import safe_streams

    gate = read_document(Path("0001_x.json")).read(GateVerdict)
    if words[0] == "junit":
        Path("junit.xml").write_text(gate_junit(gate), encoding="utf-8")
    else:
        Path("gate.md").write_text(gate_markdown(gate), encoding="utf-8")
        with safe_streams():
            print(gate_text(gate, color=True))
    return 0


def _names(name: str, hostile: str) -> Trial:
    """A file whose own name is hostile."""
    file = hostile.replace("/", "_").replace("\0", "")[:200] + ".json"

    def prepare(folder: Path) -> None:
        good = as_bytes(originals()["run"])
        (folder / file).write_bytes(good)
        (folder / ("cut" + file)).write_bytes(good[:1000])

    return Trial(
        name=f"name of a file, {name}",
        area="injection",
        commands=[
            ["show", "--", file],
            ["validate", "--", file, "cut" + file],
            ["report", "-o", "page.html", "--csv", "frame.csv", "--", file, "cut" + file],
            ["report", "--markdown", "--", file, "cut" + file],
            ["trace", "--", file],
            ["explain", "--", file],
        ],
        expect=frozenset({"ok", "refused", "failed"}),
        prepare=prepare,
        check=parsed,
    )


def _log(name: str, hostile: str) -> Trial:
    """A log and a trace that say something hostile, and a device that is called like it."""
    line = "iter %d: loss 3.1, time 37.11ms, mfu 0.03%%\n"
    text = f"Overriding: device = {hostile!r}\nOverriding: dtype = '{hostile}'\n"

    def prepare(folder: Path) -> None:
        iterations = "".join(line % i for i in range(30))
        (folder / "log.txt").write_text(text + iterations, encoding="utf-8")
        trace: list[dict[str, Any]] = []
        about = {"pid": 1, "tid": 1, "ph": "X", "dur": 40}
        sizes = {"External id": 1, "correlation": 5}
        trace.append({**about, "cat": "cpu_op", "name": hostile, "ts": 0, "args": sizes})
        trace.append(
            {**about, "cat": "cuda_runtime", "name": "cudaLaunchKernel", "ts": 2, "args": sizes}
        )
        at = {"correlation": 5, "stream": 7, "device": 0}
        trace.append({**about, "cat": "kernel", "name": hostile, "ts": 9, "args": at})
        data = {"traceEvents": trace, "deviceProperties": [{"id": 0, "name": hostile}]}
        (folder / "trace.json").write_text(json.dumps(data), encoding="utf-8")

    return Trial(
        name=f"log, trace and device, {name}",
        area="injection",
        commands=[
            ["explain", "log.txt"],
            ["explain", "log.txt", f"--device={hostile.replace(chr(0), '')}"],
            ["trace", "trace.json", "--kernels"],
            ["report", "results", "-o", "page.html", "--csv", "frame.csv"],
            ["report", "results", "--markdown"],
        ],
        expect=frozenset({"ok", "refused", "failed"}),
        prepare=prepare,
        check=parsed,
    )


# --- what a reader makes of the outputs -----------------------------------------------------------


def parsed(folder: Path, said: list[Said]) -> list[str]:
    """What arrived alive in any output."""
    broken = []
    for one in said:
        broken += terminal(one.out + one.err)
    if (page := folder / "page.html").exists():
        broken += html(page.read_text(encoding="utf-8"), "page")
    for path in folder.glob("frame*.csv"):
        broken += formulas(path.read_text(encoding="utf-8"))
    for one in said:
        if one.out.startswith("## mfubench"):
            broken += markdown(one.out)
    if (notes := folder / "gate.md").exists():
        broken += markdown(notes.read_text(encoding="utf-8"))
    if (junit := folder / "junit.xml").exists():
        broken += xml(junit.read_bytes())
    return broken


def html(text: str, what: str) -> list[str]:
    """An element or an attribute that carries our mark, or a script that is not the page's."""
    import html5lib

    tree = html5lib.parse(text, treebuilder="etree", namespaceHTMLElements=False)
    found = []
    scripts = 0
    for element in tree.iter():
        if not isinstance(element.tag, str):
            if MARK in (element.text or ""):
                found.append(f"{what}: a comment holds the text")
            continue
        tag = element.tag.rpartition("}")[2]
        scripts += tag == "script"
        if tag in ("script", "style") and MARK in (element.text or ""):
            found.append(f"{what}: <{tag}> holds the text")
        if tag in ("iframe", "object", "embed", "base", "form"):
            found.append(f"{what}: <{tag}>")
        for name, value in element.attrib.items():
            if name.lower().startswith("on") or MARK in name:
                found.append(f"{what}: attribute {name} of <{tag}>")
            if name in ("href", "src", "action") and _leads_away(value):
                found.append(f"{what}: <{tag} {name}={value[:50]}>")
        if tag in ("img", "a") and what == "comment":
            found.append(f"{what}: <{tag}>")
    if scripts > 1:
        found.append(f"{what}: {scripts} scripts")
    if unseen := UNSEEN.search(text):
        found.append(f"{what}: raw {unseen.group()!a}")
    return found


def _leads_away(value: str) -> bool:
    return value.strip().lower().startswith(("javascript:", "data:text", "http", "//"))


def markdown(text: str) -> list[str]:
    """What a renderer makes of a comment: no element of ours but a few, no link, no picture."""
    from markdown_it import MarkdownIt

    rendered = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(text)
    found = html(rendered, "comment")
    import html5lib

    tree = html5lib.parse(rendered, treebuilder="etree", namespaceHTMLElements=False)
    for element in tree.iter():
        tag = element.tag if isinstance(element.tag, str) else ""
        own = f"{element.text or ''}"
        if tag in ("h1", "h4", "h5", "h6", "em", "s", "blockquote") and MARK in own:
            found.append(f"comment: <{tag}> was made by the text")
        parts = [element.text or "", *(child.tail or "" for child in element)]
        if tag not in ("code", "pre") and any("@" + MARK in part for part in parts):
            found.append("comment: a mention")
    return found


def formulas(text: str) -> list[str]:
    """A cell that a spreadsheet would calculate."""
    return [
        f"frame: formula {cell[:40]!a}"
        for row in csv.reader(io.StringIO(text))
        for cell in row
        if cell[:1] in ("=", "+", "-", "@", "\t", "\r") and not _is_number(cell)
    ]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def xml(data: bytes) -> list[str]:
    """The suite as a CI reads it: our elements, and none of the text's making."""
    try:
        tree = ET.fromstring(data)
    except ET.ParseError as error:
        return [f"junit: {error}"]
    known = {"testsuite", "testcase", "failure", "error", "system-out"}
    tags = {element.tag for element in tree.iter()}
    cases = len(tree.findall("testcase"))
    found = [f"junit: <{tag}>" for tag in tags - known]
    if str(cases) != tree.get("tests"):
        found.append("junit: another number of cases than it says")
    return found


class _Terminal:
    """Notes what a terminal is told to do."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def note(*_: object, **__: object) -> None:
            self.told.append(name)

        return note


HARMLESS = {"draw", "linefeed", "carriage_return", "tab", "select_graphic_rendition"}


def terminal(text: str) -> list[str]:
    """What a terminal does with a text: it draws, and does nothing else but colour."""
    import pyte

    screen = _Terminal()
    stream = pyte.Stream(screen)
    stream.feed(text)
    return [f"terminal: {name}" for name in sorted(set(screen.told) - HARMLESS)]
