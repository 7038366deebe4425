"""What a logged run trained: sizes from its log, else from the user, else nanoGPT's defaults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from mfubench_model.config import ConfigError, GPTConfig, require_positive_int
from mfubench_model.conventions import CONVENTIONS
from mfubench_model.parameters import nanogpt_parameters, parameter_count
from mfubench_model.presets import PRESETS

from mfubench.arguments import ACCUMULATION, SIZES
from mfubench.explain.mfu import FlopsRange
from mfubench.explain.run import LoggedRun, whole_number

MODEL_SIZES: Final = ("n_layer", "n_head", "n_embd", "block_size", "vocab_size")

TRAIN_PY_DEFAULTS: Final[Mapping[str, int]] = MappingProxyType(
    {"n_layer": 12, "n_head": 12, "n_embd": 768, "block_size": 1024, "vocab_size": 50304}
    | {"batch_size": 12}
)
"""What nanoGPT's `train.py` takes when nothing overrides it. Its default gradient accumulation
changed from version to version and is not among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenSizes:
    """What the user said; None is not said."""

    preset: str | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    """Some of `SIZES` and `ACCUMULATION`, by option."""
    bias: bool | None = None
    ranks: int | None = None


def given_sizes(
    preset: str | None, sizes: Mapping[str, int], *, bias: bool | None, ranks: int | None
) -> GivenSizes:
    """What the user said, checked; raises ConfigError for a size that cannot be."""
    for name, value in [*sizes.items(), ("ranks", 1 if ranks is None else ranks)]:
        require_positive_int(name, value)
    named = PRESETS[preset].config if preset is not None else None
    heads = sizes.get("n_head", named.n_head if named else 1)
    GPTConfig(n_head=heads, n_embd=sizes.get("n_embd", named.n_embd if named else heads))
    return GivenSizes(preset=preset, sizes=sizes, bias=bias, ranks=ranks)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSizes:
    """What was trained, as far as it is known."""

    config: GPTConfig | None = None
    """None where a size is missing or impossible."""
    sequences_per_iter: int | None = None
    """Of one rank: batch size times its accumulation steps."""
    batch_size: int | None = None
    """Sequences that go through the model at once, None where nobody says."""
    ranks: int
    sources: Mapping[str, str]
    """Where each known size is from: the log, an option, the preset, train.py's default."""
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...]
    """What the user gave and the log overrules."""
    problems: tuple[str, ...] = ()
    """What in the log these sizes contradict; with any, no figure is made from them."""
    like_preset: str | None = None
    """The preset with this log's parameter counts."""

    @property
    def usable(self) -> bool:
        """Whether FLOPs may be counted from these sizes."""
        return self.sequences_per_iter is not None and not self.problems


def resolve_sizes(run: LoggedRun, given: GivenSizes, printed: FlopsRange | None) -> RunSizes:
    """The sizes of a run, checked against the parameter counts and the mfu that it printed."""
    values, sources, notes = _collect(run, given)
    sizes = _checked(run, given, printed, values, sources, notes)
    # What could contradict default sizes: parameter counts, or mfu that are not all 0.00 %.
    counted = run.decayed_parameters is not None or run.parameters_millions is not None
    testable = counted or (printed is not None and printed.consistent and printed.low_flops > 0)
    if sizes.missing and run.has_header and given.preset is None and testable:
        # What was not overridden had train.py's default, unless the log was cut or a fork printed
        # it: so defaults count only where the log confirms them.
        wanted = [*sizes.missing, *(["n_head"] if "n_head" not in values else [])]
        values = values | {name: TRAIN_PY_DEFAULTS[name] for name in wanted}
        sources = sources | dict.fromkeys(wanted, "train.py's default")
        guess = _checked(run, given, printed, values, sources, notes)
        if guess.usable:
            return guess
    return sizes


def _collect(
    run: LoggedRun, given: GivenSizes
) -> tuple[dict[str, int], dict[str, str], tuple[str, ...]]:
    """Values and where they are from. The log goes first, then options, then the preset."""
    logged = {
        name: n
        for name in (*SIZES, *ACCUMULATION)
        if (n := whole_number(run.settings, name)) is not None
    }
    if run.pretrained is not None and run.pretrained in PRESETS:
        # OpenAI's weights fix everything but a shorter context (model.py, from_pretrained).
        theirs = PRESETS[run.pretrained].config
        logged |= {"n_layer": theirs.n_layer, "n_head": theirs.n_head, "n_embd": theirs.n_embd}
        logged["vocab_size"] = 50257
        logged["block_size"] = min(1024, logged.get("block_size", 1024))
    preset: dict[str, int] = {}
    if given.preset is not None:
        named = PRESETS[given.preset]
        preset = {name: getattr(named.config, name) for name in MODEL_SIZES}
        preset["batch_size"] = named.batch_size
    values = preset | dict(given.sizes) | logged
    sources = (
        dict.fromkeys(preset, "preset")
        | dict.fromkeys(given.sizes, "option")
        | dict.fromkeys(logged, "log")
    )
    notes = [
        f"the log says {name} = {logged[name]}, so --{name.replace('_', '-')} {value} was left out"
        for name, value in given.sizes.items()
        if logged.get(name, value) != value
    ]
    differing = [
        n for n in preset if n not in given.sizes and logged.get(n, preset[n]) != preset[n]
    ]
    if differing:
        notes.append(
            f"the log differs from the preset {given.preset} in {', '.join(differing)}; "
            "the log's values were taken"
        )
    return values, sources, tuple(notes)


def _checked(
    run: LoggedRun,
    given: GivenSizes,
    printed: FlopsRange | None,
    values: Mapping[str, int],
    sources: Mapping[str, str],
    notes: tuple[str, ...],
) -> RunSizes:
    """The sizes with what the log says against them."""
    ranks = given.ranks or run.ranks
    needed = ["n_layer", "n_embd", "block_size", "vocab_size"]
    needed += ["batch_size"] if run.tokens_per_iter is None else []
    missing = tuple(name for name in needed if name not in values)

    known = RunSizes(
        batch_size=values.get("batch_size"),
        ranks=ranks,
        sources=sources,
        notes=notes,
        like_preset=_like_preset(run),
    )
    if missing:
        return replace(known, missing=missing)
    bias = run.pretrained is not None or _bias(run, given)
    # Heads do not change the count (H * Q = C), so a log without them will do.
    shape = {name: values[name] for name in MODEL_SIZES if name != "n_head"}
    try:
        config = GPTConfig(
            **shape, n_head=values.get("n_head", 1), bias=bias, dropout=_dropout(run, given)
        )
    except ConfigError as error:
        return replace(known, problems=(str(error).rstrip("."),))
    total = _sequences(run, values)
    if total is None:
        problem = (
            f"{run.tokens_per_iter:,} tokens per iteration are no whole number of sequences of "
            f"{config.block_size} tokens"
        )
        return replace(known, config=config, problems=(problem,))
    problems = parameter_problems(run, config)
    count = CONVENTIONS["nanogpt"].flops_per_step(config, 1)
    if given.ranks is None and printed is not None and not printed.allows(count * total / ranks):
        # A header printed twice may be two ranks, or one process started twice.
        ranks = 1 if printed.allows(count * total) else ranks
    if total % ranks:
        problems = (*problems, f"{total} sequences per iteration do not split over {ranks} ranks")
    elif printed is not None and printed.consistent:
        problems += _mfu_problems(printed, count * total // ranks)
    return replace(
        known, config=config, ranks=ranks, sequences_per_iter=total // ranks, problems=problems
    )


def _bias(run: LoggedRun, given: GivenSizes) -> bool:
    logged = run.settings.get("bias")
    if logged in {"True", "False"}:
        return logged == "True"
    if given.bias is not None or given.preset is None:
        return bool(given.bias)
    return PRESETS[given.preset].config.bias


def _dropout(run: LoggedRun, given: GivenSizes) -> float:
    """The log's, else the preset's, else train.py's default."""
    logged = run.settings.get("dropout", "")
    if re.fullmatch(r"0?\.\d{1,6}|0", logged):
        return float(logged)
    return PRESETS[given.preset].config.dropout if given.preset is not None else 0.0


def _sequences(run: LoggedRun, values: Mapping[str, int]) -> int | None:
    """Sequences of one iteration over all ranks, None where the tokens do not divide."""
    if run.tokens_per_iter is None:
        return values["batch_size"] * values.get("gradient_accumulation_steps", 1)
    sequences, rest = divmod(run.tokens_per_iter, values["block_size"])
    return sequences if rest == 0 else None


def parameter_problems(run: LoggedRun, config: GPTConfig) -> tuple[str, ...]:
    """Where a configuration contradicts the parameter counts that `model.py` printed."""
    problems = []
    count = parameter_count(config)
    decays = count.matmul + count.wpe
    if run.decayed_parameters not in (None, decays):
        problems.append(
            f"the log counts {run.decayed_parameters:,} decayed parameters, these sizes make "
            f"{decays:,}"
        )
    millions = f"{nanogpt_parameters(config) / 1e6:.2f}"
    if run.parameters_millions not in (None, millions):
        problems.append(
            f"the log counts {run.parameters_millions}M parameters, these sizes make {millions}M"
        )
    return tuple(problems)


def _mfu_problems(printed: FlopsRange, flops: int) -> tuple[str, ...]:
    if printed.allows(flops):
        return ()
    nearest = printed.high_flops if flops > printed.high_flops else printed.low_flops
    low, high = (f"{flops / 1e9:.4g}" for flops in (printed.low_flops, printed.high_flops))
    between = low if low == high else f"{low} to {high}"
    problem = (
        f"the printed mfu and times need {between} GFLOP per iteration by nanoGPT's count, these "
        f"sizes make {flops / 1e9:.4g} ({flops / max(nearest, 1.0):.3g} times as many)"
    )
    return (problem,)


def _like_preset(run: LoggedRun) -> str | None:
    """The preset whose parameter counts are this log's."""
    if run.decayed_parameters is None and run.parameters_millions is None:
        return None
    fitting = (name for name, p in PRESETS.items() if not parameter_problems(run, p.config))
    return next(fitting, None)
