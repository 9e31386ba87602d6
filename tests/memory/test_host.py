"""The server without sockets: what is played by calls reaches the script, and what is sent stands on the wire."""

from __future__ import annotations

import threading
import unittest
from typing import Any

from tcpclient_testing.memory.host import CLOSED, HALF_CLOSED, RESET, MemoryServer, NotDone, Over


def connected(**options: Any) -> MemoryServer:
    """A server whose client has connected."""
    server = MemoryServer(**options)
    server.expect_connect()
    server.connect()
    return server


class WireTests(unittest.TestCase):
    def test_sends_when_they_are_written_one_after_another(self) -> None:
        """They are one write, when the loop has turned; with at_once=True each is its own, and goes out at once."""
        for at_once, before, writes in ((False, b"", [b"ab"]), (True, b"ab", [b"a", b"b"])):
            with self.subTest(at_once=at_once):
                server = connected(at_once=at_once)
                server.send_bytes(b"a")
                server.send_bytes(b"b")
                self.assertEqual(server.connection().sent, before)
                server.turn()
                self.assertEqual((server.connection().writes, server.connection().sent), (writes, b"ab"))

    def test_send_when_nothing_is_taken(self) -> None:
        """It is on the wire, and satisfied when the client's system has taken all of it."""
        server = connected(taking=False)
        step = server.send_bytes(b"abc")
        server.turn()
        self.assertEqual(server.connection().wire, [b"abc"])
        server.take(2)
        self.assertFalse(step.satisfied)
        self.assertEqual(server.conversation().outbox.taken_of(step.index), 2)
        server.flush()
        self.assertTrue(step.satisfied)

    def test_end_when_it_stands_on_the_wire(self) -> None:
        """Each way to end is told from the others, after the bytes before it."""
        for method, end in (("send_eof", HALF_CLOSED), ("disconnect", CLOSED), ("reset", RESET)):
            with self.subTest(method=method):
                server = connected()
                server.send_bytes(b"x")
                getattr(server, method)()
                server.turn()
                self.assertEqual(server.connection().wire, [b"x", end])

    def test_end_when_the_server_closes_at_once(self) -> None:
        """A close answers the client's, and stands on the wire once."""
        for before in ("", "disconnect"):
            with self.subTest(before=before):
                server = connected()
                if before:
                    getattr(server, before)()
                server.expect_disconnect()
                server.half_close()
                self.assertEqual(server.connection().wire, [CLOSED])
                self.assertTrue(server.conversation().inbox.closed)

    def test_wires_when_there_are_two_connections(self) -> None:
        """Each has its own, by the number that connecting has given it."""
        server = MemoryServer(at_once=True)
        server.expect_connect().connection.send_bytes(b"one")
        server.expect_connect().connection.send_bytes(b"two")
        self.assertEqual((server.connect(), server.connect()), (1, 2))
        self.assertEqual((server.connection(1).sent, server.connection(2).sent), (b"one", b"two"))

    def test_reading_when_the_script_pauses_it(self) -> None:
        """The wire says whether the server reads."""
        server = connected()
        self.assertTrue(server.connection().reading)
        server.pause_reading()
        self.assertFalse(server.connection().reading)
        server.resume_reading()
        self.assertTrue(server.connection().reading)


class ClientTests(unittest.TestCase):
    def test_bytes_when_their_buffer_is_used_again(self) -> None:
        """What nobody has claimed is still what came."""
        server = connected()
        server.receive(b"early")
        self.assertEqual(server.conversation().inbox.unclaimed(), b"early")
        self.assertEqual(server.expect_bytes(b"early").result(), b"early")

    def test_reset_when_the_client_sends_one(self) -> None:
        """It is an event of its own, and no end of stream."""
        server = connected()
        step = server.expect_reset()
        server.reset_by_client()
        self.assertTrue(step.satisfied)

    def test_address_when_clients_connect(self) -> None:
        """Each client has a port of its own."""
        server = MemoryServer()
        for _ in range(2):
            server.connect()
        self.assertEqual([conversation.inbox.peername for conversation in server.session.conversations],
                         [("127.0.0.1", 50000), ("127.0.0.1", 50001)])

    def test_ending_when_the_test_has_evidence(self) -> None:
        """How a client ended its stream is what the test says."""
        server = connected()
        server.ending = "closed"
        server.expect_line()
        server.half_close()
        self.assertTrue(server.verdict[2].startswith("the client closed without sending a line"))


class TimeTests(unittest.TestCase):
    def test_clock_when_the_server_sleeps(self) -> None:
        """It stands at the end of the sleep, and time-outs fall at their own time."""
        server = connected(timeout=2.0)
        server.expect_line()
        server.sleep(1.5)
        self.assertEqual((server.now, server.verdict), (1.5, None))
        server.sleep(10)
        failure = server.session.failure
        assert failure is not None
        self.assertEqual((server.now, failure.now), (11.5, 2.0))

    def test_clock_when_a_step_has_its_own_timer(self) -> None:
        """A delay is over when its time has come, and not before."""
        server = connected(at_once=True)
        server.delay(1)
        server.send_bytes(b"x")
        server.sleep(0.9)
        self.assertEqual(server.connection().sent, b"")
        server.sleep(0.1)
        self.assertEqual(server.connection().sent, b"x")

    def test_idle_time_out_when_it_is_none(self) -> None:
        """Nothing ends a client that stays."""
        for idle_timeout, verdict in ((30.0, True), (None, False)):
            with self.subTest(idle_timeout=idle_timeout):
                server = connected(idle_timeout=idle_timeout)
                server.sleep(100)
                self.assertEqual(server.verdict is not None, verdict)


class CommandTests(unittest.TestCase):
    def test_coroutine_when_it_is_run(self) -> None:
        """A reply is sent with what its coroutine returns, or the script fails with what it raises."""
        async def reply(line: bytes) -> bytes:
            return b"%d" % (10 // int(line))

        for line, sent, words in ((b"5", b"2", ""), (b"0", b"", "ZeroDivisionError")):
            with self.subTest(line=line):
                server = connected()
                server.expect_line()
                server.send_bytes(reply)
                server.receive(line + b"\r\n")
                self.assertEqual((server.connection().sent, len(server.computing)), (b"", 1))
                server.compute()
                self.assertEqual((server.connection().sent, server.computing), (sent, []))
                self.assertIn(words, server.verdict[2] if server.verdict else "")

    def test_held_step_when_its_event_happens(self) -> None:
        """It goes on when the test lets the event happen."""
        server = connected()
        step = server.hold_until(threading.Event())
        self.assertFalse(step.satisfied)
        server.release()
        self.assertTrue(step.satisfied)

    def test_handshake_when_it_ends_well(self) -> None:
        """TLS is begun when its step is due, and done when the test says so."""
        server = connected()
        step = server.start_tls(object())
        self.assertEqual(([command.number for command in server.upgrading], step.satisfied), ([1], False))
        server.upgraded("info")
        self.assertEqual((server.upgrading, step.satisfied), ([], True))

    def test_handler_when_a_connection_is_handed_over(self) -> None:
        """The connection's number is noted."""
        async def serve(connection: Any) -> None:
            """Serve nobody."""

        server = connected()
        server.hand_over(serve)
        self.assertEqual(server.handed_over, [1])

    def test_giving_up_when_the_script_fails(self) -> None:
        """It is asked for once, however much goes wrong, and nothing is sent any more."""
        server = connected()
        server.expect_bytes(b"a")
        server.send_bytes(b"x")
        server.receive(b"b")
        server.receive(b"c")
        server.turn()
        self.assertEqual((server.gave_up, server.connection().wire), (1, []))


class VerdictTests(unittest.TestCase):
    def test_verdict_when_a_step_fails(self) -> None:
        """It has the connection's number, the step's index, and the text; before, there is none."""
        server = connected()
        server.expect_line(b"a")
        self.assertIsNone(server.verdict)
        server.receive(b"b")
        self.assertEqual(server.verdict, (1, 1, "expected b'a', got b'b' at byte 0"))

    def test_result_when_the_step_is_not_done(self) -> None:
        """Asking too early, and asking for what never comes, are told apart."""
        server = connected()
        line = server.expect_line(b"a")
        with self.assertRaises(NotDone):
            line.result()
        server.receive(b"b")
        with self.assertRaises(Over):
            line.result()

    def test_waiting_when_the_step_is_satisfied(self) -> None:
        """The step that is awaited is woken, and no other."""
        server = connected()
        line, other = server.expect_line(), server.expect_line()
        self.assertIs(next(line.__await__()), line)
        server.receive(b"a\r\nb\r\n")
        self.assertEqual((server.woken, other.satisfied), ([line], True))


if __name__ == "__main__":
    unittest.main()
