"""What every property over models draws from: small GPTs of any odd shape, and batches."""

from __future__ import annotations

from hypothesis import strategies as st
from mfubench_model.config import GPTConfig


@st.composite
def gpt_configs(draw: st.DrawFn, *, dropout: float = 0.0) -> GPTConfig:
    """A GPT small enough to run hundreds of times; sizes of 1 and odd sizes included."""
    n_head = draw(st.integers(1, 4))
    return GPTConfig(
        block_size=draw(st.integers(1, 24)),
        vocab_size=draw(st.integers(2, 80)),
        n_layer=draw(st.integers(1, 3)),
        n_head=n_head,
        n_embd=n_head * draw(st.integers(1, 16)),
        dropout=dropout,
        bias=draw(st.booleans()),
    )


batch_sizes = st.integers(1, 4)
