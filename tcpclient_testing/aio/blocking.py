"""A call that blocks the loop its own server lives in: where it is, and how to make it return.

Everything here is called from another thread than the loop's, while that one blocks.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import sys
import traceback
from collections.abc import Iterable
from typing import Any, Optional

__all__ = ["BlockedCall", "free_sockets", "readable", "writable"]

__unittest = True

_BACKLOG = 1024  # connections that are reset in one go; more than that wait for the next attempt
_STDLIB = os.path.dirname(os.__file__) + os.sep
_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep


class BlockedCall:
    """A call that blocks an event loop.

    `stack` holds the blocked thread's frames, outermost first, as the traceback module has them (`filename`, `lineno`,
    `name`, `line`). `place` is the innermost of them that is neither the standard library's nor this package's:
    the blocked line. Where that is in an installed package, `called_from` is the innermost frame outside of any.

    `seconds` is how long the loop hasn't turned, in real time. `attempt` is 1 at first, and counts up as long as
    the loop stays blocked after its sockets were freed.
    """

    __slots__ = ("place", "called_from", "stack", "seconds", "attempt")

    def __init__(self, frame: Any, seconds: float, attempt: int) -> None:
        stack = traceback.StackSummary.extract(traceback.walk_stack(frame), lookup_lines=False)
        stack.reverse()
        users = [entry for entry in stack if _is_users(entry.filename)] or stack
        own = [entry for entry in users if not _is_installed(entry.filename)]
        self.stack: tuple[traceback.FrameSummary, ...] = tuple(stack)
        self.place: traceback.FrameSummary = users[-1]
        self.called_from: Optional[traceback.FrameSummary] = own[-1] if own and own[-1] is not users[-1] else None
        self.seconds = seconds
        self.attempt = attempt

    def __repr__(self) -> str:
        place = self.place
        return f"<BlockedCall {place.filename}:{place.lineno} in {place.name}, {self.seconds:.1f} s>"


def _is_installed(filename: str) -> bool:
    return f"{os.sep}site-packages{os.sep}" in filename or f"{os.sep}dist-packages{os.sep}" in filename


def _is_users(filename: str) -> bool:
    if filename.startswith((_PACKAGE, "<frozen ")):
        return False
    return not filename.startswith(_STDLIB) or _is_installed(filename)


def _descriptor(sock: Any) -> int:
    return sock if isinstance(sock, int) else int(sock.fileno())


def readable(sockets: Iterable[Any]) -> bool:
    """Return whether any of these sockets, or descriptors, has data, an end, an error or a connection to take.

    Closed ones don't count. Leave out what the server isn't going to read: a socket whose end it has seen already is
    readable for ever.
    """
    return _any_ready(sockets, to_write=False)


def writable(sockets: Iterable[Any]) -> bool:
    """Return whether any of these sockets, or descriptors, takes data, or has an error. Closed ones don't count."""
    return _any_ready(sockets, to_write=True)


def _any_ready(sockets: Iterable[Any], *, to_write: bool) -> bool:
    descriptors = [descriptor for descriptor in map(_descriptor, sockets) if descriptor >= 0]
    if sys.platform == "win32":
        read, written = ((), descriptors) if to_write else (descriptors, ())
        return bool(descriptors) and any(select.select(read, written, (), 0))
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLOUT if to_write else select.POLLIN)
    return any(event & ~select.POLLNVAL for _, event in poll.poll(0))


def free_sockets(connections: Iterable[Any], listeners: Iterable[Any], *, reset: bool = False) -> list[bytes]:
    """Break connections from another thread, so that a client that blocks on one of them returns.

    `connections` are sockets or descriptors that the loop has accepted; returns what each has received and the loop
    has not read (64 KB of it at most). `listeners` must be non-blocking; the connections that wait to be accepted
    there are reset, so that their clients get ConnectionResetError. Closed ones of either kind are passed over.

    An accepted connection is half-closed: a blocked ``recv()`` returns ``b""``, and what was received can still be
    read. That doesn't free a client that blocks in ``send()`` because nobody reads, or that takes ``b""`` for an empty
    answer and asks again; nor does any reset after it help the latter, whose kernel goes on saying ``b""``. With
    `reset` the connection is reset at once, which frees them all. Its descriptor then belongs to a socket
    without a peer, and the loop hears nothing more of it: abort its transport when the loop turns again. (On Windows
    descriptors can't be replaced: there it is shut down in both directions.)
    """
    unread = []
    for connection in connections:
        data = b""
        with contextlib.suppress(OSError), _duplicate(connection) as sock:
            with contextlib.suppress(OSError):
                data = sock.recv(65536, socket.MSG_PEEK | getattr(socket, "MSG_DONTWAIT", 0))
            if reset:
                _reset_on_close(sock)
            else:
                sock.shutdown(socket.SHUT_WR)
        unread.append(data)
        if reset:
            with contextlib.suppress(OSError):
                _replace(_descriptor(connection))
    for listener in listeners:
        with contextlib.suppress(OSError), _duplicate(listener) as sock:
            for _ in range(_BACKLOG):  # a client that connects again at once must not keep us here
                if not readable((sock,)):
                    break
                client, _ = sock.accept()
                with client:
                    _reset_on_close(client)
    return unread


def _duplicate(sock: Any) -> socket.socket:
    return socket.socket(fileno=socket.dup(_descriptor(sock)))


def _reset_on_close(sock: socket.socket) -> None:
    # struct linger, on and 0 seconds: the last close() sends a RST.
    linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def _replace(descriptor: int) -> None:
    """Close what is behind a descriptor, and keep its number from being somebody else's before its owner closes it."""
    if sys.platform == "win32":
        with _duplicate(descriptor) as sock:
            sock.shutdown(socket.SHUT_RDWR)
            return
    os.fstat(descriptor)  # dup2() would open one that is closed
    replacement, other = socket.socketpair()
    with replacement, other:
        replacement.setblocking(False)
        os.dup2(replacement.fileno(), descriptor, inheritable=False)
