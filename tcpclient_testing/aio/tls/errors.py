"""Turns errors of the `ssl` module into text for a report: who refused whom, why, and what to do about it."""

from __future__ import annotations

import ssl
from typing import Optional

from tcpclient_testing.engine.connection.tls_failure import TLSFailure
from tcpclient_testing.tls import as_server_context

__all__ = ["distrust_hint", "failure_of"]

__unittest = True

# Alerts that a client sends when it rejects the server's certificate (RFC 8446, 6.2).
_ABOUT_CERTIFICATES = frozenset({
    "bad certificate", "unsupported certificate", "certificate revoked", "certificate expired", "certificate unknown",
    "unknown CA", "bad certificate status response", "bad certificate hash value",
})  # fmt: skip

_NOTHING_IN_COMMON = frozenset({
    "NO_SHARED_CIPHER", "UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "WRONG_SSL_VERSION", "NO_SUITABLE_KEY_SHARE",
    "NO_SUITABLE_SIGNATURE_ALGORITHM", "NO_SHARED_SIGNATURE_ALGORITHMS", "NO_SUITABLE_GROUPS", "INAPPROPRIATE_FALLBACK",
})  # fmt: skip


def failure_of(error: ssl.SSLError, context: ssl.SSLContext, *, done: bool) -> TLSFailure:
    """Return the failure that an error of `ssl` means; `done` says whether the handshake was complete."""
    reason = error.reason or ""
    alert = _alert(reason)
    if alert is not None:
        certificate = alert in _ABOUT_CERTIFICATES
        distrust = distrust_hint(context) if certificate else None
        return TLSFailure.of_alert(alert, certificate=certificate, done=done, hint=distrust)
    words = _in_words(reason)
    if done:
        return TLSFailure.of_garbage(words)
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return TLSFailure.of_refusal("no certificate", "the client showed no certificate, and the server's context "
                                                       "requires one")
    if isinstance(error, ssl.SSLCertVerificationError):
        return TLSFailure.of_refusal("bad certificate", "the server does not accept the client's certificate: "
                                                        f"{error.verify_message}")
    if reason in _NOTHING_IN_COMMON:
        return TLSFailure.of_refusal("nothing in common",
                                     f"client and server could not agree on TLS parameters: {words}",
                                     hint=_context_hint(context))
    return TLSFailure.of_refusal(words, f"the server could not understand the client's handshake: {words}")


def _alert(reason: str) -> Optional[str]:
    """Return the name of the alert in OpenSSL's `reason`; None if it names no alert."""
    if "_ALERT_" in reason:
        name = _in_words(reason.partition("_ALERT_")[2])
    elif reason in ("TLSV1_UNRECOGNIZED_NAME", "TLSV1_UNSUPPORTED_EXTENSION", "TLSV1_BAD_CERTIFICATE_STATUS_RESPONSE",
                    "TLSV1_BAD_CERTIFICATE_HASH_VALUE", "TLSV1_CERTIFICATE_UNOBTAINABLE"):
        name = _in_words(reason[len("TLSV1_"):])
    else:
        return None
    return "unknown CA" if name == "unknown ca" else name


def _in_words(reason: str) -> str:
    return reason.replace("_", " ").lower() or "no reason given"


def distrust_hint(context: ssl.SSLContext) -> Optional[str]:
    """Return advice for a client that rejects the package's throwaway certificate; None with another context."""
    if context is not as_server_context(True):
        return None
    return ("let the client use tcpclient_testing.tls.client_context(), or trust the file "
            "tcpclient_testing.tls.authority_path; the certificate, the package's own, is for localhost, 127.0.0.1 and "
            "::1")


def _context_hint(context: ssl.SSLContext) -> Optional[str]:
    """Return advice for a handshake without agreement: a context that the test made may lack a certificate."""
    if context is as_server_context(True):
        return None
    return ("does the server's ssl.SSLContext have a certificate (load_cert_chain), and a TLS version and cipher that "
            "the client supports?")
