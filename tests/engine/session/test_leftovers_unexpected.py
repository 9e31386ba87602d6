"""Connections that no step expects are named where something else is overdue."""

from __future__ import annotations

import unittest

from tcpclient_testing.memory.host import MemoryServer


def waiting(*, connections: int, allow_extra: bool = False) -> str:
    """Let so many clients connect where one is expected, which then keeps silent; return the verdict's text."""
    server = MemoryServer()
    server.session.environment.configure(allow_extra=allow_extra)
    server.expect_connect()
    server.expect_disconnect()
    for _ in range(connections):
        server.connect()
    server.sleep(6)
    return str(server.verdict[2])


class UnexpectedTests(unittest.TestCase):
    """One connection more than the script has, when the server is left."""

    def verdict(self, *sent: bytes, expected: int) -> str:
        """Let that many clients connect as expected, and one more, which sends something; return the verdict."""
        server = MemoryServer()
        for _ in range(expected):
            server.expect_connect().connection.expect_disconnect()
            server.half_close(server.connect())
        number = server.connect()
        for data in sent:
            server.receive(data, number)
        server.session.settle(server.now, allow_open=False, allow_extra=False)
        failure = server.session.failure
        assert failure is not None
        self.assertEqual((failure.number, failure.step), (number, None))
        self.assertEqual((failure.mismatch.received, failure.mismatch.offset), (b"".join(sent), 0))
        return failure.mismatch.summary

    def test_connection_of_which_the_script_knows_nothing(self) -> None:
        """Its number, and how many connections the script has; the last one is written at that place."""
        place = r"test_leftovers_unexpected\.py:\d+"
        for expected, has in ((0, r"no expect_connect\(\)"), (1, rf"one expect_connect\(\) \({place}\)"),
                              (3, rf"3 expect_connect\(\) \(that of connection 3 at {place}\)")):
            text = f"unexpected connection {expected + 1}: the script has {has}"
            with self.subTest(expected=expected):
                self.assertRegex(self.verdict(expected=expected), f"^{text}$")
                self.assertRegex(self.verdict(b"HE", b"LO\r\n", expected=expected),
                                 rf"^{text}; the client sent b'HELO\\r\\n'$")


class UninvitedTests(unittest.TestCase):
    def test_time_out_when_the_client_has_connected_again(self) -> None:
        """Each connection is named, the first few by their address."""
        silent = "expected the client to disconnect; it is still connected and was silent for 5.0 s"
        self.assertEqual(waiting(connections=1), silent)
        self.assertEqual(waiting(connections=2), f"{silent}; meanwhile the client connected a second time "
                                                 "(127.0.0.1:50001), which no step expects")
        self.assertEqual(waiting(connections=6), f"{silent}; meanwhile the client connected 5 more times "
                                                 "(127.0.0.1:50001, 127.0.0.1:50002, 127.0.0.1:50003, ...), which no "
                                                 "step expects")

    def test_time_out_when_extra_connections_are_allowed(self) -> None:
        """What is allowed is not blamed."""
        self.assertNotIn("meanwhile", waiting(connections=2, allow_extra=True))

    def test_time_out_when_a_step_expects_the_connection(self) -> None:
        """A connection that has a script, or waits for one of any_order(), is expected."""
        server = MemoryServer()
        server.expect_connect()
        server.expect_line()
        server.expect_connect()
        server.connect()
        server.connect()
        server.sleep(6)
        self.assertNotIn("meanwhile", server.verdict[2])

        server = MemoryServer()
        server.expect_connect()
        server.expect_line()
        with server.any_order():
            server.expect_connect()
            server.expect_line(b"a")
        server.connect()
        server.connect()
        server.sleep(6)
        self.assertEqual(server.verdict[2], "expected a line ending in b'\\r\\n', nothing received for 5.0 s")

    def test_time_out_when_the_third_connection_is_not_expected(self) -> None:
        """Of several that were expected and one that was not, that one is named."""
        server = MemoryServer()
        server.expect_connect()
        server.expect_connect()
        server.expect_line()
        for _ in range(3):
            server.connect()
        server.sleep(6)
        self.assertIn("meanwhile the client connected once more (127.0.0.1:50002)", server.verdict[2])

    def test_action_when_it_is_overdue(self) -> None:
        """What the server can't send has other reasons."""
        server = MemoryServer(taking=False)
        server.expect_connect()
        server.send_bytes(b"x")
        server.connect()
        server.connect()
        server.sleep(6)
        self.assertNotIn("meanwhile", server.verdict[2])

    def test_leaving_when_the_first_connection_is_open(self) -> None:
        """A client that is still connected, and has connected again, is found out when the server is left."""
        server = MemoryServer()
        server.expect_connect()
        server.connect()
        server.connect()
        server.session.settle(server.now, allow_open=False, allow_extra=False)
        self.assertIn("is still connected when the server is left; meanwhile the client connected a second time",
                      server.verdict[2])


if __name__ == "__main__":
    unittest.main()
