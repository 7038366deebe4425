"""What a pytest run of the suite writes on the terminal: in the middle, and at the end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from mfubench.streams import SafeStream

if TYPE_CHECKING:
    from mfubench.gate.rules.stored_runs import StoredVerdict
    from mfubench.results.record import CaseRecord


class PytestScreen:
    """pytest's terminal, past its capture of the test's own output."""

    def __init__(self, config: pytest.Config) -> None:
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

    def summary(self, records: Sequence[CaseRecord], notes: Sequence[str]) -> None:
        """The table and the sentences, when the run has ended."""
        from mfubench.report.table import render

        writer = self._section("mfubench")
        width = writer.fullwidth if sys.stdout.isatty() else 100
        writer.write(render(records, color=writer.hasmarkup, notes=notes, width=width))

    def verdicts(self, verdicts: Sequence[StoredVerdict], run: str) -> None:
        """What `--gate` says of a run."""
        from mfubench.gate.show.stored import stored_text

        writer = self._section("mfubench gate")
        writer.write(stored_text(verdicts, run=run, color=writer.hasmarkup) + "\n")

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
