"""The tidy frame as files for other programs: one with a row per case, one with a row per round."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

FLATTENED = ("knob", "claim")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def rounds_path(path: Path) -> Path:
    """Where the rounds go, beside the cases.

    >>> rounds_path(Path("out/frame.csv")).name
    'frame.rounds.csv'
    """
    return path.with_name(f"{path.stem}.rounds{path.suffix}")


def flat(frame: pd.DataFrame) -> pd.DataFrame:
    """Without nested cells: a knob's fields become columns, other objects JSON."""
    out = frame.copy()
    for name in FLATTENED:
        if name in out:
            values = out.pop(name)
            keys = dict.fromkeys(k for v in values if isinstance(v, dict) for k in v)
            for key in keys:
                out[f"{name}_{key}"] = [v.get(key) if isinstance(v, dict) else None for v in values]
    for column in out.columns:
        if out[column].map(lambda v: isinstance(v, dict | list)).any():
            out[column] = [json.dumps(v) if isinstance(v, dict | list) else v for v in out[column]]
    return out


def without_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """Texts that a spreadsheet would run as a formula, with an apostrophe before them."""
    return frame.map(_safe)


def _safe(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def one_type(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns of mixed types as text, which Parquet cannot hold otherwise."""
    out = frame.copy()
    for column in out.columns:
        known = out[column].dropna()
        kinds = {type(value) for value in known}
        if len(kinds) > 1 and not kinds <= {int, float}:
            out[column] = known.map(str).reindex(out.index)
    return out
