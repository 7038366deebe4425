"""A log of nanoGPT's train.py is read whole or cut, and other lines change nothing."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from mfubench_model.conventions import CONVENTIONS
from mfubench_model.flops import model_flops_per_step
from mfubench_model.presets import PRESETS

from mfubench.explain.account import RunAccount, explain_run
from mfubench.explain.advice import caveats
from mfubench.explain.log import LogError, TrainingLog, read_log, read_stream
from mfubench.explain.mfu import flops_from_mfu
from mfubench.explain.sizes import GivenSizes
from mfubench.explain.times import step_times
from tests.unit.explain.printed_by_train_py import (
    CPU_FLOPS,
    CPU_OVERRIDES,
    as_bytes,
    cpu_log,
    cpu_times_ms,
    header,
    iterations,
)

CPU = PRESETS["nanogpt-cpu"]


def read(lines: list[str] | bytes) -> TrainingLog:
    return read_stream(io.BytesIO(lines if isinstance(lines, bytes) else as_bytes(lines)), "log")


def account(lines: list[str] | bytes, given: GivenSizes | None = None) -> RunAccount:
    log = read(lines)
    assert len(log.runs) == 1
    return explain_run(log.runs[0], given=given or GivenSizes())


def test_a_whole_run_is_read() -> None:
    log = read(cpu_log(600))
    (run,) = log.runs
    assert log.lines == len(cpu_log(600))
    assert run.iters.tolist() == list(range(600))
    assert run.times_s == pytest.approx(np.array(cpu_times_ms(600)) / 1e3, abs=6e-6)
    assert np.flatnonzero(run.evaluated).tolist() == [0, 250, 500]
    assert (run.evaluations, run.checkpoints, run.ranks, run.log_interval) == (3, 2, 1, 1)
    assert (run.tokens_per_iter, run.decayed_parameters) == (768, 802_944)
    assert (run.parameters_millions, run.fused_adamw, run.compiled) == ("0.80", False, False)
    assert run.settings["vocab_size"] == "65"
    assert run.from_the_start


def test_the_helper_counts_as_the_formulas_do() -> None:
    assert CONVENTIONS["nanogpt"].flops_per_step(CPU.config, CPU.batch_size) == CPU_FLOPS


# ------------------------------------------------------------------------------- cuts and noise


def test_a_cut_log_is_read_from_where_it_begins() -> None:
    lines = [line for line in cpu_log(600) if line.startswith("iter")][97:500]
    (run,) = read(lines).runs
    assert (run.iters[0], run.iters[-1]) == (97, 499)
    assert not run.from_the_start
    assert step_times(run).first_s is None
    assert any("beginning" in text for text in caveats(account(lines)))


@pytest.mark.parametrize(
    "keep", range(1, len("iter 599: loss 1.5045, time 37.00ms, mfu 0.03%") + 1)
)
def test_a_truncated_last_line_is_left_out_and_counted(keep: int) -> None:
    lines = iterations([37.0] * 600, eval_interval=None)
    whole = len(lines[-1]) == keep
    log = read(as_bytes(lines[:-1]) + lines[-1][:keep].encode())
    assert len(log.runs[0].iters) == 599 + whole
    assert log.truncated_last_line == (not whole and keep > len("iter "))


@pytest.mark.parametrize(
    "line",
    [
        "iter 10: loss 3,1234, time 37,11ms, mfu 0,03%",
        "iter 10: loss 3.1234, time 1,234.56ms, mfu 0.03%",
        "iter 10: loss 3.1234, time 37.11ms, mfu 0,03%",
        "iter 1,000: loss 3.1234, time 37.11ms, mfu 0.03%",
        "iter 10: loss 3.1234, time 37.11s, mfu 0.03%",
        "iter \u0661\u0660: loss 3.1234, time 37.11ms, mfu 0.03%",
        "niter 10: loss 3.1234, time 37.11ms, mfu 0.03%",
        "x" * 90 + " iter 10: loss 3.1234, time 37.11ms, mfu 0.03%",
        "iter " + "9" * 5000 + ": loss 3.1234, time 37.11ms, mfu 0.03%",
    ],
)
def test_other_lines_are_not_nanogpt_s(line: str) -> None:
    lines = cpu_log(30)
    assert np.array_equal(read([*lines, line]).runs[0].iters, read(lines).runs[0].iters)
    with pytest.raises(LogError, match=r"is not a log of nanoGPT's train\.py"):
        read([line])


def test_before_march_2023_no_mfu_was_printed() -> None:
    lines = [line.partition(", mfu")[0] for line in iterations([37.0] * 20)]
    run = read(lines).runs[0]
    assert len(run.iters) == 20
    assert flops_from_mfu(run) is None


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_redirections_of_windows_shells_are_read(encoding: str) -> None:
    data = "\r\n".join([*cpu_log(300), ""]).encode(encoding)
    assert read(data).runs[0].iters.tolist() == list(range(300))


def test_bytes_of_any_encoding_may_stand_between() -> None:
    data = as_bytes(cpu_log(20)[:20]) + b"caf\xe9 \xff\xfe\n" + as_bytes(cpu_log(20)[20:])
    assert len(read(data).runs[0].iters) == 20


def test_a_progress_bar_may_stand_before_an_iteration() -> None:
    (run,) = read(b"".join(b" 10%|#\r" + as_bytes([line]) for line in cpu_log(20))).runs
    assert len(run.iters) == 20


# ------------------------------------------------------------------------------- runs and ranks


def test_a_new_run_starts_where_the_iteration_goes_back() -> None:
    lines = iterations([37.0] * 20) + iterations([20.0] * 30, first=10, eval_interval=10)
    assert [run.iters[-1] for run in read(lines).runs] == [19, 39]


def test_a_new_run_starts_at_a_header_even_when_the_iteration_goes_on() -> None:
    resumed = {"init_from": "resume", **CPU_OVERRIDES}
    lines = cpu_log(251) + header(resumed) + iterations([37.0] * 20, first=251, eval_interval=None)
    first, second = read(lines).runs
    assert (first.iters[-1], second.iters[0]) == (250, 251)
    assert second.from_the_start
    assert second.settings["init_from"] == "resume"


def test_an_evaluation_of_a_new_run_is_not_the_old_ones() -> None:
    lines = iterations(cpu_times_ms(300)) + iterations(cpu_times_ms(300))
    first, second = read(lines).runs
    assert first.evaluations == second.evaluations == 2
    assert second.evaluated[0]


def test_starts_that_print_no_iteration_are_counted() -> None:
    log = read(header() + cpu_log(20) + header())
    assert (len(log.runs), log.starts_without_iterations) == (1, 2)
    assert log.runs[0].ranks == 1


def test_named_ranks_are_told_apart_and_one_is_kept() -> None:
    lines = [
        f"[rank{rank}]: {line}"
        for line in header(tokens=8 * 768) + iterations([37.0] * 40)
        for rank in range(8)
    ]
    (run,) = read(lines).runs
    assert (run.ranks, len(run.iters), run.other_rank_lines) == (8, 40, 7 * 40)
    result = account(lines)
    assert (result.sizes.ranks, result.sizes.sequences_per_iter) == (8, 12)
    assert result.model_flops_per_iter == model_flops_per_step(CPU.config, 12)
    assert any("8 ranks" in text for text in caveats(result))


def test_ranks_without_names_repeat_each_other() -> None:
    lines = [line for line in cpu_log(40) for _ in range(2)]
    lines[60], lines[61], lines[62] = lines[61], lines[62], lines[60]
    (run,) = read(lines).runs
    assert run.iters.tolist() == list(range(40))
    assert run.other_rank_lines == 40
    assert run.ranks == 2


def test_a_header_twice_is_one_rank_when_the_mfu_says_so() -> None:
    without_overrides = [line for line in header() if not line.startswith("Overriding")]
    lines = without_overrides * 2 + iterations([37.0] * 40)
    assert read(lines).runs[0].ranks == 2
    result = account(lines, GivenSizes(preset="nanogpt-cpu"))
    assert (result.sizes.ranks, result.sizes.problems) == (1, ())


def test_lines_of_several_processes_mixed_are_refused() -> None:
    one = iterations([37.0] * 1100, eval_interval=None)
    other = iterations([37.0] * 1100, first=5000, eval_interval=None)
    mixed = [line for pair in zip(other, one, strict=True) for line in pair]
    with pytest.raises(LogError, match="one file per process"):
        read(mixed)


# ------------------------------------------------------------------------------- values


def test_times_of_zero_or_less_are_counted_and_left_out() -> None:
    lines = cpu_log(100)
    lines += [
        "iter 100: loss 2.0000, time 0.00ms, mfu inf%",
        "iter 101: loss 2.0000, time -3.20ms, mfu -1.00%",
        "iter 102: loss 2.0000, time nanms, mfu nan%",
    ]
    result = account(lines)
    assert result.run.unusable_times == 3
    assert result.times.plain_iterations == 99
    assert any("undefined: 3." in text for text in caveats(result))


def test_only_unusable_times_give_no_rate() -> None:
    result = account([*header(), "iter 0: loss 4.2, time 0.00ms, mfu -100.00%"])
    assert result.times.median_s is None
    assert result.achieved_flops_per_s is None


def test_nan_losses_are_reported_from_the_first() -> None:
    lines = iterations([37.0] * 10, losses=["2.0"] * 7 + ["nan", "-inf", "nan"])
    run = read(lines).runs[0]
    assert (run.not_finite_losses, run.first_not_finite_iter) == (3, 7)
    assert any("iteration 7" in text for text in caveats(account(lines)))


# ------------------------------------------------------------------------------- no log


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"hello\nworld\n", "none of its 2 lines"),
        (b"\x00" * 100_000, "is not a log"),
        (as_bytes(header()), "before the first iteration"),
    ],
)
def test_what_is_no_log_is_refused_in_one_sentence(data: bytes, words: str) -> None:
    with pytest.raises(LogError, match=words) as refused:
        read(data)
    assert "\n" not in str(refused.value)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.log", tmp_path, Path("a\0b")):
        with pytest.raises(LogError, match="cannot be read"):
            read_log(path)


def test_memory_does_not_grow_with_other_lines_nor_with_one_endless_line() -> None:
    class Endless(io.RawIOBase):
        """16 MiB without a line end, made as it is read."""

        left = 16 * 2**20

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            size = min(len(buffer), self.left)
            self.left -= size
            buffer[:size] = b"x" * size
            return size

    tracemalloc.start()
    try:
        with pytest.raises(LogError):
            read_stream(io.BufferedReader(Endless()), "log")
        assert tracemalloc.get_traced_memory()[1] < 2 * 2**20
    finally:
        tracemalloc.stop()
