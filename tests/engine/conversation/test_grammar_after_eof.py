"""What may be written after an expect_eof()."""

from __future__ import annotations

import unittest
from typing import Any, Callable

from tcpclient_testing.engine.framing.netstring import Netstring
from tcpclient_testing.errors import ScriptError
from tcpclient_testing.memory.host import MemoryServer


def after_eof() -> MemoryServer:
    """A script in which the client has to end its stream."""
    server = MemoryServer()
    server.expect_connect()
    server.expect_eof()
    return server


class AfterEofTests(unittest.TestCase):
    def test_what_takes_bytes_is_refused(self) -> None:
        """Whatever the client would have to say, it can't any more; a second end of its stream isn't one either."""
        write: tuple[Callable[[MemoryServer], Any], ...] = (
            lambda server: server.expect_bytes(b"x"), lambda server: server.expect_line(),
            lambda server: server.expect_until(b";"), lambda server: server.expect_exactly(2),
            lambda server: server.expect_frame(), lambda server: server.expect_frame(framing=Netstring()),
            lambda server: server.expect_silence(1), lambda server: server.expect_eof(),
        )
        for each in write:
            for between in (0, 1, 3):
                server = after_eof()
                for _ in range(between):
                    server.send_bytes(b"a")
                with self.subTest(between=between), self.assertRaisesRegex(
                        ScriptError, r"comes after expect_eof\(\) on connection 1, with which the client has ended its "
                                     "stream: nothing can come any more"):
                    each(server)
                self.assertEqual(len(server.session.conversations[0].script.steps), 2 + between)

    def test_end_of_stream_when_it_was_written_on_the_connection(self) -> None:
        """What the server's own steps add to the same script is checked after it, too; likewise after a send_eof()."""
        for method, write in (("expect_eof", "expect_line"), ("send_eof", "send_line")):
            server = MemoryServer()
            server.expect_connect()
            server.expect_line()
            server.expect_line()
            getattr(server.connection(), method)()
            with self.subTest(method=method), self.assertRaisesRegex(ScriptError, rf"comes after {method}\(\)"):
                getattr(server, write)(b"x")

    def test_what_takes_none_is_not(self) -> None:
        """Actions, the ends of the connection, a message without a byte, and other connections may follow."""
        server = after_eof()
        server.send_bytes(b"x")
        server.delay(0.1)
        server.expect_exactly(lambda _: 0)
        server.expect_disconnect()
        server.expect_connect()
        server.expect_line()
        for last in ("expect_reset", "reset", "disconnect", "start_tls"):
            getattr(after_eof(), last)()
        self.assertEqual([len(each.script.steps) for each in server.session.conversations], [6, 2])
        server.connect()
        server.half_close()
        server.sleep(1)
        self.assertTrue(server.session.conversations[0].script.complete)

    def test_block_of_messages_is_refused(self) -> None:
        """A message in any_order() would have to come in some order, too."""
        handle: Any = MemoryServer().expect_connect().connection
        handle.expect_eof()
        with self.assertRaisesRegex(ScriptError, r"comes after expect_eof\(\)"), handle.any_order():
            handle.expect_line()

    def test_step_that_was_refused_itself_forbids_nothing(self) -> None:
        """An expect_eof() that has no place where it was written leaves no trace."""
        handle: Any = MemoryServer().expect_connect().connection
        with handle.any_order():
            with self.assertRaises(ScriptError):
                handle.expect_eof()
            handle.expect_line()


class ResetAfterEofTests(unittest.TestCase):
    def watched(self, *between: str) -> MemoryServer:
        """A client that has ended its stream, and shall reset the connection after these steps."""
        server = after_eof()
        server.connect()
        for method in between:
            getattr(server, method)()
        server.expect_reset()
        server.half_close()
        server.turn()
        return server

    def test_reset_that_comes_later(self) -> None:
        """It is waited for, once; the end of the stream alone is none."""
        server = self.watched()
        self.assertEqual((server.watched, server.verdict), ([server.session.conversations[0]], None))
        server.sleep(4)
        server.reset_by_client()
        self.assertTrue(server.session.complete)

    def test_reset_that_does_not_come(self) -> None:
        """It is overdue like any step."""
        server = self.watched()
        server.sleep(9)
        self.assertEqual(server.verdict[2], "expected the client to reset the connection; it half-closed, and sent no "
                                            "reset for 5.0 s")

    def test_reset_that_can_not_come_any_more(self) -> None:
        """Once both streams have ended, there is none: nobody waits for it."""
        for method in ("send_eof", "disconnect"):
            server = self.watched(method)
            self.assertEqual((server.watched, server.verdict[2]),
                             ([], "expected the client to reset the connection, but it half-closed"))

    def test_half_close_and_reset_that_are_one(self) -> None:
        """They satisfy both steps, in either order of script and client; a reset alone does not."""
        for early in (False, True):
            for after_fin in (True, False):
                server = MemoryServer()
                server.expect_connect()
                server.connect()
                if early:
                    server.tell(1, "was_reset", after_fin=after_fin)
                server.expect_eof()
                if early and not after_fin:
                    self.assertRegex(server.verdict[2], "^expected the client to end its stream, but it reset")
                    continue
                server.expect_reset()
                if not early:
                    server.tell(1, "was_reset", after_fin=after_fin)
                self.assertEqual(server.session.complete, after_fin)
                self.assertEqual(server.verdict is None, after_fin)

    def test_reset_that_the_script_does_not_expect(self) -> None:
        """The step that follows tells, or the end of the script."""
        for method, index in (("expect_disconnect", 2), ("send_eof", 2), ("", 1)):
            server = MemoryServer()
            server.expect_connect()
            server.connect()
            server.tell(1, "was_reset", after_fin=True)
            server.expect_eof()
            if method:
                getattr(server, method)()
            server.turn()
            server.session.settle(0.0, allow_open=False, allow_extra=False)
            with self.subTest(method=method):
                self.assertEqual(server.verdict[1], index)
                self.assertIn("reset", server.verdict[2])


if __name__ == "__main__":
    unittest.main()
