"""What the server sends on a connection: writes, how much of them was taken, and the fault that cuts them."""

from __future__ import annotations

import unittest
from collections.abc import Iterable
from typing import Any

from tcpclient_testing.engine.connection.interleaved import InterleavedSends
from tcpclient_testing.engine.connection.streams import Limit, Outbox


class Armed(str):
    """As much of a step as a limit asks for."""

    __slots__ = ()

    def lines(self) -> list[Any]:
        """Nowhere."""
        return []


class Ending(Limit):
    """A fault that ends the connection."""

    __slots__ = ()
    ends = True


def begun(*items: bytes, first: int = 1) -> Outbox:
    """An outbox that has begun a write with these items, of which none was taken."""
    outbox = Outbox()
    for index, item in enumerate(items, first):
        outbox.queue(item, index)
    outbox.begin(first)
    return outbox


def armed(after: int, kind: type[Limit] = Limit) -> tuple[Outbox, Limit]:
    """An outbox with a fault after so many bytes, and the fault."""
    outbox, limit = Outbox(), kind(Armed("fault()"), after)
    outbox.arm(limit)
    return outbox, limit


def interleave(outbox: Outbox) -> InterleavedSends:
    """Begin a write of the other lane."""
    lane = outbox.open_lane()
    lane.begin([], 0)
    return lane


class WriteTests(unittest.TestCase):
    def test_items_when_a_write_takes_them(self) -> None:
        """They are taken once, in order, without those of no bytes; later ones are counted behind them."""
        outbox = begun(b"ab", b"", b"c")
        self.assertEqual((outbox.take(), outbox.ends, outbox.take()), ([b"ab", b"c"], (2, 2, 3), []))
        outbox.queue(b"de", 4)
        self.assertEqual((outbox.take(), outbox.ends, outbox.total), ([b"de"], (2, 2, 3, 5), 5))

    def test_item_when_it_is_taken_in_part(self) -> None:
        """The first item that is not whole is named, and how many bytes of each were taken."""
        for count, item, of_each in ((0, 1, [0, 0, 0]), (1, 1, [1, 0, 0]), (2, 3, [2, 0, 0]), (3, 3, [2, 0, 1]),
                                     (4, 4, [2, 0, 2])):
            with self.subTest(count=count):
                outbox = begun(b"ab", b"", b"cd")
                outbox.take()
                self.assertEqual(outbox.took(count, 7.0), item)
                self.assertEqual([outbox.taken_of(index) for index in (1, 2, 3)], of_each)
                self.assertEqual(outbox.taken_at, 7.0)

    def test_item_when_it_is_in_no_write(self) -> None:
        """Nothing of an item before or after the write was taken by it."""
        outbox = begun(b"ab", first=3)
        outbox.take()
        outbox.took(2, 1.0)
        self.assertEqual([outbox.taken_of(index) for index in (2, 3, 4)], [0, 2, 0])

    def test_write_when_all_of_it_is_taken(self) -> None:
        """It is over, and the item after it is named."""
        outbox = begun(b"ab", b"c", first=4)
        outbox.take()
        self.assertEqual(outbox.took_all(2.0, caught_up=True), 6)
        self.assertEqual((outbox.sending, outbox.taken_at, outbox.caught_up), (False, 2.0, True))

    def test_write_when_another_came_before_it(self) -> None:
        """What was taken counts from its own beginning, and the sum of all bytes goes on."""
        outbox = begun(b"ab")
        outbox.take()
        outbox.took_all(1.0, caught_up=False)
        outbox.queue(b"cde", 2)
        outbox.begin(2)
        outbox.take()
        self.assertEqual((outbox.took(1, 2.0), outbox.taken_of(2), outbox.total), (2, 1, 5))


class LaneTests(unittest.TestCase):
    def test_lane_when_it_is_opened_again(self) -> None:
        """It is the same one, and nothing is under way before a write begins."""
        outbox = Outbox()
        self.assertFalse(outbox.interleaving)
        lane = outbox.open_lane()
        self.assertIs(outbox.open_lane(), lane)
        self.assertFalse(outbox.interleaving)
        interleave(outbox)
        self.assertTrue(outbox.interleaving)
        lane.finish()
        self.assertFalse(outbox.interleaving)


class LimitTests(unittest.TestCase):
    def test_chunks_when_they_cross_the_limit(self) -> None:
        """What is sent ends at the limit, wherever the chunks do and however much was sent before."""
        for after in range(7):
            for sent in range(after + 1):
                with self.subTest(after=after, sent=sent):
                    limit = Limit(Armed("fault()"), after)
                    self.assertEqual(b"".join(limit.cut([b"abc", b"de"], sent)), b"abcde"[:after - sent])

    def test_bytes_of_both_lanes_when_they_are_counted(self) -> None:
        """The limit holds for the sum: a reply is cut, and so is the script's next write."""
        for after, reply, write in ((2, b"po", b""), (4, b"pong", b""), (5, b"pong", b"x"), (9, b"pong", b"xyz")):
            with self.subTest(after=after):
                outbox, _ = armed(after)
                self.assertEqual(outbox.send_interleaved(b"pong"), reply)
                outbox.queue(b"xyz", 1)
                outbox.begin(1)
                self.assertEqual((b"".join(outbox.take()), outbox.total), (write, len(reply + write)))

    def test_limit_when_its_number_is_reached(self) -> None:
        """It strikes once, and then nothing that is sent reaches the client."""
        outbox, limit = armed(3)
        seen = []
        for item in (b"ab", b"c", b"d"):
            outbox.queue(item, 1)
            outbox.begin(1)
            outbox.take()
            seen.append((outbox.strike(), outbox.cut_off))
        self.assertEqual(seen, [(None, False), (limit, True), (None, True)])

    def test_limit_when_the_other_lane_is_writing(self) -> None:
        """It waits for the end of that write."""
        outbox, limit = armed(0)
        lane = interleave(outbox)
        self.assertIsNone(outbox.strike())
        lane.finish()
        self.assertIs(outbox.strike(), limit)

    def test_connection_when_a_limit_has_struck(self) -> None:
        """It has ended only by a limit that ends connections; one that does not only cuts what is sent."""
        for kind, ended in ((Limit, False), (Ending, True)):
            with self.subTest(kind=kind.__name__):
                outbox, limit = armed(0, kind)
                self.assertFalse(limit.struck and limit.ends)
                outbox.strike()
                self.assertEqual((limit.struck and limit.ends, outbox.cut_off, limit.command(1)), (ended, True, None))

    def test_limit_when_it_was_never_reached(self) -> None:
        """The text names its step, and how many bytes there were."""
        self.assertEqual(self.texts((0, 1, 5)), [f"fault() never took effect: the server sent only {sent}"
                                                 for sent in ("0 bytes", "1 byte", "5 bytes")])

    def texts(self, counts: Iterable[int]) -> list[str]:
        """What is said when so many bytes were sent in all."""
        return [Limit(Armed("fault()"), 9).missed(sent).summary for sent in counts]


if __name__ == "__main__":
    unittest.main()
