"""One line per case, for progress and logs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mfubench.claims.show.text import claim_line
from mfubench.knobs.text import knob_line
from mfubench.show.units import format_duration, format_share, format_si

Info = Mapping[str, Any]
"""A case's `extra_info`."""


def case_line(info: Info) -> str:
    """What came out of one case, short.

    >>> case_line({"case_id": "train-step/gpt2/cuda-bfloat16-b12-eager", "outcome": "unavailable",
    ...            "outcome_reason": "no CUDA device"})
    'train-step/gpt2/cuda-bfloat16-b12-eager  unavailable: no CUDA device'
    """
    name = info["case_id"]
    is_untestable = "claim" in info and info["outcome"] == "unsupported"
    if info["outcome"] != "ok" and not is_untestable:
        return f"{name}  {info['outcome']}: {info['outcome_reason']}"
    if info["question"].startswith("breakdown") and "breakdown" in info:
        unexplained = format_share(info["breakdown_unexplained"], digits=2)
        return f"{name}  {info['breakdown_binds']}, {unexplained} unexplained"
    if short := _SHORT.get(info["question"]):
        return f"{name}  {short(info)}"
    step = format_duration(info["step_s"])
    tokens = format_si(info["tokens_per_s"], "tok/s")
    share = format_share(info["ceiling_utilisation"])
    return f"{name}  {step} · {tokens} · {share} of the ceiling"


def ceiling_rate(info: Info) -> str:
    """The rate of a ceiling case in its own unit.

    >>> ceiling_rate({"ceiling_kind": "dispatch", "ceiling_rate_per_s": 8e5, "ceiling_unit": "op"})
    '1.25 µs per operation'
    """
    rate, unit = info["ceiling_rate_per_s"], info["ceiling_unit"]
    if info["ceiling_kind"] == "dispatch":
        return f"{format_duration(1 / rate)} per operation"
    return format_si(rate, f"{unit}/s")


def harness_ratio(info: Info) -> str:
    """How the harness's step compares with a bare loop's.

    >>> harness_ratio({"harness_ratio": 1.002, "harness_ratio_low": 0.998,
    ...                "harness_ratio_high": 1.006, "harness_pairs": 120})
    'timed step / bare step = 1.002 (95 % interval 0.998 to 1.006, 120 pairs)'
    """
    return (
        f"timed step / bare step = {info['harness_ratio']:.3f} (95 % interval "
        f"{info['harness_ratio_low']:.3f} to {info['harness_ratio_high']:.3f}, "
        f"{info['harness_pairs']} pairs)"
    )


def planted_line(info: Info) -> str:
    """What the breakdown found of a planted cost.

    >>> planted_line({"planted": {"bar": "activation", "planted_s": 1e-3, "found_s": 9.6e-4,
    ...     "found_ratio": 0.96, "elsewhere": "copies", "elsewhere_s": 2e-5}})
    'planted 1.00 ms; found 960 µs in activation (96.0 %); most elsewhere: 20.0 µs in copies'
    """
    planted = info["planted"]
    elsewhere_s = planted["elsewhere_s"]
    return (
        f"planted {format_duration(planted['planted_s'])}; found "
        f"{format_duration(planted['found_s'])} in {planted['bar']} "
        f"({format_share(planted['found_ratio'])}); most elsewhere: "
        f"{format_duration(elsewhere_s)} in {planted['elsewhere']}"
    )


_SHORT: dict[str, Callable[[Info], str]] = {
    "ceiling": ceiling_rate,
    "harness": harness_ratio,
    "knob": knob_line,
    "claim": claim_line,
    "planted": planted_line,
}
