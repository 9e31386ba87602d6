"""What the client of a connection sends: bytes that wait for their step, and the end of the stream."""

from __future__ import annotations

import unittest
from typing import Any

from tcpclient_testing.engine.connection.streams import Inbox


def taken(*pieces: bytes) -> Inbox:
    """An inbox with these pieces, each of which was kept."""
    inbox = Inbox()
    inbox.connect(("127.0.0.1", 5), 0.0)
    for now, piece in enumerate(pieces, 1):
        inbox.take(piece, float(now))
        inbox.keep()
    return inbox


class PendingTests(unittest.TestCase):
    def test_bytes_when_they_are_consumed(self) -> None:
        """Whatever the pieces, consuming takes the first bytes, within a piece and across pieces."""
        for pieces in ((b"abcdef",), (b"ab", b"cdef"), (b"a", b"b", b"c", b"d", b"e", b"f")):
            for count in range(7):
                with self.subTest(pieces=pieces, count=count):
                    inbox = taken(*pieces)
                    inbox.consume(count)
                    self.assertEqual(inbox.unclaimed(), b"abcdef"[count:])
                    self.assertEqual(bool(inbox.pending), count < 6)

    def test_bytes_when_only_the_first_are_asked_for(self) -> None:
        """At most so many are copied, across pieces; all of them stay pending."""
        inbox = taken(b"ab", b"cd")
        self.assertEqual([inbox.unclaimed(most) for most in (0, 1, 3, 9)], [b"", b"a", b"abc", b"abcd"])
        self.assertEqual(inbox.unclaimed(), b"abcd")

    def test_bytes_when_the_buffer_is_used_again(self) -> None:
        """What was kept is a copy: overwriting the buffer changes nothing."""
        inbox, buffer = Inbox(), bytearray(b"early")
        inbox.take(memoryview(buffer), 1.0)
        inbox.keep()
        buffer[:] = b"later"
        self.assertEqual(inbox.unclaimed(), b"early")

    def test_count_of_kept_bytes_when_some_were_consumed(self) -> None:
        """The estimate grows with what is kept, is counted anew on request, and begins anew when nothing is pending."""
        inbox = taken(b"abc", b"de")
        self.assertEqual(inbox.kept, 5)
        inbox.consume(4)
        self.assertEqual((inbox.kept, inbox.count_kept(), inbox.kept), (5, 1, 1))
        inbox.consume(1)
        inbox.take(b"f", 3.0)
        self.assertEqual(inbox.kept, 0)

    def test_time_when_bytes_wait(self) -> None:
        """Each arrival is progress; the first one that waits says since when bytes are unclaimed."""
        inbox = taken(b"a", b"b")
        self.assertEqual((inbox.unclaimed_at, inbox.progress), (1.0, 2.0))
        inbox.consume(2)
        inbox.take(b"c", 3.0)
        self.assertEqual((inbox.unclaimed_at, inbox.progress), (3.0, 3.0))

    def test_bytes_when_the_connection_is_drained_or_ignored(self) -> None:
        """Draining drops what is pending, ignoring leaves it; both count as progress, and judge nothing more."""
        for method, left in (("drain", b""), ("ignore", b"ab")):
            with self.subTest(method=method):
                inbox = taken(b"ab")
                getattr(inbox, method)(9.0)
                self.assertEqual((inbox.draining, inbox.unclaimed(), inbox.progress), (True, left, 9.0))


class EndTests(unittest.TestCase):
    def ended(self, *events: tuple[str, Any]) -> tuple[bool, bool, bool]:
        """Whether the stream has ended, by a FIN, by a reset, after these events."""
        inbox = taken(b"a")
        for method, options in events:
            getattr(inbox, method)(*options.get("at", ()), **options.get("options", {}))
        self.assertEqual(inbox.unclaimed(), b"a")  # no end drops what came before it
        return inbox.ended, inbox.fin, inbox.reset

    def test_end_when_it_is_a_fin_or_a_reset(self) -> None:
        """A FIN, a reset, and a reset after a FIN, are told from one another."""
        alone, after = ("end_by_reset", {"at": (2.0,), "options": {"after_fin": False}}), \
            ("end_by_reset", {"at": (2.0,), "options": {"after_fin": True}})
        fin = ("end", {"at": (2.0,)})
        self.assertEqual(self.ended(), (False, False, False))
        self.assertEqual(self.ended(fin), (True, True, False))
        self.assertEqual(self.ended(alone), (True, False, True))
        self.assertEqual(self.ended(after), (True, True, True))
        self.assertEqual(self.ended(fin, alone), (True, True, True))
        self.assertEqual(self.ended(fin, ("note_reset", {})), (True, True, True))

    def test_open_when_the_client_comes_and_goes(self) -> None:
        """It is open from the connect to the end of the stream, or to the close."""
        inbox = Inbox()
        self.assertFalse(inbox.open)
        inbox.connect("/run/client", 1.0)
        self.assertEqual((inbox.open, inbox.peername, inbox.accepted_at, inbox.progress),
                         (True, "/run/client", 1.0, 1.0))
        inbox.end(2.0)
        self.assertFalse(inbox.open)
        other = taken(b"")
        other.close()
        self.assertFalse(other.open)


class PauseTests(unittest.TestCase):
    def test_pause_when_it_is_written_twice(self) -> None:
        """The first step stands for the pause, until reading is resumed."""
        inbox, one, two = Inbox(), Step("one"), Step("two")
        inbox.pause(one)
        inbox.pause(two)
        self.assertIs(inbox.paused, one)
        inbox.resume()
        self.assertIsNone(inbox.paused)
        inbox.pause(two)
        self.assertIs(inbox.paused, two)


class Step(str):
    """As much of a step as an inbox asks for."""

    __slots__ = ()

    def lines(self) -> list[Any]:
        """Nowhere."""
        return []


if __name__ == "__main__":
    unittest.main()
