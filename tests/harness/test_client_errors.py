"""Which exceptions are the client's own errors, and what shows that they are this server's client's."""

from __future__ import annotations

import asyncio
import socket
import unittest
from typing import Any, Callable

from tcpclient_testing.harness.client_errors import belongs_to, is_own, knows

ADDRESS = ("127.0.0.1", 54321)


def raised_by(function: Callable[[], Any]) -> BaseException:
    """Return what a function raises."""
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("it has not raised")


class Holder:
    """An object that keeps another."""

    def __init__(self, kept: Any) -> None:
        self.kept = kept

    def fail(self) -> None:
        """Raise."""
        raise LookupError


class IsOwnTests(unittest.TestCase):
    def test_errors_that_the_script_has_caused_are_not_the_clients(self) -> None:
        """A broken connection, or an end of stream, is expected when the script has ended a connection."""
        for error in (ConnectionResetError(), EOFError(), asyncio.IncompleteReadError(b"", 1)):
            with self.subTest(error=error):
                self.assertTrue(is_own(error, ended=False))
                self.assertFalse(is_own(error, ended=True))
        self.assertTrue(is_own(ValueError(), ended=True))

    def test_what_is_no_error_does_not_count(self) -> None:
        """Nor does a skip."""
        for error in (None, KeyboardInterrupt(), asyncio.CancelledError(), unittest.SkipTest()):
            with self.subTest(error=error):
                self.assertFalse(is_own(error, ended=False))


class KnowsTests(unittest.TestCase):
    def test_code_with_the_port_knows_the_server(self) -> None:
        """As a variable, in text, or in an object that a variable refers to."""
        def with_port() -> None:
            port = ADDRESS[1]
            raise LookupError(str(port)[:0])

        def with_url() -> None:
            url = f"redis://localhost:{ADDRESS[1]}/0"
            raise LookupError(url[:0])
        for function in (with_port, with_url, Holder({"to": ADDRESS}).fail, Holder(Holder([ADDRESS])).fail):
            with self.subTest(function=function):
                self.assertTrue(knows(raised_by(function), ADDRESS))

    def test_code_with_a_connection_knows_the_server(self) -> None:
        """A socket that is connected to it."""
        with socket.create_server(("127.0.0.1", 0)) as listener, \
                socket.create_connection(listener.getsockname()) as client:
            self.assertTrue(knows(raised_by(Holder(client).fail), listener.getsockname()))
            self.assertFalse(knows(raised_by(Holder(client).fail), ADDRESS))

    def test_other_code_does_not(self) -> None:
        """Nor is the test case searched, which refers to all that the test has."""
        self.address = ADDRESS

        def with_test_case() -> None:
            raise LookupError(self.id()[:0])
        self.assertFalse(knows(raised_by(with_test_case), ADDRESS))
        self.assertFalse(knows(raised_by(Holder("elsewhere").fail), ADDRESS))

    def test_addresses_are_compared_by_port_and_path(self) -> None:
        """A server listens on both loopback addresses; a Unix-domain socket has a path."""
        self.assertTrue(belongs_to(("::1", ADDRESS[1], 0, 0), ADDRESS))
        self.assertFalse(belongs_to(("127.0.0.1", 1), ADDRESS))
        self.assertTrue(belongs_to("/run/s", "/run/s"))
        self.assertFalse(belongs_to("", "/run/s"))


if __name__ == "__main__":
    unittest.main()
