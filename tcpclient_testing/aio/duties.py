"""What a client owes its asyncio streams: it closes them, waits until they are closed, and reads all that it was sent.

When it is sound to ask for a `complaint()`: once the server has seen the end of the client's stream, and

- for what was left unread, when ``stream.connection_lost`` is true. In one plain TCP loop it is true before the server
  gets the FIN, because asyncio tells the protocol before it closes the socket; over TLS, within 5 turns of the loop
  after the server's ``eof_received()`` (3 after its ``connection_lost()``, where Python has no such event for TLS);
- for the rest, after a grace. ``writer.close(); await writer.wait_closed()`` is beyond reproach before its FIN leaves;
  `asyncio.wait_for` or another task between the two takes a turn or two; a client that half-closes and reads to the end
  needs 5 to 7 turns from the moment at which the server closes. 20 turns are ample. Clients in another thread need
  0.3 ms, and up to 3 ms under load.

So: end the grace as soon as ``stream.connection_lost and complaint(stream) is None``, and in any case when it is over.

No number of turns, nor any time, is enough for a client that runs in a task of its own and has something else to do
between ``close()`` and ``wait_closed()``. As long as such a task goes on, what is `unfinished` is no fault yet: judge
it when the server is left, and not before some time has passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcpclient_testing.engine.mismatches import Mismatch

if TYPE_CHECKING:
    from .client_stream import ClientStream

__all__ = ["Neglected", "complaint", "unfinished"]

__unittest = True

#: How many unread bytes a complaint shows.
_SHOWN = 40


class Neglected(Mismatch):
    """A client has not done what it owes its stream; `unwaited` tells that it has closed it without waiting."""

    __slots__ = ("hint",)

    def __init__(self, words: str, unwaited: bool) -> None:
        super().__init__(words)
        self.hint = ("the client is to await writer.wait_closed() after writer.close(); of one that is not yours to "
                     "mend, expect_disconnect(wait_closed=False) requires the close alone") if unwaited else None


def complaint(stream: ClientStream, *, wait_closed: bool = True) -> str | None:
    """Return what is wrong with how a client treated its stream, as a fragment of a sentence; None if nothing is.

    The rules (asyncio's documentation, "Streams"): a client calls ``writer.close()``, then awaits
    ``writer.wait_closed()``; and, ours, it reads all that it was sent. With ``wait_closed=False`` it has to close, and
    that is all. To begin to wait is enough: a `wait_closed()` that is cancelled half-way, by a time-out, was awaited.
    ``writer.transport.close()`` or ``.abort()`` do what ``writer.close()`` does, so a client that uses one of them and
    awaits ``wait_closed()`` has done its duty.

    Ask when the server has seen the end of the client's stream, and not at once: see the head of this module. It
    doesn't speak of unread bytes before ``stream.connection_lost``.
    """
    if not stream.close_called:
        if stream.handed_over:
            return None
        if not stream.transport_closed_directly:
            return _not_closed(stream)
        if wait_closed and not stream.wait_closed_awaited:
            return "the client's transport was closed without writer.close(), and wait_closed() was never awaited"
    elif wait_closed and not stream.wait_closed_awaited:
        return "the client closed its stream without awaiting wait_closed()"
    unread = stream.unread() if wait_closed and stream.connection_lost else b""
    if not unread:
        return None
    many = "byte" if len(unread) == 1 else "bytes"
    more = "..." if len(unread) > _SHOWN else ""
    return f"the client left {len(unread)} {many} of the server's reply unread: {unread[:_SHOWN]!r}{more}"


def unfinished(stream: ClientStream, *, wait_closed: bool = True) -> bool:
    """Return whether there is something that the client can still do about a `complaint`."""
    return not stream.close_called or (wait_closed and not stream.wait_closed_awaited)


def _not_closed(stream: ClientStream) -> str:
    if stream.collected:
        return "the client never called writer.close(); its stream was garbage collected"
    if stream.connection_lost:
        return "the client never called writer.close() after its connection was lost"
    if stream.eof_written:
        return "the client half-closed its stream with write_eof(), and never called writer.close()"
    return "the client never called writer.close()"
