"""What a case on many ranks answers with: the parts of its efficiency, and each rank's own figures.

`docs/ranks.md` says how each is measured.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from mfubench.results.answers import ScriptAnswer
from mfubench.results.case_id import Scaling, Strategy
from mfubench.results.outcomes import Bytes, Count, Positive, Share, Text


class Factor(Struct, kw_only=True):
    """A part of the efficiency as a fraction of one: 1 is nothing lost, 0.9 a tenth."""

    value: Positive
    low: Share
    high: Share
    """95 % interval, over the cycles of turns."""


class RankFigures(Struct, kw_only=True):
    """What one rank measured of itself. Seconds are per step, the middle of its turns."""

    rank: int
    host: int
    """Hosts are numbered by their lowest rank. Their names are nobody's business."""
    machine: str | None = None
    """The fingerprint of its host."""
    cpus: list[int] | None = None
    """Processors that it may run on."""
    threads: Count | None = None
    step_s: Positive | None = None
    """Of training together."""
    alone_s: Positive | None = None
    """Of one replica while every other rank waits. None where it had no such turn."""
    beside_s: Positive | None = None
    """Of independent replicas, one on each rank."""
    silent_s: Positive | None = None
    """Of training with a communication that does nothing."""
    outside_backward_s: Share | None = None
    """Of a script's step, what is not its backward pass, in which DDP waits for other ranks."""
    waited_s: float | None = None
    """For the slowest rank, before communication could end."""
    late_s: float | None = None
    """Its last gradient after the middle one of the other ranks; below 0 before it."""
    clock_offset_s: float | None = None
    clock_error_s: Share | None = None
    """Its clock less rank 0's, and by how much that can be wrong."""
    tokens_per_s: Positive | None = None
    model_flops_per_step: Count | None = None
    achieved_flops_per_s: Positive | None = None
    mfu_a100: Positive | None = None
    """What nanoGPT prints on this rank: its own share of the work over 312 TFLOP/s."""
    gemm_flops_per_s: Positive | None = None
    copy_bytes_per_s: Positive | None = None
    """A matrix product and a copy of this rank, with all ranks at it: hosts side by side."""
    peak_memory_bytes: Bytes | None = None
    loss: float | None = None
    counters_exposed_s: float | None = None
    """DDP's own counters: communication less what ran beside the backward pass."""
    rounds_s: list[float] = []
    """Each timed step of training together."""
    ended: str | None = None
    """What ended this rank early."""


class CollectiveRate(Struct, kw_only=True):
    """A collective on the run's own process group. Bandwidths as nccl-tests defines them."""

    collective: Text
    dtype: Text
    bytes: Count
    """Of the whole message: what all-gather gives, what reduce-scatter takes."""
    seconds: Positive
    """Median over its repeats; of each repeat the slowest rank's."""
    algorithm_bytes_per_s: Positive
    bus_bytes_per_s: Positive
    used_by_step: bool = False
    """Whether a step of this case communicates exactly this."""


class RanksAnswer(ScriptAnswer, kw_only=True):
    """What only a case on many ranks has. Of it and of a script, `ranks` says how many."""

    strategy: Strategy | None = None
    scaling: Scaling | None = None
    efficiency: Factor | None = None
    """Of one rank's speed, times ranks: the product of the parts."""
    smaller_batch: Factor | None = None
    """Strong scaling only: what a smaller batch per rank costs, without any other rank."""
    contention: Factor | None = None
    communication_exposed: Factor | None = None
    skew: Factor | None = None
    slow_rank: int | None = None
    slow_rank_because: str | None = None
    communication_exposed_s: float | None = None
    communication_exposed_low_s: float | None = None
    communication_exposed_high_s: float | None = None
    """By ablation: a step less one whose communication does nothing, less waiting."""
    communication_hidden_s: float | None = None
    """By the hook: communication that ran beside the backward pass."""
    communication_bytes_per_step: Share | None = None
    communication_at_ceiling_s: Share | None = None
    """What the step's messages take by themselves, by `collectives`."""
    counters_exposed_s: float | None = None
    profile_exposed_s: float | None = None
    """The same by DDP's counters and by a profile, waiting included: cross-checks."""
    waiting_s: float | None = None
    wrapper_s: float | None = None
    """What the strategy's own code costs a step without communication."""
    cycles: Count | None = None
    steps_per_turn: Count | None = None
    backend: str | None = None
    is_a_test_of_the_mechanism: bool | None = None
    """Ranks that share a small machine show that the account works, and no scaling."""
    ranks_agree: bool | None = None
    """Whether all ranks have the same parameters after training."""
    per_rank: list[RankFigures] | None = None
    collectives: list[CollectiveRate] | None = None
    ranks_timeline: list[dict[str, Any]] | None = None
    """One step over all ranks, from the first start: per rank when it started, when its last
    gradient was ready, when the step ended; seconds."""
