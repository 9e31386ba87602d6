"""Division of one connection's outgoing stream into chunks, each with the time at which it is due.

    give(bytes)* -> next(now) -> (due, chunk) | None

A shaper knows the stream's offset, the sizes and the splits that are wanted, and no socket and no clock. It makes the
next chunk of what there is: no chunk waits for bytes that the server has not sent yet, since those may depend on the
client's answer to these.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import Optional, Protocol, Union

__all__ = ["MOST", "Shaper"]

__unittest = True

#: No chunk has more bytes than this: bulk without a limit goes out as it does without conditions.
MOST = 256 * 1024

Piece = Union[bytes, memoryview]


class Source(Protocol):
    """Where random sizes come from."""

    def randint(self, a: int, b: int) -> int:
        """Draw a number from `a` to `b`."""


class Shaper:
    """The conditions of one connection, from `offset` in its outgoing stream on.

    `splits` are offsets in the whole stream, in rising order; `sizes` is the least and the most bytes of a chunk, or
    None; `latency` is in seconds, `rate` in bytes per second. With two different sizes, `source` draws them.
    """

    __slots__ = ("offset", "_splits", "_sizes", "_latency", "_rate", "_source", "_waiting", "_left")

    def __init__(self, splits: tuple[int, ...], sizes: Optional[tuple[int, int]], latency: float,
                 rate: Optional[float], offset: int = 0, source: Optional[Source] = None) -> None:
        self.offset = offset
        self._splits = splits
        self._sizes = sizes
        self._latency = latency
        self._rate = rate
        self._source = source
        self._waiting: deque[Piece] = deque()
        self._left = 0

    def __len__(self) -> int:
        """The number of bytes that were given and are in no chunk yet."""
        return self._left

    def give(self, data: Piece) -> None:
        """Append what the server sends."""
        if len(data):
            self._waiting.append(data)
            self._left += len(data)

    def next(self, now: float) -> Optional[tuple[float, bytes]]:
        """Take the next chunk out: when it is due if its turn comes `now`, and its bytes. None if there is nothing.

        The time counts from `now`, the moment at which the client had the chunk before: a network that is slower than
        the client never catches up by a burst.
        """
        if not self._left:
            return None
        size = min(self._size(), self._left, MOST)
        place = bisect_right(self._splits, self.offset)
        if place < len(self._splits):
            size = min(size, self._splits[place] - self.offset)
        self.offset += size
        due = now + self._latency + (size / self._rate if self._rate else 0.0)
        return due, self._take(size)

    def _size(self) -> int:
        if self._sizes is None:
            return MOST
        least, most = self._sizes
        return least if self._source is None else self._source.randint(least, most)

    def _take(self, size: int) -> bytes:
        pieces = []
        self._left -= size
        while size:
            head = self._waiting[0]
            if len(head) > size:
                pieces.append(bytes(head[:size]))
                self._waiting[0] = memoryview(head)[size:]
                break
            pieces.append(bytes(self._waiting.popleft()))
            size -= len(head)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
