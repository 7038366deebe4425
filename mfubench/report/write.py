"""Writing a report in the forms that were asked for; whole files only."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mfubench.files import write_output
from mfubench.results.collect import collect
from mfubench.results.collection import Collection

if TYPE_CHECKING:
    from mfubench.predict.elsewhere import KnownDevice
    from mfubench.show.blocks import Report


class ReportError(ValueError):
    """A report that cannot be made, in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The forms of a report that were asked for."""

    html: Path | None = None
    markdown: bool = False
    csv: Path | None = None
    parquet: Path | None = None
    png: Path | None = None
    predict: Sequence[str] = ()
    """Devices that were not measured, by their names or folders of results."""


@dataclass(slots=True, kw_only=True)
class Written:
    """What was written, and which files were left out."""

    paths: list[Path] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    markdown: str | None = None

    def skipped_in_words(self) -> list[str]:
        """The first few files that were left out, and how many there were."""
        count = len(self.skipped)
        if not count:
            return []
        said = [f"{count} file{'s' if count > 1 else ''} left out:"]
        said += [f"  {reason}" for _, reason in self.skipped[:NAMED]]
        return said + ([f"  and {count - NAMED} more"] if count > NAMED else [])


NAMED = 10


def gather(sources: Sequence[str | Path]) -> Collection:
    """The collection behind a report; raises ReportError where there is nothing to show."""
    from mfubench.report.bodies import BODIES

    try:
        collection = collect(sources, BODIES)
    except FileNotFoundError as error:
        raise ReportError(f"{error}. To measure, type: pytest benchmarks/") from None
    if collection.is_empty:
        where = ", ".join(str(source) for source in sources)
        if collection.skipped:
            count = len(collection.skipped)
            raise ReportError(
                f"none of the {count} file{'s' if count > 1 else ''} in {where} can be shown; the "
                f"first: {collection.skipped[0][1]}"
            )
        raise ReportError(
            f"no saved run in {where} (files such as 0001_commit_time.json are looked for). To "
            "measure, type: pytest benchmarks/"
        )
    return collection


def write_report(sources: Sequence[str | Path], wanted: Wanted) -> Written:
    """Everything that was asked for. Raises ReportError with a sentence for the user."""
    from mfubench.report.build import build_report

    asked = _devices(sources, wanted.predict)
    collection = gather(sources)
    written = Written(skipped=list(collection.skipped))
    report = build_report(collection, asked)
    if wanted.html is not None:
        from mfubench.show.page import as_html

        written.paths.append(write_text(wanted.html, as_html(report)))
    if wanted.markdown:
        from mfubench.show.markdown import as_markdown

        written.markdown = as_markdown(report)
    if wanted.csv or wanted.parquet:
        written.paths += _write_frames(sources, wanted)
    if wanted.png is not None:
        written.paths += _write_pictures(report, wanted.png)
    return written


def _devices(sources: Sequence[str | Path], names: Sequence[str]) -> list[KnownDevice]:
    """What is known of the devices to predict; raises ReportError for one of which nothing is."""
    from mfubench.predict.elsewhere import known_device
    from mfubench.predict.machine import UnknownMachineError

    folders = (Path(source) for source in sources if Path(source).is_dir())
    results_dir = next(folders, Path("results"))
    try:
        return [known_device(name, results_dir) for name in dict.fromkeys(names)]
    except UnknownMachineError as error:
        raise ReportError(f"--predict: {error}") from None


def _write_frames(sources: Sequence[str | Path], wanted: Wanted) -> list[Path]:
    from mfubench.report.export import flat, one_type, rounds_path, without_formulas
    from mfubench.results.frame import frames

    flattened = [flat(frame) for frame in frames(sources, ["case", "round"])]
    paths = []
    for target in (wanted.csv, wanted.parquet):
        if target is None:
            continue
        for frame, path in zip(flattened, (target, rounds_path(target)), strict=True):
            if target is wanted.csv:
                text = without_formulas(frame).to_csv(index=False)
                paths.append(write_text(path, text, option="--csv PATH"))
                continue
            content = io.BytesIO()
            try:
                one_type(frame).to_parquet(content, index=False)
            except ImportError:
                raise ReportError(
                    "--parquet needs pyarrow, which is not installed; type: pip install pyarrow "
                    "(or use --csv)"
                ) from None
            paths.append(write_text(path, content.getvalue(), option="--parquet PATH"))
    return paths


def _write_pictures(report: Report, folder: Path) -> list[Path]:
    from mfubench.show.pictures import write_pictures

    try:
        return write_pictures(report, folder)
    except ImportError:
        raise ReportError(
            "--png needs resvg_py, which is not installed; type: pip install resvg_py"
        ) from None
    except OSError as error:
        raise ReportError(
            f"{folder} cannot be written: {error.strerror or error}. Give another DIR."
        ) from None


def write_text(path: Path, content: str | bytes, *, option: str = "-o FILE") -> Path:
    """Write a file that a user named; raises ReportError with what to type in its place."""
    try:
        return write_output(path, content)
    except OSError as error:
        raise ReportError(
            f"{path} cannot be written: {error.strerror or error}. Give another place with "
            f"{option}."
        ) from None
