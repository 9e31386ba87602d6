"""Conversations: order, early input, joined sends, time-outs, and ends of streams in every place."""

from __future__ import annotations

import unittest
from typing import Any

from tcpclient_testing.memory.host import CLOSED, HALF_CLOSED, RESET, MemoryServer


def connected(**options: Any) -> MemoryServer:
    """A server with a script that expects one client, which has connected."""
    server = MemoryServer(**options)
    server.expect_connect()
    server.connect()
    return server


class OrderTests(unittest.TestCase):
    def test_steps_are_done_in_order(self) -> None:
        """A reply goes out once what stands before it is satisfied, and not before."""
        server = connected()
        server.expect_bytes(b"ab")
        server.send_bytes(b"1")
        server.expect_line()
        server.send_bytes(b"2")
        server.receive(b"a")
        self.assertEqual(server.connection().wire, [])
        server.receive(b"bx")
        self.assertEqual(server.connection().sent, b"1")
        server.receive(b"\r\n")
        self.assertEqual(server.connection().sent, b"12")
        self.assertIsNone(server.verdict)

    def test_early_input_waits_for_its_step(self) -> None:
        """Connections, bytes and ends that come before the script mentions them are kept."""
        server = MemoryServer()
        server.connect()
        server.receive(b"one\r\ntwo")
        server.half_close()
        server.expect_connect()
        self.assertEqual(server.expect_line().result(), b"one")
        self.assertEqual(server.expect_exactly(3).result(), b"two")
        self.assertTrue(server.expect_disconnect().satisfied)
        self.assertEqual(server.connection().wire, [CLOSED])

    def test_adjacent_sends_are_one_write(self) -> None:
        """Sends that are due together are one write; an expectation between them makes two."""
        server = MemoryServer()
        server.expect_connect()
        server.send_bytes(b"a")
        server.send_bytes(b"")
        server.send_line(b"b")
        server.send_bytes(lambda _: b"c")
        server.expect_bytes(b"x")
        server.send_frame(b"d")
        server.connect()
        self.assertEqual(server.connection().writes, [b"ab\r\nc"])
        server.receive(b"x")
        self.assertEqual(server.connection().writes, [b"ab\r\nc", b"\0\0\0\1d"])

    def test_send_that_comes_during_a_write_is_the_next_write(self) -> None:
        """What is added while bytes are on their way follows them, and each step is told of when it is taken."""
        server = connected(taking=False)
        first = server.send_bytes(b"abc")
        server.turn()
        second = server.send_bytes(b"def")
        next(first.__await__())
        server.take(2)
        self.assertFalse(first.satisfied)
        server.take(1)
        self.assertTrue(first.satisfied)
        self.assertEqual(server.woken, [first])
        server.flush()
        self.assertEqual(server.connection().writes, [b"abc", b"def"])
        self.assertFalse(second.satisfied)
        server.flush()
        self.assertTrue(second.satisfied)

    def test_nothing_moves_after_the_verdict(self) -> None:
        """Events that come after the failure change nothing."""
        server = connected(taking=False)
        send = server.send_bytes(b"abc")
        server.turn()
        server.reset_by_client()
        verdict = server.verdict
        server.take(3)
        server.flush()
        server.receive(b"x")
        self.assertFalse(send.satisfied)
        self.assertEqual((server.verdict, server.gave_up), (verdict, 1))


class TimeOutTests(unittest.TestCase):
    def test_progress_restarts_the_time_out(self) -> None:
        """`timeout` counts from the last byte; `within` from the step's turn."""
        server = connected()
        server.expect_bytes(b"abc", timeout=1.0)
        for byte in (b"a", b"b"):
            server.sleep(0.9)
            server.receive(byte)
        self.assertIsNone(server.verdict)
        server.sleep(1.1)
        self.assertEqual(server.verdict, (1, 1, "expected 3 bytes b'abc', got only 2 (b'ab'), then nothing for 1.0 s"))

    def test_within_is_in_all(self) -> None:
        """Bytes that trickle do not restart `within`."""
        server = connected()
        server.expect_line(within=1.0)
        for _ in range(4):
            server.receive(b"x")
            server.sleep(0.3)
        self.assertEqual(server.verdict[2], r"got b'xxxx' without its ending b'\r\n' within 1.0 s")

    def test_within_alone_takes_the_place_of_the_servers_time_out(self) -> None:
        """`within` may be longer than the server's time-out; with `timeout` as well, both hold."""
        server = connected()
        server.expect_line(within=30.0)
        server.sleep(29.9)
        self.assertIsNone(server.verdict)
        server.sleep(0.2)
        self.assertIn(", nothing received within 30.0 s", server.verdict[2])
        server = connected()
        server.expect_line(timeout=2.0, within=30.0)
        server.sleep(2.1)
        self.assertIn("nothing received for 2", server.verdict[2])

    def test_what_the_client_sends_is_no_progress_of_an_action(self) -> None:
        """A client that sends but does not read is overdue; so is a hold whose event never comes."""
        for method in ("send", "hold"):
            server = connected(taking=False)
            if method == "send":
                server.send_bytes(b"abc")
            else:
                server.hold_until(server.expect_connect())
            server.turn()
            for _ in range(7):
                server.receive(b"x")
                server.sleep(1.0)
            self.assertIsNotNone(server.verdict, method)

    def test_connect_after_and_within(self) -> None:
        """A client that connects before `after` or later than `within` has failed; between them it has not."""
        for moment, good in ((0.5, False), (1.5, True), (2.5, False)):
            server = MemoryServer(timeout=1.0)
            server.expect_connect(after=1.0, within=2.0)
            server.sleep(moment)
            if server.verdict is None:
                server.connect()
            self.assertEqual(server.verdict is None, good, moment)

    def test_idle_client_is_noticed(self) -> None:
        """With the script complete, a client that waits, floods or stays after disconnect() is noticed in the end."""
        for kind in ("waits", "floods", "drained", "again"):
            server = connected(idle_timeout=2.0)
            if kind == "drained":
                server.disconnect()
            if kind == "again":
                server.half_close()
            for _ in range(8):
                server.sleep(0.5)
                if kind in ("floods", "drained"):
                    server.receive(b"x")
                if kind == "again" and server.verdict is None:
                    server.half_close(server.connect())
            self.assertIsNotNone(server.verdict, kind)

    def test_idleness_is_found_after_a_step_without_a_time_out(self) -> None:
        """A step that may take for ever does not stop the watch for idleness after it."""
        server = connected(timeout=None, idle_timeout=1.0)
        server.expect_bytes(b"x")
        server.sleep(10)
        self.assertIsNone(server.verdict)
        server.receive(b"x")
        server.sleep(3)
        self.assertIn("still connected and waits", server.verdict[2])

    def test_time_outs_begin_anew_after_a_standstill(self) -> None:
        """Nobody is overdue for time during which the loop stood still."""
        server = connected()
        server.expect_bytes(b"x")
        server.turn()
        self.stand_still(server, 100.0)
        server.sleep(4.9)
        self.assertIsNone(server.verdict)
        server.sleep(0.2)
        self.assertIsNotNone(server.verdict)

    def stand_still(self, server: MemoryServer, duration: float) -> None:
        """For so many seconds the loop does not turn."""
        server.now += duration
        server.session.excuse(server.now)
        server.session.tick(server.now)
        server.perform()

    def test_standstills_without_progress_are_an_excuse_once(self) -> None:
        """A client that blocks the loop again and again is overdue as any other, and idle as any other."""
        for name, write in (("overdue", lambda d: d.expect_bytes(b"xy")), ("idle", lambda d: None)):
            with self.subTest(name):
                server = connected(timeout=5.0, idle_timeout=5.0)
                write(server)
                server.turn()
                self.stand_still(server, 6.0)
                self.assertIsNone(server.verdict)
                self.stand_still(server, 6.0)
                self.assertIsNotNone(server.verdict)

    def test_standstills_with_progress_are_an_excuse_each_time_but_not_for_the_time_in_all(self) -> None:
        """What the client sends in between is progress; `within` begins anew once."""
        for within, patient in ((None, True), (8.0, False)):
            with self.subTest(within=within):
                server = connected(timeout=5.0)
                server.expect_bytes(b"xyz", timeout=5.0, within=within)
                server.turn()
                self.stand_still(server, 6.0)
                for byte in (b"x", b"y"):
                    server.sleep(0.1)
                    server.receive(byte)
                    self.stand_still(server, 6.0)
                self.assertEqual(server.verdict is None, patient)


class EndTests(unittest.TestCase):
    def test_end_of_stream_in_a_message_is_reported_at_once(self) -> None:
        """Each kind of message, cut short by a close or a reset, fails without a time-out."""
        for write in (lambda d: d.expect_bytes(bytes(4)), lambda d: d.expect_line(), lambda d: d.expect_frame(),
                      lambda d: d.expect_until(b";"), lambda d: d.expect_exactly(4)):
            for end, words in (("half_close", "the client half-closed"),
                               ("reset_by_client", "the client reset the connection")):
                for data in (b"", b"\0\0"):
                    server = connected()
                    write(server)
                    if data:
                        server.receive(data)
                    getattr(server, end)()
                    self.assertIn(words, server.verdict[2])

    def test_reset_in_the_middle_of_a_write_is_reported_at_once(self) -> None:
        """It says how much the client had taken."""
        server = connected(taking=False)
        server.send_bytes(b"abc")
        server.turn()
        server.take(1)
        server.reset_by_client()
        self.assertEqual(server.verdict[2], "the client reset the connection when it had taken 1 of 3 bytes")

    def test_endings_are_told_apart(self) -> None:
        """A close satisfies expect_eof and expect_disconnect, a reset expect_reset, and nothing else does."""
        for method, good in (("expect_eof", "half_close"), ("expect_disconnect", "half_close"),
                             ("expect_reset", "reset_by_client")):
            for end in ("half_close", "reset_by_client"):
                server = connected()
                getattr(server, method)()
                getattr(server, end)()
                self.assertEqual(server.verdict is None, end == good, (method, end))
            server = connected()
            getattr(server, method)()
            server.receive(b"x")
            self.assertIn("got 1 byte: b'x'", server.verdict[2])

    def test_what_follows_a_disconnect_is_not_judged(self) -> None:
        """After disconnect() bytes are drained; the client's own close can be judged."""
        server = connected()
        server.send_eof()
        server.disconnect()
        server.receive(b"QUIT")
        server.expect_disconnect()
        server.half_close()
        self.assertIsNone(server.verdict)
        self.assertEqual(server.connection().wire[:2], [HALF_CLOSED, CLOSED])
        self.assertTrue(server.session.complete)

    def test_reset_by_the_server(self) -> None:
        """reset() is the script's last step."""
        server = connected()
        server.send_bytes(b"x")
        server.reset()
        server.turn()
        self.assertEqual(server.connection().wire, [b"x", RESET])


class ResetAfterTheEndTests(unittest.TestCase):
    """What was sent after the end of the client's stream, and was answered with a reset."""

    def test_send_is_satisfied(self) -> None:
        """It was handed over; what comes next finds the reset."""
        for following, expected in (("expect_disconnect",
                                     "expected the client to disconnect, but it reset the connection"),
                                    ("send_eof", "the client reset the connection before send_eof()"),
                                    ("expect_reset", None)):
            with self.subTest(following=following):
                server = MemoryServer()
                server.taking = False
                server.expect_connect()
                server.connect()
                server.half_close()
                sent = server.send_bytes(b"value")
                getattr(server, following)()
                server.turn()
                server.tell(1, "flushed", reset=True)
                self.assertTrue(sent.satisfied)
                self.assertEqual(None if server.verdict is None else str(server.verdict[2]), expected)

    def test_send_that_was_to_follow(self) -> None:
        """It can't be done any more."""
        server = MemoryServer()
        server.taking = False
        server.expect_connect()
        server.connect()
        server.half_close()
        server.send_bytes(b"value")
        server.turn()
        server.send_bytes(b"more")
        server.tell(1, "flushed", reset=True)
        self.assertEqual(str(server.verdict[2]), "the client reset the connection when it had taken 0 of 4 bytes")


class BeginningTests(unittest.TestCase):
    def test_due_step_when_it_begins_again(self) -> None:
        """Only the step at the cursor does, and a second call changes nothing."""
        server = MemoryServer()
        server.expect_connect()
        server.expect_line()
        server.connect()
        conversation = server.conversation()
        self.assertEqual(conversation.begun, 2)
        conversation.begin_again()
        self.assertEqual(conversation.begun, 1)
        conversation.begin_again()
        self.assertEqual(conversation.begun, 1)
        server.receive(b"a\r\n")
        self.assertIsNone(server.verdict)
        self.assertTrue(server.session.complete)


if __name__ == "__main__":
    unittest.main()
