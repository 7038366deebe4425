"""The pictures as PNG files: the page's own, with the light colours filled in."""

from __future__ import annotations

import re
from pathlib import Path

from mfubench.files import write_output
from mfubench.show.blocks import Report
from mfubench.show.page import style

PIXELS_PER_PX = 2.0
MARGIN_PX = 16.0
LINUX_FONTS = '"Liberation Sans", "DejaVu Sans", "Noto Sans"'
_VARIABLE = re.compile(r"--([\w-]+):\s*([^;]+);")
_RULE = re.compile(r"^svg ([^{]+)\{([^}]*)\}", re.MULTILINE)


def standalone_svg(svg: str) -> str:
    """A picture with its style inside and its colours in place of variables."""
    root = style().partition("}")[0]
    colours = dict(_VARIABLE.findall(root))
    rules = re.sub(r"(svg \.heat-\d \{)", r"\n\1", style())
    found = [
        f"{selector.replace('svg ', '')} {{{body}}}"
        for selector, body in _RULE.findall(rules)
        if ":hover" not in selector
    ]
    css = re.sub(r"var\(--([\w-]+)\)", lambda m: colours[m.group(1)], "\n".join(found))
    # A renderer knows families by name alone, and a bare Linux has one of these at best.
    css = css.replace("system-ui, -apple-system, ", "")
    css = css.replace("Arial, sans-serif", f"Arial, {LINUX_FONTS}, sans-serif")
    width, height = (float(x) for x in re.findall(r'viewBox="0 0 (\d+) (\d+)"', svg)[0])
    m = MARGIN_PX
    size = f'width="{width + 2 * m:g}" height="{height + 2 * m:g}"'
    box = f'viewBox="{-m:g} {-m:g} {width + 2 * m:g} {height + 2 * m:g}"'
    head, _, rest = svg.partition(">")
    head = re.sub(r' (viewBox|width|height)="[^"]*"', "", head) + f" {box} {size}>"
    paper = (
        f'<rect x="{-m:g}" y="{-m:g}" width="{width + 2 * m:g}" height="{height + 2 * m:g}" '
        f'fill="{colours["paper"]}"/>'
    )
    return f"{head}<style>{css}</style>{paper}{rest}"


def write_pictures(report: Report, folder: Path) -> list[Path]:
    """One PNG per picture of the page; raises ImportError where `resvg_py` is not installed."""
    import resvg_py

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for figure in report.figures:
        png = resvg_py.svg_to_bytes(svg_string=standalone_svg(str(figure.wide)), zoom=PIXELS_PER_PX)
        path = folder / f"{figure.key}.png"
        write_output(path, bytes(png))
        paths.append(path)
    return paths
