"""The loss under advised settings: does the faster configuration learn as much per token?"""

from __future__ import annotations

import statistics
from functools import partial

from mfubench.advise.advice import Advice
from mfubench.advise.learning import Learning
from mfubench.results.collection import Collection
from mfubench.show.blocks import Block, Cell, Prose, Section, Table, drawn_twice
from mfubench.show.figures.lines import Curve, curves
from mfubench.show.units import format_si


def learning_section(collection: Collection) -> Section | None:
    """The newest advice of each machine: the candidate's loss less the baseline's, over tokens."""
    blocks: list[Block] = []
    for index, document in enumerate(collection.newest("advice")[:4]):
        advice = document.read(Advice)
        learning = advice.learning
        if learning is not None and advice.script is None:  # a script's is counted in steps
            blocks += _difference(learning, f"loss-{index}", collection.whose(document))
    return Section(key="learning", title="Loss", blocks=blocks) if blocks else None


def _difference(learning: Learning, key: str, whose: str) -> list[Block]:
    """Seed by seed, so that what the seeds have in common does not hide it."""
    baseline = {run.seed: run for run in learning.baseline}
    pairs = [(baseline[run.seed], run) for run in learning.candidate if run.seed in baseline]
    points = min((min(len(a.losses), len(b.losses)) for a, b in pairs), default=0)
    sentence = whose + _in_words(learning)
    if points < 2:
        return [Prose(text=sentence)]
    tokens = pairs[0][1].tokens[:points]
    each = [[b.losses[i] - a.losses[i] for a, b in pairs] for i in range(points)]
    means = [statistics.mean(values) for values in each]
    line = Curve(
        name=f"mean of {len(pairs)} seeds; band: every seed",
        xs=tokens,
        ys=means,
        lows=[min(values) for values in each],
        highs=[max(values) for values in each],
    )
    draw = partial(
        curves,
        [line],
        title="Difference of the training loss over tokens",
        description=sentence,
        x_name="tokens trained",
        y_name="training loss above that of nanoGPT's settings",
        show_x=lambda n: format_si(n, "", digits=3).strip(),
        show_y=_signed,
        zero="the same loss",
    )
    table = Table(
        name="Training loss",
        columns=("tokens", "#nanoGPT's settings", "#advised settings", "#difference"),
        rows=[
            [
                Cell(text=f"{tokens[i]:,}"),
                _loss(statistics.mean(a.losses[i] for a, _ in pairs)),
                _loss(statistics.mean(b.losses[i] for _, b in pairs)),
                Cell(text=_signed(means[i]), value=means[i]),
            ]
            for i in range(points)
        ],
        is_folded=True,
    )
    return [Prose(text=sentence), drawn_twice(key, "", draw, table=table)]


def _in_words(learning: Learning) -> str:
    less = "learn as much" if learning.is_equal else "learn less"
    return (
        f"The advised settings {less} from the same tokens: validation loss {learning.cost:+.3f} "
        f"against nanoGPT's, mean of {len(learning.candidate)} seeds; up to "
        f"+{learning.allowed:.3f} is what seeds differ by."
    ).replace("-0.", "−0.")


def _signed(value: float) -> str:
    return "0" if abs(value) < 5e-7 else f"{value:+.3g}".replace("-", "−")


def _loss(value: float) -> Cell:
    return Cell(text=f"{value:.3f}", value=value)
