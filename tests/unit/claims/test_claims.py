"""Every claim is one declaration; what each measures is what its judge takes, on fakes of GPUs."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mfubench.claims.measure import figures as claim_figures
from mfubench.claims.measure.ask import CLAIMS, Claim
from mfubench.claims.measure.bench import ClaimBench, Verdict
from mfubench.claims.rules.other_machine import OtherLoop
from mfubench.claims.rules.verdicts import (
    DOES_NOT_HOLD,
    HOLDS,
    UNTESTABLE,
    VERDICTS,
    Answer,
    of_effect,
)
from mfubench.hardware.ceiling_cache import StoredCeiling
from mfubench.hardware.devices import CpuDevice, CudaDevice, Device, MpsDevice, XpuDevice
from mfubench.hardware.pci import PciDevice
from mfubench.measure.loop_config import LoopConfig
from mfubench.results.outcomes import Outcome
from mfubench.results.record import CaseRecord
from mfubench.suite.outcomes import CaseEnded
from mfubench.suite.progress import Progress
from mfubench.suite.session import BenchSession
from mfubench.suite.single import StreamScreen
from mfubench.suite.sweep import SweepOptions
from tests.unit.hardware.fake_cuda import FakeCuda, cuda

EFFECT: dict[str, Any] = {
    "ratio": 1.05,
    "low": 1.04,
    "high": 1.06,
    "pairs": 40,
    "verdict": "helps",
    "start_up_s": 20.0,
    "break_even_iters": 9000.0,
    "net_ratio": 0.9,
    "horizon_iters": 2000,
}
CARD = "NVIDIA GeForce RTX 4070 Ti"
GROUPS = {
    "compute-bound": 0.028,
    "memory-bound": 0.006,
    "launch/dispatch-bound": 0.004,
    "input-bound": 0.0004,
    "synchronisation-bound": 0.0,
    "evaluation and checkpoint": 0.002,
}


class FakeSession(BenchSession):
    """A run on a machine with a CPU and the given accelerators; nothing of it is measured."""

    def __init__(self, options: SweepOptions, folder: Path, accelerators: tuple[Device, ...]):
        super().__init__(options, Progress(StreamScreen(io.StringIO())), machine_dir=folder)
        self._here = {device.kind: device for device in (CpuDevice(), *accelerators)}
        self.device_names = options.devices or tuple(self._here)

    def device(self, name: str) -> Device:
        absent: dict[str, Device] = {
            "cuda": CudaDevice(torch_version=SimpleNamespace(__version__="0", cuda=None, hip=None)),
            "xpu": XpuDevice(torch_version=SimpleNamespace(__version__="0", xpu=None)),
            "mps": MpsDevice(),
        }
        return self._here.get(name) or absent[name]  # type: ignore[call-overload]

    def gemm_ceiling(self, device: Device, dtype: str, *, renew: bool = False) -> StoredCeiling:
        return StoredCeiling(
            kind="gemm",
            device=device.kind,
            dtype=dtype,
            threads=1,
            torch_version="0",
            rate_per_s=60e12 if device.kind == "cuda" else 188e9,
            noise_ratio=0.01,
            measured_at_s=0.0,
        )


class FakeBench(ClaimBench):
    """Figures that need no machine."""

    def __init__(self, session: BenchSession) -> None:
        super().__init__(session)
        self.elsewhere: OtherLoop | None = None
        self.given: list[OtherLoop] = []
        self.steps: list[tuple[str, str, int]] = []
        self.refuses: dict[str, str] = {}
        """Data types that cannot train, and why."""
        self.paired: list[LoopConfig] = []

    def knob_reason(self, name: str) -> str | None:
        return None

    def effect(self, name: str, verdict: Verdict = of_effect) -> dict[str, Any]:
        return EFFECT

    def pairs(self, config: LoopConfig, what: str, verdict: Verdict = of_effect) -> dict[str, Any]:
        self.paired.append(config)
        return {**EFFECT, "ratio": 15.0, "low": 14.0, "high": 16.0}

    def extras(self) -> dict[str, dict[str, float]]:
        return {"evaluation": {"share": 0.05, "low": 0.04, "high": 0.06, "pairs": 40}}

    def iteration_s(self, device: str = "cpu") -> float:
        return 0.04 if device == "cpu" else 0.004

    def training(self, device: str = "cpu") -> dict[str, Any]:
        seconds = 2000 * self.iteration_s(device)
        return {
            "max_iters": 2000,
            "trained_iters": 200,
            "predicted_s": seconds,
            "trained_s": seconds,
            "iteration_s": seconds / 2000,
        }

    def step(self, device: str, dtype: str, batch_size: int) -> CaseRecord:
        self.steps.append((device, dtype, batch_size))
        if reason := self.refuses.get(dtype):
            raise CaseEnded(Outcome.UNSUPPORTED, reason)
        mfu = 0.10 if batch_size == 12 and dtype == "tf32" else 0.17
        return CaseRecord(
            case_id="x", question="train-step", device=device, mfu=mfu, mfu_a100=mfu / 4
        )

    def breakdown(self, device: str, dtype: str, *, loop: bool) -> CaseRecord:
        record = CaseRecord(case_id="x", question="breakdown", device=device)
        record.breakdown_groups = dict(GROUPS)
        record.breakdown_step_s, record.breakdown_unexplained = 0.0404, 0.0
        return record

    def given_loops(self) -> list[OtherLoop]:
        return self.given

    def gpu_elsewhere(self) -> OtherLoop | None:
        return self.elsewhere


Bench = Callable[..., FakeBench]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Makes the bench of a machine with the given accelerators."""
    sessions: list[FakeSession] = []

    def make(*accelerators: Device, **options: Any) -> FakeBench:
        sessions.append(FakeSession(SweepOptions(**options), tmp_path, accelerators))
        return FakeBench(sessions[-1])

    yield make
    for session in reversed(sessions):
        session.close()


def gpu(name: str = CARD) -> CudaDevice:
    fake = FakeCuda(name, (8, 9))
    fake.properties.total_memory = int(11.7 * 2**30)
    return cuda(fake)


def rocm() -> CudaDevice:
    fake = FakeCuda("AMD Instinct MI300X", (9, 4))
    fake.properties.total_memory = int(191.9 * 2**30)
    return cuda(fake, hip="7.0")


def claim(claim_id: str) -> Claim:
    return next(claim for claim in CLAIMS if claim.id == claim_id)


def answer(claim_id: str, on: ClaimBench) -> Answer:
    asked = claim(claim_id)
    assert asked.needs(on) is None
    return asked.judge(**asked.measure(on))


def test_ids_are_in_order_and_every_claim_has_its_words() -> None:
    assert [claim.id for claim in CLAIMS] == [f"C{n}" for n in range(1, 15)]
    for asked in CLAIMS:
        assert asked.words.endswith(".")
        assert asked.test
        assert asked.rule


@pytest.mark.parametrize("asked", CLAIMS, ids=lambda asked: asked.id)
def test_what_is_measured_is_what_the_judge_takes(bench: Bench, asked: Claim) -> None:
    said = asked.judge(**asked.measure(bench(gpu())))
    assert said.verdict in VERDICTS


def test_a_card_that_is_here_is_held_against_its_own_ceiling(bench: Bench) -> None:
    assert "not measured" in answer("C3", bench()).because
    assert "sustained 60 TFLOP/s here" in answer("C3", bench(gpu())).because
    other = answer("C3", bench(gpu("NVIDIA A100-SXM4-80GB")))
    assert "not measured" in other.because


def test_the_table_refutes_the_claimed_peak_and_names_the_card_it_fits(bench: Bench) -> None:
    said = answer("C3", bench())
    assert (said.verdict, said.value) == (DOES_NOT_HOLD, 80.2e12)
    assert "NVIDIA GeForce RTX 4070" in said.because.partition("not measured")[2]


def test_shares_of_the_loop_leave_evaluation_out(bench: Bench) -> None:
    said = answer("C4", bench())
    assert said.value == pytest.approx(0.0104 / 0.0384)


def test_a_gpu_is_swept_over_batch_and_dtype_and_judged(bench: Bench) -> None:
    on = bench(gpu())
    said = answer("C6", on)
    assert on.steps == [("cuda", d, b) for b in (12, 128) for d in ("tf32", "bfloat16")]
    assert said.value == 0.10
    assert said.verdict == DOES_NOT_HOLD  # launches and memory take a quarter of the fake's step
    assert "24.8 % of the step" in said.because


@pytest.mark.parametrize(
    ("asked", "words"), [(None, "no GPU here"), (("cpu",), "no GPU among --devices cpu")]
)
def test_without_a_gpu_its_claim_says_why(
    bench: Bench, asked: tuple[str, ...] | None, words: str
) -> None:
    assert words in str(claim("C6").needs(bench(devices=asked)))


def test_a_whole_run_counts_a_gpu_here_or_another_machines_prediction(bench: Bench) -> None:
    assert answer("C11", bench()).verdict == DOES_NOT_HOLD  # 80 s on the fake CPU
    assert CARD in answer("C11", bench(gpu())).because
    on = bench()
    on.elsewhere = OtherLoop(
        name="a GPU",
        on_cpu=False,
        tokens_per_s=3e5,
        predicted_training_s=6.0,
        batch_size=12,
    )
    assert "on a GPU, predicted there, 6 s" in answer("C11", on).because


def loop(name: str, tokens_per_s: float, *, on_cpu: bool) -> OtherLoop:
    return OtherLoop(
        name=name,
        on_cpu=on_cpu,
        tokens_per_s=tokens_per_s,
        predicted_training_s=None,
        batch_size=12,
    )


def test_two_machines_are_compared_from_either_side(bench: Bench) -> None:
    here = 768 / 0.04
    laptop = bench()
    laptop.elsewhere = loop("a GPU", 12 * here, on_cpu=False)
    assert answer("C12", laptop).value == pytest.approx(12)
    desktop = bench(gpu())
    desktop.given = [loop("a laptop", 768 / 0.004 / 25, on_cpu=True)]
    assert answer("C12", desktop).value == pytest.approx(25)


def test_a_machine_with_both_is_compared_with_itself_in_pairs(bench: Bench) -> None:
    on = bench(gpu())
    said = answer("C12", on)
    assert [(config.device, config.dtype) for config in on.paired] == [("cuda", "tf32")]
    assert (said.verdict, said.low, said.high) == (HOLDS, 14.0, 16.0)


def test_without_a_second_machine_it_says_what_to_type(bench: Bench) -> None:
    assert "--claims-against FILE" in str(claim("C12").needs(bench()))
    on = bench(claims_against=Path("folder/laptop.json"))
    assert str(claim("C12").needs(on)).startswith("laptop.json has no training loop of nanogpt-cpu")


def test_rocm_is_another_backend_and_an_nvidia_gpu_is_not(bench: Bench) -> None:
    assert answer("C13", bench(gpu())).verdict == UNTESTABLE
    assert "the GPU here is NVIDIA" in answer("C13", bench(gpu())).because
    said = answer("C13", bench(rocm()))
    assert (said.verdict, said.value) == (DOES_NOT_HOLD, 0.17)


def test_a_backend_counts_what_it_trains_and_fails_when_it_trains_nothing(bench: Bench) -> None:
    on = bench(rocm())
    on.refuses = {"tf32": "a kernel is missing"}
    assert answer("C13", on).value == 0.17
    on.refuses["bfloat16"] = "no kernel"
    said = answer("C13", on)
    assert said.verdict == DOES_NOT_HOLD
    assert "does not train: bfloat16: no kernel" in said.because


def test_display_devices_are_matched_with_their_vendor_text_by_address(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        PciDevice("0000:00:02.0", 0x8086, 0x46A6, 0x030000),
        PciDevice("0000:01:00.0", 0x10DE, 0x2782, 0x030000),
    ]
    listed = {"0000:00:02.0": "Intel Corporation", "0000:01:00.0": "NVIDIA Corporation"}
    monkeypatch.setattr(claim_figures, "display_devices", lambda: found)
    monkeypatch.setattr(claim_figures, "listed_vendors", lambda: listed)
    said = answer("C14", bench())
    assert (said.verdict, said.value) == (HOLDS, 1.0)
    listed["0000:00:02.0"] = "AMD"
    assert answer("C14", bench()).verdict == DOES_NOT_HOLD
