"""A command that cannot do what is asked says so in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mfubench.cli import main


def assert_refused(
    capsys: pytest.CaptureFixture[str], arguments: Sequence[str], words: str, *, status: int
) -> None:
    """The exit status, the words on standard error in a single line, and nothing on the other."""
    assert main(list(arguments)) == status
    said = capsys.readouterr()
    assert words in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert said.out == ""
