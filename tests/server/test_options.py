"""The options of servers: names, and what is said of an option that there isn't."""

from __future__ import annotations

import asyncio
import unittest
from typing import Any

from tcpclient_testing import (
    ExpectationError,
    MockTCPServer,
    MockTCPServerMixin,
    ThreadedMockTCPServer,
    ThreadedMockTCPServerMixin,
)
from tests.support.outcomes import outcome_of, threaded_outcome_of


class UnknownOptionTests(unittest.IsolatedAsyncioTestCase):
    """Options that are mistyped."""

    def test_servers(self) -> None:
        """The option that was perhaps meant is named; if none is alike, all are."""
        for kind in (MockTCPServer, ThreadedMockTCPServer):
            with self.assertRaisesRegex(TypeError, r"^a server has no option 'timout'; did you mean 'timeout'\?$"):
                kind(timout=3)  # type: ignore[arg-type,unused-ignore]
            with self.assertRaisesRegex(TypeError, r"^a server has no option 'qqq'; there are host, port, .* name$"):
                kind(qqq=3)  # type: ignore[arg-type,unused-ignore]

    def test_mixins(self) -> None:
        """Theirs, too."""
        async def test(self: MockTCPServerMixin) -> None:
            self.start_tcpserver(alow_extra=True)

        def blocking(self: ThreadedMockTCPServerMixin) -> None:
            self.start_tcpserver(alow_extra=True)

        for outcome in outcome_of(test=test), threaded_outcome_of(test=blocking):
            self.assertRegex(outcome.text, r"no option 'alow_extra'; did you mean 'allow_extra'\?")


class NameTests(unittest.IsolatedAsyncioTestCase):
    """Servers with a name."""

    async def test_name(self) -> None:
        """It stands in the first line of a report, and in the server's repr; it is there after `clear()`, too."""
        server: Any
        for server in (MockTCPServer(name="primary"), ThreadedMockTCPServer(name="primary")):
            with self.assertRaisesRegex(ExpectationError, r"at byte 1 \(server 'primary', connection 1, step 2 of 2, "):
                async with server:
                    self.assertEqual(server.name, "primary")
                    self.assertRegex(repr(server), r"^<\w+ 'primary' at 127\.0\.0\.1:\d+, running>$")
                    await server.clear()
                    self.assertEqual(server.name, "primary")
                    server.expect_connect()
                    server.expect_line(b"PING")
                    _, writer = await asyncio.open_connection(*server.address)
                    writer.write(b"PUNG\r\n")
                    await server.join()

    def test_server_without_a_name(self) -> None:
        """Nothing stands in its place."""
        server = MockTCPServer()
        self.assertIsNone(server.name)
        self.assertEqual(repr(server), "<MockTCPServer, not started>")

    def test_names_that_are_none(self) -> None:
        """They are refused."""
        name: Any
        for name, error in ((3, TypeError), (b"x", TypeError), ("", ValueError), ("a\nb", ValueError)):
            with self.subTest(name), self.assertRaisesRegex(error, r"MockTCPServer\(name=\.\.\.\) is a "):
                MockTCPServer(name=name)


if __name__ == "__main__":
    unittest.main()
