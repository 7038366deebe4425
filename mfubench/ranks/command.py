"""`mfubench ranks`: what training on many ranks costs, started by us or below your own torchrun."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfubench.arguments import (
    UserError,
    add_corpus_and_threads,
    add_json,
    add_results_dir,
    duration_s,
    refuse_corpus,
    refuse_threads,
)
from mfubench.results.case_id import SCALINGS, STRATEGIES
from mfubench.suite.sweep import MAX_BATCH_SIZE, MAX_RANKS

if TYPE_CHECKING:
    from mfubench.ranks.rules.config import RanksConfig
    from mfubench.ranks.rules.turns import RankReport
    from mfubench.results.record import CaseRecord

EXIT_FAILED = 1
DEFAULT_PRESET = "nanogpt-cpu"


def add_parser(commands: Any) -> None:
    """Declare the command; docs/commands.md describes it."""
    parser = commands.add_parser(
        "ranks",
        help="what training on many ranks costs: contention, communication, waiting",
        description="Train on several ranks of this machine, or below your own torchrun on as "
        "many hosts as you have: torchrun --nnodes 2 --nproc-per-node 8 -m mfubench ranks",
    )
    parser.add_argument(
        "--ranks", type=int, metavar="N", help="how many, where torchrun does not say (default: 2)"
    )
    parser.add_argument(
        "--strategy", choices=STRATEGIES, default="ddp", help="default: %(default)s"
    )
    parser.add_argument(
        "--scaling",
        choices=SCALINGS,
        default="weak",
        help="weak: each rank has the batch; strong: the ranks share it (default: %(default)s)",
    )
    parser.add_argument(
        "--preset", default=DEFAULT_PRESET, metavar="NAME", help="default: %(default)s"
    )
    parser.add_argument("--device", default=None, metavar="NAME", help="cpu, cuda (ROCm too), xpu")
    parser.add_argument("--dtype", default=None, metavar="NAME", help="what matmuls run in")
    parser.add_argument("--batch-size", type=int, default=None, metavar="N", help="sequences")
    parser.add_argument("--compile", action="store_true", help="with torch.compile")
    parser.add_argument(
        "--accumulation", type=int, default=1, metavar="N", help="batches per optimizer step"
    )
    parser.add_argument(
        "--budget",
        type=duration_s,
        default=30.0,
        metavar="TIME",
        help="for the turns: 30s, 2m (default: 30s)",
    )
    parser.add_argument(
        "--timeout",
        type=duration_s,
        default=120.0,
        metavar="TIME",
        help="after which a rank that others wait for is taken to hang (default: 2m)",
    )
    add_corpus_and_threads(parser)
    add_results_dir(parser, "where the result is saved")
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Exit status 0; 1 where a rank failed, whose sentence is printed; 2 for bad input."""
    from mfubench.results import document

    if "RANK" in os.environ:  # torch's own frames beside our sentence would say no more
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    config = _config(arguments)
    refusal = document.refusal_to_write(document.machine_dir(arguments.results_dir))
    if refusal and os.environ.get("RANK", "0") == "0":
        raise UserError(refusal)
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return _below_torchrun(arguments, config)
    return _started_here(arguments, config)


def _config(arguments: argparse.Namespace) -> RanksConfig:
    """What is asked for; raises UserError for what cannot be."""
    from mfubench_model.presets import UnknownPresetError, get_preset

    from mfubench.hardware.dtypes import DTYPES
    from mfubench.ranks.measure.strategies import BACKENDS
    from mfubench.ranks.rules.config import RanksConfig

    try:
        preset = get_preset(arguments.preset)
    except UnknownPresetError as error:
        raise UserError(str(error)) from None
    refuse_corpus(arguments.corpus)
    refuse_threads(arguments.threads)
    batch = preset.batch_size if arguments.batch_size is None else arguments.batch_size
    for name, value, most in (
        ("--batch-size", batch, MAX_BATCH_SIZE),
        ("--accumulation", arguments.accumulation, MAX_BATCH_SIZE),
        ("--ranks", 2 if arguments.ranks is None else arguments.ranks, MAX_RANKS),
    ):
        if not 1 <= value <= most:
            raise UserError(f"{name} {value} is not allowed; give a whole number from 1 to {most}")
    device = arguments.device or _fastest_device()
    if device not in BACKENDS:
        raise UserError(
            f"device {device!r} has no communication between ranks here; allowed: "
            f"{', '.join(BACKENDS)}"
        )
    dtype = arguments.dtype or ("float32" if device == "cpu" else "bfloat16")
    if dtype not in DTYPES:
        raise UserError(f"unknown dtype {dtype!r}; allowed: {', '.join(DTYPES)}")
    return RanksConfig(
        preset=arguments.preset,
        device=device,
        dtype=dtype,
        batch_size=batch,
        compile=arguments.compile,
        strategy=arguments.strategy,
        scaling=arguments.scaling,
        accumulation=arguments.accumulation,
        threads=arguments.threads,
        corpus=None if arguments.corpus is None else str(Path(arguments.corpus).absolute()),
        budget_s=arguments.budget,
        timeout_s=arguments.timeout,
    )


def _fastest_device() -> str:
    import torch

    from mfubench.ranks.measure.strategies import BACKENDS

    if not torch.accelerator.is_available():
        return "cpu"
    kind = torch.accelerator.current_accelerator()
    return kind.type if kind is not None and kind.type in BACKENDS else "cpu"


def _started_here(arguments: argparse.Namespace, config: RanksConfig) -> int:
    from mfubench.ranks.measure.agent import launch
    from mfubench.ranks.measure.case import refusal, too_many

    ranks = 2 if arguments.ranks is None else arguments.ranks
    if reason := refusal(config, ranks) or too_many(config, ranks):
        raise UserError(reason)
    started_at_s = time.time()
    try:
        launched = launch(config, ranks)
    except KeyboardInterrupt as interrupt:
        broken = getattr(interrupt, "launched", None)
        if broken is not None and broken.reports:
            _finish(
                arguments,
                config,
                ranks,
                broken.reports,
                "interrupted",
                started_at_s,
                outcome="interrupted",
            )
        raise
    return _finish(
        arguments,
        config,
        ranks,
        launched.reports,
        launched.reason,
        started_at_s,
        outcome=launched.outcome.value,
    )


def _below_torchrun(arguments: argparse.Namespace, config: RanksConfig) -> int:
    """This process is one rank. Rank 0 saves and prints; where one failed, the lowest left does."""
    from mfubench.ranks.measure.case import refusal
    from mfubench.ranks.measure.rank_program import measure

    ranks, rank = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
    if arguments.ranks not in (None, ranks):
        raise UserError(f"--ranks {arguments.ranks}, but torchrun started {ranks}; leave it out")
    if reason := refusal(config, ranks):
        raise UserError(reason)
    config.pins = False  # torchrun's user has placed the ranks
    started_at_s = time.time()
    reports, failure = measure(config)
    status = 0
    if failure is None:
        if rank == 0:
            status = _finish(arguments, config, ranks, reports, None, started_at_s)
    else:
        status = EXIT_FAILED
        if failure.saves and reports:
            _finish(
                arguments,
                config,
                ranks,
                reports,
                failure.sentence,
                started_at_s,
                outcome=failure.outcome,
            )
        else:
            print(f"mfubench ranks: {failure.sentence}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    sys.stderr.flush()
    if failure is not None:
        os._exit(status)  # a thread of the group may wait for a rank that is gone
    return status


def _finish(
    arguments: argparse.Namespace,
    config: RanksConfig,
    ranks: int,
    reports: list[RankReport],
    reason: str | None,
    started_at_s: float,
    *,
    outcome: str = "error",
) -> int:
    """Save one result file for all ranks, print it, and say by the status whether all went well."""
    from mfubench.hardware.devices import parse_device
    from mfubench.ranks.measure.case import recorded, rounds_of
    from mfubench.results.outcomes import Outcome
    from mfubench.results.single import result_data, save_result

    device = parse_device(config.device)
    record = recorded(config, ranks, reports, device, reason=reason, outcome=outcome)
    data = result_data(
        record,
        rounds_of(record) if record.outcome is Outcome.OK else [],
        started_at_s=started_at_s,
        device=device.description(),
        complete=record.outcome is Outcome.OK,
        test="test_ranks",
    )
    where = save_result(data, arguments.results_dir)
    _print(arguments, record, where)
    if record.outcome is Outcome.OK:
        return 0
    print(f"mfubench ranks: {record.outcome_reason}", file=sys.stderr, flush=True)
    return EXIT_FAILED


def _print(arguments: argparse.Namespace, record: CaseRecord, where: str) -> None:
    from mfubench.ranks.show.text import ranks_text
    from mfubench.results.write import json_text
    from mfubench.show.terminal import has_color, width_of

    if arguments.json:
        print(json_text(record.as_extra_info()))
        return
    color, width = has_color(sys.stdout), width_of(sys.stdout)
    print(ranks_text(record, where, color=color, width=width), flush=True)
