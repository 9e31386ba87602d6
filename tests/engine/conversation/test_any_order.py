"""Blocks whose expectations come in any order."""

from __future__ import annotations

import unittest

from tcpclient_testing.errors import ScriptError
from tcpclient_testing.memory.host import MemoryServer


class UnorderedTests(unittest.TestCase):
    def setUp(self) -> None:
        self.server = MemoryServer(at_once=True)
        self.server.ending = "ended its stream"
        self.handle = self.server.expect_connect().connection

    def test_actions_when_their_expectation_is_met(self) -> None:
        """Each action belongs to the expectation above it; what follows waits for the whole block."""
        with self.handle.any_order():
            one = self.handle.expect_line(b"1")
            self.handle.send_line(b"one")
            two = self.handle.expect_line(b"2")
            self.handle.send_line(b"two")
        self.handle.send_line(b"done")
        self.server.connect()
        self.server.receive(b"2\r\n1\r\n")
        self.assertEqual(self.server.connection().sent, b"two\r\none\r\ndone\r\n")
        self.assertEqual((two.index, one.index), (1, 3))

    def test_first_written_wins_when_several_match(self) -> None:
        """Of several that the same message would satisfy it is the first that is still open."""
        with self.handle.any_order():
            first = self.handle.expect_line()
            second = self.handle.expect_line()
        self.server.connect()
        self.server.receive(b"a\r\nb\r\n")
        self.assertEqual((first.result(), second.result()), (b"a", b"b"))

    def test_early_bytes_when_the_block_is_written_later(self) -> None:
        """Nothing is judged before the block has ended: it makes no difference which was first."""
        self.server.connect()
        self.server.receive(b"2\r\n1\r\n")
        with self.handle.any_order():
            self.handle.expect_line(b"1")
            self.handle.expect_line(b"2")
        self.assertEqual((self.server.verdict, self.server.session.complete), (None, True))

    def test_timeout_names_what_is_missing(self) -> None:
        """The report says which messages of the block did not come; those are still due."""
        with self.handle.any_order():
            one = self.handle.expect_line(b"1")
            two = self.handle.expect_line(b"2")
            three = self.handle.expect_bytes(b"3", within=20)
        self.server.connect()
        self.server.receive(b"2\r\n")
        self.server.sleep(6)
        self.assertEqual(self.server.verdict[2],
                         "2 of 3 messages in any order are missing: expect_line(b'1') and expect_bytes(b'3'); nothing "
                         "received for 5.0 s")
        self.assertEqual([two.status(), one.status(), three.status()], ["satisfied", "failed", "unfinished"])

    def test_within_counts_from_the_beginning_of_the_block(self) -> None:
        """Messages that come don't give the others more time in all."""
        with self.handle.any_order():
            self.handle.expect_line(b"1", within=3)
            self.handle.expect_line(b"2")
            self.handle.expect_line(b"3")
        self.server.connect()
        self.server.sleep(2)
        self.server.receive(b"2\r\n")
        self.server.sleep(1.5)
        self.assertEqual(self.server.verdict[2],
                         "2 of 3 messages in any order are missing: expect_line(b'1') and expect_line(b'3'); not "
                         "complete within 3.0 s")

    def test_within_when_a_message_has_begun(self) -> None:
        """What has come of it is told; the messages before it were received in that time, too."""
        with self.handle.any_order():
            self.handle.expect_line(b"1", within=3)
            self.handle.expect_line(b"2")
        self.server.connect()
        self.server.receive(b"2\r\n1")
        self.server.sleep(3.5)
        self.assertEqual(self.server.verdict[2], "1 of 2 messages in any order is missing: expect_line(b'1'); not "
                                                 "complete within 3.0 s; got 1 byte (b'1')")

    def test_mismatch_names_every_candidate(self) -> None:
        """At the byte where the last one is out, each is named with its own mismatch and line."""
        with self.handle.any_order():
            self.handle.expect_line(b"one")
            self.handle.expect_line(b"only")
        self.server.connect()
        self.server.receive(b"on")
        self.assertIsNone(self.server.verdict)
        self.server.receive(b"x")
        self.assertEqual(self.server.verdict[2], "got b'onx', with which none of 2 messages in any order begins")
        failure = self.server.session.failure
        assert failure is not None
        self.assertIn("expect_line(b'only') at test_any_order.py:", "\n".join(failure.mismatch.details))

    def test_end_of_stream_when_messages_are_missing(self) -> None:
        """The client's end names them at once."""
        with self.handle.any_order():
            self.handle.expect_line(b"1")
            self.handle.expect_line(b"2")
        self.server.connect()
        self.server.receive(b"1\r\n")
        self.server.half_close()
        self.assertEqual(self.server.verdict[2],
                         "1 of 2 messages in any order is missing: expect_line(b'2'); got nothing before the client "
                         "ended its stream")

    def test_end_of_stream_when_many_messages_are_missing(self) -> None:
        """The line names the first few; the others are told below, each with its place."""
        with self.handle.any_order():
            for number in range(7):
                self.handle.expect_line(b"%d" % number)
        self.server.connect()
        self.server.receive(b"3\r\n6")
        self.server.half_close()
        self.assertEqual(self.server.verdict[2],
                         "6 of 7 messages in any order are missing: expect_line(b'0'), expect_line(b'1'), "
                         "expect_line(b'2'), expect_line(b'4') and 2 more; got 1 byte (b'6') before the client ended "
                         "its stream")
        failure = self.server.session.failure
        assert failure is not None
        self.assertEqual([line.partition(" at test_any_order.py")[0] for line in failure.mismatch.details],
                         ["missing", *(f"  expect_line(b'{number}')" for number in (0, 1, 2, 4, 5, 6))])

    def test_exact_steps_before_a_block_when_they_begin_alike(self) -> None:
        """A run of exact bytes ends where the block begins."""
        self.handle.expect_bytes(b"a")
        with self.handle.any_order():
            self.handle.expect_bytes(b"b")
            self.handle.expect_bytes(b"c")
        self.handle.expect_bytes(b"d")
        self.server.connect()
        self.server.receive(b"acbd")
        self.assertEqual((self.server.verdict, self.server.session.complete), (None, True))

    def test_misuse_when_it_is_written(self) -> None:
        """What has no place in such a block is refused where it is written."""
        cases = [("an action belongs to the expectation written above it", lambda h: h.send_bytes(b"x")),
                 ("only messages can come in any order", lambda h: h.expect_eof()),
                 ("any_order\\(\\) is within any_order", lambda h: h.any_order().__enter__()),
                 ("in this block that may be any of them", lambda h: h.expect_exactly(len)),
                 ("what is still missing could not come after it", lambda h: (h.expect_bytes(b"a"), h.disconnect()))]
        for pattern, write in cases:
            server = MemoryServer(at_once=True)
            handle = server.expect_connect().connection
            with self.subTest(pattern=pattern), self.assertRaisesRegex(ScriptError, pattern), handle.any_order():
                write(handle)

    def test_awaited_step_when_the_block_has_not_ended(self) -> None:
        """Waiting in the block for what can only happen after it is refused."""
        with self.assertRaisesRegex(ScriptError, "awaited within any_order"), self.handle.any_order():
            next(self.handle.expect_line().__await__())

    def test_empty_block_when_nothing_is_written_in_it(self) -> None:
        """It is as if it were not there."""
        with self.handle.any_order():
            pass
        self.handle.expect_bytes(b"a")
        self.server.connect()
        self.server.receive(b"a")
        self.assertTrue(self.server.session.complete)
