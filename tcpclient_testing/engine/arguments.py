"""Checks of arguments, made where a script is written, with a text that names the argument."""

from __future__ import annotations

from math import isfinite, isnan
from typing import Any, Optional

from .wording import shorten, shorten_repr

__all__ = ["as_bytes", "as_count", "checked_seconds", "str_advice"]

__unittest = True


def as_bytes(value: Any, where: str) -> bytes:
    """`value` as bytes of its own; TypeError naming `where` if it isn't bytes, a bytearray or a memoryview."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, str):
        raise TypeError(f"{where} takes bytes, got the str {shorten(value)}; {str_advice(value)}")
    raise TypeError(f"{where} takes bytes, got {shorten_repr(value)}")


def str_advice(value: str) -> str:
    """What to write instead of a str: the same as a bytes literal where that is possible."""
    if value.isascii() and len(value) <= 60:
        return f"write {value.encode()!r}"
    return 'write b"...", or encode it'


def as_count(value: Any, where: str, least: int, most: Optional[int] = None, *, of: str = "bytes") -> int:
    """`value` as a number of bytes, or `of` what it is; TypeError if it is no int, ValueError if it is out of range.

    Both name `where`.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{where} takes a number of {of}, got {shorten_repr(value)}")
    if value < least or (most is not None and value > most):
        limits = f"{least} or more" if most is None else f"{least} to {most}"
        raise ValueError(f"{where} must be {limits}, got {value}")
    return value


def checked_seconds(where: str, value: Any, *, positive: bool = False) -> Optional[float]:
    """Return a duration in seconds, or None for none; raise `TypeError` or `ValueError` for anything else."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{where} is a number of seconds or None, not {type(value).__name__}: {value!r}")
    if isnan(value) or value < 0 or (positive and value == 0):
        raise ValueError(f"{where} is a number of seconds {'greater than' if positive else 'not less than'} 0, "
                         f"not {value!r}")
    return float(value) if isfinite(value) else None
