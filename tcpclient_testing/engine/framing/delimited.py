"""The framing of messages that end with a delimiter, such as lines, or headers up to an empty line."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Callable, Optional

from tcpclient_testing.engine.arguments import BytesLike, as_bytes, as_count
from tcpclient_testing.engine.wording import counted, shorten

from .base import FramePart, FrameReader, Framing, FramingError, payload_of, too_long

__all__ = ["Delimited"]

__unittest = True

_MAX_LENGTH = 64 * 1024


class Delimited(Framing):
    """Messages that each end with `delimiter`, which is not part of the payload.

    - `delimiter` is one or more bytes. Parts of it may look like its beginning: a message ends at the first complete
      delimiter.
    - `max_length` is the longest payload, in bytes; 64 KiB by default. So a message that does not end is neither
      awaited nor kept for ever.
    - `label` is the name of a message in reports, such as "a line".

    Raises `TypeError` if the delimiter isn't bytes or the limit isn't an int, `ValueError` if the delimiter is empty or
    the limit is negative.
    """

    __slots__ = ("delimiter", "max_length", "label")

    def __init__(self, delimiter: BytesLike, *, max_length: int = _MAX_LENGTH, label: Optional[str] = None) -> None:
        self.delimiter = as_bytes(delimiter, "Delimited(delimiter)")
        if not self.delimiter:
            raise ValueError("Delimited(delimiter) needs at least one byte")
        self.max_length = as_count(max_length, "Delimited(max_length=...)", 0)
        self.label = label

    def __repr__(self) -> str:
        limit = "" if self.max_length == _MAX_LENGTH else f", max_length={self.max_length}"
        label = "" if self.label is None else f", label={self.label!r}"
        return f"Delimited({self.delimiter!r}{limit}{label})"

    def encode(self, payload: bytes) -> bytes:
        """Return the payload and the delimiter.

        Raises `ValueError` if the payload is longer than `max_length`, or if the message would end too early: at a
        delimiter that begins within the payload.
        """
        payload = payload_of(payload, "Delimited.encode(payload)")
        if len(payload) > self.max_length:
            raise too_long(payload, self)
        frame = payload + self.delimiter
        place = frame.find(self.delimiter)
        if place < len(payload):  # within the payload, or its last bytes and the delimiter's first ones form it
            what = self.label or f"a payload for {self!r}"
            raise ValueError(f"{what} is given without the {self.delimiter!r} that ends it, "
                             f"got {shorten(payload, place)}; the delimiter is at byte {place}")
        return frame

    def reader(self) -> FrameReader:
        """Return a reader for one message."""
        return _DelimitedReader(self)


@lru_cache(maxsize=64)
def _tables(delimiter: bytes) -> tuple[Callable[[memoryview, int, int], Optional[re.Match[bytes]]], tuple[int, ...]]:
    """Return a search for the delimiter, and the failure function of Knuth, Morris and Pratt.

    The search is a regular expression: a memoryview has no find(), and copying all the data that follows a short line
    would make many short lines quadratic. ``failures[n - 1]`` is about the delimiter's first n bytes: the length of the
    longest beginning of the delimiter that they end with, other than these n bytes themselves.
    """
    failures = [0]
    for byte in delimiter[1:]:
        state = failures[-1]
        while state and delimiter[state] != byte:
            state = failures[state - 1]
        failures.append(state + (delimiter[state] == byte))
    return re.compile(re.escape(delimiter)).search, tuple(failures)


class _DelimitedReader(FrameReader):
    """Invariant: the last `_held` bytes consumed are the longest possible beginning of a delimiter.

    They are not payload yet. They needn't be kept, because they equal the delimiter's first bytes. All `_given` bytes
    before them were given as payload.
    """

    __slots__ = ("_framing", "_search", "_failures", "_held", "_given")

    def __init__(self, framing: Delimited) -> None:
        self.length = None
        self.started = False
        self._framing = framing
        self._search, self._failures = _tables(framing.delimiter)
        self._held = 0
        self._given = 0

    def feed(self, data: memoryview) -> FramePart:
        """Look for the delimiter: first for one that began in earlier data, then for one within `data`."""
        if len(data):
            self.started = True
        delimiter = self._framing.delimiter
        state, position = self._follow(data, self._held, 0, len(data), begun=True)
        if state == len(delimiter):
            return self._complete(data, position)
        if position < len(data):
            # A delimiter that ends after this place would end a message that is too long.
            limit = max(self._framing.max_length - self._given - self._held, 0) + len(delimiter)
            found = self._search(data, position - state, limit)
            if found is not None:
                return self._complete(data, found.end())
            start = max(position - state, len(data) - len(delimiter) + 1)
            state, _ = self._follow(data, 0, start, len(data), begun=False)
        released = self._held + len(data) - state
        payload = self._payload(data, released)
        self._held = state
        self._given += released
        return FramePart(payload, len(data), False)

    def _follow(self, data: memoryview, state: int, position: int, stop: int, *, begun: bool) -> tuple[int, int]:
        """Advance the automaton; return its state and the position in `data`.

        The state is how many bytes of the delimiter the bytes read so far end with. With `begun`, stop as soon as these
        no longer begin in earlier data, or are the whole delimiter.
        """
        delimiter, failures = self._framing.delimiter, self._failures
        while position < stop and (not begun or position < state < len(delimiter)):
            byte = data[position]
            while state and delimiter[state] != byte:
                state = failures[state - 1]
            if delimiter[state] == byte:
                state += 1
            position += 1
        return state, position

    def _complete(self, data: memoryview, end: int) -> FramePart:
        """Return the last part of a message whose delimiter ends at `end` in the data."""
        payload = self._payload(data, self._held + end - len(self._framing.delimiter))
        return FramePart(payload, end, True)

    def _payload(self, data: memoryview, released: int) -> BytesLike:
        """Return the next `released` bytes of payload, those held back first; `FramingError` if they are too many."""
        held, room = self._held, self._framing.max_length - self._given
        fitting = min(released, room)
        if not held:
            payload: BytesLike = data[:fitting]
        else:
            payload = self._framing.delimiter[: min(held, fitting)] + bytes(data[: max(fitting - held, 0)])
        if released > room:
            limit = self._framing.max_length
            text = f"expected {self.waiting_for()} after at most {counted(limit, 'byte')}, got more without an end"
            raise FramingError(text, offset=limit, payload=payload)
        return payload

    def needed(self) -> int:
        """Return how many bytes of the delimiter are still missing."""
        return len(self._framing.delimiter) - self._held

    def waiting_for(self) -> str:
        """Name the kind of message and its delimiter."""
        framing = self._framing
        if framing.label is None:
            return f"bytes up to {framing.delimiter!r}"
        return f"{framing.label} ending in {framing.delimiter!r}"

    def unfinished(self) -> bytes:
        """Return the bytes held back, which may be the beginning of a delimiter."""
        return self._framing.delimiter[: self._held]
