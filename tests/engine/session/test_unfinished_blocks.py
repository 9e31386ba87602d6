"""Clients that wait while an `any_order()` block is still being written."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any, Optional

from tcpclient_testing.engine.session.unfinished_blocks import UnfinishedBlock
from tcpclient_testing.errors import ScriptError
from tcpclient_testing.memory.host import MemoryConnection, MemoryServer

BEFORE_ITS_END = "but no step of any_order() counts before its `with` block has ended"


class UnwrittenTestCase(unittest.TestCase):
    def setUp(self) -> None:
        self.server = MemoryServer(idle_timeout=None)

    def begin(self, timeout: Optional[float], idle_timeout: Optional[float]) -> None:
        """Play anew, with these time-outs."""
        self.server = MemoryServer(timeout=timeout, idle_timeout=idle_timeout)

    def assert_fails(self, client: int, seconds: float, words: str) -> None:
        """After so long, and not before, that is the verdict, about this client."""
        self.server.sleep(seconds - 0.5)
        self.assertIsNone(self.server.verdict)
        self.server.sleep(0.5)
        self.assertEqual(self.server.verdict[2], words)
        failure = self.server.session.failure
        assert failure is not None
        self.assertEqual(failure.number, client)
        self.assertTrue(failure.overdue)


class PoolTests(UnwrittenTestCase):
    """Blocks of a server."""

    def test_client_that_waits_in_the_block(self) -> None:
        """The shorter one of the time-outs of the block's steps and of idleness is the measure."""
        for timeout, idle_timeout, after in ((5.0, 30.0, 5.0), (30.0, 5.0, 5.0), (None, 7.0, 7.0), (7.0, None, 7.0)):
            for sent in (b"", b"a\r\n"):
                with self.subTest(timeout=timeout, idle_timeout=idle_timeout, sent=sent):
                    self.begin(timeout, idle_timeout)
                    with self.server.any_order():
                        self.server.expect_connect().connection.expect_line(b"a")
                        client = self.server.connect()
                        self.server.receive(sent, client)
                        self.assert_fails(client, after, f"the client has waited for {after} s, {BEFORE_ITS_END}")
                    failure = self.server.session.failure
                    assert failure is not None and isinstance(failure.mismatch, UnfinishedBlock)
                    assert failure.mismatch.hint is not None
                    self.assertIn("run the client after it", failure.mismatch.hint)

    def test_client_that_was_there_before(self) -> None:
        """Its time begins with the block, whether a script was written in that or not."""
        for written in (False, True):
            with self.subTest(written=written):
                self.begin(5.0, None)
                client = self.server.connect()
                self.server.sleep(60)
                with self.server.any_order():
                    if written:
                        self.server.expect_connect().connection.expect_line()
                    self.assert_fails(client, 5, f"the client has waited for 5.0 s, {BEFORE_ITS_END}")

    def test_client_that_connects_before_a_script_is_written(self) -> None:
        """Nor does it matter that its script would come later in the block."""
        with self.server.any_order():
            self.server.sleep(60)
            client = self.server.connect()
            self.assert_fails(client, 5, f"the client has waited for 5.0 s, {BEFORE_ITS_END}")

    def test_time_out_of_a_step(self) -> None:
        """The longest time-out of the messages that tell scripts holds; none is none."""
        for timeout in (60.0, None):
            with self.subTest(timeout=timeout):
                self.begin(5.0, None)
                with self.server.any_order():
                    self.server.expect_connect().connection.expect_line(b"a")
                    self.server.expect_connect().connection.expect_line(b"b", timeout=timeout)
                    client = self.server.connect()
                    if timeout is None:
                        self.server.sleep(1000)
                        self.assertIsNone(self.server.verdict)
                    else:
                        self.assert_fails(client, 60, f"the client has waited for 60.0 s, {BEFORE_ITS_END}")

    def test_clients_that_go_on_sending(self) -> None:
        """What any of them sends is progress; early input is kept."""
        with self.server.any_order():
            handles = [self.server.expect_connect().connection, self.server.expect_connect().connection]
            for handle, name in zip(handles, (b"a", b"b")):
                handle.expect_line(name)
            clients = [self.server.connect(), self.server.connect()]
            self.server.sleep(4)
            self.server.receive(b"a\r\n", clients[0])
            self.server.sleep(4)
            self.server.receive(b"b\r\n", clients[1])
            self.server.sleep(4)
        self.assertEqual((self.server.verdict, self.server.session.complete), (None, True))

    def test_client_that_has_ended_its_stream(self) -> None:
        """It may read on: only idleness is the measure. One that has reset its connection waits for nothing."""
        self.begin(5.0, 30.0)
        with self.server.any_order():
            self.server.expect_connect().connection.expect_line(b"a")
            client = self.server.connect()
            self.server.half_close(client)
            self.assert_fails(client, 30, f"nothing has happened for 30.0 s, {BEFORE_ITS_END}")
        self.begin(5.0, 30.0)
        with self.server.any_order():
            self.server.expect_connect().connection.expect_line(b"a")
            client = self.server.connect()
            self.server.reset_by_client(client)
            self.server.sleep(1000)
            self.assertIsNone(self.server.verdict)

    def test_step_that_is_due_before_the_block(self) -> None:
        """That one's time-out is the measure; the client's time begins when it is done."""
        self.server.expect_connect()
        self.server.expect_disconnect(timeout=60)
        with self.server.any_order():
            self.server.expect_connect().connection.expect_line()
            one, two = self.server.connect(), self.server.connect()
            self.server.sleep(50)
            self.assertIsNone(self.server.verdict)
            self.server.half_close(one)
            self.server.sleep(10)
            self.assertIn(BEFORE_ITS_END, self.server.verdict[2])
        failure = self.server.session.failure
        assert failure is not None
        self.assertEqual(failure.number, two)

    def test_block_that_was_left_by_an_exception(self) -> None:
        """Its scripts never begin, and that is said of a client that waits, and of a step that is awaited."""
        with self.assertRaises(TypeError), self.server.any_order():
            handle = self.server.expect_connect().connection
            handle.expect_line(b"a")
            handle.expect_line("b")  # type: ignore[arg-type]
        with self.assertRaisesRegex(ScriptError, r"expect_line\(b'a'\) can't be awaited: .* left by an exception"):
            handle.conversation.wake(handle.conversation.script.steps[1])
        client = self.server.connect()
        self.assert_fails(client, 5, "the client has waited for 5.0 s, but no step of any_order() counts since its "
                                     "`with` block was left by an exception")


class BlockTests(UnwrittenTestCase):
    """Blocks of a connection."""

    def test_client_that_waits_in_the_block(self) -> None:
        """Whatever is expected, and whatever has come of it, the verdict is the same."""
        expectations: list[Callable[[MemoryConnection], Any]] = [
            lambda handle: handle.expect_line(b"a"), lambda handle: handle.expect_exactly(3),
            lambda handle: handle.expect_bytes(b"a\r\n"), lambda handle: None]
        for number, expect in enumerate(expectations):
            for sent in (b"", b"a\r\n"):
                for early in (True, False):
                    with self.subTest(number=number, sent=sent, early=early):
                        self.begin(5.0, 30.0)
                        handle = self.server.expect_connect().connection
                        if early:
                            client = self.server.connect()
                            self.server.sleep(20)
                        with handle.any_order():
                            expect(handle)
                            if not early:
                                client = self.server.connect()
                            self.server.receive(sent, client)
                            self.assert_fails(client, 5, f"the client has waited for 5.0 s, {BEFORE_ITS_END}")

    def test_no_time_out_but_that_of_idleness(self) -> None:
        """The idle time-out is the last resort here, too."""
        self.begin(None, 30.0)
        handle = self.server.expect_connect().connection
        with handle.any_order():
            handle.expect_line(b"a")
            client = self.server.connect()
            self.assert_fails(client, 30, f"the client has waited for 30.0 s, {BEFORE_ITS_END}")

    def test_step_that_is_due_before_the_block(self) -> None:
        """It is judged as ever; when it is done, the client waits for the block."""
        for done in (False, True):
            with self.subTest(done=done):
                self.begin(5.0, None)
                handle = self.server.expect_connect().connection
                handle.expect_line(b"first")
                with handle.any_order():
                    handle.expect_line(b"a", timeout=20)
                    client = self.server.connect()
                    if done:
                        self.server.sleep(4)
                        self.server.receive(b"first\r\n", client)
                        self.assert_fails(client, 20, f"the client has waited for 20.0 s, {BEFORE_ITS_END}")
                    else:
                        self.server.sleep(6)
                        self.assertEqual(self.server.verdict[2],
                                         "expected the line b'first', nothing received for 5.0 s")

    def test_steps_begin_when_the_block_has_ended(self) -> None:
        """Their time-outs count from then on."""
        for options in ({"timeout": 2.0}, {"within": 2.0}):
            with self.subTest(options=options):
                self.begin(5.0, None)
                handle = self.server.expect_connect().connection
                client = self.server.connect()
                with handle.any_order():
                    handle.expect_line(b"a", **options)
                    self.server.sleep(1.5)
                self.server.sleep(1.5)
                self.assertIsNone(self.server.verdict)
                self.server.sleep(1)
                self.assertIn("1 of 1 messages in any order is missing", self.server.verdict[2])
                self.assertEqual(self.server.verdict[0], client)


if __name__ == "__main__":
    unittest.main()
