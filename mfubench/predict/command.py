"""`mfubench predict`: how long a step, and a run, would take, without running it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfubench_model.config import GPTConfig
from mfubench_model.presets import PRESETS, Preset

from mfubench.arguments import (
    SIZES,
    UserError,
    add_json,
    add_results_dir,
    add_sizes,
    duration_s,
    option_of,
    refuse_threads,
    sizes_given,
)
from mfubench.hardware.dtypes import DTYPES
from mfubench.options import COMPILE_MODES, known, listed, parse_batch_size
from mfubench.predict import HERE

if TYPE_CHECKING:
    from mfubench.predict.document import Prediction, Setting
    from mfubench.predict.machine import Machine

MAX_AGE_S = 30 * 86400.0
MODEL = {name: what for name, what in SIZES.items() if name != "batch_size"}
MOST_SHOWN = 12
"""Rows of a search; `--json` has all."""


def add_parser(commands: Any) -> None:
    """Declare the command; docs/commands.md describes it."""
    parser = commands.add_parser(
        "predict", help="how long training would take here or elsewhere, without running it"
    )
    parser.add_argument("--preset", choices=tuple(PRESETS), default=None, help="a named set-up")
    add_sizes(parser, MODEL)
    parser.add_argument(
        "--batch-sizes",
        type=listed("batch size", parse_batch_size),
        metavar="SIZES",
        help="sequences per step, separated by commas (default: the preset's)",
    )
    parser.add_argument(
        "--dtypes",
        type=listed("dtype", known("dtype", DTYPES)),
        metavar="NAMES",
        help="separated by commas (default: those the device has hardware for)",
    )
    parser.add_argument(
        "--compile",
        choices=tuple(COMPILE_MODES),
        default="no",
        help="without torch.compile, with it, or both (default: no)",
    )
    parser.add_argument(
        "--devices",
        default=HERE,
        metavar="NAMES",
        help="here, cpu, cuda, a device by its driver's name, a machine's folder of results",
    )
    parser.add_argument(
        "--iterations", type=int, default=2000, metavar="N", help="of a run (default: 2000)"
    )
    parser.add_argument(
        "--gradient-accumulation-steps",
        type=int,
        default=1,
        metavar="N",
        help="batches per optimizer step (default: 1)",
    )
    parser.add_argument(
        "--counted",
        type=Path,
        metavar="FILE",
        help="a step of your own model, as mfubench run --count saved it, instead of sizes",
    )
    parser.add_argument("--threads", type=int, default=None, metavar="N", help="CPU threads")
    parser.add_argument(
        "--probe", action="store_true", help="probe this machine again, whatever is stored"
    )
    parser.add_argument(
        "--fastest",
        action="store_true",
        help="of what learns the same (compiled or not, the batch in parts) the fastest that fits",
    )
    parser.add_argument(
        "--run",
        dest="run_them",
        action="store_true",
        help="run the settings too, and show predicted beside measured",
    )
    parser.add_argument(
        "--self-test",
        action="store_true",
        help="measure the error of the predictions here: predict, save, then run",
    )
    parser.add_argument(
        "--budget",
        type=duration_s,
        default=900.0,
        metavar="TIME",
        help="of a self-test: 600, 90s, 15m (default: 15m)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with a self-test that was broken off"
    )
    parser.add_argument(
        "--wait",
        type=duration_s,
        default=0.0,
        metavar="TIME",
        help="wait for another measurement on this machine to end, instead of refusing",
    )
    add_json(parser)
    add_results_dir(parser, "where probes and self-tests are kept")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the predictions; exit status 1 where no setting has a number."""
    from mfubench.predict.devices import is_here, machine_named, named_devices
    from mfubench.predict.fastest import ranked, same_learning
    from mfubench.predict.machine import was_busy
    from mfubench.predict.measured import measured_lines, run_here
    from mfubench.predict.predict import predict
    from mfubench.predict.text import tell

    _refuse(arguments)
    if arguments.counted is not None:
        from mfubench.predict.counted_command import run_counted

        return run_counted(arguments)
    if arguments.self_test:
        from mfubench.predict.self_test_command import run_self_test

        return run_self_test(arguments)
    preset = model_of(arguments)
    modes = COMPILE_MODES[arguments.compile] or (False, True)
    if arguments.fastest:
        modes = (False, True)
    notes: list[str] = []
    asked: list[tuple[Setting, Prediction]] = []
    for name in named_devices(arguments.devices):
        if arguments.run_them and not is_here(name):
            raise UserError(f"--run runs settings on this machine, which {name!r} is not")
        machine, half_widths = machine_named(name, arguments, modes)
        if doubt := was_busy(machine):
            notes.append(doubt)
        # A search goes through both modes by itself.
        kinds = modes[:1] if arguments.fastest else modes
        for setting in settings_of(preset, machine, arguments, kinds):
            for one in same_learning(setting) if arguments.fastest else [setting]:
                said = predict(
                    one, machine, iterations=arguments.iterations, half_widths=half_widths
                )
                asked.append((one, said))
    found = [prediction for _, prediction in asked]
    measured = []
    if arguments.run_them:
        measured = run_here(asked, arguments, only_first=arguments.fastest)
    search = {}
    if arguments.fastest:
        search = _said_of_fastest(arguments, found)
        found = [*ranked(found), *(one for one in found if one.step_s is None)]
    shown = found[:MOST_SHOWN] if arguments.fastest else found
    lines = [*measured_lines(asked, measured), *search.values(), *notes]
    return tell(
        found, shown, lines, as_json=arguments.json, measured=measured, notes=notes, **search
    )


def _refuse(arguments: argparse.Namespace) -> None:
    """Raise UserError for numbers that cannot be."""
    refuse_threads(arguments.threads)
    if not 1 <= arguments.iterations <= 10**9:
        raise UserError(
            f"--iterations {arguments.iterations} is no number of iterations; allowed: 1 to "
            "1,000,000,000"
        )
    if not 1 <= arguments.gradient_accumulation_steps <= 10**6:
        raise UserError(
            f"--gradient-accumulation-steps {arguments.gradient_accumulation_steps} is no number "
            "of batches; allowed: 1 to 1,000,000"
        )
    if arguments.counted is not None:
        _refuse_beside_a_count(arguments)


def _refuse_beside_a_count(arguments: argparse.Namespace) -> None:
    """Raise UserError for what says the sizes again, or runs what is no setting of ours."""
    asked = {
        "--preset": arguments.preset,
        **{option_of(name): True for name in sizes_given(arguments, MODEL)},
        "--bias": arguments.bias,
        "--batch-sizes": arguments.batch_sizes,
        "--gradient-accumulation-steps": arguments.gradient_accumulation_steps != 1,
        "--fastest": arguments.fastest,
        "--run": arguments.run_them,
        "--self-test": arguments.self_test,
    }
    if given := [option for option, value in asked.items() if value]:
        raise UserError(
            f"a counted step has its own sizes and batch, so {given[0]} has nothing to do; leave "
            "it out"
        )


def _said_of_fastest(arguments: argparse.Namespace, found: Sequence[Prediction]) -> dict[str, str]:
    """What is predicted to train fastest, how sure that is, and what to type to make sure."""
    from mfubench.predict.fastest import advantage, ranked, to_make_sure
    from mfubench.predict.text import name_of

    order = ranked(found)
    if not order:
        return {}
    best = order[0]
    return {
        "fastest": f"Predicted fastest: {name_of(best)}, {best.tokens_per_s:,.0f} tokens/s, of "
        f"{len(order)} settings that learn the same. {advantage(best, order)}",
        "next": f"To make sure: {to_make_sure(best, str(arguments.results_dir))}",
    }


def model_of(arguments: argparse.Namespace) -> Preset:
    """The preset with the sizes that were given; raises UserError or ConfigError."""
    given = sizes_given(arguments, MODEL)
    if arguments.preset is not None or not given:
        base = PRESETS[arguments.preset or "nanogpt-cpu"]
        config = replace(base.config, **given, bias=base.config.bias or bool(arguments.bias))
        name = base.name if config == base.config else ""
        return replace(base, name=name, config=config)
    if missing := [option_of(n) for n in MODEL if n not in given]:
        raise UserError(f"without --preset every size is needed; missing: {' '.join(missing)}")
    config = replace(GPTConfig(bias=False), **given, bias=bool(arguments.bias))
    return replace(PRESETS["nanogpt-cpu"], name="", config=config)


def settings_of(
    preset: Preset,
    machine: Machine,
    arguments: argparse.Namespace,
    compile_modes: Sequence[bool],
) -> list[Setting]:
    """Every combination, in the order of the options."""
    from mfubench.predict.document import Setting

    dtypes = arguments.dtypes or machine.native_dtypes
    sizes = arguments.batch_sizes or (preset.batch_size,)
    return [
        Setting.of(
            preset.config,
            preset=preset.name or None,
            device=machine.device,
            dtype=dtype,
            batch_size=size,
            compile=compiled,
            gradient_accumulation_steps=arguments.gradient_accumulation_steps,
        )
        for compiled in compile_modes
        for dtype in dtypes
        for size in sizes
    ]
