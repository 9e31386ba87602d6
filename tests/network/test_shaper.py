"""Tests of the division of a stream into chunks with times."""

from __future__ import annotations

import unittest

from tcpclient_testing.network.shaper import MOST, Shaper


def chunks(shaper, now=0.0):
    """All chunks that are there, each asked for at the time at which the one before was due."""
    found = []
    while len(shaper):
        now, chunk = shaper.next(now)
        found.append((now, chunk))
    return found


class ShaperTests(unittest.TestCase):
    """Chunks and times."""

    def shaped(self, data, *, splits=(), sizes=None, latency=0.0, rate=None, offset=0):
        """The chunks of `data`, without their times."""
        shaper = Shaper(splits, sizes, latency, rate, offset)
        shaper.give(data)
        return [chunk for _, chunk in chunks(shaper)]

    def test_chunks_have_the_size(self):
        """All chunks but the last have the size."""
        self.assertEqual(self.shaped(b"abcdefgh", sizes=(3, 3)), [b"abc", b"def", b"gh"])

    def test_splits_divide_the_stream(self):
        """Chunks end at the splits, which count from the beginning of the connection's stream."""
        self.assertEqual(self.shaped(b"abcdefgh", splits=(1, 5, 100)), [b"a", b"bcde", b"fgh"])
        self.assertEqual(self.shaped(b"fgh", splits=(1, 5, 7), offset=5), [b"fg", b"h"])

    def test_chunks_end_at_splits_too(self):
        """With both, no chunk is longer than the size, and none goes beyond a split."""
        self.assertEqual(self.shaped(b"abcdefghij", splits=(2,), sizes=(4, 4)), [b"ab", b"cdef", b"ghij"])

    def test_pieces_are_joined(self):
        """What was given in pieces, views among them, comes out in chunks that know nothing of the pieces."""
        shaper = Shaper((), (4, 4), 0.0, None)
        for piece in (b"a", b"", memoryview(b"bcd"), b"efg", b"hij"):
            shaper.give(piece)
        self.assertEqual(len(shaper), 10)
        self.assertEqual([chunk for _, chunk in chunks(shaper)], [b"abcd", b"efgh", b"ij"])
        self.assertEqual(shaper.offset, 10)

    def test_chunk_does_not_wait_for_more(self):
        """What is there makes a chunk, however short; the next one begins anew."""
        shaper = Shaper((), (4, 4), 0.0, None)
        shaper.give(b"abc")
        self.assertEqual(shaper.next(0.0), (0.0, b"abc"))
        self.assertIsNone(shaper.next(0.0))
        shaper.give(b"defgh")
        self.assertEqual(shaper.next(0.0), (0.0, b"defg"))

    def test_latency_comes_before_each_chunk(self):
        """Each chunk is due so many seconds after its turn has come."""
        shaper = Shaper((), (2, 2), 0.5, None)
        shaper.give(b"abc")
        self.assertEqual(chunks(shaper, 10.0), [(10.5, b"ab"), (11.0, b"c")])

    def test_rate_makes_long_chunks_late(self):
        """A chunk is due when its last byte has had the time to travel."""
        shaper = Shaper((2,), None, 1.0, 4.0)
        shaper.give(b"abcdef")
        self.assertEqual(chunks(shaper), [(1.5, b"ab"), (3.5, b"cdef")])

    def test_bulk_is_divided(self):
        """No chunk has more than the most, whatever is asked for."""
        self.assertEqual(list(map(len, self.shaped(bytes(2 * MOST + 5)))), [MOST, MOST, 5])
        self.assertEqual(list(map(len, self.shaped(bytes(MOST + 5), sizes=(2 * MOST, 2 * MOST)))), [MOST, 5])

    def test_sizes_are_drawn(self):
        """With two sizes the source says how many bytes come next."""
        class Source:
            drawn = iter([3, 1, 2])

            def randint(self, a, b):
                assert (a, b) == (1, 3)
                return next(self.drawn)

        shaper = Shaper((), (1, 3), 0.0, None, source=Source())
        shaper.give(b"abcdef")
        self.assertEqual([chunk for _, chunk in chunks(shaper)], [b"abc", b"d", b"ef"])
