"""The loss curves of advice: does the faster configuration learn as much per token?"""

from __future__ import annotations

from functools import partial

from mfubench.advise.advice import Advice
from mfubench.advise.learning import Learning
from mfubench.results.collection import Collection
from mfubench.show.blocks import Block, Prose, Section, drawn_twice
from mfubench.show.figures.lines import Curve, curves
from mfubench.show.units import format_si


def learning_section(collection: Collection) -> Section | None:
    """Loss over tokens, a line per seed."""
    blocks: list[Block] = []
    for index, document in enumerate(collection.documents.get("advice", [])[:4]):
        learning = document.read(Advice).learning
        if learning is not None:
            blocks += _curves(learning, f"loss-{index}")
    return Section(key="learning", title="Loss curves", blocks=blocks) if blocks else None


def _curves(learning: Learning, key: str) -> list[Block]:
    lines: list[Curve] = []
    for name, look, runs in (
        ("nanoGPT's own settings", "second", learning.baseline),
        ("the advised configuration", "first", learning.candidate),
    ):
        named = f"{name}, {len(runs)} seeds" if len(runs) > 1 else name
        lines += [
            Curve(name=named, xs=run.tokens, ys=run.losses, look=look, is_named=index == 0)
            for index, run in enumerate(runs)
            if len(run.tokens) > 1
        ]
    if not lines:
        return []
    less = "the same" if learning.is_equal else "less"
    sentence = (
        f"It learns {less} from the same tokens: its validation loss lies {learning.cost:+.3f} "
        "from the baseline's, mean over seeds."
    )
    draw = partial(
        curves,
        lines,
        title="Loss over tokens",
        description=sentence,
        x_name="tokens trained",
        y_name="training loss",
        show_x=lambda n: format_si(n, "", digits=3).strip(),
        show_y=lambda loss: f"{loss:.2f}",
    )
    return [drawn_twice(key, "Loss over tokens, a line per seed", draw), Prose(text=sentence)]
