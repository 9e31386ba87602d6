"""Checks of arguments. They run where the script is written, and their errors name the argument."""

from __future__ import annotations

from math import isfinite, isnan
from typing import Any, Optional, Union

from .wording import shorten, shorten_repr

__all__ = ["as_bytes", "as_count", "checked_seconds", "bytes_hint", "BytesLike"]

__unittest = True

BytesLike = Union[bytes, bytearray, memoryview]


def as_bytes(value: Any, where: str) -> bytes:
    """Return `value` as bytes; a bytearray or a memoryview is copied.

    Raises `TypeError`, which names `where`, for anything else.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, str):
        raise TypeError(f"{where} takes bytes, got the str {shorten(value)}; {bytes_hint(value)}")
    raise TypeError(f"{where} takes bytes, got {shorten_repr(value)}")


def bytes_hint(value: str) -> str:
    """Return what to write instead of the str `value`: the same text as a bytes literal, if possible."""
    if value.isascii() and len(value) <= 60:
        return f"write {value.encode()!r}"
    return 'write b"...", or encode it'


def as_count(value: Any, where: str, least: int, most: Optional[int] = None, *, of: str = "bytes") -> int:
    """Return `value`, checked to be a number of bytes from `least` to `most` (None: no limit).

    Raises `TypeError` if it is not an int, and `ValueError` if it is out of range. Both name `where`. `of` says what is
    counted, if not bytes.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{where} takes a number of {of}, got {shorten_repr(value)}")
    if value < least or (most is not None and value > most):
        limits = f"{least} or more" if most is None else f"{least} to {most}"
        raise ValueError(f"{where} must be {limits}, got {value}")
    return value


def checked_seconds(where: str, value: Any, *, positive: bool = False) -> Optional[float]:
    """Return a duration as a float, in seconds; None, for no limit, if `value` is None or infinite.

    Raises `TypeError` if `value` is not a number. Raises `ValueError` if it is negative or NaN, or if it is zero and
    must be `positive`. Both name `where`.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{where} is a number of seconds or None, not {type(value).__name__}: {value!r}")
    if isnan(value) or value < 0 or (positive and value == 0):
        raise ValueError(f"{where} is a number of seconds {'greater than' if positive else 'not less than'} 0, "
                         f"not {value!r}")
    return float(value) if isfinite(value) else None
