"""Writing to the terminal in the middle of a pytest run."""

from __future__ import annotations

from typing import Any

import pytest


class PytestScreen:
    """pytest's terminal, past its capture of the test's own output."""

    def __init__(self, config: pytest.Config) -> None:
        manager = config.pluginmanager
        self._reporter: Any = manager.getplugin("terminalreporter")
        self._capture: Any = manager.getplugin("capturemanager")
        self.is_terminal = self._reporter is not None and bool(self._reporter.isatty)
        self._has_transient = False

    def line(self, text: str) -> None:
        """Write a lasting line."""
        self._write(text, lasting=True)

    def transient(self, text: str) -> None:
        """Show a text that the next output replaces. Only called on a terminal."""
        self._write(text, lasting=False)

    def _write(self, text: str, *, lasting: bool) -> None:
        if self._reporter is None or self._reporter.verbosity < 0:
            return
        if self._capture is None:
            self._write_now(text, lasting)
        else:
            with self._capture.global_and_fixture_disabled():
                self._write_now(text, lasting)

    def _write_now(self, text: str, lasting: bool) -> None:
        reporter = self._reporter
        if self._has_transient:
            reporter.rewrite("", erase=True)
            reporter.rewrite("")
            reporter.currentfspath = None
            self._has_transient = False
        else:
            reporter.ensure_newline()
        if lasting:
            reporter.write_line(text)
        else:
            width = reporter._tw.fullwidth - 1
            reporter.rewrite(text[:width], erase=True)
            self._has_transient = True
