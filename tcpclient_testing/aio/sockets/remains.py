"""Reads what a client had sent before its connection broke.

A write to a connection that the client has reset fails, although bytes that came before the reset may still wait to be
read: the system keeps them (Linux also after a reset). A transport gives up at once when a write fails, and leaves them
unread; when a read fails, they have been read. What the client has done must not depend on which of the two is first.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from .borrowing import lent

__all__ = ["read_remains"]

__unittest = True

_DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)
_MOST_READS = 1000  # more than a receive buffer can hold; nobody goes on sending where a write has failed


def read_remains(transport: asyncio.BaseTransport, protocol: asyncio.BufferedProtocol) -> None:
    """Pass what waits to be read to `protocol`, as the transport would have done. The end of the stream is not passed.

    Call this in `connection_lost()` when the connection broke: the transport closes its socket only after that.
    """
    sock: Any = transport.get_extra_info("socket")
    raw = getattr(sock, "_sock", sock)
    if raw is None or raw.fileno() < 0:
        return
    if hasattr(type(raw), "unacknowledged"):  # in memory
        _pass_on(raw.recv_into, protocol)
        return
    try:
        borrowed = lent(raw.fileno())  # since other loops' transports (uvloop) give an object that can't receive
    except OSError:
        return  # somebody else has closed the descriptor
    try:
        _pass_on(lambda buffer: borrowed.recv_into(buffer, 0, _DONTWAIT), protocol)
    finally:
        borrowed.detach()


def _pass_on(receive_into: Callable[[Any], int], protocol: asyncio.BufferedProtocol) -> None:
    for _ in range(_MOST_READS):
        try:
            filled = receive_into(protocol.get_buffer(-1))
        except OSError:  # nothing is left, or the error itself: the connection is lost, whatever it was
            return
        if not filled:
            return
        protocol.buffer_updated(filled)
