"""Delays the end of the server's stream over TLS (close_notify) until the client has taken the reply.

To the kernel a close_notify is data. A client that closes with only the close_notify unread resets the connection, just
as a client that has read nothing does (RFC 1122, 4.2.2.13). The RST doesn't show which of the two it was. So the
close_notify is sent when nothing else is unread: if the client resets the connection before that, it left the reply
unread.

    waiting --the client has taken everything, or some time has passed--> said
        `--the connection is lost--> cancelled
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.aio.sockets.inet_diag import on_this_machine
from tcpclient_testing.aio.sockets.polling import Poller

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import Link
    from tcpclient_testing.aio.sockets.inet_diag import PeerProbe

__all__ = ["DelayedCloseNotify", "delay_close_notify"]

__unittest = True

# How long a client may take to read the reply (seconds). After that, a reset may mean an unread reply or close_notify.
_BOUND = 1.0


def delay_close_notify(link: Link) -> Optional[DelayedCloseNotify]:
    """Start to delay the end of the server's stream, and return the `DelayedCloseNotify` that will end it.

    Return None, without a delay, if there is nothing to tell apart, or no way to do so:

    - there is no TLS, or a fault has ended the server's stream;
    - the script has sent nothing, or something else was sent after it;
    - the kernel can't be asked about the client's socket.
    """
    conversation, transport = link.conversation, link.transport
    assert transport is not None
    end = link.script_bytes_end
    if conversation.handshake is None or conversation.outbox.cut_off or not end or end != link.on_the_wire:
        return None
    if not on_this_machine(transport.get_extra_info("sockname"), link.peername):
        return None
    probe = link.context.probe()
    return None if probe is None else DelayedCloseNotify(link, probe)


class DelayedCloseNotify:
    """Ends the server's stream on one connection when the client has taken the reply, or after `_BOUND` seconds."""

    __slots__ = ("_link", "_probe", "_local", "_poller")

    def __init__(self, link: Link, probe: PeerProbe) -> None:
        assert link.transport is not None
        self._link = link
        self._probe = probe
        self._local: Any = link.transport.get_extra_info("sockname")
        self._poller = Poller(link.loop, self._try)
        link.withhold_end(True)
        self._poller.begin()

    @property
    def waiting(self) -> bool:
        """Whether the server's stream has not ended yet."""
        return self._poller.waiting

    def cancel(self) -> None:
        """Send no close_notify any more: the connection is lost."""
        self._poller.cancel()

    def end_stream_now(self) -> None:
        """End the stream now, if it has not ended yet."""
        if self.waiting:
            self.cancel()
            self._link.withhold_end(False)
            self._link.write_eof()

    def _try(self) -> None:
        link = self._link
        transport = link.transport
        if link.over or transport is None or transport.is_closing():
            return
        self._poller.again()
        if self._taken() or self._poller.lasted >= _BOUND:
            self.end_stream_now()

    def _taken(self) -> bool:
        """Return whether the client has taken everything, and can still take more."""
        link, probe = self._link, self._probe
        try:
            state = probe.look(self._local, link.peername)
            # An `unread` of 0 proves nothing in the look-up that first finds all bytes received: look again.
            if state is None or (state.bytes_received or 0) < link.on_the_wire:
                return False  # if its socket is gone, its end will be seen shortly
            state = probe.look(self._local, link.peername)
        except OSError:
            return True  # the kernel can't be asked: don't wait
        return state is not None and not state.closed and not state.unread
