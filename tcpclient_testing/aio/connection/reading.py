"""The incoming half of a connection: when the server reads from its client, and when it makes the client wait.

    reading --pause--> stopped --resume--> reading
       `--more than `MOST_KEPT` bytes pending--> full --steps have taken them--> reading

A connection can be both stopped, by the script, and full. It is read again when it is neither. With
``allow_extra=True``, a connection whose script is complete is never full: what is too much is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcpclient_testing.engine.wording import counted

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import Link

__all__ = ["MOST_KEPT", "Reading"]

__unittest = True

_LOOK = 0.001  # seconds between two polls

#: At most this many pending bytes are kept (received, but not taken by a step yet); then the client has to wait.
MOST_KEPT = 16 * 1024 * 1024


class Reading:
    """Pauses and resumes reading on one connection."""

    __slots__ = ("_link", "_stopped", "_full", "_dropped")

    def __init__(self, link: Link) -> None:
        self._link = link
        self._stopped = False
        self._full = False
        self._dropped = False

    def hold_back(self) -> None:
        """Stop reading while more than `MOST_KEPT` bytes are pending: TCP's flow control makes the client wait."""
        link = self._link
        transport = link.transport
        if link.context.environment.over or link.lost or transport is None:
            return
        full = link.conversation.inbox.count_kept() > MOST_KEPT
        if full and link.context.environment.allow_extra and link.conversation.script.complete:
            full = False
            self._drop()
        if full != self._full:
            self._full = full
            if not self._stopped:
                (transport.pause_reading if full else transport.resume_reading)()
        if full:
            link.loop.call_later(_LOOK, self.hold_back)

    def _drop(self) -> None:
        """Drop the later half of the pending bytes, which no step explains."""
        link = self._link
        if not self._dropped:
            self._dropped = True
            link.note(f"more than {counted(MOST_KEPT, 'byte')} that no step explains: some are dropped from here on")
        link.conversation.inbox.truncate(MOST_KEPT // 2)
        link.conversation.inbox.count_kept()

    def pause(self) -> None:
        """Stop reading from the client."""
        link = self._link
        if link.transport is not None and not link.lost and not link.conversation.inbox.ended:
            self._stopped = True
            link.transport.pause_reading()
            # Up to Python 3.10 a transport starts to read one turn after connection_made(), even if it was paused:
            # pause it again then.
            link.loop.call_soon(self._stay_paused)
            link.note("stopped reading")

    def _stay_paused(self) -> None:
        transport = self._link.transport
        if self._stopped and transport is not None and not self._link.lost and not transport.is_closing():
            transport.resume_reading()
            transport.pause_reading()

    def resume(self) -> None:
        """Read from the client again."""
        link = self._link
        if link.transport is not None and not link.lost and self._stopped:
            self._stopped = False
            if not self._full:
                link.transport.resume_reading()
            link.note("reads again")
