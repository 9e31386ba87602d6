"""Connections in any order: each is bound to a script by what it sends first."""

from __future__ import annotations

import itertools
import unittest
from typing import Any

from tcpclient_testing.errors import ScriptError
from tcpclient_testing.report import conversation_text
from tcpclient_testing.transcript.entries import Transcript

from .playing import Play


class PoolTests(unittest.TestCase):
    def setUp(self) -> None:
        self.play = Play()
        self.handles: list[Any] = []

    def write(self, *names: bytes) -> None:
        """Write a block with a script for each name."""
        with self.play.server.any_order():
            for name in names:
                handle = self.play.expect_connect()
                self.handles.append(handle)
                handle.expect_line(name)
                handle.send_line(b"hello " + name)
                handle.expect_disconnect()

    def test_connections_when_they_come_in_any_order(self) -> None:
        """Whatever the order, in pieces or whole, before the script or after it: each gets its own answers."""
        names = (b"a", b"ab", b"c")
        for order, early, whole in itertools.product(itertools.permutations(names), (True, False), (True, False)):
            with self.subTest(order=order, early=early, whole=whole):
                self.play, self.handles = Play(), []
                if not early:
                    self.write(*names)
                clients = [self.play.connect() for _ in order]
                for client, name in zip(clients, order):
                    data = name + b"\r\n"
                    self.play.receive(client, *([data] if whole else (bytes([byte]) for byte in data)))
                if early:
                    self.write(*names)
                for client in clients:
                    self.play.end(client)
                self.assertEqual(self.play.summary, "")
                self.assertTrue(self.play.session.complete)
                for number, name in enumerate(order, 1):
                    self.assertEqual(self.play.stream(number), b"hello " + name + b"\r\n")
                for handle, name in zip(self.handles, names):
                    self.assertEqual(handle.conversation.number, order.index(name) + 1)

    def test_connection_after_the_block_when_one_of_it_is_open(self) -> None:
        """What is written after the block waits for all server-level steps of it."""
        play = self.play
        with play.server.any_order():
            for name in (b"a", b"b"):
                play.expect_connect()
                play.server.expect_bytes(name)
                play.server.expect_disconnect()
        later = play.expect_connect()
        later.expect_bytes(b"z")
        one, two, three = play.connect(), play.connect(), play.connect()
        play.receive(three, b"z")
        play.receive(two, b"a")
        play.end(two)
        self.assertFalse(later.conversation.steps[0].satisfied)
        play.receive(one, b"b")
        play.end(one)
        self.assertTrue(play.session.complete)

    def test_block_waits_for_the_steps_before_it(self) -> None:
        """A block is written in its turn: the connection before it has to be done."""
        play = self.play
        play.expect_connect()
        play.server.expect_disconnect()
        self.write(b"a", b"b")
        first = play.connect()
        second = play.connect()
        play.receive(second, b"b\r\n")
        self.assertEqual(play.stream(2), b"")
        play.end(first)
        self.assertEqual(play.stream(2), b"hello b\r\n")

    def test_end_of_stream_in_a_script_when_it_moves(self) -> None:
        """A script that ends a stream forbids what comes after it wherever it is moved, and nothing in the others."""
        handles = []
        with self.play.server.any_order():
            for name in (b"a", b"b"):
                handles.append(self.play.expect_connect())
                handles[-1].expect_line(name)
            handles[0].expect_eof()
            handles[0].send_eof()
        for name in (b"b", b"a"):
            self.play.receive(self.play.connect(), name + b"\r\n")
        handles[1].send_line(b"x")
        handles[1].expect_line()
        with self.assertRaisesRegex(ScriptError, r"comes after send_eof\(\) on connection 2"):
            handles[0].send_line(b"x")
        with self.assertRaisesRegex(ScriptError, r"comes after expect_eof\(\) on connection 2"):
            handles[0].expect_line()

    def test_mismatch_when_no_script_fits(self) -> None:
        """The connection is named, and every script's first message."""
        self.write(b"a", b"b")
        client = self.play.connect()
        self.play.receive(client, b"x")
        failure = self.play.session.failure
        assert failure is not None
        self.assertIs(failure.conversation, client)
        one, two = (f"expect_line({name!r}) at {handle.conversation.steps[1].lines()[0]}"
                    for name, handle in zip((b"a", b"b"), self.handles))
        self.assertEqual(self.play.summary, f"expected one of 2 messages in any order ({one}, {two}), got b'x', "
                         "with which none of them begins")
        self.assertEqual([line[0:10] for line in self.marked()], ["  > 2 expe", "  > 2 expe"])

    def marked(self) -> list[str]:
        """The lines that the report marks."""
        text = conversation_text(self.play.session, Transcript(0.0, 0))
        return [line for line in text if line.startswith("  >")]

    def test_mismatch_when_one_script_is_left(self) -> None:
        """That one was meant for the connection: its step has failed, and the scripts that are taken are named."""
        self.write(b"a", b"b")
        self.play.receive(self.play.connect(), b"b\r\n")
        last = self.play.connect()
        self.play.receive(last, b"other\r\n")
        failure = self.play.session.failure
        assert failure is not None
        self.assertEqual(failure.conversation, last)
        self.assertEqual(failure.step, self.handles[0].conversation.steps[1])
        self.assertEqual(self.play.summary, "expected b'a', got b'other'; first difference at byte 0")
        self.assertEqual(len(self.marked()), 1)
        self.assertIn(f"  connection 1: expect_line(b'b') at {self.handles[1].conversation.steps[1].lines()[0]}",
                      failure.mismatch.details)

    def test_mismatch_when_the_script_is_taken(self) -> None:
        """A second connection that begins as the first did is told which one that was."""
        self.write(b"a", b"b")
        for _ in range(2):
            self.play.receive(self.play.connect(), b"b\r\n")
        place = self.handles[1].conversation.steps[1].lines()[0]
        self.assertEqual(self.play.summary, "expected b'a', got b'b'; first difference at byte 0; connection 1 has the "
                         f"script of expect_line(b'b') at {place}")

    def test_many_scripts_when_none_fits(self) -> None:
        """The first line names a few of them."""
        self.write(b"a", b"b", b"c", b"d", b"e")
        self.play.receive(self.play.connect(), b"x")
        self.assertRegex(self.play.summary, r"one of 5 messages in any order \(.*b'a'.*, .*b'b'.*, .*b'c'.*, 2 more\)")

    def test_steps_after_the_block_when_scripts_have_moved(self) -> None:
        """The newest expected connection is the one whose script was written last, whatever its number."""
        self.write(b"a", b"b")
        self.play.receive(self.play.connect(), b"b\r\n")
        self.assertIs(self.play.session.newest, self.handles[1].conversation)
        self.assertEqual(self.handles[1].conversation.number, 1)

    def test_end_of_stream_when_nothing_was_sent(self) -> None:
        """A client that goes away before it can be told is a failure at once."""
        self.write(b"a", b"b")
        self.play.end(self.play.connect())
        self.assertIn("ended its stream before it had sent anything by which", self.play.summary)

    def test_timeout_when_a_client_is_silent_or_missing(self) -> None:
        """The two are told from each other."""
        self.write(b"a", b"b")
        client = self.play.connect()
        self.play.wait(6)
        self.assertEqual(self.play.summary,
                         "the client has sent nothing for 5.0 s by which it could be told to which of 2 scripts in "
                         "any_order() it belongs; these begin with expect_line(b'a') and expect_line(b'b')")
        self.assertEqual(client.number, 1)
        self.play, self.handles = Play(), []
        self.write(b"a", b"b")
        client = self.play.connect()
        self.play.receive(client, b"b\r\n")
        self.play.end(client)
        self.play.wait(6)
        self.assertIn("no further client connected to 127.0.0.1:1 for 5.0 s; 1 of 2 scripts in any_order() has no "
                      "connection: expect_line(b'a')", self.play.summary)
        self.play, self.handles = Play(), []
        self.write(b"a", b"b")
        self.play.wait(6)
        self.assertIn("no client connected to 127.0.0.1:1 for 5.0 s; 2 of 2 scripts in any_order() have no "
                      "connection: expect_line(b'a') and expect_line(b'b')", self.play.summary)

    def test_inner_block_when_the_first_messages_may_come_in_any_order(self) -> None:
        """A script may begin with a block of its own: each of its messages tells the connection."""
        play = self.play
        with play.server.any_order():
            for names in ((b"a", b"b"), (b"c", b"d")):
                handle = play.expect_connect()
                with handle.any_order():
                    for name in names:
                        handle.expect_line(name)
        play.receive(play.connect(), b"d\r\nc\r\n")
        play.receive(play.connect(), b"b\r\na\r\n")
        self.assertEqual((play.summary, play.session.complete), ("", True))

    def test_misuse_when_it_is_written(self) -> None:
        """A script that does not begin with a message can't be told from the others."""
        def greeting(play: Play) -> None:
            play.expect_connect().send_bytes(b"hello")

        def nothing(play: Play) -> None:
            play.expect_connect()

        def nested(play: Play) -> None:
            with play.server.any_order():
                pass

        for write, pattern in ((greeting, "not with send_bytes"), (nothing, "not with nothing"),
                               (nested, "within any_order")):
            play = Play()
            with self.subTest(pattern=pattern), self.assertRaisesRegex(ScriptError, pattern), play.server.any_order():
                write(play)
