"""Expectations of a client that the server has stopped listening to."""

from __future__ import annotations

import unittest

from tcpclient_testing.errors import ScriptError
from tcpclient_testing.memory.host import MemoryServer


class PausedTests(unittest.TestCase):
    """What a time-out is called then."""

    def setUp(self) -> None:
        self.server = MemoryServer()
        self.server.expect_connect()
        self.server.connect()

    def verdict(self) -> str:
        """What went wrong."""
        return str(self.server.verdict[2])

    def test_time_out_while_the_server_does_not_read(self) -> None:
        """The client is not called silent or still connected, which nobody can know."""
        for method, arguments in (("expect_line", (b"x",)), ("expect_bytes", (b"x",)), ("expect_disconnect", ()),
                                  ("expect_reset", ())):
            self.setUp()
            self.server.pause_reading()
            step = getattr(self.server, method)(*arguments)
            with self.subTest(method=method):
                self.server.sleep(6)
                self.assertRegex(self.verdict(), r"^expect_.* was not satisfied for 5\.0 s, but the server has stopped "
                                                 r"reading \(pause_reading\(\), .*test_waiting_paused\.py:[0-9]+\) "
                                                 r"and sees nothing of the client: "
                                                 r"resume_reading\(\) has to come first$")
                self.assertIn(str(step), self.verdict())

    def test_what_came_before(self) -> None:
        """It may satisfy an expectation."""
        self.server.receive(b"x")
        self.server.pause_reading()
        self.assertTrue(self.server.expect_bytes(b"x").satisfied)

    def test_silence_while_the_server_does_not_read(self) -> None:
        """It would be satisfied whatever the client does, so it is refused where it is written, also further on."""
        self.server.expect_silence(1)
        self.server.pause_reading()
        for _ in range(2):
            with self.assertRaisesRegex(ScriptError, r"^expect_silence\(2\) comes after pause_reading\(\) on "
                                                     r"connection 1, so the server can't see whether the client is "
                                                     r"silent: write resume_reading\(\) before it, or use "
                                                     r"delay\(\) if only the time matters$"):
                self.server.expect_silence(2)
            self.server.delay(1)
        self.server.resume_reading()
        self.assertEqual(len(self.server.session.conversations[0].script.steps), 6)
        self.server.expect_silence(3)
        self.server.expect_connect()
        self.server.expect_silence(4)
        self.server.sleep(6)
        self.assertTrue(self.server.session.conversations[0].script.complete)

    def test_upgrade_while_the_server_does_not_read(self) -> None:
        """No handshake could be done, so it is refused where it is written."""
        self.server.pause_reading()
        self.server.send_bytes(b"go")
        with self.assertRaisesRegex(ScriptError, r"^start_tls\(\) comes after pause_reading\(\) on connection 1, so "
                                                 r"the server can't see the client's TLS handshake: "
                                                 r"write resume_reading\(\) before it$"):
            self.server.start_tls()
        self.server.resume_reading()
        self.server.start_tls()

    def test_upgrade_when_messages_in_any_order_have_paused(self) -> None:
        """It is the script's failure when it is known, and not the client's."""
        server = MemoryServer()
        handle = server.expect_connect().connection
        with handle.any_order():
            handle.expect_bytes(b"a")
            handle.pause_reading()
            handle.expect_bytes(b"b")
            handle.resume_reading()
        handle.start_tls()
        server.connect()
        server.receive(b"ba")
        self.assertRegex(server.verdict[2],
                         r"^start_tls\(\) can't be done: the server has stopped reading "
                         r"\(pause_reading\(\), .*test_waiting_paused\.py:[0-9]+\) and sees nothing of "
                         r"the client's TLS handshake$")

    def test_silence_when_messages_in_any_order_have_paused(self) -> None:
        """Whether the server reads then depends on the client: it is the script's failure when it is known."""
        for order, good in ((b"ab", True), (b"ba", False)):
            server = MemoryServer()
            handle = server.expect_connect().connection
            with handle.any_order():
                handle.expect_bytes(b"a")
                handle.pause_reading()
                handle.expect_bytes(b"b")
                handle.resume_reading()
            handle.expect_silence(1)
            server.connect()
            server.receive(order)
            server.sleep(2)
            with self.subTest(order=order):
                self.assertEqual(server.session.complete, good)
                self.assertRegex(server.verdict[2] if server.verdict else "", r"^$" if good else
                                 r"^expected silence for 1.0 s, but the server can't observe it: reading has been "
                                 r"paused since pause_reading\(\) at test_waiting_paused\.py:[0-9]+$")

    def test_time_out_when_the_server_reads_again(self) -> None:
        """The client is late then."""
        self.server.pause_reading()
        self.server.resume_reading()
        self.server.expect_disconnect()
        self.server.sleep(6)
        self.assertIn("it is still connected and was silent for 5.0 s", self.verdict())

    def test_leaving_while_the_server_does_not_read(self) -> None:
        """Whether the client has disconnected can't be told either."""
        self.server.pause_reading()
        self.server.session.settle(self.server.now, allow_open=False, allow_extra=False)
        self.assertRegex(self.verdict(), r"the server is left and has not seen the client disconnect: the server has "
                                         r"stopped reading \(pause_reading\(\), .*test_waiting_paused\.py:[0-9]+\)$")


if __name__ == "__main__":
    unittest.main()
