"""What a report advises, and when it says nothing."""

from __future__ import annotations

import asyncio
import unittest
from typing import Any

from tcpclient_testing import ExpectationError, MockTCPServer


async def report_of(sent: bytes, **line_options: Any) -> str:
    """Let a client send something where the line PING is expected; return the report."""
    try:
        async with MockTCPServer(timeout=0.2) as server:
            server.expect_connect()
            server.expect_line(b"PING", **line_options)
            _, writer = await asyncio.open_connection(*server.address)
            writer.write(sent)
            try:
                await server.join()
            finally:
                writer.close()
    except ExpectationError as error:
        return str(error)
    raise AssertionError("nothing was wrong")


class LineEndingTests(unittest.TestCase):
    """Lines that end otherwise than the script says."""

    def test_line_when_it_ends_in_lf_alone(self) -> None:
        """LF where CR LF is expected: the report says so."""
        self.assertIn("ends in LF alone", asyncio.run(report_of(b"PING\n")))

    def test_line_when_it_ends_in_cr_lf(self) -> None:
        """CR LF where LF is expected: the report says so."""
        self.assertIn("ends in CR LF", asyncio.run(report_of(b"PING\r\n", ending=b"\n")))

    def test_line_when_its_text_is_wrong(self) -> None:
        """A line that ends as it should, and is another one, needs no advice."""
        self.assertNotIn("hint", asyncio.run(report_of(b"PONG\r\n")))


if __name__ == "__main__":
    unittest.main()
