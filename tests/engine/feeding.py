"""One way to feed judges and readers, whole, byte by byte and split anywhere, for all of their tests.

Pieces arrive as views into a buffer that is overwritten afterwards, as they do from a transport, so that whoever
keeps a view instead of a copy is found out.
"""

from __future__ import annotations

import contextlib
import re
import unittest
from collections.abc import Iterator
from typing import Any, Optional

from tcpclient_testing.engine.framing.base import Framing, FramingError
from tcpclient_testing.engine.matching.base import Match, Matcher
from tcpclient_testing.engine.mismatches import Mismatch

__all__ = ["FeedingTestCase", "divisions", "judged", "read"]


def divisions(data: bytes) -> Iterator[list[bytes]]:
    """The data whole, byte by byte, at each single split, and with empty pieces between."""
    yield [data]
    yield [data[index : index + 1] for index in range(len(data))] or [b""]
    for place in range(1, len(data)):
        yield [data[:place], data[place:]]
    yield [b"", data[: len(data) // 2], b"", data[len(data) // 2 :], b""]


def judged(matcher: Matcher[Any], pieces: list[bytes], announce: Optional[int] = None) -> Any:
    """What a judge of the matcher makes of the pieces: a Match or a Mismatch."""
    judge = matcher.judge()
    if announce is not None:
        mismatch = judge.announce(announce)
        if mismatch is not None:
            return mismatch
    received = b""
    for piece in pieces:
        buffer = bytearray(piece)
        mismatch = judge.feed(memoryview(buffer))
        buffer[:] = b"\xee" * len(buffer)
        received += piece
        assert judge.received == len(received), "a judge miscounts"
        assert received.endswith(judge.partial()), "a judge's partial() isn't what came"
        if mismatch is not None:
            return mismatch
    return judge.finish()


def read(framing: Framing, pieces: list[bytes]) -> tuple[Any, ...]:
    """What a reader of the framing makes of the pieces.

    ``("frame", payload, bytes consumed)``, ``("malformed", payload before, offset)``, or
    ``("unfinished", payload so far, bytes still needed, what it waits for, what is held back)``.
    """
    reader = framing.reader()
    payload = b""
    consumed = 0
    for piece in pieces:
        buffer = bytearray(piece)
        needed, length = reader.needed(), reader.length
        try:
            part = reader.feed(memoryview(buffer))
        except FramingError as error:
            assert isinstance(error.mismatch, Mismatch) and str(error) == error.mismatch.summary
            return "malformed", payload + bytes(error.payload), error.mismatch.offset
        payload += bytes(part.payload)
        del part.payload
        buffer[:] = b"\xee" * len(buffer)
        consumed += part.consumed
        assert length in (None, reader.length), "a reader changes its mind about a length"
        assert reader.started == (consumed > 0), "a reader doesn't know whether it has started"
        if part.complete:
            assert part.consumed >= needed, "a reader needed more than it took"
            assert reader.length in (None, len(payload)), "a reader announces a length that isn't the payload's"
            return "frame", payload, consumed
        assert part.consumed == len(piece), "a reader leaves bytes of an incomplete message"
    return "unfinished", payload, reader.needed(), reader.waiting_for(), reader.unfinished()


class FeedingTestCase(unittest.TestCase):
    """Assertions that hold for every division of the bytes into pieces."""

    @contextlib.contextmanager
    def assertAllocatesLess(self, most: int, message: object = None) -> Iterator[None]:
        """Inside the `with` block fewer than `most` bytes are allocated at any time."""
        try:
            import tracemalloc
        except ImportError:  # PyPy has only the half of it
            raise unittest.SkipTest("needs tracemalloc") from None
        tracemalloc.start()
        try:
            yield
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        self.assertLess(peak, most, message)

    def assertJudged(self, matcher: Matcher[Any], message: bytes) -> Any:
        """Every division of `message` gives the verdict that `match` gives; return that of the whole message."""
        verdict = matcher.match(message)
        for pieces in divisions(message):
            with self.subTest(matcher=repr(matcher), pieces=pieces):
                self.assertEqual(_essence(judged(matcher, pieces)), _essence(verdict))
        return verdict

    def assertMatches(self, matcher: Matcher[Any], message: bytes, result: Any) -> None:
        """The message matches, with this result, however it is divided."""
        verdict = self.assertJudged(matcher, message)
        self.assertIsInstance(verdict, Match, verdict)
        self.assertEqual(_essence(verdict), _essence(Match(result)))

    def assertDiffers(
        self, matcher: Matcher[Any], message: bytes, kind: type[Mismatch], summary: str, offset: Optional[int] = None
    ) -> Mismatch:
        """The message differs, in this way, however it is divided; and whole, with this text. Return the mismatch."""
        verdict = self.assertJudged(matcher, message)
        self.assertIs(type(verdict), kind)
        self.assertEqual(verdict.summary, summary)
        self.assertNotIn("\n", verdict.summary)
        self.assertEqual(verdict.offset, offset)
        assert isinstance(verdict, Mismatch)
        return verdict

    def assertReads(self, framing: Framing, data: bytes) -> tuple[Any, ...]:
        """Every division of `data` is read alike; with more data behind a frame, too. Return the outcome."""
        outcome = read(framing, [data])
        for pieces in divisions(data):
            with self.subTest(framing=repr(framing), pieces=pieces):
                self.assertEqual(read(framing, pieces), outcome)
        if outcome[0] == "frame":
            self.assertEqual(framing.decode(data + b"\0trailing\r\n"), outcome[1:])
            for pieces in divisions(data + b"next"):
                with self.subTest(framing=repr(framing), pieces=pieces):
                    self.assertEqual(read(framing, pieces), outcome)
        return outcome

    def assertRoundTrip(self, framing: Framing, payload: bytes, frame: bytes) -> None:
        """The payload is encoded to this frame, and comes out of it again."""
        self.assertEqual(framing.encode(payload), frame)
        self.assertEqual(self.assertReads(framing, frame), ("frame", payload, len(frame)))

    def assertMalformed(self, framing: Framing, data: bytes, offset: Optional[int], summary: str) -> None:
        """The data is refused at the byte `offset`, however it is divided; whole, with this text."""
        outcome = self.assertReads(framing, data)
        self.assertEqual((outcome[0], outcome[2]), ("malformed", offset))
        if offset is not None and offset:
            self.assertNotEqual(read(framing, [data[:offset]])[0], "malformed", "it could be refused earlier")
            self.assertEqual(read(framing, [data[: offset + 1]])[0], "malformed", "it is refused too late")
        with self.assertRaises(FramingError) as caught:
            framing.reader().feed(memoryview(data))
        self.assertEqual(str(caught.exception), summary)


def _essence(verdict: Any) -> Any:
    """What must not depend on the division: the result, or the kind and the place of the mismatch."""
    if isinstance(verdict, Mismatch):
        return type(verdict), verdict.offset
    result = verdict.result
    if isinstance(result, re.Match):
        return "match", result.group(), result.groups()
    return "match", result
