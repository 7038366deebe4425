"""The numbers of a machine's card: the gauge, and the four tiles."""

from __future__ import annotations

from functools import partial

from mfubench.advise.advice import Advice
from mfubench.report.headline import BREAKDOWN, Workload
from mfubench.results.outcomes import known
from mfubench.results.record import CaseRecord
from mfubench.show.account import could_save, worth_winning
from mfubench.show.blocks import Figure, Tile, drawn_twice
from mfubench.show.figures.gauge import Tick, gauge
from mfubench.show.units import UNKNOWN, format_duration, format_share, format_si


def gauge_of(base: CaseRecord, key: str) -> Figure | None:
    """What is used of the peak; of the measured limit where no peak is known."""
    used = base.mfu if base.mfu is not None else base.ceiling_utilisation
    if used is None:
        return None
    ticks = []
    reachable = None
    if base.mfu_a100 is not None:
        said = f"nanoGPT shows {format_share(base.mfu_a100, digits=2)}"
        ticks.append(Tick(share=base.mfu_a100, text=said, look="nanogpt"))
    whole = "100 % is the measured limit, " + format_si(base.ceiling_flops_per_s, "FLOP/s")
    if base.mfu is not None:
        peak = known(base.peak_flops_per_s)
        whole = f"peak {format_si(peak, 'FLOP/s')}"
        if base.ceiling_flops_per_s:
            reachable = base.ceiling_flops_per_s / peak
            limit = f"measured limit {format_share(reachable, digits=3)}"
            ticks.append(Tick(share=reachable, text=limit))
    ticks.append(Tick(share=1.0, text=whole))
    used_text = f"{format_share(used)} used"
    told = "; ".join([used_text, *(tick.text for tick in ticks)])
    draw = partial(
        gauge,
        used,
        used_text,
        ticks,
        title="Share in use",
        description=told,
        reachable=reachable,
    )
    return drawn_twice(key, "", draw)


def tiles_of(main: Workload, advice: Advice | None) -> list[Tile]:
    """MFU, tokens per second, step time, and what there is to win."""
    base = main.base
    setting = ", ".join(
        part
        for part in (
            f"batch {base.batch_size}" if base.batch_size else "",
            base.dtype or "",
            base.how if base.compile is not None else "",
        )
        if part
    )
    shown = ""
    if base.mfu_a100 is not None:
        shown = f"nanoGPT shows {format_share(base.mfu_a100, digits=2)} (of an A100)"
    if base.mfu is not None:
        first = Tile(name="MFU", value=format_share(base.mfu), note=shown)
    elif base.ceiling_utilisation is not None:
        first = Tile(
            name="of the measured limit",
            value=format_share(base.ceiling_utilisation),
            note="the peak is not known",
        )
    else:
        first = Tile(name="MFU", value=UNKNOWN, note="its FLOPs were not counted")
    tokens = base.tokens_per_s
    second = Tile(
        name="tokens/s",
        value=UNKNOWN if tokens is None else whole_number(tokens),
        note=setting if tokens is not None else "no tokens were seen",
    )
    third = Tile(name="per step", value=format_duration(base.step_s), note=_predicted(main))
    return [first, second, third, _to_win(main, advice)]


def whole_number(value: float) -> str:
    """
    >>> whole_number(19406.4), whole_number(1_234_567)
    ('19,406', '1.23 M')
    """
    return f"{value:,.0f}" if value < 1e6 else format_si(value, "").strip()


def _predicted(main: Workload) -> str:
    loop = main.loop
    if loop is None or main.doubt:
        return main.doubt or ""
    return f"{loop.max_iters:,} iterations: {format_duration(loop.predicted_training_s)}, predicted"


def _to_win(main: Workload, advice: Advice | None) -> Tile:
    """What was verified to be faster; else the largest loss; else how to find it."""
    if advice is not None and advice.knobs and advice.verified is not None:
        gain = f"{(advice.verified.ratio - 1) * 100:+.0f} %".replace("-", "−")
        return Tile(name="faster with", value=gain, note=", ".join(advice.knobs))
    broken = main.breakdown
    if broken is not None:
        step_s = known(broken.breakdown_step_s)
        if to_win := worth_winning(known(broken.breakdown), step_s):
            share = (to_win[0].to_win_s or 0.0) / step_s
            note = could_save(to_win[0], step_s).partition(" (")[0]
            if broken.how != main.base.how:
                note += f" ({broken.how})"
            return Tile(name="largest loss", value=format_share(share, digits=2), note=note)
        return Tile(name="largest loss", value="none", note="nothing above 1 % of the step")
    return Tile(name="largest loss", value="?", note=BREAKDOWN)
