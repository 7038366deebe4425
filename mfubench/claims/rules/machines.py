"""The judges of claims about GPUs, about whole training runs, and about two machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mfubench.claims.rules.verdicts import (
    DOES_NOT_HOLD,
    HOLDS,
    MOST_OF_THE_TIME,
    UNTESTABLE,
    Answer,
    Figures,
    all_of,
    at_least,
    percent,
    untestable,
    within,
)

GPU_MFU = (0.05, 0.15)
GPU_BETTER_MFU = 0.15
LARGE_BATCH = 128
CPU_TRAINING_S, GPU_TRAINING_S = 600.0, 60.0
PREDICTION_TOLERANCE = 0.10
GPU_SPEED_UP = (10.0, 20.0)
OTHER_MFU = 0.05
MAKERS: dict[str, tuple[str, ...]] = {
    "Intel": ("intel",),
    "NVIDIA": ("nvidia",),
    "AMD": ("amd", "ati", "advanced micro devices"),
    "Apple": ("apple",),
}
"""Words by which a maker is named in lspci's vendor text."""


def gpu_limits(*, cases: Sequence[Figures], waiting_share: float | None) -> Answer:
    """C6: a low MFU at the preset's batch, not for want of arithmetic, and one that others cure.

    `cases` are {batch_size, dtype, is_half, mfu, printed_share}, the user's own first;
    `waiting_share` is what launch gaps and memory-bound operators take of that one's step.
    """
    base, *others = cases
    if base["mfu"] is None or not others or any(case["mfu"] is None for case in others):
        return untestable("the peak of this device is not known, so no case has an MFU")
    best = max(others, key=lambda case: case["mfu"])
    verdicts = [
        within(GPU_MFU, base["mfu"], base["mfu"]),
        HOLDS if best["mfu"] >= GPU_BETTER_MFU else DOES_NOT_HOLD,
    ]
    if waiting_share is None:
        verdicts.append(UNTESTABLE)
        waits = "the step has no breakdown"
    else:
        verdicts.append(at_least(MOST_OF_THE_TIME, waiting_share, waiting_share))
        waits = f"launch gaps and memory-bound operators take {percent(waiting_share)} of the step"
    return Answer(
        verdict=all_of(verdicts),
        because=f"{_named(base)}: MFU {percent(base['mfu'])} (nanoGPT would print "
        f"{percent(base['printed_share'])}), {waits}; the best of the others, {_named(best)}, "
        f"reaches {percent(best['mfu'])}",
        value=base["mfu"],
        unit="MFU",
    )


def _named(case: Figures) -> str:
    return f"batch {case['batch_size']} in {case['dtype']}"


def training_time(*, cpu: Figures, gpu: Figures | None) -> Answer:
    """C11: a whole run on the CPU, predicted and trained in part; and on a GPU where one is known.

    `cpu` and `gpu` have `predicted_s` and `trained_s` (the run, extrapolated from the stretch that
    was trained; None where none was), and `gpu` a `source`. The two bound what is judged.
    """
    times_s = [cpu["predicted_s"], cpu["trained_s"]]
    low, high = min(times_s), max(times_s)
    apart = cpu["trained_s"] / cpu["predicted_s"] - 1
    agree = abs(apart) <= PREDICTION_TOLERANCE
    check = f"{'within' if agree else 'beyond'} the {percent(PREDICTION_TOLERANCE)} allowed"
    verdicts = [at_least(CPU_TRAINING_S, low, high)]
    said = (
        f"{cpu['max_iters']} iterations take {minutes(cpu['trained_s'])} on this CPU "
        f"(from {cpu['trained_iters']} iterations with an evaluation and a checkpoint that were "
        f"trained; predicted {minutes(cpu['predicted_s'])}, {apart * 100:+.1f} %, {check})"
    )
    if gpu is None:
        verdicts.append(UNTESTABLE)
        said += "; no GPU to time the other half on"
    else:
        slowest_s = max(gpu["predicted_s"], gpu["trained_s"] or 0.0)
        verdicts.append(HOLDS if slowest_s < GPU_TRAINING_S else DOES_NOT_HOLD)
        said += f"; on {gpu['source']} {minutes(slowest_s)}"
    return Answer(
        verdict=all_of(verdicts),
        because=said,
        value=cpu["trained_s"],
        unit="s",
        low=low,
        high=high,
    )


def gpu_speed_up(
    *,
    cpu_name: str,
    cpu_tokens_per_s: float,
    gpu_name: str,
    gpu_tokens_per_s: float,
    effect: Figures | None = None,
) -> Answer:
    """C12: tokens/s on a GPU over tokens/s on a CPU, in pairs where both are in one machine."""
    value = gpu_tokens_per_s / cpu_tokens_per_s if effect is None else effect["ratio"]
    low = high = value
    how = "two runs, not pairs"
    if effect is not None:
        low, high = effect["low"], effect["high"]
        how = f"{low:.1f} to {high:.1f}, {effect['pairs']} pairs of builds"
    return Answer(
        verdict=within(GPU_SPEED_UP, low, high),
        because=f"×{value:.1f} tokens/s ({how}): {gpu_tokens_per_s:,.0f} on {gpu_name}, "
        f"{cpu_tokens_per_s:,.0f} on {cpu_name}",
        value=value,
        unit="× tokens/s",
        low=None if effect is None else low,
        high=None if effect is None else high,
    )


def other_backends(*, backends: Sequence[Figures]) -> Answer:
    """C13: each present backend trains, and at an MFU of a few per cent at best.

    `backends` are {name, present, mfu, reason}: `reason` says why one is absent, cannot train, or
    has no MFU.
    """
    present = [backend for backend in backends if backend["present"]]
    if not present:
        said = "; ".join(f"{backend['name']}: {backend['reason']}" for backend in backends)
        return untestable(f"none of them is here ({said})")
    verdicts, said_of = [], []
    for backend in present:
        if backend["mfu"] is not None:
            verdicts.append(HOLDS if backend["mfu"] <= OTHER_MFU else DOES_NOT_HOLD)
            said_of.append(f"{backend['name']} trains at an MFU of {percent(backend['mfu'])}")
        elif backend["trains"]:
            verdicts.append(UNTESTABLE)
            said_of.append(f"{backend['name']} trains, its MFU is unknown: {backend['reason']}")
        else:
            verdicts.append(DOES_NOT_HOLD)
            said_of.append(f"{backend['name']} does not train: {backend['reason']}")
    known = [backend["mfu"] for backend in present if backend["mfu"] is not None]
    return Answer(
        verdict=all_of(verdicts),
        because="; ".join(said_of),
        value=max(known, default=None),
        unit="MFU" if known else None,
    )


def vendor_text(*, devices: Sequence[Mapping[str, str | None]]) -> Answer:
    """C14: lspci's vendor text, read word by word, names the maker that the vendor id says.

    `devices` are {ids, vendor, text}: the maker by PCI vendor id, and lspci's vendor field.
    """
    known = [device for device in devices if device["vendor"] is not None]
    if not known:
        others = ", ".join(str(device["ids"]) for device in devices)
        found = f"only {others}, of makers not known here" if devices else "none at all"
        return untestable(f"no display device of a maker of GPUs on the PCI bus: {found}")
    named = ", ".join(f"{device['ids']} is {device['vendor']}" for device in known)
    if any(device["text"] is None for device in known):
        return untestable(f"lspci is not installed or names none of them; by vendor id {named}")
    right = [_names_only(device, whole_words=True) for device in known]
    fooled = [d["ids"] for d in known if not _names_only(d, whole_words=False)]
    said = f"by vendor id {named}; lspci's words agree for {sum(right)} of {len(known)}"
    if fooled:
        said += (
            f". A search for letters instead of words names another maker too for "
            f"{', '.join(map(str, fooled))} ('ati' stands in 'Corporation')"
        )
    return Answer(
        verdict=HOLDS if all(right) else DOES_NOT_HOLD,
        because=said,
        value=sum(right) / len(known),
        unit="share of devices",
    )


def _names_only(device: Mapping[str, str | None], *, whole_words: bool) -> bool:
    return _makers(str(device["text"]), whole_words=whole_words) == {device["vendor"]}


def _makers(text: str, *, whole_words: bool) -> set[str]:
    """The makers that a text names.

    >>> _makers("Intel Corporation", whole_words=True)
    {'Intel'}
    >>> sorted(_makers("Intel Corporation", whole_words=False))
    ['AMD', 'Intel']
    """
    plain = text.casefold()
    if whole_words:
        plain = " ".join("".join(c if c.isalnum() else " " for c in plain).split())
        plain = f" {plain} "
    edge = " " if whole_words else ""
    return {
        maker
        for maker, words in MAKERS.items()
        if any(f"{edge}{word}{edge}" in plain for word in words)
    }


def minutes(seconds: float) -> str:
    """Seconds, or minutes from two on.

    >>> minutes(86.4), minutes(1260.0)
    ('86 s', '21.0 min')
    """
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
