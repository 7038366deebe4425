"""`mfubench flops`: the count of a training step, per component and per convention."""

from __future__ import annotations

import io
import json
from typing import Any

from mfubench_model.config import GPTConfig
from mfubench_model.conventions import CONVENTIONS
from mfubench_model.flops import component_flops, hardware_flops_per_step, model_flops_per_step
from mfubench_model.parameters import parameter_count

from mfubench.show.console import plain_console, plain_table

CONFIG_FIELDS = ("n_layer", "n_head", "n_embd", "block_size", "vocab_size", "bias")


def flops_as_data(name: str, config: GPTConfig, batch_size: int) -> dict[str, Any]:
    """Everything the command prints, as plain data; all counts are FLOPs per optimizer step."""
    causal = component_flops(config, batch_size)
    full = component_flops(config, batch_size, causal=False)
    exact = model_flops_per_step(config, batch_size)
    return {
        "name": name,
        "config": {field: getattr(config, field) for field in CONFIG_FIELDS},
        "batch_size": batch_size,
        "tokens_per_step": batch_size * config.block_size,
        "parameters": parameter_count(config).total,
        "components": {
            component: {
                "forward": flops.forward,
                "backward": flops.backward,
                "total": flops.total,
                "total_full_attention": full[component].total,
            }
            for component, flops in causal.items()
        },
        "model_flops_per_step": exact,
        "hardware_flops_per_step": hardware_flops_per_step(config, batch_size),
        "conventions": {
            convention.name: {
                "formula_per_token": convention.formula,
                "source": convention.source,
                "flops_per_step": convention.flops_per_step(config, batch_size),
                "over_exact_causal": convention.flops_per_step(config, batch_size) / exact,
            }
            for convention in CONVENTIONS.values()
        },
    }


def flops_as_json(name: str, config: GPTConfig, batch_size: int) -> str:
    """The count as JSON."""
    return json.dumps(flops_as_data(name, config, batch_size), indent=1, ensure_ascii=False)


def flops_as_text(name: str, config: GPTConfig, batch_size: int) -> str:
    """The count as two tables of at most 100 columns."""
    data = flops_as_data(name, config, batch_size)
    tokens = data["tokens_per_step"]
    out = io.StringIO()
    console = plain_console(out)
    sizes = ", ".join(f"{field} {value}" for field, value in data["config"].items())
    console.print(f"{name}: {sizes}; batch {batch_size}")
    console.print(f"{data['parameters']:,} parameters, {tokens:,} tokens per step\n")

    table = plain_table()
    table.add_column("component (causal)")
    for header in ("forward, FLOPs", "backward, FLOPs", "both, FLOPs", "share"):
        table.add_column(header, justify="right")
    for component, flops in data["components"].items():
        share = flops["total"] / data["model_flops_per_step"]
        table.add_row(
            component,
            f"{flops['forward']:,}",
            f"{flops['backward']:,}",
            f"{flops['total']:,}",
            f"{share * 100:.1f} %",
        )
    table.add_section()
    table.add_row("one step", "", "", f"{data['model_flops_per_step']:,}", "")
    console.print(table)

    table = plain_table()
    table.add_column("convention")
    table.add_column("MFLOP/token", justify="right")
    table.add_column("÷ exact", justify="right")
    table.add_column("per token, forward and backward", overflow="fold")
    for convention, entry in data["conventions"].items():
        table.add_row(
            convention,
            f"{entry['flops_per_step'] / tokens / 1e6:,.3f}",
            f"{entry['over_exact_causal']:.3f}",
            entry["formula_per_token"],
        )
    console.print(table)
    return out.getvalue().rstrip()
