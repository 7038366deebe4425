"""The figures that each claim is judged by: JSON types, saved with the answer."""

from __future__ import annotations

from typing import Any

from mfubench_model.conventions import A100_BF16_PEAK_FLOPS_PER_S, CONVENTIONS
from mfubench_model.flops import model_flops_per_step

from mfubench.claims.measure.bench import PRESET, ClaimBench
from mfubench.claims.rules.machines import LARGE_BATCH
from mfubench.claims.rules.other_machine import OtherLoop
from mfubench.claims.rules.verdicts import CARD_TFLOPS, CARD_TOLERANCE, compile_verdict
from mfubench.hardware.cpu import usable_cores
from mfubench.hardware.devices import Device
from mfubench.hardware.pci import display_devices, listed_vendors
from mfubench.hardware.peaks import DevicePeaks, lookup, rows
from mfubench.results.bars import COMPUTE, DISPATCH_BOUND, INPUT, MEMORY, OUTSIDE, SYNC
from mfubench.results.outcomes import Outcome, known
from mfubench.suite.outcomes import CaseEnded

Figures = dict[str, Any]
CARD = "NVIDIA GeForce RTX 4070 Ti"
OTHER_BACKENDS = {"xpu": "Intel's xpu", "cuda": "AMD's ROCm", "mps": "Apple's mps"}


def printed_mfu(bench: ClaimBench) -> Figures:
    """What nanoGPT would print of the loop, beside the shares of this CPU."""
    cpu = bench.session.device("cpu")
    ceiling = bench.session.gemm_ceiling(cpu, "float32")
    if ceiling is None:
        raise CaseEnded(Outcome.UNSUPPORTED, "no float32 matrix product could be timed")
    config, batch_size = bench.preset.config, bench.preset.batch_size
    iteration_s = bench.iteration_s()
    achieved = model_flops_per_step(config, batch_size) / iteration_s
    peak, _ = cpu.peak("float32")
    nanogpt_flops = CONVENTIONS["nanogpt"].flops_per_step(config, batch_size)
    return {
        "printed_share": nanogpt_flops / iteration_s / A100_BF16_PEAK_FLOPS_PER_S,
        "ceiling_flops_per_s": ceiling.rate_per_s,
        "ceiling_share": achieved / ceiling.rate_per_s,
        "mfu": achieved / peak if peak else None,
    }


def peaks_of_the_cpu(bench: ClaimBench) -> Figures:
    """Derived peak and measured ceiling of every format that the CPU computes in."""
    cpu = bench.session.device("cpu")
    dtypes = cpu.native_dtypes()
    ceilings = {dtype: bench.session.gemm_ceiling(cpu, dtype) for dtype in dtypes}
    return {
        "peaks_flops_per_s": {dtype: cpu.peak(dtype)[0] for dtype in dtypes},
        "ceilings_flops_per_s": {d: c.rate_per_s if c else None for d, c in ceilings.items()},
        "cores": usable_cores().count,
    }


def peaks_of_the_card(bench: ClaimBench) -> Figures:
    """The table's row of the card, and what it sustains where it is here."""
    row = lookup(CARD)
    assert row is not None, "the table has this card"
    specified = row.flops_per_s("float16")
    assert specified is not None
    here = next((d for d in bench.accelerators() if _is(row, d)), None)
    ceiling = bench.session.gemm_ceiling(here, "float16") if here is not None else None
    claimed = CARD_TFLOPS * 1e12
    return {
        "specified_flops_per_s": specified,
        "source": f"{row.source}, as of {row.source_date}",
        "measured_flops_per_s": ceiling.rate_per_s if ceiling else None,
        "others_like_it": [
            other["names"][0]
            for other in rows()
            if other["names"][0].startswith(CARD.removesuffix(" Ti"))
            and abs(other["flops_per_s"]["float32"] / claimed - 1) <= CARD_TOLERANCE
        ],
    }


def _is(row: DevicePeaks, device: Device) -> bool:
    found = lookup(device.name, memory_bytes=device.total_memory_bytes())
    return found is not None and found.name == row.name


def time_of_the_loop(bench: ClaimBench) -> Figures:
    """The groups of the iteration's account; evaluation and checkpoint are another claim's."""
    record = bench.breakdown("cpu", "float32", loop=True)
    groups = known(record.breakdown_groups)
    whole_s = known(record.breakdown_step_s)
    inside_s = whole_s - groups.get(OUTSIDE, 0.0)
    names = {
        INPUT: "data",
        DISPATCH_BOUND: "dispatch and Python",
        MEMORY: "other operators",
        SYNC: "logging",
    }
    return {
        "shares": {words: groups[name] / inside_s for name, words in names.items()},
        "compute_share": groups[COMPUTE] / inside_s,
        "unexplained_ratio": known(record.breakdown_unexplained) * whole_s / inside_s,
    }


def extras_of_the_loop(bench: ClaimBench) -> Figures:
    """What evaluation, checkpoint and reading the loss at each iteration cost."""
    effect = bench.effect("log every 100")
    costs = {name: dict(cost) for name, cost in bench.extras().items()}
    costs["log_interval=1"] = {
        "share": effect["ratio"] - 1,
        "low": effect["low"] - 1,
        "high": effect["high"] - 1,
        "pairs": effect["pairs"],
    }
    return {"costs": costs}


def gpu_cases(bench: ClaimBench) -> Figures:
    """The preset's batch and a large one, in single and half precision, on the first GPU."""
    device = bench.accelerators()[0]
    name = _name(device)
    single, *half = device.native_dtypes()
    cases = []
    for batch_size in (bench.preset.batch_size, LARGE_BATCH):
        for dtype in (single, *half):
            record = bench.step(name, dtype, batch_size)
            cases.append(
                {
                    "batch_size": batch_size,
                    "dtype": dtype,
                    "mfu": record.mfu,
                    "printed_share": record.mfu_a100,
                }
            )
    try:
        record = bench.breakdown(name, single, loop=False)
        groups = known(record.breakdown_groups)
        waiting = (groups[DISPATCH_BOUND] + groups[MEMORY]) / known(record.breakdown_step_s)
    except CaseEnded:  # no account, no share; the rest of the claim is judged all the same
        waiting = None
    return {"cases": cases, "waiting_share": waiting}


def larger_batches(bench: ClaimBench) -> Figures:
    """Two and four times the preset's batch."""
    size = bench.preset.batch_size
    return {"effects": {str(n * size): bench.effect(f"batch x{n}") for n in (2, 4)}}


def compiled(bench: ClaimBench) -> Figures:
    """torch.compile, looked at until its gain is told from the claimed one."""
    return {"effect": bench.effect("compile", compile_verdict)}


def whole_runs(bench: ClaimBench) -> Figures:
    """A run on the CPU; on a GPU that is here, or as another machine's run predicts it."""
    gpu: Figures | None = None
    if accelerators := bench.accelerators():
        gpu = {**bench.training(_name(accelerators[0])), "source": accelerators[0].name}
    elif (other := bench.gpu_elsewhere()) and other.predicted_training_s is not None:
        gpu = {
            "predicted_s": other.predicted_training_s,
            "trained_s": None,
            "source": f"{other.name}, predicted there,",
        }
    return {"cpu": bench.training(), "gpu": gpu}


def two_machines(bench: ClaimBench) -> Figures:
    """A GPU's loop and a CPU's: one here and one of another run, or both here in pairs."""
    given = bench.given_loops()
    other = next((loop for loop in given if loop.on_cpu), None)
    if accelerators := bench.accelerators():
        device = accelerators[0]
        if other is not None:  # a GPU here, a CPU there
            return _sides(cpu=other, gpu=_loop_here(bench, device))
        changes = {"device": _name(device), "dtype": device.native_dtypes()[0]}
        effect = bench.pairs(bench.knob_bench().base.changed(changes), device.name)
        here = _loop_here(bench, bench.session.device("cpu"))
        return {**_sides(cpu=here, gpu=_loop_here(bench, device)), "effect": effect}
    gpu = bench.gpu_elsewhere()
    assert gpu is not None, "needs_another_machine comes first"
    return _sides(cpu=_loop_here(bench, bench.session.device("cpu")), gpu=gpu)


def _loop_here(bench: ClaimBench, device: Device) -> OtherLoop:
    tokens = bench.preset.batch_size * bench.preset.config.block_size
    return OtherLoop(
        name=f"{device.name} (here)",
        on_cpu=device.kind == "cpu",
        tokens_per_s=tokens / bench.iteration_s(_name(device)),
        predicted_training_s=None,
        batch_size=bench.preset.batch_size,
    )


def _sides(*, cpu: OtherLoop, gpu: OtherLoop) -> Figures:
    return {
        "cpu_name": cpu.name,
        "cpu_tokens_per_s": cpu.tokens_per_s,
        "gpu_name": gpu.name,
        "gpu_tokens_per_s": gpu.tokens_per_s,
    }


def backends(bench: ClaimBench) -> Figures:
    """Intel's, AMD's and Apple's GPUs: whether each is here, trains, and at what MFU."""
    return {"backends": [_backend(bench, kind, name) for kind, name in OTHER_BACKENDS.items()]}


def _backend(bench: ClaimBench, kind: str, name: str) -> Figures:
    device = bench.session.device(kind)
    reason = device.unavailable_reason()
    if reason is None and kind == "cuda" and device.description().get("platform") != "ROCm":
        reason = f"the GPU here is {device.name}"
    if reason is not None:
        return {"name": name, "present": False, "trains": False, "mfu": None, "reason": reason}
    shares: list[float] = []
    trains = False
    for dtype in device.native_dtypes():
        try:
            mfu = bench.step(kind, dtype, bench.preset.batch_size).mfu
        except CaseEnded as end:
            reason = f"{dtype}: {end.reason}"
            continue
        trains = True
        if mfu is None:
            reason = device.peak(dtype)[1]
        else:
            shares.append(mfu)
    return {
        "name": f"{name} ({device.name})",
        "present": True,
        "trains": trains,
        "mfu": max(shares, default=None),
        "reason": reason,
    }


def vendors(bench: ClaimBench) -> Figures:
    """Every display device: its maker by vendor id, and by lspci's words."""
    listed = listed_vendors()
    return {
        "devices": [
            {"ids": pci.ids, "vendor": pci.vendor, "text": listed.get(pci.address)}
            for pci in display_devices()
        ]
    }


def needs_gpu(bench: ClaimBench) -> str | None:
    """Why no claim about a GPU can be tested here, None where one is present."""
    if bench.accelerators():
        return None
    asked = bench.session.options.devices
    if asked is not None:
        return f"no GPU among --devices {','.join(asked)}"
    absent = [bench.session.device(kind).unavailable_reason() for kind in OTHER_BACKENDS]
    return "no GPU here: " + "; ".join(reason for reason in absent if reason)


def needs_another_machine(bench: ClaimBench) -> str | None:
    """Why a CPU and a GPU cannot be compared, and what to type."""
    if bench.accelerators() or bench.gpu_elsewhere() is not None:
        return None
    loop = f"a training loop of {PRESET} at batch {bench.preset.batch_size} on a GPU"
    path = bench.session.options.claims_against
    if path is not None:
        return f"{path.name} has no {loop[2:]}, and there is no GPU here"
    return (
        f"no GPU here, and no saved run has {loop}; on the machine with the GPU type "
        "pytest benchmarks/test_train_loop.py, then here "
        "pytest benchmarks/test_claims.py -k C12 --claims-against FILE"
    )


def _name(device: Device) -> str:
    return f"{device.kind}:{device.index}" if device.index else device.kind
