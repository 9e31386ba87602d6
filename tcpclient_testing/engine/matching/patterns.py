"""The matchers that describe a whole message: `Regex`, `Predicate`, `anything`; and what counts as a matcher."""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Callable, Optional, Union

from tcpclient_testing.engine.arguments import as_bytes, bytes_hint
from tcpclient_testing.engine.callables import in_context
from tcpclient_testing.engine.mismatches import CheckRaised, Mismatch, Unmatched
from tcpclient_testing.engine.wording import place, shorten, shorten_repr

from .base import Match, Matcher
from .exact import Exactly

__all__ = ["Anything", "Predicate", "Regex", "anything", "as_matcher"]

__unittest = True

_COROUTINE = 0x80 | 0x200  # CO_COROUTINE and CO_ASYNC_GENERATOR of inspect, which is slow to import


class Anything(Matcher[bytes]):
    """Any message; the result is its bytes. There is one instance, `anything`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "anything"

    def match(self, message: bytes) -> Match[bytes]:
        """Accept the message."""
        return Match(message)

    def match_value(self, value: Any) -> Match[Any]:
        """Accept the value."""
        return Match(value)


anything = Anything()
"""Matches every message, and every value inside `JSON` and `Struct`; the result is what came."""


def _literal(pattern: bytes) -> str:
    """Return a pattern as somebody would write it: as a raw literal, if it has backslashes, and can be one."""
    text = pattern.decode("latin-1")
    if "\\" in text and "'" not in text and not text.endswith("\\") and text.isascii() and text.isprintable():
        return f"rb'{text}'"
    return repr(pattern)


class Regex(Matcher["re.Match[bytes]"]):
    """A message that matches a regular expression as a whole (`re.fullmatch`); the result is the `re.Match`.

    `pattern` is bytes or a compiled pattern of bytes, `flags` are those of `re`. In `JSON` it matches strings, encoded
    in UTF-8.

    Raises TypeError for a pattern of str, and ValueError for flags together with a compiled pattern, or for an invalid
    pattern (with the `re.error` as its cause).
    """

    __slots__ = ("pattern", "_flags")

    def __init__(self, pattern: Union[bytes, re.Pattern[bytes]], *, flags: int = 0) -> None:
        if isinstance(pattern, re.Pattern):
            if flags:
                raise ValueError("Regex(pattern, flags=...) takes no flags beside a compiled pattern")
            if not isinstance(pattern.pattern, bytes):
                raise TypeError(f"Regex(pattern) takes a pattern of bytes, got {pattern!r}; compile a b'...'")
            self.pattern = pattern
        else:
            self.pattern = _compiled(as_bytes(pattern, "Regex(pattern)"), flags)
        self._flags = flags or (pattern.flags if isinstance(pattern, re.Pattern) else 0)

    def __repr__(self) -> str:
        flags = f", flags={re.RegexFlag(self._flags)!r}" if self._flags else ""
        return f"Regex({_literal(self.pattern.pattern)}{flags})"

    def match(self, message: bytes) -> Union[Match[re.Match[bytes]], Mismatch]:
        """Judge a whole message."""
        found = self.pattern.fullmatch(message)
        if found is not None:
            return Match(found)
        return Unmatched(self.__repr__, message, partial(self._how_far, message))

    def _how_far(self, message: bytes) -> str:
        """Say which part of the message matches: most patterns that fail lack a `.*` or an ending."""
        part = self.pattern.search(message)
        if part is None or part.end() == part.start():
            return ""
        return f"it matches {place(*part.span())} only, and must match all {len(message)}"


def _compiled(pattern: bytes, flags: int) -> re.Pattern[bytes]:
    try:
        return re.compile(pattern, flags)
    except re.error as error:
        where = "" if error.pos is None else f" at byte {error.pos}"
        shown = shorten(pattern, error.pos)
        raise ValueError(f"Regex({shown}) is no regular expression: {error.msg}{where}") from error


class Predicate(Matcher[bytes]):
    """A message for which a function returns something true; the result is the message, as bytes.

    `function` gets the message; in `JSON` and `Struct` it gets the value. What it returns counts as true or false as in
    an `if`. If it raises, that is a mismatch, which keeps the exception. Reports show `description` instead of the
    function's name.

    Raises TypeError if `function` can't be called, or is a coroutine function: nothing would await it.
    """

    __slots__ = ("function", "description")

    def __init__(self, function: Callable[[Any], object], *, description: Optional[str] = None) -> None:
        if not callable(function):
            raise TypeError(f"Predicate(function) takes something to call, got {shorten_repr(function)}")
        code = getattr(function, "__code__", None)
        if code is not None and code.co_flags & _COROUTINE:
            raise TypeError(f"Predicate(function) takes an ordinary function, got the coroutine function {function!r}")
        self.function = function
        self.description = description

    def in_context(self) -> Predicate:
        """Return one that calls the function in a copy of the current context, in which the script is written."""
        return Predicate(in_context(self.function), description=self.description)

    def __repr__(self) -> str:
        if self.description is not None:
            return f"Predicate({self.description!r})"
        return f"Predicate({getattr(self.function, '__name__', None) or shorten_repr(self.function)})"

    def match(self, message: bytes) -> Union[Match[bytes], Mismatch]:
        """Judge a whole message."""
        return self.match_value(message)

    def match_value(self, value: Any) -> Union[Match[Any], Mismatch]:
        """Judge a value."""
        try:
            returned = self.function(value)
            if hasattr(returned, "__await__"):
                getattr(returned, "close", lambda: None)()
                raise TypeError("the function returned a coroutine, which a predicate doesn't await")
            satisfied = bool(returned)
        except Exception as error:  # noqa: BLE001 - a user's code: whatever it raises is kept in the mismatch
            return CheckRaised(self.__repr__, value, error)
        if satisfied:
            return Match(value)
        return Unmatched(self.__repr__, value, f"the function returned {shorten_repr(returned)}")


def as_matcher(value: Any, where: str) -> Matcher[Any]:
    """Return the matcher for `value`, an argument of a step.

    Bytes, a bytearray or a memoryview become an `Exactly`; a matcher is returned as it is. Raises TypeError for
    anything else, with a text that begins with `where`, such as ``expect_line(line)``.
    """
    if isinstance(value, Matcher):
        return value.in_context() if isinstance(value, Predicate) else value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Exactly(value)
    got = shorten_repr(value)
    if isinstance(value, str):
        advice = f"the str {got}; {bytes_hint(value)}"
    elif isinstance(value, re.Pattern):
        advice = f"a compiled pattern; write Regex({got})"
    elif isinstance(value, type) and issubclass(value, Matcher):
        advice = f"the class {value.__name__}; write {value.__name__}(...)"
    elif callable(getattr(value, "match", None)):
        owner = value if isinstance(value, type) else type(value)
        advice = f"{got}; derive {owner.__name__} from tcpclient_testing.matchers.Matcher"
    elif callable(value):
        advice = f"the function {got}; write Predicate(...)"
    else:
        advice = got
    raise TypeError(f"{where} takes bytes or a matcher, got {advice}")
