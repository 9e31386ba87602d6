"""Tests of socket objects for descriptors that belong to somebody else."""

from __future__ import annotations

import os
import socket
import unittest
from typing import Any, Callable, Optional
from unittest import mock

from tcpclient_testing.aio.sockets import borrowing
from tcpclient_testing.aio.sockets.borrowing import copied, lent

WAYS: tuple[Callable[[int], socket.socket], ...] = (lent, copied)


@unittest.skipUnless(hasattr(os, "get_blocking"), "descriptors can't be asked here")
class BorrowingTests(unittest.TestCase):
    """What becomes of the owner's socket."""

    def setUp(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.addCleanup(self.ours.close)
        self.addCleanup(self.theirs.close)

    def assert_untouched(self, default: Optional[float]) -> None:
        """Whether the owner's calls block or not stays as it was, and the socket stays open."""
        socket.setdefaulttimeout(default)
        self.addCleanup(socket.setdefaulttimeout, None)
        for blocks in (True, False):
            os.set_blocking(self.ours.fileno(), blocks)
            for way in WAYS:
                with self.subTest(blocks=blocks, way=way.__name__, default=default):
                    sock = way(self.ours.fileno())
                    self.addCleanup(sock.close)
                    self.assertEqual(os.get_blocking(self.ours.fileno()), blocks)
                    if way is lent:
                        self.assertEqual(sock.detach(), self.ours.fileno())
                    else:
                        self.assertNotEqual(sock.fileno(), self.ours.fileno())
                        sock.close()
                    self.theirs.send(b"x")
                    self.assertEqual(self.ours.recv(1), b"x")

    def test_mode_is_left_alone(self) -> None:
        """Whatever the default time-out of sockets is."""
        for default in (None, 5.0, 0.0):
            self.assert_untouched(default)

    def test_mode_is_restored_where_the_constructor_can_not_be_told(self) -> None:
        """As on macOS."""
        with mock.patch.object(borrowing, "_NON_BLOCKING", 0):
            self.test_mode_is_left_alone()

    def test_mode_that_nobody_can_ask_for(self) -> None:
        """As on Windows, where `os.get_blocking` takes a socket for no file at all: the socket is lent all the same."""
        with mock.patch.object(borrowing, "_NON_BLOCKING", 0), \
                mock.patch.object(os, "get_blocking", side_effect=OSError(9, "Bad file descriptor"), create=True), \
                socket.socket() as sock:
            lent(sock.fileno()).detach()
            copied(sock.fileno()).close()

    def test_what_is_no_socket(self) -> None:
        """It is refused, a closed descriptor too, and no copy of it stays open."""
        reading, writing = os.pipe()
        os.close(writing)
        free: Any = os.dup(reading)
        os.close(free)
        for way in WAYS:
            for descriptor in (reading, free):
                with self.assertRaises(OSError):
                    way(descriptor)
        again = os.dup(reading)
        self.assertEqual(again, free)
        for each in (reading, again):
            os.close(each)


if __name__ == "__main__":
    unittest.main()
