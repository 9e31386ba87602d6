"""The messages of a connection as an asynchronous iterator, for the ``async for`` loop of a handler."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Optional, TypeVar

from tcpclient_testing.engine.framing import Framing
from tcpclient_testing.engine.judging import Matcher
from tcpclient_testing.engine.origin import origin_of
from tcpclient_testing.engine.steps import Timing
from tcpclient_testing.engine.timing import UNSET, timing_of

if TYPE_CHECKING:
    from .handle import Connection

__all__ = ["Messages", "next_timing"]

__unittest = True

T = TypeVar("T")


def next_timing(method: str, timeout: Any) -> Optional[Timing]:
    """The time-out for each message; `timeout` is in seconds. None means no time-out."""
    return None if timeout is UNSET or timeout is None else timing_of(method, timeout, None)


class Messages(AsyncIterator[T]):
    """The result of `Connection.lines` and `Connection.frames`: each turn of the loop adds a step to the script."""

    def __init__(self, connection: Connection, method: str, matcher: Matcher[T], framing: Framing,
                 timing: Optional[Timing], frame: FrameType) -> None:
        self._connection = connection
        self._arguments = (framing, matcher, origin_of(frame), timing)
        self._method = method
        self._ended = False

    def __aiter__(self) -> Messages[T]:
        return self

    async def __anext__(self) -> T:
        from tcpclient_testing.engine.handing import END, ExpectNext
        if not self._ended:
            step = ExpectNext(self._method, "", *self._arguments)
            self._connection._add(step)
            result: Any = await step
            if result is not END:
                return result  # type: ignore[no-any-return]
            self._ended = True
        raise StopAsyncIteration
