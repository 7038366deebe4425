"""What is known of a machine's device, in one of three grades, as the model asks for it."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mfubench.hardware.peaks import fold_name, lookup, rows
from mfubench.predict.document import Grade, Mode, OperatorTime, Probe
from mfubench.predict.model import Fit, fit
from mfubench.predict.rates import ATTENTION, DTYPELESS, CostSource, Rates
from mfubench.results.folder import saved_documents, saved_runs
from mfubench.results.outcomes import Dtype, Outcome
from mfubench.results.read import ResultError, read_document, read_result
from mfubench.words import nearest

PROBE = "probe"
"""The kind of document."""
BUSY_RATIO = 0.15
"""The two halves of a probe's sweeps on a quiet machine lie closer than this."""
BOUND_BY_PRODUCTS = ("linear", *ATTENTION, "gelu")
"""Operators that a machine does faster as it multiplies faster; the others as its memory is."""


class UnknownMachineError(ValueError):
    """A device or a folder that nothing is known of, in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """The measured limits of a device."""

    gemm_flops_per_s: Mapping[str, float]
    """By dtype."""
    bandwidth_bytes_per_s: float
    dispatch_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A device, and all that a prediction needs to know of it."""

    device: str
    name: str
    rates: CostSource
    fits: Mapping[Mode, Fit]
    """By dtype and whether it is compiled; what is not in it was not run."""
    grade: Grade
    peaks: Mapping[str, float | None]
    total_memory_bytes: int | None
    source: str
    """Where all this is from."""
    loop_s: Mapping[str, float] = field(default_factory=dict)
    unsteady_ratio: float = 0.0
    """How far the halves of its probe's sweeps lie apart: an interval is no narrower."""
    native_dtypes: tuple[Dtype, ...] = ("float32",)
    """What is predicted unless other dtypes are asked for."""

    def fit_of(self, dtype: Dtype, compile: bool) -> tuple[Fit, Grade]:
        """The factors of a mode, and the grade of what they give: without steps of this mode those
        of the other one are the next best."""
        own = self.fits.get((dtype, compile))
        if own is not None:
            return own, self.grade
        near = self.fits.get((dtype, not compile)) or self.fits.get(("float32", compile))
        grade: Grade = "table" if self.grade == "table" else "ceilings"
        return near or Fit(), grade


def was_busy(machine: Machine) -> str | None:
    """That a machine was busy while it was probed, in one sentence; None where it was quiet."""
    if machine.unsteady_ratio <= BUSY_RATIO:
        return None
    return (
        f"{machine.name} was busy while it was probed: two halves of the probe lie "
        f"{machine.unsteady_ratio * 100:.0f} % apart. When it is quiet, type mfubench predict "
        "--probe."
    )


def machine_of(probe: Probe, source: str) -> Machine:
    """The machine that a probe describes."""
    rates = Rates(probe.operators)
    modes = {(a.setting.dtype, a.setting.compile) for a in probe.anchors}
    fits = {
        mode: fit(
            [a for a in probe.anchors if (a.setting.dtype, a.setting.compile) == mode],
            rates,
            overlaps=not probe.device.startswith("cpu"),  # there the host runs ahead
        )
        for mode in modes
    }
    return Machine(
        device=probe.device,
        name=probe.device_name,
        rates=rates,
        fits=fits,
        grade="anchored" if fits else "ceilings",
        peaks=probe.peak_flops_per_s,
        total_memory_bytes=probe.total_memory_bytes,
        source=source,
        loop_s=probe.loop_s,
        unsteady_ratio=probe.unsteady_ratio,
        native_dtypes=tuple(probe.native_dtypes),
    )


def ceilings_of(probe: Probe) -> Ceilings:
    """The limits that were measured with a probe."""
    return Ceilings(
        gemm_flops_per_s=probe.gemm_flops_per_s,
        bandwidth_bytes_per_s=probe.bandwidth_bytes_per_s,
        dispatch_s=probe.dispatch_s,
    )


def stored_probe(
    folder: Path, *, kind: str | None = None, **wanted: object
) -> tuple[Probe, Path] | None:
    """The newest probe in a machine's folder whose fields are as wanted, of a kind of device (cpu,
    cuda, cuda:1) or of any; one that another version wrote, or that is broken, is passed over."""
    for path in saved_documents(folder, PROBE):
        try:
            probe = read_document(path).read(Probe)
        except ResultError:
            continue
        # A probe says the GPU's name too: cuda (NVIDIA H200).
        if kind is not None and probe.device.partition(" ")[0] != kind:
            continue
        if all(getattr(probe, name) == value for name, value in wanted.items()):
            return probe, path
    return None


def threads_of(asked: int | None) -> int:
    """Intra-operator threads as the suite would choose them, found without torch."""
    if asked is not None:
        return asked
    from mfubench.hardware.cpu import usable_cores  # psutil is slow to import

    usable = max(1, int(usable_cores().count))
    told = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(told), usable) if told.isdecimal() and int(told) > 0 else usable


def scaled(
    reference: Probe, ceilings: Ceilings, *, device: str, name: str, **known: object
) -> Machine:
    """A machine of which only the ceilings were measured: a reference's operators, faster or slower
    as the ceilings are.

    Products, attention and GELU go with the matrix products of their dtype, what moves memory with
    the bandwidth, launches with the dispatch. In a dtype without a ceiling nothing is known.
    """
    own = ceilings_of(reference)
    products = {
        dtype: rate / own.gemm_flops_per_s[dtype]
        for dtype, rate in ceilings.gemm_flops_per_s.items()
        if dtype in own.gemm_flops_per_s
    }
    bandwidth = ceilings.bandwidth_bytes_per_s / own.bandwidth_bytes_per_s
    launch = own.dispatch_s / ceilings.dispatch_s
    least = _least(reference.operators)
    times = []
    for time in reference.operators:
        speed = products.get(time.dtype)
        if time.operator not in BOUND_BY_PRODUCTS:
            speed = bandwidth if speed or time.operator in DTYPELESS else None
        if speed is None:
            continue
        launch_s = min(time.seconds, least[time.operator, time.dtype])
        seconds = launch_s / launch + (time.seconds - launch_s) / speed
        times.append(
            OperatorTime(
                operator=time.operator, dtype=time.dtype, shape=time.shape, seconds=seconds
            )
        )
    here = machine_of(reference, "")
    return replace(here, device=device, name=name, rates=Rates(times), grade="ceilings", **known)  # type: ignore[arg-type]


def _least(times: Iterable[OperatorTime]) -> dict[tuple[str, str], float]:
    """The fastest time of each operator in each dtype: its launch."""
    found: dict[tuple[str, str], float] = {}
    for time in times:
        key = time.operator, time.dtype
        found[key] = min(found.get(key, time.seconds), time.seconds)
    return found


def stored_ceilings(folder: Path, device: str | None = None) -> tuple[Ceilings, str, str]:
    """The ceilings in a machine's newest runs, with the device and its name.

    Raises UnknownMachineError where there are none.
    """
    gemm: dict[str, float] = {}
    bandwidth: list[float] = []
    dispatch: list[float] = []
    found, name = device, ""
    problem = ""
    for path in reversed(saved_runs(folder)):
        try:
            result = read_result(path)
        except ResultError as error:
            problem = problem or str(error)
            continue
        records = [r for r, _ in result.records if r.outcome is Outcome.OK]
        for record in records:
            if record.question != "ceiling" or record.ceiling_rate_per_s is None:
                continue
            found = found or record.device
            if record.device != found:
                continue
            rate = record.ceiling_kept_rate_per_s or record.ceiling_rate_per_s
            if record.ceiling_kind == "gemm":
                gemm.setdefault(str(record.dtype), rate)
            elif record.ceiling_kind == "triad":
                bandwidth.append(rate)
            elif record.ceiling_kind == "dispatch":
                dispatch.append(rate)
            header = result.run.header
            if header is not None and not name:
                name = str(header.devices.get(found or "", {}).get("name") or "")
    if not (gemm and bandwidth and dispatch):
        why = f" ({problem})" if problem else ""
        raise UnknownMachineError(
            f"{folder} has no stored ceilings{why}; on that machine type mfubench predict (a probe "
            "of a minute), or mfubench bench --only ceilings"
        )
    return (
        Ceilings(
            gemm_flops_per_s=gemm,
            bandwidth_bytes_per_s=statistics.median(bandwidth),
            dispatch_s=1 / statistics.median(dispatch),
        ),
        str(found),
        name or str(found),
    )


def refuse_device_name(name: str) -> str:
    """The sentence for a device that no table has, with the nearest names."""
    known = {fold_name(own).words: own for row in reversed(rows()) for own in row["names"]}
    near = nearest(fold_name(name).words, known)
    hint = f"; did you mean {' or '.join(repr(known[n]) for n in near)}?" if near else ""
    return (
        f"{name!r} is no device of this machine, no folder of results, and not in the table of "
        f"peaks{hint or ', which has for instance ' + repr(rows()[0]['names'][0])}"
    )


def is_in_table(name: str) -> bool:
    """Whether the table of peaks has a device of that name, its bandwidth too."""
    found = lookup(name)
    return found is not None and found.bandwidth_bytes_per_s is not None
