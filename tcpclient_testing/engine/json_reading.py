"""JSON texts as RFC 8259 has them: without NaN and Infinity, which `json` takes, and with integers of any length."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["read"]

__unittest = True

# A string, or one of the words that `json` takes for numbers; strings come first, so that words in them are passed by.
_STRING_OR_CONSTANT = re.compile(r'"(?:\\.|[^"\\])*"|(-?Infinity|NaN)', re.DOTALL)
# Decimal digits that int() takes whatever sys.set_int_max_str_digits() allows: 640 is the least that it can be set to.
_DIGITS = 512


class _Constant(Exception):
    """The text has a word that JSON has not."""


def read(text: str) -> Any:
    """Return the value of a JSON text.

    Raises `json.JSONDecodeError` for what isn't one, and `RecursionError` for what is nested too deeply. Integers are
    read exactly, however long: the limit of CPython 3.11 is about attackers, which a client under test is not.
    """
    try:
        try:
            return json.loads(text, parse_constant=_refuse)
        except json.JSONDecodeError:
            raise
        except ValueError:  # an integer that int() takes to be too long; a function of ours for all costs more
            return json.loads(text, parse_constant=_refuse, parse_int=_integer)
    except _Constant as error:
        raise json.JSONDecodeError(f"JSON has no {error} (RFC 8259, section 6)", text, _place(text)) from None


def _refuse(constant: str) -> Any:
    raise _Constant(constant)


def _place(text: str) -> int:
    """Where the first of the constants is; the parser reads from left to right, so what is before it is sound."""
    return next(found.start() for found in _STRING_OR_CONSTANT.finditer(text) if found.group(1))


def _integer(digits: str) -> int:
    """The number that these decimal digits are: halved until `int` takes them, so that it costs little."""
    if digits.startswith("-"):
        return -_integer(digits[1:])
    if len(digits) <= _DIGITS:
        return int(digits)
    right = len(digits) // 2
    power: int = 10 ** right
    return _integer(digits[:-right]) * power + _integer(digits[-right:])
