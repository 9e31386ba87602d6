"""Divides one connection's outgoing stream into chunks, each with the time at which it is due.

    give(bytes)* -> next(now) -> (due, chunk) | None

A shaper knows the offset in the stream, and the sizes and splits that are wanted. It knows no socket and no clock. It
makes the next chunk from the bytes that it has. A chunk never waits for bytes that the server has not sent yet: the
server may send them only after the client has answered these.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from typing import Optional, Protocol, Union

__all__ = ["MOST", "Shaper"]

__unittest = True

#: No chunk has more bytes than this. So without a chunk size, bulk is sent in pieces as large as without conditions.
MOST = 256 * 1024

Piece = Union[bytes, memoryview]


class Source(Protocol):
    """A source of random sizes, such as `random.Random`."""

    def randint(self, a: int, b: int) -> int:
        """Return a random integer from `a` to `b`, both included."""


class Shaper:
    """Applies the conditions of one connection, from `offset` in its outgoing stream on.

    - `splits` are offsets in the whole stream, in rising order.
    - `sizes` is the least and the greatest size of a chunk, in bytes, or None. If these differ, `source` draws sizes.
    - `latency` is in seconds, `rate` in bytes per second.
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
        """The number of bytes that were given and are not in a chunk yet."""
        return self._left

    def give(self, data: Piece) -> None:
        """Append bytes that the server sends."""
        if len(data):
            self._waiting.append(data)
            self._left += len(data)

    def next(self, now: float) -> Optional[tuple[float, bytes]]:
        """Take out the next chunk. Return when it is due, and its bytes; None if there are no bytes.

        The due time counts from `now`, the moment at which the client had the chunk before. So a network that is slower
        than the client never catches up with a burst.
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
