"""What a self-test plants beside the pairs, and how the gate's processes are bound to cores."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mfubench.gate.measure import self_test as gate_self_test
from mfubench.gate.measure.cases import BINDING, gate_cases
from mfubench.gate.measure.variants import HARNESS, variant
from mfubench.pairs.fork_server import ForkServers
from mfubench.pairs.side import Side


class FakeProcess:
    def __init__(self) -> None:
        self.told: list[str] = []

    def suspend(self) -> None:
        self.told.append("suspend")

    def resume(self) -> None:
        self.told.append("resume")


def test_a_one_sided_load_computes_beside_the_candidate_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = FakeProcess()

    @contextlib.contextmanager
    def load() -> Iterator[FakeProcess]:
        yield process

    monkeypatch.setattr(gate_self_test, "background_load", load)
    with gate_self_test.one_sided_load() as beside:
        assert process.told == ["suspend"]
        with beside():
            assert process.told[-1] == "resume"
        assert process.told[-1] == "suspend"


@pytest.mark.parametrize(("settings", "is_bound"), [({}, True), ({"cpus": (0,)}, False)])
def test_threads_are_bound_to_cores_unless_cpus_are_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Mapping[str, Any], is_bound: bool
) -> None:
    environments: list[dict[str, str]] = []

    def kept(_: Side, __: list[str], *, environment: dict[str, str], **___: object) -> None:
        environments.append(environment)

    monkeypatch.setattr(Side, "__init__", kept)
    (case,) = gate_cases("nanogpt-cpu", "cpu")[:1]
    side = variant("candidate", HARNESS, tmp_path / "a", settings=settings)
    side.start(case, ForkServers(), cache=tmp_path)
    (environment,) = environments
    assert all((name in environment) == is_bound for name in BINDING)
    assert int(environment["GOMP_SPINCOUNT"]) < 100_000
    assert environment["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "inductor"), "of both sides"
