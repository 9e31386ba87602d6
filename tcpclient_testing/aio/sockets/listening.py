"""Opens a server's listening sockets on the local machine: one port, on every loopback address.

Only literal addresses are used, so that no name is looked up and no thread is needed.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from typing import Any, Optional, TypeVar

from tcpclient_testing.aio.native.originals import Socket

__all__ = ["BACKLOG", "EXHAUSTED", "LINGER_RESET", "check_port", "close_all", "listen", "listening",
           "loopback_addresses", "refusing", "taken"]

__unittest = True

S = TypeVar("S", bound=socket.socket)

#: How many connections may wait to be accepted. If this is small, clients of a burst wait seconds until they repeat
#: their SYN.
BACKLOG = 1024

#: Errors of system calls if the process or the system has run out of a resource, such as descriptors.
EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_ATTEMPTS = 100

_ipv6: Optional[bool] = None

#: The value of SO_LINGER with which closing a socket sends a RST (socket(7)): on, 0 seconds. On Windows the numbers are
#: shorter.
LINGER_RESET = struct.pack("HH" if sys.platform == "win32" else "ii", 1, 0)


def loopback_addresses() -> tuple[str, ...]:
    """The loopback addresses of this machine, as literals: 127.0.0.1, and ::1 if there is IPv6."""
    return ("127.0.0.1", "::1") if _has_ipv6() else ("127.0.0.1",)


def _has_ipv6() -> bool:
    global _ipv6
    if _ipv6 is None:
        _ipv6 = socket.has_ipv6 and _binds_ipv6()
    return _ipv6


def _binds_ipv6() -> bool:
    try:
        with Socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise  # this says nothing of IPv6
        return False


def _checked_host(host: Optional[str], allow_remote: bool) -> tuple[str, ...]:
    if host is None or host == "localhost":
        return loopback_addresses()
    if not isinstance(host, str):
        raise TypeError(f"host is an address such as '127.0.0.1', or None, not {type(host).__name__}: {host!r}")
    import ipaddress  # takes a millisecond, and few tests name a host

    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"host is a literal address such as '127.0.0.1' or '::1', not {host!r}") from None
    if not (address.is_loopback or allow_remote):
        raise ValueError(f"host {host!r} can be reached from other machines; allow_remote=True permits that")
    return (host,)


def listen(host: Optional[str], port: int, *, allow_remote: bool = False,
           into: Optional[list[socket.socket]] = None) -> list[socket.socket]:
    """Bind and listen on the same port of each address. Return the sockets, which are non-blocking.

    `host` is a literal address; None means every loopback address. `port` 0 means any free port. `into` is the empty
    list to which the sockets are appended, so that its owner can close them whenever this is interrupted. Raises

    - `OSError` if the port is taken: ``ss -ltnp`` shows which process has it; with port 0 the system chooses another,
    - `ValueError` if `host` is not a literal address, if other machines can reach it (unless `allow_remote` permits
      that), or if `port` is out of range,
    - `TypeError` for an argument of another type.
    """
    check_port(port)
    sockets = [] if into is None else into
    address = host or "a loopback address"
    for attempt in range(_ATTEMPTS):
        try:
            for address in _checked_host(host, allow_remote):
                same = sockets[0].getsockname()[1] if sockets else 0
                listening(_bound(address, port or same, sockets))
            return sockets
        except OSError as error:
            second = len(sockets) > 1
            close_all(sockets)
            # A port that is free for one address family may be taken for the other: try another one.
            if port == 0 and second and attempt < _ATTEMPTS - 1 and error.errno in (errno.EADDRINUSE, errno.EACCES):
                continue
            raise taken(error, address, port) from None
        except BaseException:
            close_all(sockets)
            raise
    raise AssertionError("unreachable")


def check_port(port: Any) -> None:
    """Raise `TypeError` or `ValueError` if this can't be a port."""
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"port is a number, not {type(port).__name__}: {port!r}")
    if not 0 <= port <= 65535:
        raise ValueError(f"port is a number from 0 to 65535, not {port}")


def taken(error: OSError, address: str, port: int) -> OSError:
    """Make the exception that says at which port the system did not let us listen."""
    return OSError(error.errno, f"can't listen on port {port} of {address}: {error.strerror}")


def close_all(sockets: list[socket.socket]) -> None:
    """Close these sockets, and empty the list. If it is interrupted, call it again."""
    while sockets:
        sockets[-1].close()
        sockets.pop()


def refusing(listeners: list[socket.socket]) -> list[socket.socket]:
    """Close these listening sockets; in the same list, return new ones, bound to the same addresses, not listening.

    Clients that connect to such an address are refused, and nothing else can take the port. Call ``listen()`` on the
    sockets to accept connections again. Raises `OSError` if the port was taken between closing and binding.
    """
    addresses = [listener.getsockname()[:2] for listener in listeners]
    close_all(listeners)
    try:
        for host, port in addresses:
            _bound(host, port, listeners)
    except BaseException:
        close_all(listeners)
        raise
    return listeners


def listening(bound: S) -> S:
    """Call ``listen()`` on a bound socket, and return the socket. If that raises, close the socket."""
    try:
        bound.listen(BACKLOG)
    except BaseException:
        bound.close()
        raise
    return bound


def _bound(address: str, port: int, into: list[socket.socket]) -> socket.socket:
    """Make a socket that is bound to this address, and append it to a list: its owner closes it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # Name the protocol, which accepted sockets inherit: asyncio sets TCP_NODELAY only if it is there. Without that, a
    # second small write waits until the client's kernel has acknowledged the first: 40 ms in the middle of a
    # conversation (RFC 896).
    into.append(Socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP))
    listener = into[-1]
    listener.setblocking(False)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    # SO_REUSEADDR permits a port that has connections of an earlier server in TIME_WAIT. Both servers need it, so
    # set it even if the system chooses the port. Then set it after the choice: otherwise the system could choose
    # a port that another process has just bound. On Windows the option would let two servers share a port; there
    # SO_EXCLUSIVEADDRUSE forbids others to set it, and TIME_WAIT is in nobody's way.
    if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        listener.bind((address, port))
        return listener
    if port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    if not port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return listener
