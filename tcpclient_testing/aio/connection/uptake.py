"""Sees whether a client goes on reading what the script has sent to it: that is progress, although nothing is received.

An operating system takes megabytes at once, and a slow client may read them for a long time. How far it has come is
asked of the kernel (see `PeerProbe`), and of the client's `StreamReader` if it has one in this process. Each look is
compared with the look before:

    more read than in the look before          progress
    the first look after a send: a part read   progress
    the first look after a send: all, or none  no progress; the client may have read all at once, long ago

What belongs to no step (heartbeats) doesn't count. Where the kernel can't be asked, the engine is told that nothing is
unread, so that it doesn't ask again until more is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.aio.sockets.inet_diag import on_this_machine, unacknowledged

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import Link

__all__ = ["Uptake"]

__unittest = True


class Uptake:
    """Looks how much the client of one connection has read, and tells its conversation."""

    __slots__ = ("_link", "_local", "_start", "_most")

    def __init__(self, link: Link) -> None:
        assert link.transport is not None
        self._link = link
        self._local: Any = link.transport.get_extra_info("sockname")
        self._start = -1
        self._most = 0

    def look(self) -> None:
        """Tell the conversation whether the client has read since the last look, and whether something is unread."""
        link = self._link
        now, sending = link.loop.time(), link.sends_script
        # A send that is still under way began where the one before it ended.
        start, end = (link.script_bytes_end, link.on_the_wire) if sending else (
            link.script_bytes_start, link.script_bytes_end)
        read = self._read_on_tcp(end) if isinstance(link.peername, tuple) else self._read_on_unix(end)
        if read is None:
            link.conversation.client_read(now, progress=False, unread=sending)
            return
        first, self._start = start != self._start, start
        progress = read > self._most and not (first and not start < read < end)
        self._most = max(read, self._most)
        link.conversation.client_read(now, progress=progress, unread=sending or read < end)

    def _read_on_tcp(self, end: int) -> Optional[int]:
        """Return how many of the first `end` bytes the client has read; None if that can't be seen."""
        link = self._link
        probe = link.context.probe() if on_this_machine(self._local, link.peername) else None
        if probe is None:
            return None
        read = end
        for _ in range(2):  # bytes that arrive during a look seem to be read; a second look shows that they are not
            try:
                state = probe.look(self._local, link.peername)
            except OSError:
                return None
            if state is None or state.closed or state.bytes_received is None:
                return None
            read = min(read, state.bytes_received - state.unread)
        stream = link.context.stream_of(link.peername)
        return read if stream is None else read - stream.held

    def _read_on_unix(self, end: int) -> Optional[int]:
        """Do the same for a Unix-domain socket. What the kernel tells is less exact.

        It tells how much memory the unread bytes take: a bit more, and in pieces of about 32 KiB.
        """
        transport = self._link.transport
        left = None if transport is None else unacknowledged(transport.get_extra_info("socket"))
        return None if transport is None or left is None else end - transport.get_write_buffer_size() - left
