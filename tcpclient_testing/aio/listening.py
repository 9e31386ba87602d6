"""Listening sockets on the local machine: one port, on every loopback address.

No name is looked up and no thread is used: literal addresses only.
"""

from __future__ import annotations

import errno
import socket
import sys
from typing import Optional, TypeVar

__all__ = ["BACKLOG", "listen", "listening", "loopback_addresses", "refusing"]

__unittest = True

S = TypeVar("S", bound=socket.socket)

#: How many connections may wait to be accepted; with few, the clients of a burst wait seconds for a SYN to be repeated.
BACKLOG = 1024
_ATTEMPTS = 100


def loopback_addresses() -> tuple[str, ...]:
    """The literal addresses of the local machine that exist here: 127.0.0.1, and ::1 where there is IPv6."""
    return ("127.0.0.1", "::1") if _has_ipv6() else ("127.0.0.1",)


def _has_ipv6() -> bool:
    global _ipv6
    if _ipv6 is None:
        _ipv6 = False
        if socket.has_ipv6:
            try:
                with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
                    probe.bind(("::1", 0))
                _ipv6 = True
            except OSError:
                pass
    return _ipv6


_ipv6: Optional[bool] = None


def _checked_host(host: Optional[str], allow_remote: bool) -> tuple[str, ...]:
    if host is None or host == "localhost":
        return loopback_addresses()
    if not isinstance(host, str):
        raise TypeError(f"host is an address such as '127.0.0.1', or None, not {type(host).__name__}: {host!r}")
    import ipaddress  # a millisecond, and few tests name a host

    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"host is a literal address such as '127.0.0.1' or '::1', not {host!r}") from None
    if not (address.is_loopback or allow_remote):
        raise ValueError(f"host {host!r} can be reached from other machines; allow_remote=True permits that")
    return (host,)


def listen(host: Optional[str], port: int, *, allow_remote: bool = False) -> list[socket.socket]:
    """Bind and listen, on the same port of each address; return the sockets, which don't block.

    `host` None is every loopback address; `port` 0 is any free one. Raises `OSError` where the port is taken (say which
    process has it with ``ss -ltnp``, or leave the choice to the system), `ValueError` for an address that is not one or
    that isn't of this machine alone.
    """
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"port is a number, not {type(port).__name__}: {port!r}")
    if not 0 <= port <= 65535:
        raise ValueError(f"port is a number from 0 to 65535, not {port}")
    addresses = _checked_host(host, allow_remote)
    for attempt in range(_ATTEMPTS):
        sockets: list[socket.socket] = []
        try:
            for address in addresses:
                same = sockets[0].getsockname()[1] if sockets else 0
                sockets.append(listening(_bound(address, port or same)))
            return sockets
        except OSError as error:
            for listener in sockets:
                listener.close()
            # A port that is free on one family may be taken on the other: try the next one.
            if port == 0 and sockets and attempt < _ATTEMPTS - 1 and error.errno in (errno.EADDRINUSE, errno.EACCES):
                continue
            raise OSError(error.errno, f"can't listen on port {port} of {address}: {error.strerror}") from None
    raise AssertionError("unreachable")


def refusing(listeners: list[socket.socket]) -> list[socket.socket]:
    """Close these listening sockets, and return others that are bound to the same addresses and don't listen.

    Who connects to such an address is refused, and nobody else can take the port. They listen again as soon as
    ``listen()`` is called. Raises `OSError` if somebody has taken the port in the same instant.
    """
    addresses = [listener.getsockname()[:2] for listener in listeners]
    for listener in listeners:
        listener.close()
    return [_bound(host, port) for host, port in addresses]


def listening(bound: S) -> S:
    """Let a socket that is bound listen, and return it; close it if it can't."""
    try:
        bound.listen(BACKLOG)
    except BaseException:
        bound.close()
        raise
    return bound


def _bound(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # The protocol is named, and what is accepted inherits it: only then asyncio sets TCP_NODELAY. Else a second small
    # write waits until the client's kernel has acknowledged the first, 40 ms in the middle of a conversation (RFC 896).
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setblocking(False)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # The same port again while connections of a server before are in TIME_WAIT: both servers need the option for
        # that, so it is set where the system chooses the port, too, but then after the choice, lest it choose one that
        # somebody else has just bound. On Windows the option would let two servers share a port.
        if port and sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        if not port and sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    except BaseException:
        listener.close()
        raise
    return listener

