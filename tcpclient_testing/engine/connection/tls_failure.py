"""How TLS failed, as reports say it: the mismatches of handshakes and of TLS that broke later.

The engine does not use `ssl`: the adapter passes the reasons of failures as text.
"""

from __future__ import annotations

from typing import Optional

from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.wording import brief, counted, seconds

__all__ = ["CLIENT", "NOBODY", "SERVER", "TLSFailure", "unfinished_handshake"]

__unittest = True

#: Which side refused the other: the values of `TLSFailure.by`.
CLIENT, SERVER, NOBODY = "client", "server", "nobody"


class TLSFailure(Mismatch):
    """How TLS failed. `reason` is short, for users to compare: "unknown CA", "closed".

    `by` says which side refused the other:

    - CLIENT: the client, after it had seen what the server shows.
    - SERVER: the server.
    - NOBODY: the handshake did not get that far.

    Its `hint` is advice for a test that did not expect the failure.
    """

    __slots__ = ("reason", "by")

    def __init__(self, summary: str, *, reason: str, by: str = NOBODY, hint: Optional[str] = None) -> None:
        super().__init__(summary, hint=hint)
        self.reason = reason
        self.by = by

    @classmethod
    def of_alert(cls, alert: str, *, certificate: bool, done: bool, hint: Optional[str] = None) -> TLSFailure:
        """The client sent an alert (RFC 8446, section 6.2).

        `certificate` says whether the alert is about the server's certificate, `done` whether the handshake was done.
        """
        what = "refused the server's certificate" if certificate else f"broke off {_stage(done)}"
        return cls(f"the client {what}: alert {alert!r}", reason=alert, by=CLIENT, hint=hint)

    @classmethod
    def of_distrust(cls, why: str, *, hint: Optional[str] = None) -> TLSFailure:
        """The client raised because it does not accept the server's certificate; `why` says why not."""
        return cls(f"the client refused the server's certificate: {why}", reason="bad certificate", by=CLIENT,
                   hint=hint)

    @classmethod
    def of_plain_text(cls, data: bytes, *, starttls: bool) -> TLSFailure:
        """The client sent something other than TLS when its handshake was due.

        `starttls` says whether the handshake was begun by `start_tls()`.
        """
        where = "instead of beginning the TLS handshake" if starttls else "to a TLS server"
        hint = None if starttls else "let the client use TLS, or make the server without tls="
        return cls(f"the client sent plain text {where}: {brief(data)}", reason="plain text", hint=hint)

    @classmethod
    def of_end(cls, ending: str, received: int, *, shown: bool, hint: Optional[str] = None) -> TLSFailure:
        """The client closed or reset the connection during the handshake.

        `received` is the number of handshake bytes that it had sent. `shown` says whether the server had sent its
        certificate before.
        """
        if shown:
            summary = f"the client {ending} during the TLS handshake, when it had seen the server's certificate"
        elif received:
            summary = f"the client {ending} in its first {counted(received, 'byte')} of the TLS handshake"
        else:
            summary = f"the client {ending} before it began the TLS handshake"
        return cls(summary, reason=ending, by=CLIENT if shown else NOBODY, hint=hint if shown else None)

    @classmethod
    def of_refusal(cls, reason: str, words: str, *, hint: Optional[str] = None) -> TLSFailure:
        """The server refused the client's handshake; `words` says why."""
        return cls(f"the TLS handshake failed: {words}", reason=reason, by=SERVER, hint=hint)

    @classmethod
    def of_garbage(cls, reason: str) -> TLSFailure:
        """After the handshake, the client sent bytes that are not TLS, or that were tampered with."""
        return cls(f"what the client sent is not valid TLS: {reason}", reason=reason)


def _stage(done: bool) -> str:
    return "TLS after the handshake" if done else "the TLS handshake"


def unfinished_handshake(received: int, duration: float, silent: bool) -> TLSFailure:
    """Say that the handshake is not done after `duration` seconds: without any progress if `silent`, else in total.

    `received` is the number of its bytes that have come.
    """
    late = f"for {seconds(duration)}" if silent else f"within {seconds(duration)}"
    if not received:
        return TLSFailure(f"the client did not begin its TLS handshake {late}", reason="silent",
                          hint="is the client configured to use TLS? a client without TLS may be waiting for the "
                               "server's first bytes")
    return TLSFailure(f"the client did not finish its TLS handshake {late}; {counted(received, 'byte')} of it came",
                      reason="silent")
