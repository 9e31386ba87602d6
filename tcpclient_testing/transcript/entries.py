"""The entries of a transcript, and how they are kept.

An entry is a tuple. It refers to the bytes that a script sends, and does not copy them. The memory used is bounded:

- Of a received chunk for which the limit leaves no room, only the beginning and the size are kept.
- Of very many entries, those in the middle are dropped.

Whatever is dropped is counted, so that no rendering looks complete when it is not.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Optional, Union

from .kinds import CONNECTED, NOTED, RECEIVED, SENT, logger

if TYPE_CHECKING:
    from .entry import Entry

__all__ = ["CONNECTED", "NOTED", "RECEIVED", "SENT", "Transcript", "logger"]

_EXCERPT = 256

_FIRST = 1000

_MOST = 20_000


class Transcript:
    """Everything that happened on the connections of one server; iterate over it for the entries, or print it.

    `started` is the time (seconds) from which reports count; what is printed counts from the first entry. `limit` is
    how many received bytes are kept in full. `name` is the server's, or None.
    """

    def __init__(self, started: float, limit: int) -> None:
        self.started = started
        self.limit = limit
        self.dropped = 0
        self.name: Optional[str] = None
        #: By connection number: how many of the last bytes sent the operating system has not taken yet.
        self.untaken: dict[int, int] = {}
        self._kept = 0
        self._logs = False
        self._entries: list[tuple[float, int, str, Any, int]] = []

    def begin(self, started: float) -> None:
        """Let renderings count from `started`, the time at which the server has begun to run."""
        self.started = started
        self._logs = logger.isEnabledFor(logging.DEBUG)

    def begin_as(self, name: str) -> None:
        """This is the transcript of the server with this name."""
        self.name = name

    def __str__(self) -> str:
        from .text import lines
        first = next(iter(self), None)
        return "\n".join(lines(self, first.time if first is not None else self.started)) or "nothing happened"

    def __iter__(self) -> Iterator[Entry]:
        from .entry import Entry  # here, since only somebody who reads a transcript needs it
        return (Entry(*entry) for entry in self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def received(self, time: float, number: int, data: Union[bytes, memoryview]) -> None:
        """Record bytes that arrived from the client. `data` may be overwritten afterwards."""
        size = len(data)
        if self._kept + size <= self.limit:
            self._kept += size
            self._append((time, number, RECEIVED, bytes(data), size))
        else:
            self._append((time, number, RECEIVED, bytes(data[:_EXCERPT]), size))

    def sent(self, time: float, number: int, data: bytes) -> None:
        """Record bytes that are being handed to the operating system. `untaken` says how many it has not taken yet."""
        self._append((time, number, SENT, data, len(data)))

    def connected(self, time: float, number: int, address: str) -> None:
        """Record that a client was accepted; `address` is the client's.

        Whether entries are logged is asked here, and when the server begins, so that it costs nothing for each entry.
        """
        self._logs = logger.isEnabledFor(logging.DEBUG)
        self._append((time, number, CONNECTED, f"client connected from {address}", 0))

    def note(self, time: float, number: int, text: str) -> None:
        """Record something else that happened."""
        self._append((time, number, NOTED, text, 0))

    def _append(self, entry: tuple[float, int, str, Any, int]) -> None:
        entries = self._entries
        entries.append(entry)
        if self._logs:
            from .text import log
            log(self, entry)
        if len(entries) >= _MOST:
            gone = _MOST // 2
            del entries[_FIRST:_FIRST + gone]
            self.dropped += gone

    def stream(self, number: int, what: str) -> bytes:
        """Return all bytes RECEIVED or SENT on connection `number`; raise `BufferError` if some were dropped."""
        chunks = [entry for entry in self._entries if entry[1] == number and entry[2] == what]
        if self.dropped or any(len(entry[3]) != entry[4] for entry in chunks):
            raise BufferError(f"the transcript of connection {number} is not complete: it keeps {self.limit} bytes and "
                              f"{_MOST} entries at most; MockTCPServer(transcript_limit=...) sets the number of bytes")
        return b"".join(entry[3] for entry in chunks)
