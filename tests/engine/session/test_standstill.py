"""Standstill: a complete script, and somebody who is seen to wait for the server. The server's time-out is 4 s."""

from __future__ import annotations

import unittest
from typing import Any, Callable

from tcpclient_testing.engine.session.standstill import DATA, END
from tcpclient_testing.memory.host import MemoryServer

Write = Callable[[MemoryServer], Any]


def exchanged(write: Write = lambda server: None, **options: Any) -> MemoryServer:
    """A server whose script, PING and PONG, is complete at the time 0; `write` adds to it before that."""
    server = MemoryServer(**{"timeout": 4.0, "idle_timeout": 30.0, **options})
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PONG")
    write(server)
    server.connect()
    server.receive(b"PING\r\n")
    server.turn()
    return server


def failed_at(server: MemoryServer, most: float = 20.0) -> Any:
    """Let time pass until the script fails; return when that is, None if it doesn't."""
    end = server.now + most
    while server.verdict is None and server.now < end:
        server.sleep(0.125)
    failure = server.session.failure
    return None if failure is None else failure.now


class DataTests(unittest.TestCase):
    def test_test_that_waits_for_data(self) -> None:
        """It fails after the time-out, with the hint."""
        server = exchanged()
        server.waits[1] = DATA, "a read"
        self.assertEqual(failed_at(server), 4.0)
        self.assertEqual(server.verdict[2], "the script is complete; the test waits for data from the server; "
                                            "nothing happened for 4.0 s")
        self.assertIn("a reply is missing from the script", server.session.failure.mismatch.hint)  # type: ignore[union-attr]

    def test_bytes_that_no_step_explains(self) -> None:
        """They are the cause, and so they are named, unless they are permitted."""
        for permitted, words in ((False, "the script is complete, but the client sent 3 more bytes: b'GET'; the test"),
                                 (True, "the script is complete; the test")):
            with self.subTest(permitted=permitted):
                server = exchanged()
                server.session.environment.configure(allow_extra=permitted)
                server.receive(b"GET")
                server.waits[1] = DATA, "a read"
                self.assertEqual(failed_at(server), 4.0)
                self.assertTrue(server.verdict[2].startswith(words + " waits for data"), server.verdict)

    def test_wait_that_begins_later(self) -> None:
        """It lasts for the time-out, from the look that has seen it first."""
        server = exchanged()
        server.sleep(2.5)
        server.waits[1] = DATA, "a read"
        self.assertEqual(failed_at(server), 7.0, "seen at 3.0")

    def test_waits_one_after_another(self) -> None:
        """None of them lasts that long: the test goes on by itself."""
        server = exchanged()
        for number in range(30):
            server.waits[1] = DATA, f"read {number}"
            server.sleep(0.75)
        self.assertIsNone(server.verdict)

    def test_wait_that_ends(self) -> None:
        """What was seen before doesn't count any more."""
        server = exchanged()
        server.waits[1] = DATA, "a read"
        server.sleep(2.5)
        del server.waits[1]
        server.sleep(0.75)
        server.waits[1] = DATA, "a read"
        self.assertEqual(failed_at(server), 8.0, "not seen at 3.0, seen at 4.0")

    def test_progress_during_the_wait(self) -> None:
        """Something has happened: the time-out begins anew."""
        server = exchanged()
        server.waits[1] = DATA, "a read"
        server.sleep(2.5)
        server.connection().send_line(b"more")
        server.turn()
        self.assertEqual(failed_at(server), 6.5)

    def test_something_that_may_still_send(self) -> None:
        """Heartbeats, allowed messages, a step that is due, a silenced server: no standstill."""
        for name, write in {
            "every": lambda s: s.every(1.0, b"beat"),
            "allow with a reply": lambda s: s.allow(b"ping", reply=b"pong"),
            "allow": lambda s: s.allow(b"ping"),
            "delay": lambda s: s.delay(50),
            "another connection": lambda s: (s.expect_connect(timeout=60)),
            "stall": lambda s: s.stall_after(6),
            "end": lambda s: s.send_eof(),
        }.items():
            with self.subTest(name):
                server = exchanged(write, idle_timeout=None)
                server.waits[1] = DATA, "a read"
                self.assertIsNone(failed_at(server))

    def test_something_that_may_send_no_more(self) -> None:
        """Heartbeats that were stopped, and an allow() that is used up."""
        server = exchanged(lambda s: s.every(50.0, b"beat").stop())
        server.waits[1] = DATA, "a read"
        self.assertEqual(failed_at(server), 4.0)
        server = exchanged(lambda s: s.allow(b"ping", reply=b"pong", times=1))
        server.sleep(1.0)
        server.receive(b"ping")
        server.waits[1] = DATA, "a read"
        self.assertEqual(failed_at(server), 6.0, "seen at 2.0")

    def test_other_time_outs(self) -> None:
        """None switches it off; an idle time-out that is not longer takes precedence."""
        server = exchanged(timeout=None, idle_timeout=9.0)
        server.waits[1] = DATA, "a read"
        self.assertEqual(failed_at(server), 9.0)
        self.assertIn("is still connected and waits", server.verdict[2])
        server = exchanged(idle_timeout=3.0)
        server.waits[1] = DATA, "a read"
        self.assertEqual(failed_at(server), 3.0)
        self.assertIn("is still connected and waits", server.verdict[2])

    def test_nothing_is_seen(self) -> None:
        """Then only the idle time-out counts; without one, nobody looks for ever."""
        self.assertEqual(failed_at(exchanged(), 60.0), 30.0)
        server = exchanged(idle_timeout=None)
        server.sleep(100_000.0)
        self.assertEqual((server.verdict, server.deadline), (None, None))


class EndTests(unittest.TestCase):
    def half_closed(self, **options: Any) -> MemoryServer:
        """The client has half-closed, and is seen to wait."""
        server = exchanged(**options)
        server.half_close()
        server.waits[1] = END, None
        return server

    def test_client_that_waits_for_the_end(self) -> None:
        """It fails after the time-out, with the hint."""
        server = self.half_closed()
        self.assertEqual(failed_at(server), 4.0)
        self.assertEqual(server.verdict[2], "the script is complete, but the client 127.0.0.1:50000 has half-closed "
                                            "and waits for the server's end; nothing happened for 4.0 s")
        self.assertIn("write expect_disconnect() or disconnect()",
                      server.session.failure.mismatch.hint)  # type: ignore[union-attr]

    def test_bytes_that_no_step_explains(self) -> None:
        """They are named first."""
        server = exchanged()
        server.receive(b"QUIT")
        server.half_close()
        server.waits[1] = END, None
        self.assertEqual(failed_at(server), 4.0)
        self.assertIn("the client sent 4 more bytes: b'QUIT'; it has half-closed and waits", server.verdict[2])

    def test_client_that_is_gone(self) -> None:
        """Nothing is seen, and nothing fails."""
        server = exchanged()
        server.half_close()
        self.assertIsNone(failed_at(server, 100.0))

    def test_client_that_has_got_our_end(self) -> None:
        """It waits for nothing of ours."""
        for write in (lambda s: s.send_eof(), lambda s: s.disconnect(), lambda s: s.expect_disconnect(timeout=60)):
            server = exchanged(write, idle_timeout=None)
            server.half_close()
            server.waits[1] = END, None
            self.assertIsNone(failed_at(server))

    def test_heartbeats(self) -> None:
        """They are not sent to a client that has ended its stream, so they change nothing."""
        server = exchanged(lambda s: s.every(1.0, b"beat"))
        server.half_close()
        server.waits[1] = END, None
        self.assertEqual(failed_at(server), 4.0)

    def test_other_time_outs(self) -> None:
        """None switches it off; a shorter idle time-out counts."""
        self.assertIsNone(failed_at(self.half_closed(timeout=None)))
        self.assertEqual(failed_at(self.half_closed(idle_timeout=3.0)), 3.0)


if __name__ == "__main__":
    unittest.main()
