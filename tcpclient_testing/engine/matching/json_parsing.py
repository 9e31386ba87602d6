"""Reads JSON by RFC 8259. Unlike `json`, it refuses NaN and Infinity, and it reads integers of any length."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["read"]

__unittest = True

# A string, or a constant that `json` takes for a number. Strings come first, so that constants inside them are skipped.
_STRING_OR_CONSTANT = re.compile(r'"(?:\\.|[^"\\])*"|(-?Infinity|NaN)', re.DOTALL)
# How many decimal digits int() always accepts: the lowest limit that sys.set_int_max_str_digits() can set is 640.
_DIGITS = 512


class _Constant(Exception):
    """The text has a constant that JSON doesn't have."""


def read(text: str) -> Any:
    """Return the value of a JSON text.

    Raises `json.JSONDecodeError` if `text` isn't JSON, and `RecursionError` if it is nested too deeply. Integers are
    read exactly, however long they are: the limit of CPython 3.11 protects against attackers, and a client under test
    is not one.
    """
    try:
        try:
            return json.loads(text, parse_constant=_refuse)
        except json.JSONDecodeError:
            raise
        except ValueError:  # an integer is too long for int(); using _integer for all integers would cost more
            return json.loads(text, parse_constant=_refuse, parse_int=_integer)
    except _Constant as error:
        raise json.JSONDecodeError(f"JSON has no {error} (RFC 8259, section 6)", text, _place(text)) from None


def _refuse(constant: str) -> Any:
    raise _Constant(constant)


def _place(text: str) -> int:
    """Where the first constant is. The parser reads from left to right, so the text before it is valid."""
    return next(found.start() for found in _STRING_OR_CONSTANT.finditer(text) if found.group(1))


def _integer(digits: str) -> int:
    """Convert decimal digits to an int. They are halved until `int` accepts the parts, which costs little."""
    if digits.startswith("-"):
        return -_integer(digits[1:])
    if len(digits) <= _DIGITS:
        return int(digits)
    right = len(digits) // 2
    power: int = 10 ** right
    return _integer(digits[:-right]) * power + _integer(digits[-right:])
