"""A client of the standard library that speaks in lines: `smtplib` (RFC 5321)."""

from __future__ import annotations

import re
import smtplib
import unittest

from tcpclient_testing import ThreadedMockTCPServerMixin
from tcpclient_testing.matchers import Regex


def verb(command: bytes) -> Regex:
    """Match a command with or without parameters; upper or lower case makes no difference (RFC 5321, 2.4)."""
    return Regex(b"(?i)" + re.escape(command) + b"( .*)?")


class SMTPTests(ThreadedMockTCPServerMixin, unittest.TestCase):
    """A message is sent, or is not."""

    def expect_greetings(self) -> None:
        """Script the beginning of every session."""
        self.tcpserver.expect_connect()
        self.tcpserver.send_line(b"220 mail.example ESMTP")
        self.tcpserver.expect_line(verb(b"EHLO"))
        self.tcpserver.send_bytes(b"250-mail.example\r\n250 SIZE 1000000\r\n")

    def expect_farewell(self) -> None:
        """Script the end of every session."""
        self.tcpserver.expect_line(verb(b"QUIT"))
        self.tcpserver.send_line(b"221 bye")
        self.tcpserver.expect_disconnect()

    def test_message_when_the_server_takes_it(self) -> None:
        """A message arrives as it was written, but for a line that is a dot, which is doubled."""
        self.expect_greetings()
        self.tcpserver.expect_line(verb(b"MAIL FROM:<a@x.example>"))
        self.tcpserver.send_line(b"250 ok")
        self.tcpserver.expect_line(verb(b"RCPT TO:<b@y.example>"))
        self.tcpserver.send_line(b"250 ok")
        self.tcpserver.expect_line(verb(b"DATA"))
        self.tcpserver.send_line(b"354 go ahead")
        message = self.tcpserver.expect_until(b"\r\n.\r\n")
        self.tcpserver.send_line(b"250 queued")
        self.expect_farewell()

        with smtplib.SMTP(*self.tcpserver.address, timeout=10) as client:
            client.sendmail("a@x.example", ["b@y.example"], "Subject: hi\n\n.\nThe end.")
        self.assertEqual(message.result(), b"Subject: hi\r\n\r\n..\r\nThe end.")

    def test_message_when_nobody_may_have_it(self) -> None:
        """Where the server refuses every recipient, the client says so, and begins anew."""
        self.expect_greetings()
        self.tcpserver.expect_line(verb(b"MAIL FROM:<a@x.example>"))
        self.tcpserver.send_line(b"250 ok")
        self.tcpserver.expect_line(verb(b"RCPT TO:<b@y.example>"))
        self.tcpserver.send_line(b"550 no such user")
        self.tcpserver.expect_line(verb(b"RSET"))
        self.tcpserver.send_line(b"250 ok")
        self.expect_farewell()

        with smtplib.SMTP(*self.tcpserver.address, timeout=10) as client, \
                self.assertRaises(smtplib.SMTPRecipientsRefused) as caught:
            client.sendmail("a@x.example", ["b@y.example"], "Subject: hi\n\nThe end.")
        self.assertEqual(caught.exception.recipients, {"b@y.example": (550, b"no such user")})
