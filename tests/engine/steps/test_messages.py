"""Expectations: what is said of each kind of client that does not meet one."""

from __future__ import annotations

import unittest
from typing import Any, Callable, Optional

from tcpclient_testing.engine.matching.exact import StartsWith
from tcpclient_testing.engine.matching.json_text import JSON
from tcpclient_testing.engine.matching.patterns import Regex
from tcpclient_testing.memory.host import CLOSED, MemoryServer


def connected(**options: Any) -> MemoryServer:
    """A script whose client has connected."""
    server = MemoryServer(**options)
    server.expect_connect()
    server.connect()
    return server


class MessageTests(unittest.TestCase):
    def outcome(self, write: Callable[[MemoryServer], Any], *data: bytes, then: str = "", sleep: float = 0) -> str:
        """The verdict's text on a client that sends this, and then does that; nothing if there is none."""
        server = connected()
        write(server)
        for piece in data:
            server.receive(piece)
        if then:
            getattr(server, then)()
        server.sleep(sleep)
        return str(server.verdict[2]) if server.verdict else ""

    def test_time_is_over(self) -> None:
        """What is expected, how much of it came, and whether time ran out by silence or in all."""
        abc, line = "expected 3 bytes b'abc'", "expected a line ending in b'\\r\\n'"
        without = r"without its ending b'\r\n'"
        cases: tuple[tuple[Callable[[MemoryServer], Any], bytes, str], ...] = (
            (lambda d: d.expect_bytes(b"abc"), b"", f"{abc}, nothing received for 5.0 s"),
            (lambda d: d.expect_bytes(b"abc"), b"ab", f"{abc}, got only 2 (b'ab'), then nothing for 5.0 s"),
            (lambda d: d.expect_bytes(b"abc", within=2), b"ab", f"{abc}, got only 2 (b'ab') within 2.0 s"),
            (lambda d: d.expect_bytes(b"abc", within=2), b"", f"{abc}, nothing received within 2.0 s"),
            (lambda d: d.expect_line(), b"PA", f"got b'PA' {without}, then nothing for 5.0 s"),
            (lambda d: d.expect_line(), b"PA\r", rf"got b'PA\r' {without}, then nothing for 5.0 s"),
            (lambda d: d.expect_line(), b"x" * 100, f"got ...b'xxxxxxxxxxxx' {without}, then nothing for 5.0 s"),
            (lambda d: d.expect_line(StartsWith(b"P"), within=2), b"PA", f"got b'PA' {without} within 2.0 s"),
            (lambda d: d.expect_line(StartsWith(b"PASS"), within=2), b"PA",
             f"{line}, StartsWith(b'PASS'), got 2 bytes (b'PA') within 2.0 s"),
            (lambda d: d.expect_line(b"PASS"), b"PASS", f"got b'PASS' {without}, then nothing for 5.0 s"),
            (lambda d: d.expect_line(b"PASS"), b"PA",
             "expected the line b'PASS', got 2 bytes (b'PA'), then nothing for 5.0 s"),
            (lambda d: d.expect_line(b"x" * 100), b"x" * 100,
             f"got ...b'xxxxxxxxxxxx' {without}, then nothing for 5.0 s"),
            (lambda d: d.expect_line(b"x" * 100), b"x" * 90,
             f"expected the line b'{'x' * 24}'..., got 90 bytes (b'{'x' * 24}'...), then nothing for 5.0 s"),
            (lambda d: d.expect_line(within=2), b"", f"{line}, nothing received within 2.0 s"),
            (lambda d: d.expect_line(b"x"), b"", "expected the line b'x', nothing received for 5.0 s"),
            (lambda d: d.expect_until(b"--", b"x"), b"",
             "expected bytes up to b'--' that is b'x', nothing received for 5.0 s"),
            (lambda d: d.expect_exactly(3), b"a", "expected 3 bytes, got 1 byte (b'a'), then nothing for 5.0 s"),
            (lambda d: d.expect_frame(), b"\0",
             r"expected the 4-byte length of a frame, got 1 byte (b'\x00'), then nothing for 5.0 s"),
        )
        for write, data, text in cases:
            with self.subTest(text=text, data=data):
                self.assertEqual(self.outcome(write, *([data] if data else []), sleep=9), text)

    def test_stream_ends(self) -> None:
        """How it ended, and how much had come."""
        abc = "expected 3 bytes b'abc'"
        for then, ending in (("half_close", "half-closed"), ("reset_by_client", "reset the connection")):
            for write, data, text in (
                    (lambda d: d.expect_bytes(b"abc"), b"ab", f"{abc}, got 2 (b'ab')"),
                    (lambda d: d.expect_bytes(b"." * 100 + b"abc"), b"." * 100 + b"ab",
                     f"expected 103 bytes b'{'.' * 24}'..., got 102 (...b'{'.' * 10}ab')"),
                    (lambda d: d.expect_line(), b"ab", r"got b'ab' without its ending b'\r\n'"),
                    (lambda d: d.expect_line(b"ab"), b"ab", r"got b'ab' without its ending b'\r\n'"),
                    (lambda d: d.expect_line(b"abc"), b"ab", "expected the line b'abc'; got 2 bytes (b'ab')"),
                    (lambda d: d.expect_frame(), b"\0\0\0\2a", "expected a frame of 2 bytes; got 1 byte (b'a')")):
                with self.subTest(text=text, ending=ending):
                    self.assertEqual(self.outcome(write, *([data] if data else []), then=then),
                                     f"{text} before the client {ending}")
            for write, text in ((lambda d: d.expect_bytes(b"abc"), "the 3 bytes b'abc'"),
                                (lambda d: d.expect_line(b"abc"), "the line b'abc'"),
                                (lambda d: d.expect_line(), r"a line ending in b'\r\n'"),
                                (lambda d: d.expect_frame(), "the 4-byte length of a frame")):
                with self.subTest(text=text, ending=ending):
                    self.assertEqual(self.outcome(write, then=then), f"the client {ending} without sending {text}")

    def test_length_by_a_callable_that_raises(self) -> None:
        """The test's own mistake is the report, with the exception."""
        server = connected()
        server.expect_line()
        server.expect_exactly(lambda line: int(line["length"]))
        server.receive(b"12\r\n")
        self.assertIn("the callable of expect_exactly() raised TypeError", server.verdict[2])
        failure = server.session.failure
        assert failure is not None
        self.assertIsInstance(getattr(failure.mismatch, "exception", None), TypeError)

    def test_length_by_a_callable(self) -> None:
        """It is called with the last result, when it is the step's turn."""
        server = connected()
        server.expect_line(Regex(rb"length (\d+)"))
        body = server.expect_exactly(lambda match: int(match[1]), JSON([1, 2]))
        server.receive(b"length 5\r\n[1,2]")
        self.assertEqual((server.verdict, body.result()), (None, [1, 2]))


class EndingTests(unittest.TestCase):
    METHODS = (("expect_eof", "to end its stream"), ("expect_disconnect", "to disconnect"),
               ("expect_reset", "to reset the connection"))

    def verdict(self, method: str, do: Callable[[MemoryServer], Any], **options: Any) -> Optional[str]:
        """The verdict's text where this step is due, and the client does that."""
        server = connected()
        getattr(server, method)(**options)
        do(server)
        return server.verdict and str(server.verdict[2])

    def test_bytes_come_instead(self) -> None:
        """They are shown."""
        for method, what in self.METHODS:
            with self.subTest(method=method):
                self.assertEqual(self.verdict(method, lambda server: server.receive(b"QUIT")),
                                 f"expected the client {what}, got 4 bytes: b'QUIT'")

    def test_client_stays(self) -> None:
        """It is still connected; in silence, or whatever it does, when the time in all is over."""
        for method, what in self.METHODS:
            with self.subTest(method=method):
                self.assertEqual(self.verdict(method, lambda server: server.sleep(6)),
                                 f"expected the client {what}; it is still connected and was silent for 5.0 s")
                self.assertEqual(self.verdict(method, lambda server: server.sleep(6), within=2),
                                 f"expected the client {what} within 2.0 s; it is still connected")

    def test_stream_ends_otherwise(self) -> None:
        """A reset is no close, and a close no reset."""
        self.assertEqual(self.verdict("expect_reset", lambda server: server.half_close()),
                         "expected the client to reset the connection, but it half-closed")
        for method, what in self.METHODS[:2]:
            self.assertEqual(self.verdict(method, lambda server: server.reset_by_client()),
                             f"expected the client {what}, but it reset the connection")

    def test_client_stays_after_the_server_has_disconnected(self) -> None:
        """What it sends meanwhile is not judged, and no sign of life either."""
        server = connected()
        server.disconnect()
        server.expect_disconnect()
        server.receive(b"more")
        server.sleep(3)
        server.receive(b"more")
        server.sleep(3)
        self.assertEqual(server.verdict[2], "expected the client to disconnect; it is still connected 5.0 s after the "
                                            "server disconnected")

    def test_server_closes_after_a_disconnect_and_not_after_an_eof(self) -> None:
        """A half-close leaves the server's side open."""
        for method, wire in (("expect_eof", [b"bye"]), ("expect_disconnect", [CLOSED])):
            server = connected()
            getattr(server, method)()
            server.half_close()
            if method == "expect_eof":
                server.send_bytes(b"bye")
                server.turn()
            with self.subTest(method=method):
                self.assertEqual(server.connection().wire, wire)


class SilenceTests(unittest.TestCase):
    def test_client_that_is_silent(self) -> None:
        """The step is satisfied when the time is over, and not before; what comes then is the next step's."""
        server = connected()
        silence = server.expect_silence(2)
        line = server.expect_line()
        server.sleep(1.9)
        self.assertFalse(silence.satisfied)
        server.sleep(0.2)
        server.receive(b"x\r\n")
        self.assertEqual((silence.result(), line.result()), (None, b"x"))

    def test_client_that_is_not(self) -> None:
        """A byte, or the end of its stream, is a failure at once."""
        for do, text in (("receive", "expected silence for 2.0 s, got 1 byte: b'x'"),
                         ("half_close", "expected silence for 2.0 s, but the client half-closed")):
            server = connected()
            server.expect_silence(2)
            server.sleep(1)
            getattr(server, do)(*([b"x"] if do == "receive" else []))
            with self.subTest(do=do):
                self.assertEqual(server.verdict[2], text)


class ConnectTests(unittest.TestCase):
    def test_options_as_reports_show_them(self) -> None:
        """Those that were given."""
        server = MemoryServer()
        for options, shown in (({}, ""), ({"timeout": 1.5}, "timeout=1.5"),
                               ({"after": 0.5, "within": 2}, "after=0.5, within=2")):
            self.assertEqual(str(server.expect_connect(**options)), f"expect_connect({shown})")

    def test_client_that_does_not_come(self) -> None:
        """The first one, or one that should have come again."""
        server = MemoryServer()
        server.expect_connect(within=2)
        server.sleep(3)
        self.assertEqual(server.verdict[2], "no client connected to 127.0.0.1:4711 within 2.0 s")
        server = connected()
        server.expect_connect()
        server.sleep(6)
        self.assertEqual(server.verdict[2], "the client did not connect again to 127.0.0.1:4711 for 5.0 s")

    def test_client_that_came_only_to_be_turned_away(self) -> None:
        """Connections that fail_connections() has reset are no connection of the script's, but they came."""
        server = MemoryServer()
        server.session.environment.turned_away = 1
        server.expect_connect()
        server.sleep(5)
        self.assertEqual(server.verdict[2], "the client did not connect again to 127.0.0.1:4711 for 5.0 s after "
                         "fail_connections() had reset 1 connection")

    def test_client_that_comes_too_early(self) -> None:
        """The time counts from the step's turn; a little may be missing, since the client's began before."""
        for seconds, early in ((0.5, True), (0.96, False)):
            server = connected()
            server.expect_disconnect()
            again = server.expect_connect(after=1)
            server.half_close()
            server.sleep(seconds)
            server.connect()
            with self.subTest(seconds=seconds):
                self.assertEqual(again.satisfied, not early)
                if early:
                    self.assertIn("connect after 1.0 s at the earliest, it connected after 0.5 s", server.verdict[2])


if __name__ == "__main__":
    unittest.main()
