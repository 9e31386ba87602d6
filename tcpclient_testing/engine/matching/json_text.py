"""The matcher for JSON texts (RFC 8259). It may expect a part of the value only; a mismatch names the path."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any, Union

from tcpclient_testing.engine.mismatches import Mismatch, NotJSON, ValueDiffers
from tcpclient_testing.engine.wording import brief, counted, exception_text, shorten_repr

from .base import Match, Matcher, apply_to_value

if TYPE_CHECKING:
    from tcpclient_testing.engine.mismatches import Text

__all__ = ["JSON"]

__unittest = True

# What a report says of objects.
_SUBSET = "keys that aren't expected don't matter: JSON(...) matches a subset, JSON(..., exact=True) the whole"
_EXACT = "exact=True takes no key that isn't expected: expect it, or leave out exact=True"

_MISSING = object()


class JSON(Matcher[Any]):
    """A message that is JSON text in UTF-8 with the expected value; the result is the parsed value.

    - An expected object needs only the keys that matter, at every depth, unless `exact` is true.
    - An array must have the expected length. It is compared element by element.
    - Numbers are compared by value: 1 equals 1.0. true and false are not numbers.
    - Without `expected`, any JSON text matches.

    Any expected value can be replaced by ``...`` or `anything` (only the key must be there), or by another matcher:

    - `Predicate` gets the parsed value.
    - `JSON` compares the value, with its own `exact`.
    - `Regex`, `StartsWith` and other matchers of bytes match strings, encoded in UTF-8.

    If a key occurs twice, the last one counts, as with `json.loads`. NaN and Infinity, which `json.loads` accepts, are
    not JSON (RFC 8259, section 6). Integers may have any number of digits.

    Raises TypeError if JSON can't hold the expected value, ValueError for NaN and Infinity; the text names the path.
    """

    __slots__ = ("expected", "exact")

    def __init__(self, expected: Any = ..., *, exact: bool = False) -> None:
        self.expected = _frozen(expected, "$")
        self.exact = exact

    def __repr__(self) -> str:
        expected = "" if self.expected is ... else _repr(self.expected)
        exact = "exact=True" if self.exact else ""
        return f"JSON({', '.join(filter(None, (expected, exact)))})"

    def match(self, message: bytes) -> Union[Match[Any], Mismatch]:
        """Judge a whole message."""
        from json import JSONDecodeError

        from .json_parsing import read

        try:
            text = message.decode("utf-8")
        except UnicodeDecodeError as error:
            reason = f"{error.object[error.start : error.start + 1]!r} isn't UTF-8 (RFC 8259, section 8.1),"
            return NotJSON(self, message, reason, error.start)
        try:
            value = read(text)
        except JSONDecodeError as error:
            reason = error.msg if error.msg.startswith("JSON ") else error.msg[:1].lower() + error.msg[1:]
            return NotJSON(self, message, reason, len(text[: error.pos].encode("utf-8")))
        except RecursionError as error:  # nested too deeply
            return NotJSON(self, message, exception_text(error), None)
        return self.match_value(value)

    def match_value(self, value: Any) -> Union[Match[Any], Mismatch]:
        """Judge a parsed value."""
        differences = list(_differences(self.expected, value, "$", self.exact))
        if differences:
            note = _EXACT if self.exact else _SUBSET
            return ValueDiffers(differences, note if _has_object(self.expected) else None)
        return Match(value)


def _has_object(expected: Any) -> bool:
    """Whether an expected value has a JSON object somewhere."""
    return isinstance(expected, dict) or (isinstance(expected, list) and any(map(_has_object, expected)))


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # an integer somewhere in it is too long for repr()
        return shorten_repr(value)


def _frozen(value: Any, path: str) -> Any:
    """Copy an expected value, so that later changes to it don't change the script."""
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"JSON(expected) has {value} at {path}, which JSON can't hold (RFC 8259, section 6)")
    if value is ... or value is None or isinstance(value, (bool, int, float, str, Matcher)):
        return value
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"JSON(expected) has the key {shorten_repr(key)} at {path}; keys of JSON are str")
        return {key: _frozen(element, _below(path, key)) for key, element in value.items()}
    if isinstance(value, (list, tuple)):
        return [_frozen(element, f"{path}[{index}]") for index, element in enumerate(value)]
    hint = "; strings of JSON are str" if isinstance(value, (bytes, bytearray, memoryview)) else ""
    raise TypeError(f"JSON(expected) has {shorten_repr(value)} at {path}, which JSON can't hold{hint}")


def _below(path: str, key: str) -> str:
    """The path of a member: ``$.params.id``, ``$['odd key']``."""
    return f"{path}.{key}" if key.isidentifier() else f"{path}[{key!r}]"


def _differences(expected: Any, value: Any, path: str, exact: bool) -> Iterator[tuple[str, Text]]:
    """Yield each difference as its path and a text, in the order of the expected value."""
    if expected is ...:
        return
    if isinstance(expected, Matcher):
        yield from _from_matcher(expected, value, path)
    elif isinstance(expected, dict) and isinstance(value, dict):
        yield from _from_members(expected, value, path, exact)
    elif isinstance(expected, list) and isinstance(value, list):
        yield from _from_elements(expected, value, path, exact)
    elif not _same(expected, value):
        yield path, partial(_text, expected, value)


def _from_members(expected: dict[str, Any], value: dict[str, Any], path: str,
                  exact: bool) -> Iterator[tuple[str, Text]]:
    for key, element in expected.items():
        if key in value:
            yield from _differences(element, value[key], _below(path, key), exact)
        else:
            yield _below(path, key), f"expected {_shown(element)}, got no such key in {shorten_repr(value)}"
    if exact:
        for key, got in value.items():
            if key not in expected:
                yield _below(path, key), f"unexpected key, with the value {shorten_repr(got)}"


def _from_elements(expected: list[Any], value: list[Any], path: str, exact: bool) -> Iterator[tuple[str, Text]]:
    for index, (element, got) in enumerate(zip(expected, value)):
        yield from _differences(element, got, f"{path}[{index}]", exact)
    end = min(len(expected), len(value))
    if len(value) < len(expected):
        yield f"{path}[{end}]", f"expected {_shown(expected[end])}, got only {end} of {len(expected)} elements"
    elif len(value) > len(expected):
        yield f"{path}[{end}]", f"expected only {counted(end, 'element')}, got {shorten_repr(value[end])}"


def _from_matcher(matcher: Matcher[Any], value: Any, path: str) -> Iterator[tuple[str, Text]]:
    verdict = apply_to_value(matcher, value)
    if isinstance(verdict, ValueDiffers):  # a JSON matcher inside a JSON matcher: its paths continue ours
        for below, text in verdict.differences:
            yield path + below[1:], text
    elif isinstance(verdict, Mismatch):
        yield path, verdict.summary


def _same(expected: Any, value: Any) -> bool:
    """Whether two values are equal in JSON, where a bool is not a number."""
    if isinstance(expected, bool) or isinstance(value, bool):
        return expected is value
    return bool(expected == value)


def _text(expected: Any, value: Any) -> str:
    if not (isinstance(expected, str) and isinstance(value, str)):
        return f"expected {shorten_repr(expected)}, got {shorten_repr(value)}"
    pairs = enumerate(zip(expected, value))
    around = next((index for index, (ours, theirs) in pairs if ours != theirs), min(len(expected), len(value)))
    return f"expected {brief(expected, around)}, got {brief(value, around)}"


def _shown(expected: Any) -> str:
    return "a value" if expected is ... else shorten_repr(expected)
