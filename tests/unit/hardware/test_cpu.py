"""Usable cores, clock and derived peak of a CPU, on machines made of files."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import pytest

from mfubench.hardware import cpu_clock
from mfubench.hardware.cpu import UsableCores, derived_peak, usable_cores
from mfubench.hardware.cpu_clock import Clock, clock_hz, measured_clock_hz
from mfubench.hardware.cpu_identity import CpuIdentity

if TYPE_CHECKING:
    from pathlib import Path

ZEN_3 = CpuIdentity("AuthenticAMD", "AMD EPYC", 25, 1, 1, frozenset({"avx2", "fma"}))
TWO_CORES = UsableCores(2.0, 2, 2, 2, None, "")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def machine(root: Path, siblings: list[str], cpu_max: str = "max 100000") -> Path:
    write(root / "proc/self/cgroup", "0::/")
    write(root / "cgroup/cpu.max", cpu_max)
    for cpu, text in enumerate(siblings):
        write(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", text)
    return root


def cores_of(root: Path, affinity: set[int], logical: int) -> UsableCores:
    return usable_cores(
        proc=root / "proc",
        cgroup_root=root / "cgroup",
        sysfs=root / "sys",
        affinity=frozenset(affinity),
        logical=logical,
    )


def test_threads_of_one_core_count_once(tmp_path: Path) -> None:
    root = machine(tmp_path, ["0,2", "1,3", "0,2", "1,3"])
    cores = cores_of(root, {0, 1, 2, 3}, 4)
    assert (cores.count, cores.physical, cores.affinity) == (2.0, 2, 4)
    assert "on 2 physical cores" in cores.source


def test_the_affinity_mask_bounds_the_count(tmp_path: Path) -> None:
    root = machine(tmp_path, ["0", "1", "2", "3"])
    assert cores_of(root, {1, 3}, 4).count == 2.0


def test_a_quota_bounds_the_count_and_may_be_a_fraction(tmp_path: Path) -> None:
    root = machine(tmp_path, ["0", "1", "2", "3"], "150000 100000")
    cores = cores_of(root, {0, 1, 2, 3}, 4)
    assert (cores.count, cores.quota) == (1.5, 1.5)
    assert "quota of 1.5 CPUs" in cores.source


def test_a_quota_of_two_on_threaded_cores_is_two_cores(tmp_path: Path) -> None:
    root = machine(tmp_path, ["0,2", "1,3", "0,2", "1,3"], "200000 100000")
    assert cores_of(root, {0, 1, 2, 3}, 4).count == 2.0


def test_without_topology_every_cpu_is_a_core(tmp_path: Path) -> None:
    (tmp_path / "sys/devices/system/cpu").mkdir(parents=True)
    assert cores_of(tmp_path, {0, 1, 2}, 3).count == 3.0


def test_this_machine_has_at_least_a_sliver_of_a_core() -> None:
    cores = usable_cores()
    assert 0 < cores.count <= cores.physical <= cores.affinity <= cores.logical


def files_with_clocks(root: Path, reported_mhz: str, max_khz: str) -> tuple[Path, Path]:
    write(root / "proc/cpuinfo", f"processor\t: 0\ncpu MHz\t\t: {reported_mhz}")
    write(root / "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", max_khz)
    return root / "proc", root / "sys"


@pytest.mark.parametrize(
    ("measured_hz", "hz", "source"),
    [
        (3.5e9, 3.5e9, "measured; 2.45 GHz reported"),
        (2.9e9, 3.0e9, "maximum; 2.45 GHz reported"),
        (None, 3.0e9, "maximum; 2.45 GHz reported"),
    ],
)
def test_the_highest_clock_counts_and_is_named(
    tmp_path: Path, measured_hz: float | None, hz: float, source: str
) -> None:
    proc, sysfs = files_with_clocks(tmp_path, "2450.0", "3000000")
    clock = clock_hz(proc=proc, sysfs=sysfs, measure=lambda: measured_hz)
    assert clock == Clock(hz, source, 2.45e9, 3.0e9, measured_hz)


def test_a_clock_that_nothing_tells_is_unknown(tmp_path: Path) -> None:
    clock = clock_hz(proc=tmp_path, sysfs=tmp_path, measure=lambda: None)
    assert clock.hz is None
    assert clock.source.startswith("unknown")


def test_malformed_clocks_are_ignored(tmp_path: Path) -> None:
    proc, sysfs = files_with_clocks(tmp_path, "unknown", "-5")
    clock = clock_hz(proc=proc, sysfs=sysfs, measure=lambda: None)
    assert (clock.reported_hz, clock.max_hz) == (None, None)


def test_the_measured_clock_is_plausible_or_none() -> None:
    hz = measured_clock_hz()
    assert hz is None or 0.3e9 <= hz <= 10e9


def test_the_machine_code_jumps_back_to_its_first_multiplication() -> None:
    code = cpu_clock.MACHINE_CODE
    first = code.index(bytes.fromhex("0fafc1"))
    jump = code.index(b"\x75", len(code) - 3)
    displacement = int.from_bytes(code[jump + 1 : jump + 2], "little", signed=True)
    assert jump + 2 + displacement == first
    assert code[-1:] == b"\xc3"


@pytest.mark.parametrize("refusal", [OSError("refused"), ValueError("no address")])
def test_a_refused_executable_page_gives_no_clock(
    monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    def refuse() -> float:
        raise refusal

    monkeypatch.setattr(cpu_clock, "_fastest_chain_s", refuse)
    assert cpu_clock.measured_clock_hz.__wrapped__() is None


def test_an_implausible_reading_gives_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_clock, "_fastest_chain_s", lambda: 1e-9)
    assert cpu_clock.measured_clock_hz.__wrapped__() is None


def test_other_architectures_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert cpu_clock.measured_clock_hz.__wrapped__() is None


def test_a_peak_is_rate_times_cores_times_clock_and_says_so() -> None:
    clock = Clock(3.49e9, "measured; 2.45 GHz reported", 2.45e9, None, 3.49e9)
    peak = derived_peak("float32", identity=ZEN_3, cores=TWO_CORES, clock=clock)
    assert peak is not None
    assert peak.flops_per_s == pytest.approx(2 * 32 * 3.49e9)
    assert peak.source == (
        "derived: AVX2 with two 256-bit FMA units, 32 FLOPs per cycle x 2 usable cores"
        " x 3.49 GHz (measured; 2.45 GHz reported)"
    )


def test_a_peak_with_an_unknown_factor_is_unknown() -> None:
    nothing = Clock(None, "unknown", None, None, None)
    stranger = CpuIdentity("unknown", "unknown")
    some = Clock(3e9, "maximum", None, 3e9, None)
    assert derived_peak("float32", identity=ZEN_3, cores=TWO_CORES, clock=nothing) is None
    assert derived_peak("float32", identity=stranger, cores=TWO_CORES, clock=some) is None
    assert derived_peak("tf32", identity=ZEN_3, cores=TWO_CORES, clock=some) is None
