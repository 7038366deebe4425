"""What predict does while another measurement holds the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfubench.arguments import UserError
from mfubench.pairs import machine_lock
from mfubench.predict.here import machine_held


def test_a_machine_that_is_taken_is_one_sentence_and_free_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_lock, "lock_path", lambda: tmp_path / "lock")
    with (
        machine_lock.machine_lock(),
        pytest.raises(UserError, match="is measuring on this machine"),
        machine_held(0.0),
    ):
        raise AssertionError("two hold the machine")
    with machine_held(0.0):
        assert (tmp_path / "lock").exists()
