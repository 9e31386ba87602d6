"""Sends an acknowledgement that the kernel delays.

A kernel waits up to 40 ms for data that could carry an acknowledgement (RFC 1122, 4.2.3.2). A client that has not set
TCP_NODELAY holds back its next small write until then (RFC 896). After a handshake of TLS 1.3 this delays each client
that blocks: its last message of the handshake gets no answer, and its first request waits for the acknowledgement.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

__all__ = ["acknowledge"]

__unittest = True

_QUICKACK = getattr(socket, "TCP_QUICKACK", None)  # Linux only


def acknowledge(transport: asyncio.BaseTransport) -> None:
    """Acknowledge now what was received on this connection (TCP_QUICKACK, tcp(7)), where the system can do that."""
    sock: Any = transport.get_extra_info("socket")
    if _QUICKACK is not None and sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
