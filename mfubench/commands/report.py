"""`mfubench report [RESULT|DIR …]`: one page about stored runs, or the same in another form."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from mfubench.arguments import UserError, output_path, user_path


def add_parser(commands: Any) -> None:
    """Add `report` to the command line."""
    parser = commands.add_parser("report", help="one page about stored runs, to read and to share")
    parser.add_argument(
        "results",
        nargs="*",
        type=user_path,
        default=[Path("results")],
        metavar="RESULT|DIR",
        help="result files, and folders that are searched (default: results)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=output_path,
        metavar="FILE",
        help="the page (default: report.html, where no other form is asked for)",
    )
    parser.add_argument(
        "--markdown", action="store_true", help="print it in short, for a pull request's comment"
    )
    parser.add_argument(
        "--csv",
        type=output_path,
        metavar="PATH",
        help="the tidy frame: a row per case, and per round",
    )
    parser.add_argument("--parquet", type=output_path, metavar="PATH", help="the same as Parquet")
    parser.add_argument(
        "--open", action="store_true", help="write the page and show it in the browser"
    )
    parser.add_argument("--png", type=user_path, metavar="DIR", help="the pictures, one file each")
    parser.add_argument(
        "--predict",
        action="append",
        default=[],
        metavar="DEVICE",
        help="a predicted row beside the machines: a device by its driver's name, a "
        "machine's folder of results, or here; may be given several times",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write what is asked for. Files that cannot be used are named, and left out."""
    from mfubench.report.write import ReportError, Wanted, write_report

    others = arguments.markdown or arguments.csv or arguments.parquet or arguments.png
    wanted = Wanted(
        html=arguments.output or (Path("report.html") if arguments.open or not others else None),
        markdown=arguments.markdown,
        csv=arguments.csv,
        parquet=arguments.parquet,
        png=arguments.png,
        predict=arguments.predict,
    )
    try:
        written = write_report(arguments.results, wanted)
    except ReportError as error:
        raise UserError(str(error)) from None
    for reason in written.skipped_in_words():
        print(f"mfubench report: {reason}", file=sys.stderr)
    if written.markdown is not None:
        print(written.markdown)
    for path in written.paths:
        print(f"wrote {path}", file=sys.stderr if arguments.markdown else sys.stdout)
    if arguments.open and wanted.html is not None:
        show(wanted.html)
    return 0


def show(page: Path) -> None:
    """Open a page in the user's browser; say so in one sentence where there is none."""
    import webbrowser

    try:
        is_open = webbrowser.open(page.resolve().as_uri())
    except webbrowser.Error:
        is_open = False
    if not is_open:
        print(
            f"mfubench report: no browser was found to open {page}; open it yourself, or copy it "
            "to a machine that has one.",
            file=sys.stderr,
        )
