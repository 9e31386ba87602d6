"""Notices that a client has closed the connection while the server has more to send to it.

A client that closes with nothing unread sends a FIN, as one that half-closes and reads on does. What the server sends
next would be answered with a reset (RFC 9293, 3.10.7.1). But with network conditions that may be long after the close.
So ask the kernel whether the client's socket is still there: at the FIN, and again and again while the server sends.

    watching --the socket is gone--> told
        |--all is sent--> over
        `--the connection is lost--> cancelled
"""

from __future__ import annotations

import select
import sys
from typing import TYPE_CHECKING, Any, Callable

from tcpclient_testing.aio.native import originals
from tcpclient_testing.aio.sockets.inet_diag import on_this_machine
from tcpclient_testing.aio.sockets.polling import Poller

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import Link

__all__ = ["HangUpWatch", "is_gone"]

__unittest = True

_LONGEST = 0.05  # seconds between two looks


def is_gone(link: Link) -> bool:
    """Whether the client, whose stream has ended, has closed its socket; False where the system doesn't tell."""
    assert link.transport is not None
    local: Any = link.transport.get_extra_info("sockname")
    if isinstance(link.peername, tuple) and isinstance(local, tuple):
        probe = link.context.probe() if on_this_machine(local, link.peername) else None
        if probe is None:
            return False
        try:
            state = probe.look(local, link.peername)
        except OSError:
            return False
        return state is None or state.closed
    # A Unix-domain socket: its other end is shut down in both directions (poll(2)).
    raw = link.transport.get_extra_info("socket")
    if raw is None or sys.platform != "linux":
        return False
    poll = originals.poll()
    poll.register(raw.fileno(), 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


class HangUpWatch:
    """Calls `then` when the client of one connection is gone, unless all is sent before that."""

    __slots__ = ("_link", "_poller", "_then")

    def __init__(self, link: Link, then: Callable[[], None]) -> None:
        self._link = link
        self._then = then
        self._poller = Poller(link.loop, self._look, longest=_LONGEST)
        link.when_lost(self._poller.cancel)
        self._poller.begin()

    def _look(self) -> None:
        link = self._link
        if link.over or not link.sends_script:
            return
        if is_gone(link):
            self._then()
        else:
            self._poller.again()
