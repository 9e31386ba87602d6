"""Checks the messages of `expect_each`, and makes its step."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Optional

from tcpclient_testing.engine.arguments import as_bytes
from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.matching.base import Matcher
from tcpclient_testing.engine.matching.exact import Exactly
from tcpclient_testing.engine.matching.patterns import anything, as_matcher
from tcpclient_testing.engine.matching.reading import check_possible, takes_no_bytes
from tcpclient_testing.engine.origin import Origin
from tcpclient_testing.engine.steps.each import ExpectEach, ExpectEachBytes, Given, Listed, brief_message
from tcpclient_testing.engine.steps.timing import Timing
from tcpclient_testing.engine.wording import shorten_repr

__all__ = ["each_step"]

__unittest = True

_WHERE = "expect_each(messages)"


def each_step(messages: Any, framing: Optional[Framing], shown: str, origin: Origin, timing: Timing) -> ExpectEach:
    """Return the step. `framing` is that of the messages, None for bytes; `shown` is how reports show its argument.

    Raises `TypeError` and `ValueError` as `expect_each` does.
    """
    def checked(message: Any) -> Any:
        return _checked(message, framing, shown)
    source = _source(messages, checked, plain=framing is None)
    if framing is not None and source.count is None and takes_no_bytes(framing, anything):
        raise ValueError(f"{_WHERE} is an iterator of messages of no bytes, {framing!r}: they would come without end")
    return ExpectEachBytes(source, origin, timing) if framing is None \
        else ExpectEach(source, shown, framing, origin, timing)


def _source(messages: Any, checked: Any, *, plain: bool) -> Any:
    if isinstance(messages, (bytes, bytearray, memoryview, str, Matcher)):
        raise TypeError(f"{_WHERE} takes a sequence or an iterator of messages, got one: {brief_message(messages)}")
    if not isinstance(messages, Iterable):
        raise TypeError(f"{_WHERE} takes a sequence or an iterator of messages, got {shorten_repr(messages)}")
    if not isinstance(messages, Collection):
        return Given(iter(messages), checked)
    listed = tuple(messages)  # the test may go on to change its list
    if not listed:
        raise ValueError(f"{_WHERE} is empty; nothing would be expected")
    if not (plain and set(map(type, listed)) == {bytes} and all(listed)):  # the common case, of maybe 100,000
        listed = tuple(map(checked, listed))
    return Listed(listed)


def _checked(message: Any, framing: Optional[Framing], shown: str) -> Any:
    """Return a message as the step reads it: bytes, or a matcher."""
    if framing is None:
        if isinstance(message, Matcher):
            raise TypeError(f"{_WHERE} takes bytes, since {message!r} could not tell where the message ends: give "
                            "ending= or framing=, too")
        data = as_bytes(message, _WHERE)
        if not data:
            raise ValueError(f"{_WHERE} has an empty message; nothing would be expected")
        return data
    matcher = as_matcher(message, _WHERE)
    check_possible("expect_each", brief_message(message) + shown, framing, matcher)
    return matcher.data if type(matcher) is Exactly else matcher
