"""How the server ends a connection: half-closed, closed, or reset, by the script or when the server is left.

    open --half_close--> [close_notify withheld] -> half-closed
      |--close--> closed
      |--reset_when_taken--> waiting until the client has what was sent --> reset
      `--reset, leave, abort--> reset, or closed if the client's stream has ended

A close without a reset is `Link.close`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import Link
    from tcpclient_testing.aio.tls.close_notify import DelayedCloseNotify

    from .delivery import DeliveryWait
    from .sending import Sending

__all__ = ["Closing"]

__unittest = True

_LOOK = 0.001  # seconds between two polls

_READING = 0.2  # seconds: at most this long a reset waits for the client to read what was sent


class Closing:
    """Ends one connection from the server's side. `sending` is told that what was to be sent has gone out."""

    __slots__ = ("_link", "_sending", "_delivery", "_delayed_close_notify")

    def __init__(self, link: Link, sending: Sending) -> None:
        self._link = link
        self._sending = sending
        self._delivery: Optional[DeliveryWait] = None
        self._delayed_close_notify: Optional[DelayedCloseNotify] = None
        link.when_lost(self.cancel)

    @property
    def waiting(self) -> bool:
        """Whether a reset waits for the client to take what was sent."""
        return self._delivery is not None and self._delivery.waiting

    def half_close(self, drain: bool, *, ragged: bool = False) -> None:
        """End our stream. With `drain`, also close the connection when the client has ended its own stream.

        With `ragged`, send no close_notify of TLS before the FIN.
        """
        link = self._link
        transport, conversation = link.transport, link.conversation
        assert transport is not None
        if drain:
            link.drain()
        if ragged:
            link.omit_close_notify()
        link.note(("disconnected by the server" if drain else "half-closed by the server")
                  + (" without close_notify" if ragged else ""))
        if drain and conversation.inbox.ended:
            link.close()
        elif transport.can_write_eof():
            if conversation.handshake is not None and not ragged:
                from tcpclient_testing.aio.tls.close_notify import delay_close_notify
                self._delayed_close_notify = delay_close_notify(link)
            if self._delayed_close_notify is None:
                link.write_eof()
        elif drain:
            transport.close()
        self._sending.flushed()

    def reset_when_taken(self) -> None:
        """Send a RST as soon as the client has taken what was sent, and report that to the engine.

        After a RST a client can still read what its kernel holds, except on Windows, which drops that. And asyncio's
        streams drop what they have already read when the connection is lost. So wait until the client itself has the
        bytes (at most 0.2 s), not only its kernel.
        """
        from tcpclient_testing.aio.sockets.inet_diag import unacknowledged

        from .delivery import PAUSE_BEFORE_RESET, DeliveryWait
        link = self._link
        raw = None if link.transport is None else link.transport.get_extra_info("socket")
        if raw is None or link.lost or not link.written:
            self._reset_now()
            return
        self._delivery = DeliveryWait(link, link.context.probe(), pause=PAUSE_BEFORE_RESET)
        # The acknowledgement may be 40 ms late. A virtual clock that jumps from poll to poll counts seconds by then.
        if unacknowledged(raw) and not self._delivery.arrived():
            link.loop.call_later(_LOOK, self.reset_when_taken)
        else:
            self._delivery.wait(_READING, lambda _: self._reset_now())

    def _reset_now(self) -> None:
        if self._link.paused:
            self._sending.tell_untaken()
        self._link.reset("reset by the server")
        if not self._link.left:
            self._sending.flushed()
            self._link.context.perform()

    def leave(self) -> None:
        """The server's context is left: close the connection, in order if the client's stream has ended."""
        link = self._link
        link.leave()
        if link.transport is None or link.lost:
            return
        if self._delayed_close_notify is not None:
            self._delayed_close_notify.end_stream_now()
        if link.conversation is not None and (link.conversation.inbox.ended or link.conversation.inbox.closed):
            link.transport.close()
        link.transport.abort()

    def cancel(self) -> None:
        """Wait for nothing more: the connection is lost. A reset that waited for the client comes to nothing."""
        resets = self.waiting
        for waiting in (self._delivery, self._delayed_close_notify):
            if waiting is not None:
                waiting.cancel()
        if resets and not self._link.left:
            self._sending.flushed()
            self._link.context.perform()

    def all_read(self) -> bool:
        """Return whether the client has read all that was sent: only then does it lose nothing when we close.

        Once we have closed, our system answers anything that the client sends with a RST. The client's system may
        then throw away what is unread (Linux keeps it).
        """
        link = self._link
        if link.transport is None or link.lost:
            return True
        local, peer = link.transport.get_extra_info("sockname"), link.transport.get_extra_info("peername")
        if not (isinstance(local, tuple) and isinstance(peer, tuple)):
            return False
        from tcpclient_testing.aio.sockets.inet_diag import unacknowledged
        probe = link.context.probe()
        try:
            state = None if probe is None else probe.look(local, peer)
        except OSError:
            probe = None
        if probe is None:
            return False  # the kernel can't be asked here
        # Our FIN counts as one unread byte.
        return state is None or state.closed or (state.unread <= 1 and not unacknowledged(
            link.transport.get_extra_info("socket")))
