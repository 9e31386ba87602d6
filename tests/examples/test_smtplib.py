"""A blocking client from the standard library that upgrades to TLS: smtplib, with STARTTLS."""

from __future__ import annotations

import smtplib
import ssl
import unittest

from tcpclient_testing import ThreadedMockTCPServerMixin, tls
from tcpclient_testing.matchers import Regex


def send_mail(host: str, port: int, context: ssl.SSLContext) -> str:
    """The client under test: delivers one message over TLS, and returns the version of TLS that was used."""
    with smtplib.SMTP(host, port, local_hostname="client.test") as smtp:
        smtp.starttls(context=context)
        smtp.sendmail("me@client.test", ["you@server.test"], b"Subject: hello\r\n\r\nHello!\r\n")
        assert isinstance(smtp.sock, ssl.SSLSocket)
        return str(smtp.sock.version())


class SMTPTests(ThreadedMockTCPServerMixin, unittest.TestCase):
    """What an SMTP client has to say in clear, and what only over TLS (RFC 3207)."""

    def test_mail_goes_over_tls(self) -> None:
        """In clear the client says hello and asks for TLS, and nothing else."""
        server = self.tcpserver
        connected = server.expect_connect()
        server.send_line(b"220 server.test")
        server.expect_line(b"ehlo client.test")
        server.send_bytes(b"250-server.test\r\n250 STARTTLS\r\n")
        server.expect_line(b"STARTTLS")
        server.send_line(b"220 go ahead")
        server.start_tls()
        server.expect_line(b"ehlo client.test")
        server.send_line(b"250 server.test")
        for command, answer in (
            (b"mail from:<me@client.test>", b"250 OK"),
            (b"rcpt to:<you@server.test>", b"250 OK"),
            (b"data", b"354 go on"),
        ):
            server.expect_line(Regex(b"(?i)" + command))
            server.send_line(answer)
        message = server.expect_until(b"\r\n.\r\n")
        server.send_line(b"250 OK")
        server.expect_line(b"QUIT")
        server.send_line(b"221 bye")
        server.expect_disconnect()

        version = send_mail("localhost", server.port, tls.client_context())
        server.join()
        self.assertEqual(message.result(), b"Subject: hello\r\n\r\nHello!")
        agreed = connected.result().tls
        assert agreed is not None
        self.assertEqual((agreed.version, agreed.server_name), (version, "localhost"))

    def test_expired_certificate_is_refused(self) -> None:
        """The client gives up when the server's certificate has expired, and sends nothing over TLS."""
        server = self.tcpserver
        server.expect_connect()
        server.send_line(b"220 server.test")
        server.expect_line(b"ehlo client.test")
        server.send_bytes(b"250-server.test\r\n250 STARTTLS\r\n")
        server.expect_line(b"STARTTLS")
        server.send_line(b"220 go ahead")
        server.start_tls("expired")
        server.expect_tls_failure()

        with self.assertRaisesRegex(ssl.SSLCertVerificationError, "certificate has expired"):
            send_mail("localhost", server.port, tls.client_context())


if __name__ == "__main__":
    unittest.main()
