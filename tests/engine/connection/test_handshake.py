"""TLS as the engine knows it: what is said of handshakes that come to nothing, and what waits for them."""

from __future__ import annotations

import sys
import unittest
from typing import Any

from tcpclient_testing.engine.connection.tls_failure import CLIENT, NOBODY, SERVER, TLSFailure
from tcpclient_testing.engine.conversation.conversation import Conversation
from tcpclient_testing.engine.conversation.events import HalfClosed, HandshakeBytes, Received, TLSFailed, Upgraded
from tcpclient_testing.engine.origin import origin_of
from tcpclient_testing.engine.session.session import Session
from tcpclient_testing.engine.steps.base import DEFAULT_TIMING, Step
from tcpclient_testing.engine.steps.lifecycle import ExpectConnect
from tcpclient_testing.engine.steps.messages import ExpectBytes
from tcpclient_testing.engine.steps.starttls import ExpectTLSFailure


class Host:
    """As much of an adapter as these tests ask for."""

    def handle_for(self, conversation: Conversation) -> Any:
        return conversation

    def listening_at(self) -> str:
        return "127.0.0.1:4711"

    def ending_of(self, conversation: Conversation) -> str:
        return "ended its stream"


def origin() -> Any:
    """A place in a script."""
    return origin_of(sys._getframe(1))


class HandshakeTests(unittest.TestCase):
    def setUp(self) -> None:
        self.session = Session(Host(), 5.0, None)  # type: ignore[arg-type]
        self.session.tls_context = object()
        self.connect: Step[Any] = ExpectConnect(origin(), DEFAULT_TIMING)
        self.refusal = TLSFailure.of_alert("unknown CA", certificate=True, done=False)

    def expect(self, *steps: Step[Any]) -> Conversation:
        """Begin a script, and connect; return the conversation."""
        self.session.add_connection(self.connect, 0.0)  # type: ignore[arg-type]
        for step in steps:
            self.session.add(step, 0.0)
        return self.session.connected(0.0, ("127.0.0.1", 5))

    def test_connect_waits_for_the_handshake(self) -> None:
        """`expect_connect()` is satisfied when the handshake is done, not when TCP is accepted."""
        conversation = self.expect()
        self.assertIn("StartTLS", [type(command).__name__ for command in self.session.commands])
        conversation.receive(HandshakeBytes(1.0, 100))
        self.assertFalse(self.connect.satisfied)
        conversation.receive(Upgraded(2.0, "info"))
        self.assertTrue(self.connect.satisfied)
        self.assertEqual(conversation.tls.info if conversation.tls else None, "info")

    def test_handshake_bytes_are_progress(self) -> None:
        """The time-out begins anew with what the client puts into its handshake."""
        conversation = self.expect()
        conversation.receive(HandshakeBytes(3.0, 100))
        self.session.tick(7.0)
        self.assertIsNone(self.session.failure)
        self.session.tick(8.0)
        assert self.session.failure is not None
        self.assertEqual(self.session.failure.mismatch.summary,
                         "the client did not finish its TLS handshake for 5.0 s; 100 bytes of it came")

    def test_failure_is_the_mismatch_of_the_connect_when_anything_else_follows(self) -> None:
        """The first step is blamed, at once."""
        conversation = self.expect(ExpectBytes(b"hi", origin()))
        conversation.receive(TLSFailed(1.0, self.refusal))
        assert self.session.failure is not None
        self.assertIs(self.session.failure.step, self.connect)

    def test_failure_is_kept_for_the_next_step(self) -> None:
        """While no step follows, nothing is judged; then it is, whatever the step."""
        conversation = self.expect()
        conversation.receive(TLSFailed(1.0, self.refusal))
        self.assertTrue(self.connect.satisfied)
        self.assertIsNone(self.session.failure)
        late = ExpectBytes(b"hi", origin())
        self.session.add(late, 2.0)
        assert self.session.failure is not None
        self.assertIs(self.session.failure.step, late)

    def test_failure_is_wanted(self) -> None:
        """`expect_tls_failure()` takes it, before and after it has come."""
        for early in (False, True):
            self.setUp()
            step = ExpectTLSFailure(CLIENT, origin(), DEFAULT_TIMING)
            conversation = self.expect(*() if early else (step,))
            conversation.receive(TLSFailed(1.0, self.refusal))
            if early:
                self.session.add(step, 2.0)
            self.assertIsNone(self.session.failure)
            self.assertEqual(step.result(), "unknown CA")
            self.assertTrue(conversation.complete)

    def test_end_after_the_handshake_is_a_refusal_unless_data_came(self) -> None:
        """Data before the end makes the difference, in whatever order step and data come."""
        for data in (False, True):
            self.setUp()
            step = ExpectTLSFailure(CLIENT, origin(), DEFAULT_TIMING)
            conversation = self.expect(step)
            conversation.receive(Upgraded(1.0, "info"))
            if data:
                conversation.receive(Received(2.0, b"hi"))
            conversation.receive(HalfClosed(3.0))
            self.assertEqual(step.satisfied, not data)
            self.assertEqual(self.session.failure is None, not data)

    def test_unclaimed_failure_is_judged_in_the_end(self) -> None:
        """A script that has no step for it fails when the server is left."""
        conversation = self.expect()
        conversation.receive(TLSFailed(1.0, self.refusal))
        self.session.settle(2.0, allow_open=False, allow_extra=True)
        assert self.session.failure is not None
        self.assertIs(self.session.failure.mismatch, self.refusal)


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
