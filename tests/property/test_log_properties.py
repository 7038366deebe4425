"""For any log: other lines, line ends and the way it arrives do not change what it says."""

from __future__ import annotations

import contextlib
import io
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mfubench.explain.account import explain_run
from mfubench.explain.data import explain_as_data
from mfubench.explain.device import NamedDevice
from mfubench.explain.log import LogError, read_stream
from mfubench.explain.mfu import flops_from_mfu
from tests.unit.explain.printed_by_train_py import as_bytes, header, iterations

DEVICE = NamedDevice(name="a card", flops_per_s_by_dtype={"float32": 40e12})
_NANOGPT = re.compile(
    rb"iter \d|step \d|Overriding|tokens per|parameter|vocab_size|loading|AdamW|model|Resuming|Init"
    rb"|checkpoint| = "
)

times_ms = st.lists(st.floats(0.5, 5000.0), min_size=1, max_size=40)
noise = (
    st.binary(max_size=60)
    .map(lambda line: line.replace(b"\n", b" ").replace(b"\r", b" "))
    .filter(lambda line: not _NANOGPT.search(line))
)


@st.composite
def logs(draw: st.DrawFn) -> list[str]:
    """One run, with or without its header, whole or begun late, of any interval."""
    lines = header() if draw(st.booleans()) else []
    return lines + iterations(
        draw(times_ms),
        flops=draw(st.floats(1e8, 1e15)),
        first=draw(st.sampled_from((0, 100))),
        log_interval=draw(st.sampled_from((1, 10))),
        eval_interval=draw(st.sampled_from((None, 5, 20))),
    )


def runs(data: bytes | io.BufferedReader) -> list[dict[str, Any]]:
    """Everything that is said of the runs, but not how many other lines there were."""
    log = read_stream(io.BytesIO(data) if isinstance(data, bytes) else data, "log")
    accounts = [explain_run(run, device=DEVICE) for run in log.runs]
    found: list[dict[str, Any]] = explain_as_data(log, accounts, DEVICE)["runs"]
    return found


class Trickle(io.RawIOBase):
    """Bytes in pieces of given sizes, as a pipe may bring them."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self.left, self.sizes, self.turn = data, sizes, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), self.sizes[self.turn % len(self.sizes)], len(self.left))
        buffer[:size], self.left = self.left[:size], self.left[size:]
        self.turn += 1
        return size


@given(logs(), st.lists(st.tuples(st.integers(0, 200), noise), max_size=20))
def test_other_lines_anywhere_change_nothing(
    lines: list[str], others: list[tuple[int, bytes]]
) -> None:
    mixed = [line.encode() for line in lines]
    for at, other in others:
        mixed.insert(at % (len(mixed) + 1), other)
    assert runs(b"".join(line + b"\n" for line in mixed)) == runs(as_bytes(lines))


@given(logs(), st.lists(st.integers(1, 300), min_size=1, max_size=8))
def test_the_pieces_in_which_a_log_arrives_change_nothing(
    lines: list[str], sizes: list[int]
) -> None:
    data = as_bytes(lines)
    assert runs(io.BufferedReader(Trickle(data, sizes), buffer_size=16)) == runs(data)


@given(logs())
def test_line_ends_and_encodings_change_nothing(lines: list[str]) -> None:
    expected = runs(as_bytes(lines))
    assert runs(as_bytes(lines, end="\r\n")) == expected
    assert runs(as_bytes(lines)[:-1]) == expected
    assert runs(as_bytes(lines).decode().encode("utf-16")) == expected


@given(logs(), logs())
def test_two_runs_in_one_file_are_two_reports(one: list[str], other: list[str]) -> None:
    if not one[0].startswith("Overriding"):
        one = header() + one
    other = header() + [line for line in other if not line.startswith(tuple(header()))]
    assert runs(as_bytes(one + other)) == runs(as_bytes(one)) + runs(as_bytes(other))


@settings(max_examples=300)
@given(times_ms, st.floats(1e6, 1e16), st.sampled_from((1, 7)), st.integers(0, 20))
def test_the_count_that_made_the_mfu_is_never_excluded(
    times: list[float], flops: float, log_interval: int, cut: int
) -> None:
    lines = iterations(times, flops=flops, log_interval=log_interval, eval_interval=None)[cut:]
    if not lines:
        return
    (run,) = read_stream(io.BytesIO(as_bytes(lines)), "log").runs
    found = flops_from_mfu(run)
    if found is not None:
        assert found.consistent
        assert found.allows(flops)


@given(
    st.sampled_from((b"", b"iter 0: loss 4.2, time 30.00ms, mfu -100.00%\n", b"iter 1: loss 2, ")),
    st.binary(max_size=300),
)
def test_any_bytes_are_a_log_or_refused(before: bytes, data: bytes) -> None:
    with contextlib.suppress(LogError):
        runs(before + data)
