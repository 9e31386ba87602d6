"""Sessions: which step waits for which across connections, misuse, and what is left at the end."""

from __future__ import annotations

import random
import unittest
from typing import Any

from tcpclient_testing.errors import ScriptError
from tcpclient_testing.memory.host import MemoryServer


class WritingTests(unittest.TestCase):
    def test_script_that_is_written_while_the_client_talks(self) -> None:
        """Whenever a step is written, before the client has done it, meanwhile or after, it has the same outcome."""
        for seed in range(200):
            with self.subTest(seed=seed):
                self.write_and_talk(random.Random(seed))

    def write_and_talk(self, rng: random.Random) -> None:
        """Write the steps of a script and do what it says, both in order, but now the one, now the other."""
        messages = [rng.choice([b"a", b"bc", b"def"]) for _ in range(rng.randrange(1, 20))]
        replies = rng.random() < 0.5  # without them, it is known at each moment what has to be satisfied
        server = MemoryServer()
        server.expect_connect()
        talk: list[Any] = [b"".join(messages)]
        while rng.random() < 0.9 and len(talk[-1]) > 1:
            cut = rng.randrange(1, len(talk[-1]))
            talk[-1:] = [talk[-1][:cut], talk[-1][cut:]]
        talk.insert(0, None)
        steps, sent, came = [], b"", 0
        while len(steps) < len(messages) or talk:
            if talk and (len(steps) == len(messages) or rng.random() < 0.3):
                data = talk.pop(0)
                if data is None:
                    server.connect()
                else:
                    server.receive(data)
                    came += len(data)
            else:
                steps.append(server.expect_bytes(messages[len(steps)]))
                if replies and rng.random() < 0.3:
                    server.send_bytes(b"r%d" % len(steps))
                    sent += b"r%d" % len(steps)
            if not replies:
                self.assertEqual([step.satisfied for step in steps],
                                 [len(b"".join(messages[:index + 1])) <= came for index in range(len(steps))])
        server.turn()
        self.assertEqual([step.result() for step in steps], messages)
        self.assertEqual((server.verdict, server.session.complete, server.connection(1).sent), (None, True, sent))


class OrderAcrossConnectionsTests(unittest.TestCase):
    def test_reconnect_waits_for_the_server_level_step_before(self) -> None:
        """A connection that comes before its turn waits; its bytes are judged when the turn comes."""
        server = MemoryServer()
        server.expect_connect()
        server.expect_disconnect()
        again = server.expect_connect()
        line = server.expect_line()
        server.connect()
        server.connect()
        server.receive(b"x\r\n", 2)
        self.assertFalse(again.satisfied)
        self.assertEqual(again.status(), "not reached")
        server.half_close(1)
        self.assertEqual((again.satisfied, line.result()), (True, b"x"))

    def test_handles_run_side_by_side(self) -> None:
        """Steps that are written through a connection's handle wait for that connection alone."""
        server = MemoryServer()
        server.expect_connect()
        server.expect_connect()
        one = server.connection(1).expect_line()
        two = server.connection(2).expect_line()
        server.connect()
        server.connect()
        server.receive(b"b\r\n", 2)
        self.assertEqual((one.satisfied, two.result()), (False, b"b"))

    def test_chain_of_thousands_of_connections(self) -> None:
        """Connections that all came early are worked off in one go, however many."""
        server = MemoryServer()
        count = 3000
        for _ in range(count):
            server.expect_connect()
            server.expect_disconnect()
        for _ in range(count):
            server.connect()
        for number in range(count, 0, -1):
            server.half_close(number)
        self.assertTrue(server.session.complete)

    def test_hold_until_a_step(self) -> None:
        """A hold ends with the other connection's step, or at once; the step after the hold is not skipped."""
        server = MemoryServer()
        first = server.expect_connect()
        server.expect_connect()
        line = server.connection(1).expect_line()
        server.connection(2).hold_until(line)
        reply = server.connection(2).send_bytes(b"go")
        server.connect()
        server.connect()
        server.turn()
        self.assertEqual(server.connection(2).wire, [])
        server.receive(b"x\r\n", 1)
        self.assertEqual((server.connection(2).wire, reply.satisfied), ([b"go"], True))
        server.connection(2).hold_until(first)
        after = server.connection(2).expect_bytes(b"y")
        self.assertFalse(after.satisfied)


class MisuseTests(unittest.TestCase):
    def test_script_begins_with_expect_connect(self) -> None:
        """Any other step first is a ScriptError, on the server and on a connection."""
        server = MemoryServer()
        with self.assertRaisesRegex(ScriptError, "every script begins with expect_connect"):
            server.send_bytes(b"x")
        server.connect()
        with self.assertRaisesRegex(ScriptError, "every script begins with expect_connect"):
            server.connection(1).expect_eof()

    def test_nothing_follows_the_end(self) -> None:
        """After a last step another is a ScriptError that says what may follow."""
        for method, allowed in (("disconnect", True), ("reset", False), ("expect_disconnect", False),
                                ("expect_reset", False)):
            server = MemoryServer()
            server.expect_connect()
            getattr(server, method)()
            with self.assertRaisesRegex(ScriptError, "only expect_disconnect" if allowed else "none may follow"):
                server.send_bytes(b"x")

    def test_arguments_are_checked_at_the_line(self) -> None:
        """str, emptiness and times that can't be are refused before anything runs."""
        server = MemoryServer()
        server.expect_connect()
        for error, call in (
            (TypeError, lambda: server.expect_bytes("x")),
            (ValueError, lambda: server.expect_bytes(b"")),
            (TypeError, lambda: server.send_bytes(None)),
            (TypeError, lambda: server.send_line("x")),
            (ValueError, lambda: server.expect_until(b"")),
            (ValueError, lambda: server.expect_line(ending=b"")),
            (ValueError, lambda: server.expect_eof(timeout=-1)),
            (TypeError, lambda: server.expect_eof(timeout="1")),
            (ValueError, lambda: server.delay(float("nan"))),
            (TypeError, lambda: server.delay(None)),
            (ValueError, lambda: server.expect_silence(0)),
            (ValueError, lambda: server.expect_connect(after=2, within=1)),
            (TypeError, lambda: server.hold_until("x")),
            (TypeError, lambda: server.expect_frame(framing=4)),
            (ValueError, lambda: server.expect_exactly(-1)),
            (TypeError, lambda: server.expect_exactly(3, b"abc", keep=False)),
        ):
            with self.assertRaises(error):
                call()
        self.assertEqual(len(server.session.conversations[0].script.steps), 1)

    def test_nothing_is_sent_after_the_end_of_the_stream(self) -> None:
        """Once the server has half-closed it can expect, but not send, however far back its send_eof() is."""
        for between in (0, 1, 3):
            with self.subTest(between=between):
                server = MemoryServer()
                server.expect_connect()
                server.send_eof()
                for _ in range(between):
                    server.expect_bytes(b"a")
                with self.assertRaisesRegex(ScriptError, r"send_line\(b'x'\) comes after send_eof\(\) on connection 1"):
                    server.send_line(b"x")
                server.expect_disconnect()

    def test_block_of_the_server_begins_with_a_connection(self) -> None:
        """The server's any_order() holds connections; a message in it is a ScriptError that names the other one."""
        for many in (False, True):
            with self.subTest(many=many):
                server = MemoryServer()
                server.expect_connect()
                if many:
                    server.expect_bytes(b"a")
                    server.expect_bytes(b"b")
                server.session.open_pool(server.now)
                with self.assertRaisesRegex(ScriptError, "use any_order.. of expect_connect...connection"):
                    server.expect_line(b"x")

    def test_message_that_can_never_come_is_refused(self) -> None:
        """A line with its ending in it is refused where it is written."""
        server = MemoryServer()
        server.expect_connect()
        for words, call in (
            (r"expect_line\(b'a.*'\) can never be met: a line is given without", lambda: server.expect_line(b"a\r\n")),
            (r"expect_until\(b';', b'a;b'\) can never be met: .* without", lambda: server.expect_until(b";", b"a;b")),
            (r"send_line\(line\): a line is given without", lambda: server.send_line(b"a\r\n")),
        ):
            with self.subTest(words=words), self.assertRaisesRegex(ValueError, words):
                call()
        server.expect_line(b"a\r\n", ending=b"\0")
        self.assertEqual(len(server.session.conversations[0].script.steps), 2)


class SettlingTests(unittest.TestCase):
    def settled(self, server: MemoryServer, *, allow_open: bool = False, allow_extra: bool = False) -> str:
        """Leave the server; return the verdict's text, or nothing."""
        server.session.settle(server.now, allow_open=allow_open, allow_extra=allow_extra)
        return server.verdict[2] if server.verdict else ""

    def test_what_no_step_explains_is_judged(self) -> None:
        """Bytes, connections and clients that stay, each unless permitted."""
        def extra_bytes() -> MemoryServer:
            server = MemoryServer()
            server.expect_connect()
            server.connect()
            server.receive(b"more")
            return server

        def extra_connection() -> MemoryServer:
            server = extra_bytes()
            server.expect_bytes(b"more")
            server.connect()
            return server
        self.assertIn("sent 4 more bytes: b'more'", self.settled(extra_bytes()))
        self.assertIn("still connected when the server is left", self.settled(extra_bytes(), allow_extra=True))
        self.assertEqual(self.settled(extra_bytes(), allow_extra=True, allow_open=True), "")
        self.assertRegex(self.settled(extra_connection(), allow_open=True),
                         r"^unexpected connection 2: the script has one expect_connect\(\) \(test_session.py:\d+\)$")


if __name__ == "__main__":
    unittest.main()
