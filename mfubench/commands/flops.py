"""`mfubench flops`: a preset, explicit sizes, or a preset with some sizes changed."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from mfubench_model.config import GPTConfig
from mfubench_model.presets import PRESETS

from mfubench.arguments import SIZES, UserError, add_json, add_sizes, option_of, sizes_given


def add_parser(commands: Any) -> None:
    """Add `flops` to the command line."""
    parser = commands.add_parser(
        "flops", help="count the FLOPs of a training step, per component and per convention"
    )
    parser.add_argument("--preset", choices=tuple(PRESETS), default=None, help="a named set-up")
    add_sizes(parser, SIZES)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the count; raises UserError or ConfigError for sizes that are missing or impossible."""
    from mfubench.show.flops import flops_as_json, flops_as_text

    given = sizes_given(arguments, SIZES)
    batch_size = given.pop("batch_size", None)
    if arguments.preset is not None:
        preset = PRESETS[arguments.preset]
        base = preset.config
        batch_size = preset.batch_size if batch_size is None else batch_size
        name = preset.name if not given else f"{preset.name}, changed"
    else:
        if not given:
            raise UserError(
                f"give --preset ({', '.join(PRESETS)}) or explicit sizes, for instance "
                "--n-layer 12 --n-head 12 --n-embd 768 --block-size 1024 --vocab-size 50304"
            )
        if missing := [option_of(n) for n in SIZES if n != "batch_size" and n not in given]:
            raise UserError(f"without --preset every size is needed; missing: {' '.join(missing)}")
        base = GPTConfig(bias=False)
        batch_size = 1 if batch_size is None else batch_size
        name = "explicit sizes"
    config = replace(base, **given, bias=base.bias or bool(arguments.bias))
    as_what = flops_as_json if arguments.json else flops_as_text
    print(as_what(name, config, batch_size))
    return 0
