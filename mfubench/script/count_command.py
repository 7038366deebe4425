"""`mfubench run --count`: the operators of a step, saved so that its time can be predicted."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from mfubench.arguments import UserError
from mfubench.results.outcomes import Dtype
from mfubench.script.launch import Target, leave
from mfubench.script.launch import run as run_target

if TYPE_CHECKING:
    from mfubench.predict.counted import CountedStep
    from mfubench.script.found import Found
    from mfubench.script.run import TrainingRun

NOTHING_COUNTED = 1


def run_count(
    arguments: argparse.Namespace, target: Target, results_dir: Path, *, say: Callable[[str], None]
) -> int:
    """Run the script until a step is counted; exit status 1 where none was.

    torch.compile does nothing meanwhile: a compiled graph hides its operators.
    """
    for name in ("breakdown", "save_trace", "json", "steps"):
        if getattr(arguments, name):
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"--count times nothing, so {option} has nothing to do; leave it out")
    os.environ["TORCHDYNAMO_DISABLE"] = "1"

    from mfubench.predict.counted import COUNT
    from mfubench.results import document
    from mfubench.results.single import commit_of_start
    from mfubench.script.run import TrainingRun

    commit_of_start()
    run = TrainingRun(count=True, say=say)
    run.start()
    ending = run_target(target)
    found = run.stop() if run.is_ours else None
    if found is None or os.environ.get("RANK", "0") != "0":  # one rank tells for all
        return leave(ending)
    counted = _counted(run, found, target, arguments.tokens_per_step)
    if isinstance(counted, str):
        say(f"nothing was saved: {counted}")
        return NOTHING_COUNTED if ending.is_clean else leave(ending)
    where = document.save(COUNT, counted, results_dir)
    path = where.removeprefix("saved in ")
    say(where)
    if path != where:
        say(f"to predict its time: mfubench predict --counted {shlex.quote(path)}")
    return leave(ending)


def _counted(
    run: TrainingRun, found: Found, target: Target, tokens: int | None
) -> CountedStep | str:
    """The document, or why there is none."""
    from mfubench.predict.counted import CountedStep

    if not found.counts or run.operators is None:
        return "no optimizer step was seen that could be counted"
    if run.recorder.trouble:
        return run.recorder.trouble
    tally = found.counts[-1].tally
    if not tally.model_flops:
        return "no matrix product was seen in a step"
    if tally.dtype not in get_args(Dtype):
        return f"its products run in {tally.dtype}, which is not predicted"
    names = dict.fromkeys(run.recorder.rows.names)
    return CountedStep(
        script=" ".join([target.label, *target.arguments]),
        dtype=tally.dtype,  # type: ignore[arg-type]
        tokens_per_step=tokens or tally.tokens,
        model_flops_per_step=tally.model_flops,
        operators=run.operators.rows(run.recorder.parameters()),
        unknown=dict(run.operators.unknown),
        optimizer=" and ".join(names) or "an update by hand",
    )
