"""Runs of exact expectations: which step a byte belongs to, however the bytes come."""

from __future__ import annotations

import unittest

from tcpclient_testing.memory.host import MemoryServer


class ExactRunTests(unittest.TestCase):
    def run_of(self, *pieces: bytes, data: tuple[bytes, ...] = (b"ab", b"cde", b"f")) -> MemoryServer:
        """Expect `data` step by step, and receive the pieces."""
        server = MemoryServer()
        server.expect_connect()
        for each in data:
            server.expect_bytes(each)
        server.connect()
        for piece in pieces:
            server.receive(piece)
        return server

    def test_cursor_follows_the_bytes(self) -> None:
        """Each byte moves the script to the step that it belongs to."""
        for count, cursor in enumerate((1, 1, 2, 2, 2, 3, 4)):
            self.assertEqual(self.run_of(b"abcdef"[:count]).session.conversations[0].script.cursor.position, cursor)

    def test_difference_is_told_of_its_step(self) -> None:
        """The step and the offset are those of the byte that differs, for every split."""
        for split in range(6):
            server = self.run_of(b"abcdXf"[:split], b"abcdXf"[split:])
            self.assertEqual(server.verdict[:2], (1, 2))
            failure = server.session.failure
            assert failure is not None
            self.assertEqual(failure.mismatch.offset, 2)

    def test_own_time_out_ends_a_run(self) -> None:
        """A step with a time-out of its own is compared alone, and is overdue by it."""
        server = MemoryServer()
        server.expect_connect()
        server.expect_bytes(b"a")
        server.expect_bytes(b"b", timeout=1.0)
        server.expect_bytes(b"c")
        server.connect()
        server.receive(b"a")
        server.sleep(1.1)
        self.assertEqual(server.verdict[:2], (1, 2))

    def test_thousands_of_steps(self) -> None:
        """A run that is longer than what is joined at once goes on after it."""
        server = self.run_of(b"xyz" * 4000, data=(b"x", b"y", b"z") * 4000)
        self.assertTrue(server.session.complete)


if __name__ == "__main__":
    unittest.main()
