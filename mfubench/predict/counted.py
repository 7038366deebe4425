"""A step of a user's own model: its operators as `mfubench run --count` saw them, and its time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from mfubench.predict.document import Grade, OperatorName, Prediction, Size
from mfubench.predict.machine import Machine
from mfubench.predict.operators import Operator
from mfubench.predict.predict import HALF_WIDTHS, fill
from mfubench.results.outcomes import Count, Dtype, Text

COUNT = "count"
"""The kind of document."""


class CountedOperator(Struct, frozen=True, kw_only=True):
    """An operator of the forward passes of one optimizer step, or of its update."""

    operator: OperatorName
    shape: list[Size]
    """As a probe has it."""
    count: Count


class CountedStep(Struct, frozen=True, kw_only=True):
    """What one optimizer step of a script does."""

    script: Text
    """Its name and arguments."""
    dtype: Dtype
    """In which most FLOPs ran."""
    tokens_per_step: Count | None
    model_flops_per_step: Count
    operators: list[CountedOperator]
    """Without the backward pass: a probe times both together."""
    unknown: dict[str, Count]
    """Operators with FLOPs that no probe has, by their names: calls."""
    optimizer: Text
    """The name of its class. It is predicted as AdamW, over the parameters that it has."""


def operators_of(step: CountedStep) -> Iterator[Operator]:
    """As the closed form of a GPT gives them."""
    yield Operator("step", (1,), 1)
    for one in step.operators:
        yield Operator(one.operator, tuple(one.shape), one.count)


def predict_counted(
    step: CountedStep,
    machine: Machine,
    *,
    dtype: Dtype,
    compile: bool,
    iterations: int,
    half_widths: Mapping[Grade, float] = HALF_WIDTHS,
) -> Prediction:
    """The prediction of a counted step on one machine. Its memory is not known, and a run of it is
    its steps alone."""
    found = Prediction(
        preset=None,
        script=step.script,
        device=machine.device,
        device_name=machine.name,
        dtype=dtype,
        compile=compile,
        iterations=iterations,
        grade=machine.fit_of(dtype, compile)[1],
    )
    if step.unknown:
        found.outside = (
            f"outside of what was probed: {', '.join(sorted(step.unknown))} of {step.script}"
        )
        return found
    fill(
        found,
        operators_of(step),
        machine,
        half_widths=half_widths,
        model_flops=step.model_flops_per_step,
        tokens=step.tokens_per_step,
    )
    if found.step_s is not None:
        found.run_s = iterations * found.step_s
    return found
