"""What a pytest run of the suite writes on the terminal: in the middle, and at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import pytest

from mfubench.show.terminal import width_of
from mfubench.streams import SafeStream, escaped

if TYPE_CHECKING:
    from mfubench.gate.rules.stored_runs import StoredVerdict
    from mfubench.results.record import CaseRecord


STDOUT: pytest.StashKey[TextIO] = pytest.StashKey()
"""The standard output as it was before `--json` kept it for the JSON."""


class PytestScreen:
    """pytest's terminal, past its capture of the test's own output."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        manager = config.pluginmanager
        self._reporter: Any = manager.getplugin("terminalreporter")
        self._capture: Any = manager.getplugin("capturemanager")
        self.is_terminal = self._reporter is not None and bool(self._reporter.isatty)
        if self._reporter is not None and not isinstance(self._reporter._tw._file, SafeStream):
            # `| head` must not end a run: what it measures is saved whether or not anybody reads.
            self._reporter._tw._file = SafeStream(self._reporter._tw._file, escapes=False)
        self._has_transient = False
        self._heading: Any = None

    def line(self, text: str) -> None:
        """Write a lasting line."""
        self._write(text, lasting=True)

    def transient(self, text: str) -> None:
        """Show a text that the next output replaces. Only called on a terminal."""
        self._write(text, lasting=False)

    def summary(
        self, records: Sequence[CaseRecord], notes: Sequence[str], earlier: Path | None = None
    ) -> None:
        """The tables and the sentences, when the run has ended; beside an earlier run if given."""
        from mfubench.report.earlier import beside_earlier
        from mfubench.report.table import render
        from mfubench.results.read import ResultError, read_result

        writer = self._section("mfubench")
        width, beside = width_of(writer._file), []
        if earlier is not None:
            try:
                before = [record for record, _ in read_result(earlier).records]
                beside = beside_earlier(records, before, earlier.name, width=width)
            except ResultError as error:
                notes = [*notes, f"no comparison: {error}"]
        color = bool(writer.hasmarkup)
        text = render(records, color=color, notes=notes, width=width, beside=beside)
        writer.write(escaped(text, keep_styles=True))

    def print_json(self, records: Sequence[CaseRecord], saved: Path | None) -> None:
        """The run for programs, where `--json` asks for it."""
        from mfubench.report.table import as_data
        from mfubench.results.write import json_text

        data = as_data(records, str(saved) if saved else None)
        print(json_text(data), file=self._config.stash[STDOUT], flush=True)

    def verdicts(self, verdicts: Sequence[StoredVerdict], run: str) -> None:
        """What `--gate` says of a run."""
        from mfubench.gate.show.stored import stored_text

        writer = self._section("mfubench gate")
        text = stored_text(verdicts, run=run, color=writer.hasmarkup)
        writer.write(escaped(text, keep_styles=True) + "\n")

    def _section(self, title: str) -> Any:
        self._reporter.section(title)
        return self._reporter._tw

    def _write(self, text: str, *, lasting: bool) -> None:
        if self._reporter is None or self._reporter.verbosity < 0:
            return
        if self._capture is None:
            self._write_now(text, lasting)
        else:
            with self._capture.global_and_fixture_disabled():
                self._write_now(text, lasting)

    def _write_now(self, text: str, lasting: bool) -> None:
        reporter, writer = self._reporter, self._reporter._tw
        text = escaped(text, keep_styles=True)  # a path, a device or a reason may hold anything
        if self._has_transient:
            writer.write("\r" + " " * (writer.fullwidth - 1) + "\r")
            self._has_transient = False
        elif reporter.currentfspath != self._heading:
            # pytest has just written a file's name and waits for dots behind it.
            writer.line()
            self._heading = reporter.currentfspath
        if lasting:
            writer.line(text)
        else:
            writer.write(text[: writer.fullwidth - 1])
            writer.flush()
            self._has_transient = True
