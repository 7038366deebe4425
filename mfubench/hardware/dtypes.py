"""The arithmetic formats in which a step can be measured, by the names used everywhere here."""

from __future__ import annotations

from mfubench.words import did_you_mean

#: ``tf32`` is not a storage type: tensors are float32 and the matrix units round the factors to 19
#: bits. It has a peak of its own and is therefore a format of its own here.
DTYPES: tuple[str, ...] = ("float32", "tf32", "bfloat16", "float16")


def check_dtype(dtype: str) -> str:
    """Return ``dtype`` if it is one of `DTYPES`, otherwise raise ValueError naming them.

    >>> check_dtype("tf32")
    'tf32'
    >>> check_dtype("bf16")
    Traceback (most recent call last):
        ...
    ValueError: 'bf16' is not a known dtype; did you mean bfloat16? allowed: float32, tf32,
    bfloat16, float16
    """
    if dtype in DTYPES:
        return dtype
    hint = did_you_mean(dtype, DTYPES) or ";"
    allowed = ", ".join(DTYPES)
    raise ValueError(f"{dtype!r} is not a known dtype{hint} allowed: {allowed}")
