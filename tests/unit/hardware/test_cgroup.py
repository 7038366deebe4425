"""A container's limits are found under either generation of control groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest

from mfubench.hardware import cgroup
from mfubench.hardware.memory import memory_available_bytes, memory_total_bytes

if TYPE_CHECKING:
    from pathlib import Path


class Machine:
    """A /proc and a /sys/fs/cgroup made of files."""

    def __init__(self, root: Path, membership: str) -> None:
        self.proc, self.cgroup_root = root / "proc", root / "cgroup"
        self.write(self.proc / "self/cgroup", membership)

    @staticmethod
    def write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")

    def put(self, path: str, text: str) -> None:
        self.write(self.cgroup_root / path, text)

    @property
    def quota(self) -> float | None:
        return cgroup.cpu_quota(self.proc, self.cgroup_root)

    @property
    def limit(self) -> int | None:
        return cgroup.memory_limit_bytes(self.proc, self.cgroup_root)

    @property
    def headroom(self) -> int | None:
        return cgroup.memory_headroom_bytes(self.proc, self.cgroup_root)


def test_a_quota_of_the_own_group_counts(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "0::/job")
    machine.put("job/cpu.max", "150000 100000")
    assert machine.quota == 1.5


def test_the_strictest_ancestor_binds(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "0::/slice/service/job")
    machine.put("slice/service/job/cpu.max", "max 100000")
    machine.put("slice/service/cpu.max", "400000 100000")
    machine.put("slice/cpu.max", "200000 100000")
    assert machine.quota == 2.0


def test_a_host_path_that_the_container_cannot_see_falls_back_to_the_root(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "4:cpu,cpuacct:/docker/abc\n0::/")
    machine.put("cpu,cpuacct/cpu.cfs_quota_us", "50000")
    machine.put("cpu,cpuacct/cpu.cfs_period_us", "100000")
    assert machine.quota == 0.5


@pytest.mark.parametrize("text", ["max 100000", "", "nonsense", "0 0", "100000 0"])
def test_what_is_no_quota_is_none(tmp_path: Path, text: str) -> None:
    machine = Machine(tmp_path, "0::/")
    machine.put("cpu.max", text)
    assert machine.quota is None


def test_minus_one_is_no_quota_in_the_first_generation(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "1:cpu:/")
    machine.put("cpu/cpu.cfs_quota_us", "-1")
    machine.put("cpu/cpu.cfs_period_us", "100000")
    assert machine.quota is None


def test_no_control_groups_means_no_limits(tmp_path: Path) -> None:
    empty = tmp_path / "nothing"
    assert cgroup.cpu_quota(empty, empty) is None
    assert cgroup.memory_limit_bytes(empty, empty) is None


def test_page_cache_that_can_be_dropped_is_free(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "0::/job")
    machine.put("job/memory.max", "1000")
    machine.put("job/memory.current", "900")
    machine.put("job/memory.stat", "anon 500\ninactive_file 300")
    assert (machine.limit, machine.headroom) == (1000, 400)


def test_the_first_generation_writes_no_limit_as_a_huge_number(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "4:memory:/")
    machine.put("memory/memory.limit_in_bytes", str(2**63 - 4096))
    assert machine.limit is None


def test_memory_is_bounded_by_the_group(tmp_path: Path) -> None:
    machine = Machine(tmp_path, "0::/")
    machine.put("memory.max", "4096000")
    machine.put("memory.current", "96000")
    assert memory_total_bytes(machine.proc, machine.cgroup_root) == 4096000
    assert memory_available_bytes(machine.proc, machine.cgroup_root) == 4000000


def test_memory_without_a_limit_is_the_machines(tmp_path: Path) -> None:
    assert memory_total_bytes(tmp_path, tmp_path) == psutil.virtual_memory().total
