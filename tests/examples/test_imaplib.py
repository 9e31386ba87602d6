"""imaplib: each command carries a tag that the client has made up, and its answer has to carry the same.

How often it asks what the server can do depends on its version: that question is allowed, and answered, anywhere.
"""

from __future__ import annotations

import imaplib
import re
import unittest
from typing import Callable

from tcpclient_testing import ThreadedMockTCPServerMixin
from tcpclient_testing.framing import Delimited
from tcpclient_testing.matchers import Regex


def command(text: bytes) -> Regex:
    """A command with any tag (RFC 3501, 2.2.1)."""
    return Regex(rb"(?P<tag>[A-Z]+[0-9]+) " + text)


def done(text: bytes, *untagged: bytes) -> Callable[[re.Match[bytes]], bytes]:
    """The answer to a command: lines without its tag, and the last with it."""
    def answer(question: re.Match[bytes]) -> bytes:
        return b"".join(b"* " + line + b"\r\n" for line in untagged) + question["tag"] + b" OK " + text + b"\r\n"
    return answer


class IMAPTests(ThreadedMockTCPServerMixin, unittest.TestCase):
    """A blocking client that logs in, and looks into a mailbox."""

    def test_unread_messages(self) -> None:
        """The numbers of the messages that the server has found."""
        server = self.tcpserver
        server.allow(command(b"CAPABILITY"), framing=Delimited(b"\r\n"),
                     reply=lambda question: question["tag"] + b" OK [CAPABILITY IMAP4rev1] done")
        server.expect_connect()
        server.send_line(b"* OK ready")
        for text, answer in (
            (b'LOGIN me "secret"', done(b"welcome")),
            (b"SELECT INBOX", done(b"selected", b"3 EXISTS")),
            (b"SEARCH UNSEEN", done(b"done", b"SEARCH 1 3")),
            (b"LOGOUT", done(b"done", b"BYE")),
        ):
            server.expect_line(command(text))
            server.send_bytes(answer)
        server.expect_disconnect()

        with imaplib.IMAP4(server.host, server.port, timeout=10) as client:
            client.login("me", "secret")
            self.assertEqual(client.select(), ("OK", [b"3"]))
            self.assertEqual(client.search(None, "UNSEEN"), ("OK", [b"1 3"]))


if __name__ == "__main__":
    unittest.main()
