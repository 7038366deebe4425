"""A folder of results for the tests of the report: the reference run, and documents made up here.

Nothing in it but the reference run was measured.
"""

from __future__ import annotations

import copy
import json
import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
MACHINE = "amd-epyc-2c-24g-357d7529"
RUNS = "Linux-CPython-3.11-64bit"
REFERENCE = next((ROOT / "results" / MACHINE / RUNS).glob("0001_*.json"))
OTHER_MACHINE = "made-up-desktop-8c-64g-00000000"


def reference() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(REFERENCE.read_text(encoding="utf-8"))
    return data


def case(data: dict[str, Any], case_id: str) -> dict[str, Any]:
    """A benchmark of a run, by its case."""
    return next(b for b in data["benchmarks"] if b["extra_info"]["case_id"] == case_id)


def save(folder: Path, name: str, data: object, machine: str = MACHINE, kind: str = RUNS) -> Path:
    path = folder / machine / kind / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def scaled(benchmark: dict[str, Any], factor: float) -> None:
    """Every time of a benchmark times a factor, its rates with it."""
    stats, info = benchmark["stats"], benchmark["extra_info"]
    for key in ("min", "max", "mean", "median", "q1", "q3", "iqr", "stddev", "total"):
        stats[key] *= factor
    stats["data"] = [t * factor for t in stats["data"]]
    for key in ("step_s", "iteration_amortised_s", "predicted_training_s"):
        if info.get(key):
            info[key] *= factor
    for key in ("tokens_per_s", "achieved_flops_per_s", "mfu", "ceiling_utilisation", "mfu_a100"):
        if info.get(key):
            info[key] /= factor


def nights(folder: Path, count: int = 40, *, slower_from: int = 25, machine: str = MACHINE) -> None:
    """A run a night: 6 % slower from one night on, and another torch some nights before."""
    noise = random.Random(4)
    first = datetime.fromisoformat("2026-10-01T02:00:00+00:00")
    for night in range(count):
        data = reference()
        for benchmark in data["benchmarks"]:
            benchmark["extra_info"].pop("breakdown_operators", None)
            slower = 1.06 if night >= slower_from and _is_training(benchmark) else 1.0
            scaled(benchmark, slower * noise.gauss(1.0, 0.008))
        data["datetime"] = (first + timedelta(days=night)).isoformat()
        data["commit_info"]["id"] = f"{night:02d}c0ffee{night:02d}" * 4
        if night < count // 3:
            data["mfubench"]["software"]["torch"]["version"] = "2.12.1+cpu"
        name = f"{night + 2:04d}_{night:012d}_20261001_020000.json"
        save(folder, name, data, machine=machine)


def _is_training(benchmark: dict[str, Any]) -> bool:
    return str(benchmark["extra_info"]["question"]).startswith("train-")


def knob(name: str, ratio: float, low: float, high: float, verdict: str) -> dict[str, Any]:
    """A measured knob as a benchmark of a run."""
    benchmark = copy.deepcopy(case(reference(), "train-loop/nanogpt-cpu/cpu-float32-b12-eager"))
    info = benchmark["extra_info"]
    info["case_id"], info["question"] = f"knob/nanogpt-cpu/cpu-float32/{name}", "knob"
    info["knob"] = {
        "name": name,
        "before": "off",
        "after": "on",
        "nanogpt": f"turn {name} on in train.py",
        "pytorch": "",
        "changes_numerics": False,
        "ratio": ratio,
        "low": low,
        "high": high,
        "pairs": 24,
        "verdict": verdict,
        "beyond": max(abs(low - 1), abs(high - 1)),
        "base_s_per_token": [[5e-5] * 5],
        "candidate_s_per_token": [5e-5 / ratio] * 4,
        "bars": kept_try()["bars"] if name == "batch x4" else None,
    }
    if name == "compile":
        even = 19.0 / (5e-5 * 768 * (1 - 1 / ratio)) if ratio > 1 else None
        info["knob"] |= {
            "start_up_s": 19.0,
            "break_even_iters": even,
            "net_ratio": 0.93,
            "horizon_iters": 2000,
        }
    return benchmark


def claim(number: int, verdict: str, sentence: str, because: str) -> dict[str, Any]:
    benchmark = copy.deepcopy(case(reference(), "ceiling/dispatch/cpu"))
    info = benchmark["extra_info"]
    info["case_id"], info["question"] = f"claim/c{number}/cpu", "claim"
    claimed = {"id": f"C{number}", "claim": sentence, "verdict": verdict, "because": because}
    told = {"test": "how", "rule": "when", "conditions": "where", "figures": {}}
    measured = {"value": 0.51, "unit": "share", "low": 0.5, "high": None}
    info["claim"] = claimed | told | measured
    return benchmark


def without_number(outcome: str, batch_size: int, reason: str) -> dict[str, Any]:
    """A training step that ended without a rate."""
    info = copy.deepcopy(
        case(reference(), "train-step/nanogpt-cpu/cpu-float32-b12-eager")["extra_info"]
    )
    info |= {
        "case_id": f"train-step/nanogpt-cpu/cpu-float32-b{batch_size}-eager",
        "batch_size": batch_size,
        "outcome": outcome,
        "outcome_reason": reason,
    }
    for key in (
        "tokens_per_s",
        "achieved_flops_per_s",
        "mfu",
        "ceiling_utilisation",
        "mfu_a100",
        "step_s",
    ):
        info[key] = None
    return info


def document(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    head = {
        "kind": kind,
        "schema_version": 1,
        "mfubench_version": "0.1.0",
        "created": "2026-11-24T08:00:00+00:00",
        "fingerprint": {"id": MACHINE, "parts": {}},
        "commit": {"id": None, "dirty": None},
        "software": {},
        "settings": {},
    }
    return {"mfubench": head, kind: body}


def advice() -> dict[str, Any]:
    tokens = [7680 * i for i in range(1, 31)]

    def losses(seed: int, gain: float) -> list[float]:
        noise = random.Random(seed)
        return [4.2 * (1 + i) ** -0.18 - gain + noise.gauss(0, 0.01) for i in range(30)]

    def curves(gain: float) -> list[dict[str, Any]]:
        return [
            {"seed": s, "tokens": tokens, "losses": losses(s, gain), "validation_loss": 2.1}
            for s in range(3)
        ]

    learning = {
        "is_equal": True,
        "cost": 0.002,
        "allowed": 0.02,
        "spread": 0.02,
        "tokens": tokens[-1],
        "baseline": curves(0.0),
        "candidate": curves(0.004),
    }
    body = {
        "preset": "nanogpt-cpu",
        "device": "cpu",
        "budget_s": 300.0,
        "spent_s": 250.0,
        "ended": "complete",
        "baseline": {},
        "config": {},
        "knobs": ["malloc keeps memory", "adamw fused", "batch x4"],
        "verified": effect(1.31, 1.29, 1.33, pairs=40, processes=4),
        "control": effect(1.0, 0.98, 1.02, pairs=20, processes=2) | {"verdict": "unclear"},
        "predicted_ratio": 1.33,
        "learning": learning,
        "refusal": None,
        "tries": [kept_try()],
        "command": "MALLOC_TOP_PAD_=1 python train.py --device=cpu --batch_size=48",
        "changes": ["AdamW(…, fused=True) in configure_optimizers"],
    }
    return document("advice", body)


def effect(ratio: float, low: float, high: float, **counts: int) -> dict[str, Any]:
    beyond = max(high - 1, 1 - low)
    bounds = {"ratio": ratio, "low": low, "high": high, "beyond": beyond}
    return {**bounds, **counts, "verdict": "helps"}


def kept_try() -> dict[str, Any]:
    """A knob that was kept, with the bars that it moved."""
    bars = {"optimizer": (0.0019, 0.0007), "gemm": (0.0214, 0.0213), "unexplained": (0.001, 0.0)}
    return {
        "knob": "adamw fused",
        "on_top_of": ["malloc keeps memory"],
        "effect": effect(1.034, 1.02, 1.05, pairs=14),
        "reason": None,
        "kept": True,
        "aims_at": ["optimizer"],
        "to_win_ratio": 0.05,
        "bars": [{"name": n, "before_s": b, "after_s": a} for n, (b, a) in bars.items()],
    }


def gate() -> dict[str, Any]:
    def one(name: str, change: float, half: float, verdict: str) -> dict[str, Any]:
        metric = {
            "metric": "step time",
            "change": change,
            "low": change - half,
            "high": change + half,
            "tolerance": 0.05,
            "verdict": verdict,
            "pairs": 20,
            "reason": None,
        }
        return {
            "id": f"train-step/nanogpt-cpu/{name}",
            "verdict": verdict,
            "reason": None,
            "metrics": [metric],
            "control": {"change": 0.001, "low": -0.004, "high": 0.006},
            "bar": {"name": "attention", "grew_s": 0.003, "share": 0.9}
            if verdict == "regressed"
            else None,
        }

    body = {
        "preset": "nanogpt-cpu",
        "device": "cpu",
        "base": {"label": "main~1 (abc123)", "digest": "0", "settings": {}, "under_test": []},
        "candidate": {"label": "working tree", "digest": "1", "settings": {}, "under_test": []},
        "pairs": 10,
        "limits": {
            "floor": 0.01,
            "tolerance": 0.05,
            "start_up": 0.25,
            "memory": 0.02,
            "loss": 0.01,
        },
        "verdict": "regressed",
        "exit_status": 1,
        "spent_s": 600.0,
        "measured": [],
        "cases": [
            one("cpu-float32-b12-eager", 0.004, 0.009, "pass"),
            one("cpu-float32-b48-eager", 0.083, 0.012, "regressed"),
            one("cpu-float32-b12-compiled", -0.07, 0.01, "improved"),
            one("cpu-float32-b48-compiled", 0.03, 0.06, "inconclusive"),
            {
                "id": "train-loop/nanogpt-cpu/cpu-float32-b12-eager",
                "verdict": "inconclusive",
                "reason": "new: the base does not run it: no such case",
                "metrics": [],
                "control": None,
                "bar": None,
            },
        ],
        "self_test": None,
    }
    return document("gate", body)


def self_test() -> dict[str, Any]:
    power = [
        {"effect": 0.03, "rate": 0.8, "trials": 40, "count": 31, "low": 0.62, "high": 0.89},
        {"effect": 0.05, "rate": 1.0, "trials": 40, "count": 40, "low": 0.91, "high": 1.0},
    ]
    power = [one | {"true_effect": one["effect"], "whole_gate_rate": 1.0} for one in power]
    case = {
        "id": "train-step/nanogpt-cpu/cpu-float32-b12-eager",
        "pair_sd": 0.006,
        "pair_robust_sd": 0.005,
        "control_sd": 0.004,
        "mde": 0.021,
    }
    alarms = {"trials": 4, "count": 0, "low": 0.0, "high": 0.6, "drawn_gates": 400}
    summary = {
        "pairs": 10,
        "stored_pairs": 40,
        "false_alarms": alarms | {"drawn_rate": 0.0, "drawn_inconclusive_cases": 0.01},
        "power": power,
        "coverage": {
            "count": 31,
            "trials": 32,
            "low": 0.84,
            "high": 1.0,
            "rate": 0.95,
            "bias": 0.0004,
            "largest_bias": 0.001,
        },
        "cases": [case],
    }
    rival = {
        "name": "--benchmark-compare-fail=median:5%",
        "rates": {"0": 0.24, "0.03": 0.4, "0.05": 0.55},
    }
    body = {"summary": summary, "rivals": [rival], "load": "none", "faults": [], "spent_s": 900.0}
    pair = {"number": 0, "at_s": 0.0, "cases": {case["id"]: {"errors": {"base": "made up"}}}}
    return document("self-test", body | {"plants": [0.03, 0.05], "measured": [pair]})


def desktop() -> dict[str, Any]:
    """The reference run as another, made-up machine's, with a GPU."""
    data = reference()
    data["mfubench"]["fingerprint"]["id"] = OTHER_MACHINE
    gpu = {"kind": "cuda", "name": "Made-up GPU", "total_memory_bytes": 12 * 2**30}
    data["mfubench"]["devices"]["cuda"] = gpu
    found = []
    for benchmark in data["benchmarks"]:
        if _is_training(benchmark):
            other = copy.deepcopy(benchmark)
            info = other["extra_info"]
            info["case_id"] = info["case_id"].replace("/cpu-", "/cuda-")
            info["device"] = "cuda"
            for key in ("peak_flops_per_s", "ceiling_flops_per_s"):
                info[key] *= 100
            scaled(other, 0.08)
            info["mfu"], info["ceiling_utilisation"] = info["mfu"] / 100, info["mfu"] / 90
            found.append(other)
        scaled(benchmark, 0.6)
    data["benchmarks"] += found
    return data


def fill(folder: Path) -> Path:
    """Everything that a report can show: two machines, forty nights, advice, gate, self-test."""
    nights(folder)
    data = reference()
    data["datetime"] = "2026-11-24T06:00:00+00:00"
    data["benchmarks"] += [
        knob("batch x4", 1.163, 1.13, 1.22, "helps"),
        knob("compile", 1.03, 1.02, 1.045, "helps"),
        knob("gelu tanh", 1.004, 0.99, 1.012, "no difference"),
        knob("channels last", 1.02, 0.93, 1.11, "unclear"),
        knob("one thread", 0.638, 0.63, 0.642, "hurts"),
        claim(1, "does not hold", "a laptop CPU reaches <1 % of its peak", "the step reaches 46 %"),
        claim(10, "untestable here", "pinning helps", "no performance cores on this machine"),
        claim(2, "holds", "a CPU's peak is below 1 TFLOP/s", "207 GFLOP/s derived, 188 measured"),
    ]
    data["mfubench"]["other_outcomes"] = [
        without_number("out_of_memory", 4096, "needs 40 GiB, the machine has 23.5"),
        without_number("compile_failed", 192, "torch.compile: no C++ compiler"),
    ]
    save(folder, "0100_07cd7d4c2a06_20261124_060000.json", data)
    save(folder, "0001_07cd7d4c2a06_20261124_051416.json", desktop(), machine=OTHER_MACHINE)
    save(folder, "0001_07cd7d4_20261124_080000.json", advice(), kind="advice")
    save(folder, "0001_07cd7d4_20261124_080000.json", gate(), kind="gate")
    save(folder, "0001_07cd7d4_20261124_080000.json", self_test(), kind="self-test")
    return folder
