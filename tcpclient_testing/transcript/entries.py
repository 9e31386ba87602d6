"""The entries of a transcript, and how they are kept.

An entry is a tuple; the bytes that a script sends are referred to, not copied. Bulk is bounded: once the bytes received
have used up the limit, only the beginning of each further chunk is kept, and its size; of very many entries the middle
is let go. What was let go is counted, so that no rendering can pretend to be complete.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Union

if TYPE_CHECKING:
    from .entry import Entry

__all__ = ["CONNECTED", "NOTED", "RECEIVED", "SENT", "Transcript"]

CONNECTED: Final = "connected"
RECEIVED: Final = "received"
SENT: Final = "sent"
NOTED: Final = "noted"

_EXCERPT = 256
_FIRST = 1000
_MOST = 20_000


class Transcript:
    """Everything that happened on the connections of one server; iterate over it for the entries.

    `started` is the time that renderings count from; `limit` the number of received bytes that are kept whole.
    """

    def __init__(self, started: float, limit: int) -> None:
        self.started = started
        self.limit = limit
        self.dropped = 0
        #: How many of the last bytes that a connection (by number) was sent are not with the operating system yet.
        self.untaken: dict[int, int] = {}
        self._kept = 0
        self._entries: list[tuple[float, int, str, Any, int]] = []

    def __iter__(self) -> Iterator[Entry]:
        from .entry import Entry
        return (Entry(*entry) for entry in self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def received(self, time: float, number: int, data: Union[bytes, memoryview]) -> None:
        """The client's bytes arrived; `data` may be overwritten afterwards."""
        size = len(data)
        if self._kept + size <= self.limit:
            self._kept += size
            self._append((time, number, RECEIVED, bytes(data), size))
        else:
            self._append((time, number, RECEIVED, bytes(data[:_EXCERPT]), size))

    def sent(self, time: float, number: int, data: bytes) -> None:
        """The server's bytes are being handed to the operating system; `untaken` says how many are not."""
        self._append((time, number, SENT, data, len(data)))

    def connected(self, time: float, number: int, address: str) -> None:
        """A client was accepted; `address` is its own."""
        self._append((time, number, CONNECTED, f"client connected from {address}", 0))

    def note(self, time: float, number: int, text: str) -> None:
        """Something else happened."""
        self._append((time, number, NOTED, text, 0))

    def _append(self, entry: tuple[float, int, str, Any, int]) -> None:
        entries = self._entries
        entries.append(entry)
        if len(entries) >= _MOST:
            gone = _MOST // 2
            del entries[_FIRST:_FIRST + gone]
            self.dropped += gone

    def stream(self, number: int, what: str) -> bytes:
        """All bytes RECEIVED or SENT on connection `number`; raise `BufferError` if some of them were let go."""
        chunks = [entry for entry in self._entries if entry[1] == number and entry[2] == what]
        if self.dropped or any(len(entry[3]) != entry[4] for entry in chunks):
            raise BufferError(f"the transcript of connection {number} is not complete: it keeps {self.limit} bytes and "
                              f"{_MOST} entries at most; MockTCPServer(transcript_limit=...) sets the number of bytes")
        return b"".join(entry[3] for entry in chunks)
