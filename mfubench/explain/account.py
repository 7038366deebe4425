"""What a logged run achieved: times, sizes, FLOP/s and MFU, each with what is not known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mfubench_model.conventions import CONVENTIONS
from mfubench_model.flops import model_flops_per_step

from mfubench.explain.device import NamedDevice, matmul_dtype
from mfubench.explain.mfu import FlopsRange, flops_from_mfu
from mfubench.explain.run import UNSET_MFU_PERCENT, LoggedRun
from mfubench.explain.sizes import GivenSizes, RunSizes, resolve_sizes
from mfubench.explain.times import StepTimes, step_times

if TYPE_CHECKING:
    from mfubench.explain.predicted import PredictedStep
    from mfubench.predict.elsewhere import KnownDevice

MOST_MFU = 1.0
"""An MFU above this is a wrong size, device or time, never a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A quantity that the log bounds; both ends are the same where it is known exactly."""

    low: float
    high: float

    def divided_by(self, whole: float) -> Range:
        """The range as a share of something."""
        return Range(low=self.low / whole, high=self.high / whole)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAccount:
    """One run, explained. Rates are of one rank at the median plain iteration."""

    run: LoggedRun
    times: StepTimes
    sizes: RunSizes
    printed: FlopsRange | None
    """What the printed mfu say of the FLOPs per iteration."""
    printed_mfu_percent: float | None
    """The last one."""
    model_flops_per_iter: int | None
    """Exact causal count of one rank's share of an iteration."""
    nanogpt_flops_per_iter: int | None
    achieved_flops_per_s: Range | None
    counted_from: str | None
    """It is "sizes" where the achieved rate is by the exact causal count of the sizes, and "printed
    mfu" where it is by nanoGPT's count as the printed mfu bound it."""
    tokens_per_s: float | None
    """Over all ranks."""
    dtype: str | None
    dtype_from: str
    peak_flops_per_s: float | None
    mfu: Range | None
    mfu_problem: str | None
    predicted: PredictedStep | None = None
    """What a step should take on the named device, where something is stored of it."""


def explain_run(
    run: LoggedRun,
    *,
    given: GivenSizes = GivenSizes(),  # noqa: B008 - frozen
    device: NamedDevice = NamedDevice(),  # noqa: B008 - frozen
    dtype: str | None = None,
    known: KnownDevice | None = None,
) -> RunAccount:
    """The account of one run.

    achieved = FLOPs per iteration of one rank / median plain iteration, with the exact causal count
    where the sizes are known and nothing in the log contradicts them, else with the range that the
    printed mfu allow. mfu = achieved / the named device's dense peak. Worked: 12 sequences of 64
    tokens through nanoGPT's CPU model are 3.816e9 FLOPs; at 37 ms that is 103e9 FLOP/s.
    """
    times = step_times(run)
    printed = flops_from_mfu(run)
    sizes = resolve_sizes(run, given, printed)
    exact = nanogpt = None
    if sizes.usable and sizes.config is not None and sizes.sequences_per_iter is not None:
        exact = model_flops_per_step(sizes.config, sizes.sequences_per_iter)
        nanogpt = CONVENTIONS["nanogpt"].flops_per_step(sizes.config, sizes.sequences_per_iter)
    per_iter, counted_from = None, None
    if exact is not None:
        per_iter, counted_from = Range(low=exact, high=exact), "sizes"
    elif printed is not None and printed.consistent:
        per_iter = Range(low=printed.low_flops, high=printed.high_flops)
        counted_from = "printed mfu"
    achieved = None
    if per_iter is not None and times.median_s is not None:
        achieved = per_iter.divided_by(times.median_s)
    dtype, dtype_from = matmul_dtype(run.settings, dtype, device.flops_per_s_by_dtype)
    peak = device.flops_per_s_by_dtype.get(dtype) if dtype is not None else None
    mfu = achieved.divided_by(peak) if achieved is not None and peak is not None else None
    problem = device.problem
    if device.flops_per_s_by_dtype and peak is None:
        formats = ", ".join(device.flops_per_s_by_dtype)
        problem = f"no {dtype} peak is known for {device.name!r}, only: {formats}"
    if mfu is not None and mfu.low > MOST_MFU:
        problem = (
            f"{mfu.low * 100:.0f} % of the peak of {device.name!r} in {dtype} cannot be: the "
            "device, the format or a size is wrong, or the times were taken before it was done"
        )
        mfu = None
    predicted = None
    if known is not None:
        from mfubench.explain.predicted import predicted_step

        predicted = predicted_step(run, sizes, known, dtype=dtype, median_s=times.median_s)
    return RunAccount(
        run=run,
        times=times,
        sizes=sizes,
        printed=printed,
        printed_mfu_percent=_last_mfu(run),
        model_flops_per_iter=exact,
        nanogpt_flops_per_iter=nanogpt,
        achieved_flops_per_s=achieved,
        counted_from=counted_from if achieved is not None else None,
        tokens_per_s=_tokens_per_s(run, sizes, times.median_s),
        dtype=dtype,
        dtype_from=dtype_from,
        peak_flops_per_s=peak,
        mfu=mfu,
        mfu_problem=problem,
        predicted=predicted,
    )


def _tokens_per_s(run: LoggedRun, sizes: RunSizes, median_s: float | None) -> float | None:
    if median_s is None:
        return None
    tokens = run.tokens_per_iter
    if tokens is None and sizes.usable and sizes.config and sizes.sequences_per_iter:
        tokens = sizes.sequences_per_iter * sizes.ranks * sizes.config.block_size
    return tokens / median_s if tokens is not None else None


def _last_mfu(run: LoggedRun) -> float | None:
    last = float(run.mfu_percent[-1])
    return last if abs(last) < float("inf") and last != UNSET_MFU_PERCENT else None
