"""What client and server agreed on in the TLS handshake, as users see it."""

from __future__ import annotations

import ssl
from typing import Any, Optional

__all__ = ["TLSInfo"]

__unittest = True


class TLSInfo:
    """What client and server agreed on, and showed each other, in the TLS handshake: ``connection.tls``.

    - `version`: such as ``"TLSv1.3"``.
    - `cipher`: the name of the cipher suite.
    - `server_name`: the server that the client asked for (SNI, RFC 6066, 3). None if the client sent no name, as is
      normal for an IP address.
    - `alpn_protocol`: the protocol that ALPN selected, or None.
    - `peer_certificate`: the client's certificate, as `ssl.SSLSocket.getpeercert` returns it, or None if the client
      sent none. A server requests one with ``tls.server_context(client_certificates=...)``.
    """

    __slots__ = ("version", "cipher", "server_name", "alpn_protocol", "peer_certificate")

    version: Optional[str]
    cipher: Optional[str]
    server_name: Optional[str]
    alpn_protocol: Optional[str]
    peer_certificate: Optional[dict[str, Any]]

    def __init__(self, tls: ssl.SSLObject, name: Optional[str]) -> None:
        cipher = tls.cipher()
        self.version = tls.version()
        self.cipher = cipher[0] if cipher else None
        self.server_name = name
        self.alpn_protocol = tls.selected_alpn_protocol()
        self.peer_certificate = tls.getpeercert() or None

    def __str__(self) -> str:
        name = f", for {self.server_name!r}" if self.server_name else ""
        shown = ", with a client certificate" if self.peer_certificate else ""
        return f"{self.version}, {self.cipher}{name}{shown}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"
