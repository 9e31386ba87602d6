"""TLS as the engine knows it: what is said of handshakes that come to nothing, and what waits for them."""

from __future__ import annotations

import unittest

from tcpclient_testing.engine.connection.handshake import Handshake
from tcpclient_testing.engine.connection.tls_failure import CLIENT, NOBODY, SERVER, TLSFailure
from tcpclient_testing.memory.host import MemoryServer


class HandshakeTests(unittest.TestCase):
    def setUp(self) -> None:
        self.server = MemoryServer(idle_timeout=None)
        self.server.session.environment.configure(tls_context=object())
        self.connect = self.server.expect_connect()
        self.refusal = TLSFailure.of_alert("unknown CA", certificate=True, done=False)

    def handshake(self) -> Handshake:
        """The TLS state of the connection."""
        handshake = self.server.conversation().handshake
        assert handshake is not None
        return handshake

    def test_connect_waits_for_the_handshake(self) -> None:
        """`expect_connect()` is satisfied when the handshake is done, not when TCP is accepted."""
        self.server.connect()
        self.assertEqual([command.number for command in self.server.upgrading], [1])
        self.server.tell(1, "handshake_bytes", 100)
        self.assertFalse(self.connect.satisfied)
        self.server.upgraded("info")
        self.assertTrue(self.connect.satisfied)
        self.assertEqual(self.handshake().info, "info")

    def test_handshake_bytes_are_progress(self) -> None:
        """The time-out begins anew with what the client puts into its handshake."""
        self.server.connect()
        self.server.sleep(3)
        self.server.tell(1, "handshake_bytes", 100)
        self.server.sleep(4)
        self.assertIsNone(self.server.verdict)
        self.server.sleep(1)
        self.assertEqual(self.server.verdict[2],
                         "the client did not finish its TLS handshake for 5.0 s; 100 bytes of it came")

    def test_failure_is_the_mismatch_of_the_connect_when_anything_else_follows(self) -> None:
        """The first step is blamed, at once."""
        self.server.expect_bytes(b"hi")
        self.server.connect()
        self.server.tell(1, "tls_failed", self.refusal)
        assert self.server.session.failure is not None
        self.assertIs(self.server.session.failure.step, self.connect)

    def test_failure_is_kept_for_the_next_step(self) -> None:
        """While no step follows, nothing is judged; then it is, whatever the step."""
        self.server.connect()
        self.server.tell(1, "tls_failed", self.refusal)
        self.assertTrue(self.connect.satisfied)
        self.assertIsNone(self.server.session.failure)
        late = self.server.expect_bytes(b"hi")
        assert self.server.session.failure is not None
        self.assertIs(self.server.session.failure.step, late)

    def test_failure_is_wanted(self) -> None:
        """`expect_tls_failure()` takes it, before and after it has come."""
        for early in (False, True):
            self.setUp()
            if not early:
                step = self.server.expect_tls_failure()
            self.server.connect()
            self.server.tell(1, "tls_failed", self.refusal)
            if early:
                step = self.server.expect_tls_failure()
            self.assertIsNone(self.server.session.failure)
            self.assertEqual(step.result(), "unknown CA")
            self.assertTrue(self.server.conversation().script.complete)

    def test_end_after_the_handshake_is_a_refusal_unless_data_came(self) -> None:
        """Data before the end makes the difference, in whatever order step and data come."""
        for data in (False, True):
            self.setUp()
            step = self.server.expect_tls_failure()
            self.server.connect()
            self.server.upgraded("info")
            if data:
                self.server.receive(b"hi")
            self.server.half_close()
            self.assertEqual(step.satisfied, not data)
            self.assertEqual(self.server.session.failure is None, not data)

    def test_unclaimed_failure_is_judged_in_the_end(self) -> None:
        """A script that has no step for it fails when the server is left."""
        self.server.connect()
        self.server.tell(1, "tls_failed", self.refusal)
        self.server.session.settle(2.0, allow_open=False, allow_extra=True)
        assert self.server.session.failure is not None
        self.assertIs(self.server.session.failure.mismatch, self.refusal)


class WordingTests(unittest.TestCase):
    def test_texts(self) -> None:
        """Each failure says who did what, and when."""
        for failure, by, text in (
            (TLSFailure.of_alert("unknown CA", certificate=True, done=False), CLIENT,
             "the client refused the server's certificate: alert 'unknown CA'"),
            (TLSFailure.of_alert("protocol version", certificate=False, done=False), CLIENT,
             "the client broke off the TLS handshake: alert 'protocol version'"),
            (TLSFailure.of_alert("internal error", certificate=False, done=True), CLIENT,
             "the client broke off TLS after the handshake: alert 'internal error'"),
            (TLSFailure.of_plain_text(b"hi\n", starttls=False), NOBODY,
             "the client sent plain text to a TLS server: b'hi\\n'"),
            (TLSFailure.of_plain_text(b"hi\n", starttls=True), NOBODY,
             "the client sent plain text instead of beginning the TLS handshake: b'hi\\n'"),
            (TLSFailure.of_end("closed", 0, shown=False), NOBODY,
             "the client closed before it began the TLS handshake"),
            (TLSFailure.of_end("closed", 1, shown=False), NOBODY,
             "the client closed in its first 1 byte of the TLS handshake"),
            (TLSFailure.of_end("reset the connection", 517, shown=True), CLIENT,
             "the client reset the connection during the TLS handshake, when it had seen the server's certificate"),
            (TLSFailure.of_refusal("no certificate", "the client showed no certificate"), SERVER,
             "the TLS handshake failed: the client showed no certificate"),
            (TLSFailure.of_garbage("bad record mac"), NOBODY,
             "what the client sent is not valid TLS: bad record mac"),
        ):
            with self.subTest(text):
                self.assertEqual((failure.summary, failure.by), (text, by))
