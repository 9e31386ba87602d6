"""Sends that an iterator feeds, and clients that hang up in the middle of a send."""

from __future__ import annotations

import itertools
import unittest
from collections.abc import Iterator
from typing import Any

from tcpclient_testing.memory.host import MemoryServer


def memory() -> MemoryServer:
    """A server with a client, whose system takes what a test says."""
    server = MemoryServer()
    server.taking = False
    server.expect_connect()
    server.connect()
    return server


class ChunksTests(unittest.TestCase):
    def setUp(self) -> None:
        self.server = memory()
        self.asked = 0

    def chunks(self, *chunks: Any) -> Iterator[Any]:
        """These, counted."""
        for chunk in chunks:
            self.asked += 1
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk

    def test_chunks_are_taken_as_the_client_takes_them(self) -> None:
        """The iterator is asked for more when the last write was taken; the step ends with the iterator."""
        much = bytes(70_000)
        step = self.server.send_bytes(self.chunks(much, much, b"end"))
        self.server.turn()
        self.assertEqual((self.asked, step.satisfied), (1, False))
        self.server.take(len(much))
        self.assertFalse(step.satisfied)
        self.server.flush()
        self.assertEqual((self.asked, step.satisfied), (2, False))
        self.server.flush()
        self.assertEqual(self.server.connection().sent, much + much + b"end")
        self.server.flush()
        self.assertTrue(step.satisfied)

    def test_chunks_between_other_sends(self) -> None:
        """They stand where the script has them; small ones go into one write."""
        self.server.taking = True
        self.server.send_bytes(b"<")
        self.server.send_bytes(self.chunks(b"a", b"", bytearray(b"b")))
        self.server.send_bytes(self.chunks())
        self.server.send_bytes(b">")
        self.server.turn()
        self.assertEqual(self.server.connection().sent, b"<ab>")

    def test_what_goes_wrong_is_the_verdict(self) -> None:
        """An iterator that raises, and one that gives something else."""
        for chunk, words in ((LookupError("gone"), "the iterator of send_bytes() raised LookupError: gone"),
                             ("text", "the iterator of send_bytes() gave 'text', which is not bytes")):
            with self.subTest(words):
                server = memory()
                step = server.send_bytes(self.chunks(chunk))
                server.turn()
                failure = server.session.failure
                assert failure is not None
                self.assertIs(failure.step, step)
                self.assertEqual(failure.mismatch.summary, words)

    def test_fault_in_the_middle(self) -> None:
        """It ends the send, which the iterator would not do by itself."""
        for fault in "reset_after", "disconnect_after", "stall_after":
            with self.subTest(fault):
                server = MemoryServer()
                server.expect_connect()
                server.connect()
                getattr(server, fault)(150)
                step = server.send_bytes(itertools.repeat(bytes(100)))
                server.turn()
                self.assertTrue(step.satisfied)
                self.assertEqual(server.connection().sent, bytes(150))

    def test_list_is_refused(self) -> None:
        """Only what can be asked once for each chunk is an iterator."""
        with self.assertRaisesRegex(TypeError, "takes bytes"):
            self.server.send_bytes([b"a"])  # type: ignore[arg-type]

    def test_client_that_takes_nothing(self) -> None:
        """The time-out says how much was sent; `within` is for all that the iterator gives."""
        for options, words in (({"timeout": 1.0}, "it had been sent 66000 bytes of send_bytes("),
                               ({"timeout": None, "within": 1.0}, "has not ended within 1.0 s")):
            with self.subTest(words):
                server = memory()
                server.send_bytes(itertools.repeat(bytes(1000)), **options)
                server.sleep(2)
                assert server.session.failure is not None
                self.assertIn(words, server.session.failure.mismatch.summary)


class HangUpTests(unittest.TestCase):
    def setUp(self) -> None:
        self.server = memory()

    def sends(self) -> list[Any]:
        """Three sends, the first of which is under way, and taken in part."""
        steps = [self.server.send_bytes(bytes(100)), self.server.send_line(b"more"), self.server.send_line(b"more")]
        self.server.turn()
        self.server.take(40)
        return steps

    def summary(self) -> str:
        """What the verdict says, or nothing."""
        failure = self.server.session.failure
        return "" if failure is None else failure.mismatch.summary

    def test_step_behind_the_sends_expects_it(self) -> None:
        """By a reset or a close, the sends count as done, and the step is satisfied; delays between them still last."""
        for how in "was_reset", "hung_up":
            for expect in (lambda s: s.expect_reset(), lambda s: s.expect_disconnect(unread=True)):
                with self.subTest(how=how):
                    self.server = memory()
                    steps = self.sends()
                    self.server.delay(1)
                    self.server.send_line(b"late")
                    step = expect(self.server)
                    self.server.tell(1, how)
                    self.assertTrue(all(each.satisfied for each in steps))
                    self.assertFalse(step.satisfied)
                    self.server.sleep(2)
                    self.assertEqual((step.satisfied, self.summary()), (True, ""))
                    self.assertEqual(step.result(), 112)

    def test_another_step_comes_first(self) -> None:
        """The send fails, with what was taken of it; so it does if nothing is written behind it."""
        for write in (lambda s: s.expect_disconnect(), lambda s: (s.expect_line(), s.expect_reset()), lambda s: None):
            for how, did in ("was_reset", "reset"), ("hung_up", "closed"):
                with self.subTest(how=how):
                    self.server = memory()
                    self.sends()
                    write(self.server)
                    self.server.tell(1, how)
                    self.assertEqual(self.summary(), f"the client {did} the connection when it had taken 40 of "
                                                     "100 bytes")

    def test_end_of_stream_alone(self) -> None:
        """A FIN lets the sends go on, and what comes then is judged as ever."""
        steps = self.sends()
        step = self.server.expect_disconnect(unread=True)
        self.server.half_close()
        self.assertFalse(steps[0].satisfied or step.satisfied)
        self.server.flush()
        self.assertTrue(steps[2].satisfied and step.satisfied)

    def test_reset_after_what_belongs_to_no_step(self) -> None:
        """A client need not read the reply to an allowed message; that of the script it has to."""
        for replies, words in ((True, ""), (False, "expected the client to disconnect, but it reset the connection")):
            with self.subTest(replies=replies):
                self.server = memory()
                self.server.taking = True
                self.server.allow(b"BEAT\r\n", reply=b"ALIVE\r\n" if replies else None)
                self.server.send_line(b"hello")
                self.server.expect_disconnect()
                self.server.turn()
                self.server.receive(b"BEAT\r\n")
                self.server.reset_by_client()
                self.assertEqual(self.summary(), words)


if __name__ == "__main__":
    unittest.main()
