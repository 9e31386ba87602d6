"""What a failure looks like: a test that fails, and what it says.

The failing test is run inside of another one, so that the suite passes.
"""

from __future__ import annotations

import unittest

from tcpclient_testing import MockTCPServerMixin

from .test_hello import hello


class FailingTests(unittest.TestCase):
    """A client that says something else than the script expects."""

    def test_report(self) -> None:
        """One failure is reported, at the step that was not met; its first line says which byte."""

        class GreetingTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
            async def test_greeting(self) -> None:
                self.tcpserver.expect_connect()
                self.tcpserver.expect_bytes(b"Hello, sorver!")
                self.tcpserver.send_bytes(b"Hello, client!")
                self.tcpserver.expect_disconnect()
                await hello(*self.tcpserver.address)

        result = unittest.TestResult()
        GreetingTests("test_greeting").run(result)

        self.assertEqual((len(result.failures), len(result.errors)), (1, 0))
        report = result.failures[0][1]
        self.assertRegex(report, r"ExpectationError: expected b'Hello, sorver!', got b'Hello, server!' at byte 8 "
                                 r"\(connection 1, step 2 of 4, test_failing\.py:\d+\)\n")
        self.assertIn("then the client raised", report)
        self.assertRegex(report, r"> 2 expect_bytes\(b'Hello, sorver!'\)  failed")


if __name__ == "__main__":
    unittest.main()
