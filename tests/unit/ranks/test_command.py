"""What `mfubench ranks` and the options of a sweep refuse, before any rank is started."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from mfubench.options import parse_ranks
from mfubench.ranks.measure.communication import Communication
from mfubench.ranks.measure.rank import share
from mfubench.ranks.measure.sweep import auto_ranks
from mfubench.ranks.rules.bandwidth import BUS_FACTORS
from tests.one_sentence import assert_refused


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ranks", "0"], "--ranks 0 is not allowed"),
        (["--ranks", "60000"], "this machine has"),
        (["--preset", "gpt9"], "gpt9"),
        (["--device", "mps"], "no communication between ranks"),
        (["--device", "cpu", "--dtype", "int8"], "unknown dtype 'int8'"),
        (["--device", "cpu", "--scaling", "strong", "--batch-size", "5"], "cannot be shared out"),
        (["--accumulation", "0"], "--accumulation 0 is not allowed"),
        (["--corpus", "nowhere.txt"], "nowhere.txt"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], said: str
) -> None:
    assert_refused(capsys, ["ranks", "--results-dir", str(tmp_path), *words], said, status=2)
    assert list(tmp_path.rglob("*.json")) == []


def test_another_number_than_torchruns_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    words = ["ranks", "--ranks", "2", "--device", "cpu", "--results-dir", str(tmp_path)]
    assert_refused(capsys, words, "--ranks 2, but torchrun started 4", status=2)


@pytest.mark.parametrize("text", ["", "0", "two", "-1", "99999999"])
def test_a_number_of_ranks_is_a_whole_number(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="not a number of ranks"):
        parse_ranks(text)


def test_processors_are_shared_out_evenly_and_in_order() -> None:
    assert [share(tuple(range(8)), rank, 4) for rank in range(4)] == [
        (0, 1),
        (2, 3),
        (4, 5),
        (6, 7),
    ]
    assert [share((3,), rank, 2) for rank in range(2)] == [(3,), (3,)]


def test_a_sweep_takes_two_ranks_of_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mfubench.ranks.measure.sweep.usable_cpus", lambda: (0, 1, 2, 3))
    assert auto_ranks("cpu") == (2,)
    monkeypatch.setattr("mfubench.ranks.measure.sweep.usable_cpus", lambda: (0,))
    assert auto_ranks("cpu") == ()


@pytest.mark.parametrize(
    ("collective", "factor"),
    [("all-reduce", 1.5), ("all-gather", 0.75), ("reduce-scatter", 0.75), ("broadcast", 1.0)],
)
def test_bus_bandwidth_is_nccl_tests_own(collective: str, factor: float) -> None:
    assert BUS_FACTORS[collective](4) == factor


def noted(spans: list[tuple[float, float]], arrived: list[float]) -> Communication:
    communication = Communication.__new__(Communication)
    communication.spans, communication.slept = spans, spans
    communication.arrived_s = arrived
    return communication


def test_hidden_and_exposed_are_told_apart_by_the_last_gradient() -> None:
    """Two steps: a message that ends before its step's last gradient, one that begins after it."""
    found = noted([(0.2, 0.4), (0.9, 1.3), (2.2, 2.6), (2.9, 3.1)], [1.0, 3.0])
    assert found.hidden_s([0.0, 2.0]) == pytest.approx((0.2 + 0.1 + 0.4 + 0.1) / 2)
    assert found.planted_s([0.0, 2.0]) == pytest.approx((0.3 + 0.1) / 2)


def test_without_arrivals_nothing_is_known() -> None:
    found = noted([(0.2, 0.4)], [])
    assert found.hidden_s([0.0]) is None
    assert found.planted_s([0.0]) is None
