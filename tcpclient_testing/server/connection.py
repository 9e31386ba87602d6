"""The public handle of one connection: it takes the script, and gives the address and the bytes exchanged.

`Messages` is what the ``async for`` loop of a handler iterates over.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union, overload

from tcpclient_testing.engine.arguments import BytesLike
from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.matching.base import Matcher
from tcpclient_testing.engine.matching.patterns import anything, as_matcher
from tcpclient_testing.engine.origin import origin_of
from tcpclient_testing.engine.steps.base import Step
from tcpclient_testing.engine.steps.timing import UNSET, Timing, timing_of
from tcpclient_testing.engine.wording import address_text
from tcpclient_testing.transcript.entries import RECEIVED, SENT

from .script import ScriptWriter, ServerScript

if TYPE_CHECKING:
    from tcpclient_testing.aio.tls.info import TLSInfo
    from tcpclient_testing.engine.conversation.conversation import Conversation
    from tcpclient_testing.engine.conversation.rules import Allowed, Every

__all__ = ["Connection", "Handles", "Messages", "next_timing"]

__unittest = True

T = TypeVar("T")


class Connection(ScriptWriter):
    """One connection of a `MockTCPServer`, and the handle that writes its script.

    Steps written here wait only for earlier steps of this connection. So the scripts of two connections run side by
    side.

    ``await server.expect_connect()`` returns this handle. ``server.expect_connect().connection`` returns it before the
    client has connected.
    """

    def __init__(self, script: ServerScript, conversation: Conversation, *, for_handler: bool = False) -> None:
        self._script = script
        self._conversation = conversation
        self._for_handler = for_handler

    def _rebind(self, conversation: Conversation) -> None:
        """The script was assigned to another connection (see `any_order`)."""
        self._conversation = conversation

    @property
    def index(self) -> int:
        """The number of this connection in the order of acceptance, from 0: it is ``server.connections[index]``."""
        return self._conversation.number - 1

    @property
    def peername(self) -> Any:
        """The client's address, ``(host, port)``; None before the client has connected."""
        peername = self._conversation.inbox.peername
        return peername[:2] if isinstance(peername, tuple) else peername

    @property
    def tls(self) -> Optional[TLSInfo]:
        """The result of the TLS handshake, such as ``connection.tls.version``; None if there was no handshake."""
        tls = self._conversation.handshake
        info: Optional[TLSInfo] = None if tls is None else tls.info
        return info

    @property
    def received(self) -> bytes:
        """All bytes that the client sent so far. Raises `BufferError` if the transcript doesn't hold all of them."""
        return self._script.transcript.stream(self._conversation.number, RECEIVED)

    @property
    def sent(self) -> bytes:
        """All bytes that the server sent so far. Raises `BufferError` if the transcript doesn't hold all of them."""
        return self._script.transcript.stream(self._conversation.number, SENT)

    @property
    def splits(self) -> tuple[int, ...]:
        """The offsets at which network conditions certainly have split the outgoing stream, in rising order.

        At each offset, the client had taken all earlier bytes before the next byte was sent. If a requested split is
        missing here, it was not achieved: the client did not read in time.
        """
        return self._script.splits_of(self._conversation)

    async def join(self) -> None:
        """Wait until every step of this connection is satisfied. Raises `ExpectationError` if the script fails."""
        await self._script.join(self._conversation)

    @overload
    def lines(self, *, ending: Optional[BytesLike] = None, timeout: Optional[float] = UNSET) -> Messages[bytes]: ...
    @overload
    def lines(self, line: Matcher[T], *, ending: Optional[BytesLike] = None,
              timeout: Optional[float] = UNSET) -> Messages[T]: ...

    def lines(self, line: Any = anything, *, ending: Optional[BytesLike] = None,
              timeout: Optional[float] = UNSET) -> Messages[Any]:
        """Iterate over the client's lines with ``async for``. Each line is a step, with the result of `expect_line`.

        The loop ends when the client ends its stream between two lines. It also ends when `reset_after` or
        `disconnect_after` has ended the connection. The script fails

        - if the client's stream ends within a line,
        - if the client resets the connection,
        - if the matcher `line` does not accept a line,
        - if there is no progress for `timeout` seconds while a line is awaited. By default there is no time-out.

        `ending` is the ending of a line; by default it is the server's.
        """
        matcher = as_matcher(line, "lines(line)")
        framing = self._lines("lines", ending)
        return Messages(self._add, "lines", matcher, framing, next_timing("lines", timeout), sys._getframe(1))

    @overload
    def frames(self, *, framing: Optional[Framing] = None, timeout: Optional[float] = UNSET) -> Messages[bytes]: ...
    @overload
    def frames(self, payload: Matcher[T], *, framing: Optional[Framing] = None,
               timeout: Optional[float] = UNSET) -> Messages[T]: ...

    def frames(self, payload: Any = anything, *, framing: Optional[Framing] = None,
               timeout: Optional[float] = UNSET) -> Messages[Any]:
        """Iterate over the client's frames with ``async for``; everything else is as in `lines`."""
        matcher = as_matcher(payload, "frames(payload)")
        checked = self._framing("frames", framing)
        return Messages(self._add, "frames", matcher, checked, next_timing("frames", timeout), sys._getframe(1))

    def _add(self, step: Step[Any]) -> None:
        if self._for_handler:
            self._script.add_to(self._conversation, step, by_handler=True)
        else:
            self._script.add_to(self._conversation, step)

    def _add_rule(self, written: Union[Allowed, Every]) -> None:
        self._script.add_rule(self._conversation, written)

    def _open_block(self) -> None:
        self._script.open_block(self._conversation)

    def _close_block(self, whole: bool) -> None:
        self._script.close_block(self._conversation)

    def __repr__(self) -> str:
        inbox = self._conversation.inbox
        state = address_text(inbox.peername) if inbox.accepted else "not connected"
        return f"<{type(self).__name__} {self._conversation.number}: {state}>"


def next_timing(method: str, timeout: Any) -> Optional[Timing]:
    """The time-out for each message; `timeout` is in seconds. None means no time-out."""
    return None if timeout is UNSET or timeout is None else timing_of(method, timeout, None)


class Messages(AsyncIterator[T]):
    """The result of `Connection.lines` and `Connection.frames`: each turn of the loop adds a step to the script."""

    def __init__(self, add: Callable[[Step[Any]], None], method: str, matcher: Matcher[T], framing: Framing,
                 timing: Optional[Timing], frame: FrameType) -> None:
        self._add = add
        self._arguments = (framing, matcher, origin_of(frame), timing)
        self._method = method
        self._ended = False

    def __aiter__(self) -> Messages[T]:
        return self

    async def __anext__(self) -> T:
        from tcpclient_testing.engine.steps.handlers import END, ExpectNext
        if not self._ended:
            step = ExpectNext(self._method, "", *self._arguments)
            self._add(step)
            result: Any = await step
            if result is not END:
                return result  # type: ignore[no-any-return]
            self._ended = True
        raise StopAsyncIteration


class Handles:
    """Makes the handles of one server's connections. It refers to the script of the server, and not to the server."""

    def __init__(self, kind: type[Connection]) -> None:
        self._kind = kind
        self._script: ServerScript

    def write_with(self, script: ServerScript) -> None:
        """Handles that are made from now on write this script."""
        self._script = script

    def make(self, conversation: Conversation) -> Connection:
        """Make the handle of a connection."""
        return self._kind(self._script, conversation)

    def make_for_handler(self, conversation: Conversation) -> Connection:
        """Make the handle with which a handler serves a connection."""
        return self._kind(self._script, conversation, for_handler=True)
