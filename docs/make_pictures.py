"""The pictures of the README, made from stored runs: `python docs/make_pictures.py` writes them.

A test fails when a picture is not what this makes. Run it after a change of what is shown.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

from markupsafe import Markup
from rich.console import Console
from rich.text import Text

from mfubench.report.build import build_report
from mfubench.report.references import OUR_CPU_RUN
from mfubench.results.collect import collect
from mfubench.results.read import read_result
from mfubench.show.pictures import standalone_svg
from mfubench.show.svg import label, picture, rect

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent
COLUMNS = 80
SESSION = ("mfubench show results/*357d*/Linux*/0001*.json --only train-step,train-loop",)
"""What is typed in the recording."""
NANOGPT, REAL, TRACK, INK, PAPER = "#8a8f98", "#1f883d", "#e8eaed", "#1f2328", "#ffffff"


def first_screen() -> str:
    """nanoGPT's figure beside the share of the machine's own peak, of one stored case."""
    (case,) = (
        record
        for record, _ in read_result(ROOT / OUR_CPU_RUN).records
        if record.case_id == "train-step/nanogpt-cpu/cpu-float32-b12-eager"
    )
    assert case.mfu is not None
    assert case.mfu_a100 is not None
    width, left, top, bar, step = 720, 24, 92, 34, 96
    full = width - 2 * left
    rows: list[Markup] = [
        rect(0, 0, width, 292, "", fill=PAPER, rx=8),
        label(left, 44, "One training step, one CPU, two figures", cls="title"),
    ]
    for number, (who, share, colour, why) in enumerate(
        (
            ("nanoGPT prints", case.mfu_a100, NANOGPT, "of an A100's peak, whatever you run on"),
            ("mfubench prints", case.mfu, REAL, "of this CPU's own peak"),
        )
    ):
        y = top + number * step
        digits = 2 if share < 0.01 else 1
        rows += [
            label(left, y - 8, f"{who}  mfu {share * 100:.{digits}f} %", cls="name"),
            rect(left, y, full, bar, "", fill=TRACK, rx=4),
            rect(left, y, max(2.0, full * share), bar, "", fill=colour, rx=4),
            label(left, y + bar + 18, why, cls="why"),
        ]
    rows.append(label(left, 276, f"{case.setting}, 2 cores of an AMD EPYC", cls="why"))
    style = (
        f"<style>text{{font-family:Helvetica,Arial,sans-serif;fill:{INK}}}"
        ".title{font-size:22px;font-weight:bold}.name{font-size:17px}"
        ".why{font-size:13px;opacity:.75}</style>"
    )
    drawn = picture(
        "first-screen",
        (width, 292),
        [Markup(style), *rows],
        title=f"nanoGPT prints mfu {case.mfu_a100:.2%}, mfubench prints {case.mfu:.1%}",
        description="Two bars: nanoGPT's figure is a share of an A100's peak and hardly visible; "
        "the same step uses nearly half of the peak of the CPU that it ran on.",
    )
    return f"{drawn}\n"


def recording() -> str:
    """A terminal of 80 columns in which the commands of `SESSION` are typed and run."""
    console = Console(
        file=io.StringIO(), record=True, width=COLUMNS, force_terminal=True, color_system="standard"
    )
    for typed in SESSION:
        console.print(Text.assemble(("$ ", "bold green"), (typed, "bold")), overflow="fold")
        done = subprocess.run(
            [sys.executable, "-m", *expanded(typed), "--color", "always"],
            cwd=ROOT,
            env={**os.environ, "COLUMNS": str(COLUMNS), "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            check=True,
        )
        console.print(Text.from_ansi(done.stdout.decode()))
    return console.export_svg(title="mfubench", unique_id="mfubench") + "\n"


def expanded(typed: str) -> list[str]:
    """The words of a command line, with names of files as a shell gives them."""
    words = typed.split()
    return [
        name
        for word in words
        for name in (sorted(str(p.relative_to(ROOT)) for p in ROOT.glob(word)) or [word])
    ]


def waterfall() -> str:
    """Where the time of the reference run's step goes."""
    figures = {f.key: f for f in build_report(collect([ROOT / OUR_CPU_RUN])).figures}
    return standalone_svg(str(figures["waterfall-0"].wide)) + "\n"


PICTURES = {
    "first-screen.svg": first_screen,
    "terminal.svg": recording,
    "reference-waterfall.svg": waterfall,
}

if __name__ == "__main__":
    for name, make in PICTURES.items():
        (FOLDER / name).write_text(make(), encoding="utf-8")
        print(f"wrote docs/{name}")
