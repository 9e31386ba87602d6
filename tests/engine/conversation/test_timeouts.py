"""The time-outs of a due step: what the client reads of a reply is progress."""

from __future__ import annotations

import unittest
from typing import Any

from tcpclient_testing.engine.conversation.timeouts import next_look
from tcpclient_testing.memory.host import MemoryServer


def replied(**options: Any) -> MemoryServer:
    """A server with a time-out of 4 s that has sent its reply, at the time 0; the client's end is due."""
    server = MemoryServer(timeout=4.0, sees_reading=True, **options)
    server.expect_connect()
    server.send_bytes(b"a long reply")
    server.expect_disconnect()
    server.connect()
    server.turn()
    return server


class ReadingTests(unittest.TestCase):
    def fails_at(self, server: MemoryServer) -> float:
        """Let time pass until the script fails; return when that is."""
        for _ in range(400):
            if server.verdict is not None:
                break
            server.sleep(0.125)
        return float(server.session.failure.now)  # type: ignore[union-attr]

    def test_client_that_reads_slowly(self) -> None:
        """The time-out starts again with each look that finds progress; the last read counts as well."""
        server = replied()
        for _ in range(10):
            server.sleep(1.5)
            server.read()
        self.assertIsNone(server.verdict)
        self.assertEqual(self.fails_at(server), 20.0, "read at 15.0, seen at 16.0")
        self.assertIn("was silent for 4.0 s", server.verdict[2])

    def test_client_that_has_read_all_or_nothing(self) -> None:
        """It fails after the time-out, exactly; one that has read all is not looked at again."""
        server = replied()
        self.assertEqual((self.fails_at(server), server.looks), (4.0, [1.0, 2.0, 3.0, 4.0]))
        server = replied()
        server.sleep(0.5)
        server.session.conversations[0].client_read(0.5, progress=False, unread=False)
        self.assertEqual((self.fails_at(server), server.looks), (4.0, []))

    def test_client_that_stops_in_the_middle(self) -> None:
        """It fails a time-out after the look that saw it read last."""
        server = replied()
        server.sleep(1.5)
        server.read()
        self.assertEqual(self.fails_at(server), 6.0)

    def test_client_that_reads_the_rest(self) -> None:
        """That is progress, and there are no more looks, until more is sent."""
        server = replied()
        server.sleep(2.5)
        server.read(rest=False)
        self.assertEqual((self.fails_at(server), server.looks), (7.0, [1.0, 2.0, 3.0]))

    def test_within_when_the_client_reads(self) -> None:
        """It counts from the step's turn, whatever the client reads."""
        server = MemoryServer(timeout=4.0, sees_reading=True)
        server.expect_connect()
        server.send_bytes(b"reply")
        server.expect_line(b"thanks", within=6, timeout=4)
        server.connect()
        server.turn()
        for _ in range(7):
            server.sleep(1.0)
            server.read()
        self.assertEqual(server.session.failure.now, 6.0)  # type: ignore[union-attr]

    def test_client_that_reads_slowly_while_more_is_to_be_sent(self) -> None:
        """A send that waits for the client's system is not overdue as long as the client reads."""
        server = MemoryServer(timeout=4.0, sees_reading=True, taking=False)
        server.expect_connect()
        server.send_bytes(b"x" * 100)
        server.connect()
        server.turn()
        server.take(40)
        for _ in range(6):
            server.sleep(1.5)
            server.read()
        self.assertIsNone(server.verdict)
        self.assertEqual(self.fails_at(server), 14.0, "read at 9.0, seen at 10.0")
        self.assertIn("it took 40 of 100 bytes, and nothing for 4.0 s", server.verdict[2])

    def test_looks_when_nothing_can_be_seen_or_nothing_was_sent(self) -> None:
        """There are none."""
        server = MemoryServer(timeout=4.0, sees_reading=True)
        server.expect_connect()
        server.expect_line()
        server.connect()
        self.assertEqual((self.fails_at(server), server.looks), (4.0, []))
        blind = MemoryServer(timeout=4.0)
        blind.expect_connect()
        blind.send_bytes(b"reply")
        blind.expect_line()
        blind.connect()
        blind.turn()
        self.assertIsNone(next_look(blind.conversation(), None))

    def test_looks_when_there_is_no_time_out(self) -> None:
        """There are none."""
        server = MemoryServer(timeout=None, idle_timeout=None, sees_reading=True)
        server.expect_connect()
        server.send_bytes(b"reply")
        server.expect_line()
        server.connect()
        server.turn()
        self.assertIsNone(server.deadline)


if __name__ == "__main__":
    unittest.main()
