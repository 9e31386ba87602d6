"""What reports make of the `ssl` module's errors. Real handshakes are in `test_tls_layer` and `tests.test_tls`."""

from __future__ import annotations

import ssl
import unittest
from typing import Optional

from tcpclient_testing.aio.tls.errors import distrust_hint, failure_of
from tcpclient_testing.engine.connection.tls_failure import CLIENT, NOBODY, SERVER, TLSFailure
from tcpclient_testing.tls import as_server_context


def failure(reason: Optional[str], *, done: bool = False, context: Optional[ssl.SSLContext] = None,
            kind: type[ssl.SSLError] = ssl.SSLError) -> TLSFailure:
    """What an error with this reason means."""
    error = kind(1, f"[SSL: {reason}] words of OpenSSL")
    error.reason = reason  # type: ignore[assignment]
    if kind is ssl.SSLCertVerificationError:
        error.verify_message = "certificate has expired"  # type: ignore[attr-defined]
    return failure_of(error, as_server_context(True) if context is None else context, done=done)


class FailureTests(unittest.TestCase):
    def test_alert_about_the_certificate(self) -> None:
        """The client refuses the server's certificate; the reason is the alert's name in RFC 8446."""
        for reason, name in (("TLSV1_ALERT_UNKNOWN_CA", "unknown CA"),
                             ("SSLV3_ALERT_BAD_CERTIFICATE", "bad certificate"),
                             ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "certificate expired"),
                             ("TLSV1_BAD_CERTIFICATE_STATUS_RESPONSE", "bad certificate status response")):
            with self.subTest(reason=reason):
                words = failure(reason)
                self.assertEqual((words.reason, words.by), (name, CLIENT))
                self.assertEqual(words.summary, f"the client refused the server's certificate: alert '{name}'")
                self.assertIn("tcpclient_testing.tls.client_context()", words.hint or "")

    def test_alert_about_something_else(self) -> None:
        """The client breaks off, in the handshake or after it; no certificate is to blame."""
        words = failure("TLSV1_ALERT_PROTOCOL_VERSION")
        self.assertEqual((words.summary, words.by, words.hint),
                         ("the client broke off the TLS handshake: alert 'protocol version'", CLIENT, None))
        self.assertEqual(failure("TLSV1_UNRECOGNIZED_NAME").reason, "unrecognized name")
        self.assertEqual(failure("TLSV1_ALERT_INTERNAL_ERROR", done=True).summary,
                         "the client broke off TLS after the handshake: alert 'internal error'")

    def test_error_after_the_handshake(self) -> None:
        """What comes then is not TLS."""
        words = failure("WRONG_VERSION_NUMBER", done=True)
        self.assertEqual((words.summary, words.by),
                         ("what the client sent is not valid TLS: wrong version number", NOBODY))

    def test_certificate_of_the_client(self) -> None:
        """The server refuses a client without one, or with one that it can't trust."""
        words = failure("PEER_DID_NOT_RETURN_A_CERTIFICATE")
        self.assertEqual((words.reason, words.by), ("no certificate", SERVER))
        self.assertIn("the client showed no certificate, and the server's context requires one", words.summary)
        words = failure("CERTIFICATE_VERIFY_FAILED", kind=ssl.SSLCertVerificationError)
        self.assertEqual((words.reason, words.by), ("bad certificate", SERVER))
        self.assertIn("does not accept the client's certificate: certificate has expired", words.summary)

    def test_nothing_in_common(self) -> None:
        """Where the test made the context, that may lack something; the package's own does not."""
        words = failure("NO_SHARED_CIPHER")
        self.assertEqual((words.reason, words.by, words.hint), ("nothing in common", SERVER, None))
        self.assertIn("could not agree on TLS parameters: no shared cipher", words.summary)
        words = failure("NO_SHARED_CIPHER", context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        self.assertIn("does the server's ssl.SSLContext have a certificate", words.hint or "")

    def test_anything_else(self) -> None:
        """OpenSSL's own words, as far as there are any."""
        self.assertIn("could not understand the client's handshake: http request", failure("HTTP_REQUEST").summary)
        words = failure(None)
        self.assertEqual((words.reason, words.by), ("no reason given", SERVER))


class DistrustTests(unittest.TestCase):
    def test_certificate_of_the_test(self) -> None:
        """The advice is on the package's certificate alone."""
        self.assertIsNone(distrust_hint(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)))
        words = failure("TLSV1_ALERT_UNKNOWN_CA", context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        self.assertEqual((words.reason, words.hint), ("unknown CA", None))


if __name__ == "__main__":
    unittest.main()
