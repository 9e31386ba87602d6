"""Checks that a client closed its asyncio streams, waited until they were closed, and read all that it was sent.

Call `complaint()` only after the server has seen the end of the client's stream, and in addition:

- For unread bytes, wait until ``stream.connection_lost`` is true.

  - If client and server share a loop, over plain TCP: it is true before the server gets the FIN, because asyncio calls
    the protocol's ``connection_lost()`` before it closes the socket.
  - Over TLS: it is true within 5 turns of the loop after the server's ``eof_received()``, or 3 turns after its
    ``connection_lost()`` where Python has no such event for TLS.

- For everything else, give the client a grace period.

  - ``writer.close(); await writer.wait_closed()``: both calls are made before the FIN is sent.
  - With `asyncio.wait_for` or another task between the two: one or two turns.
  - A client that half-closes and reads to the end: 5 to 7 turns from the moment when the server closes.
  - So 20 turns are ample. Clients in another thread need 0.3 ms, and up to 3 ms under load.

End the grace period as soon as ``stream.connection_lost and complaint(stream) is None``, and in any case when its time
is over.

No number of turns, and no time, is enough for a client that runs in a task of its own and does something else between
``close()`` and ``wait_closed()``. While such a task runs, what is `unfinished()` is not a fault. Check it when the
server's context is left, and only after some time has passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcpclient_testing.engine.mismatches import Mismatch

if TYPE_CHECKING:
    from .record import ClientStream

__all__ = ["StreamMisuse", "complaint", "unfinished"]

__unittest = True

#: How many unread bytes a complaint shows.
_SHOWN = 40


class StreamMisuse(Mismatch):
    """A client did not close its stream properly, or left bytes unread.

    `words` is the `complaint()`. `unwaited` is true if the client closed its stream, but did not await
    ``wait_closed()``; then there is a hint.
    """

    __slots__ = ("hint",)

    def __init__(self, words: str, unwaited: bool) -> None:
        super().__init__(words)
        self.hint = ("await writer.wait_closed() after writer.close() in the client; if you can't change the client, "
                     "expect_disconnect(wait_closed=False) requires only the close") if unwaited else None


def complaint(stream: ClientStream, *, wait_closed: bool = True, may_leave: int = 0) -> str | None:
    """Return what a client did wrong with its stream, as a fragment of a sentence; None if it did nothing wrong.

    The rules:

    - The client calls ``writer.close()``, then awaits ``writer.wait_closed()`` (asyncio's documentation, "Streams").
      To begin to wait is enough: a `wait_closed()` that a time-out cancels was awaited.
    - ``writer.transport.close()`` or ``.abort()`` do what ``writer.close()`` does. A client that uses one of them and
      awaits ``wait_closed()`` complies.
    - The client reads all that it was sent (our own rule), except for the last `may_leave` bytes.
    - With ``wait_closed=False`` the client only has to close.

    Call this some time after the server has seen the end of the client's stream: see the top of this module. Unread
    bytes are reported only once ``stream.connection_lost`` is true.
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
    if may_leave:
        unread = unread[:max(0, len(unread) - may_leave)]
    if not unread:
        return None
    many = "byte" if len(unread) == 1 else "bytes"
    more = "..." if len(unread) > _SHOWN else ""
    return f"the client left {len(unread)} {many} of the server's reply unread: {unread[:_SHOWN]!r}{more}"


def unfinished(stream: ClientStream, *, wait_closed: bool = True) -> bool:
    """Return whether the client can still do what the `complaint()` asks for."""
    return not stream.close_called or (wait_closed and not stream.wait_closed_awaited)


def _not_closed(stream: ClientStream) -> str:
    if stream.collected:
        return "the client never called writer.close(); its stream was garbage collected"
    if stream.connection_lost:
        return "the client never called writer.close() after its connection was lost"
    if stream.eof_written:
        return "the client half-closed its stream with write_eof(), and never called writer.close()"
    return "the client never called writer.close()"
