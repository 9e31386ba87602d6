"""The line of a call that blocks an event loop, for the report; and operations on sockets that make the call return.

Everything here is called from another thread than the loop's, while the loop's thread blocks.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import traceback
from collections.abc import Iterable
from typing import Any, Optional

from tcpclient_testing.aio.native import originals
from tcpclient_testing.aio.sockets.borrowing import copied
from tcpclient_testing.aio.sockets.listening import LINGER_RESET

__all__ = ["SELECTABLE", "BlockedCall", "close_listeners", "free_sockets", "readable", "writable"]

__unittest = True

#: How many sockets `select` takes where there is nothing else, as on Windows; None where there is.
SELECTABLE = 512 if originals.poll is None else None

_BACKLOG = 1024  # connections reset in one attempt; any further ones wait for the next attempt
_STDLIB = os.path.dirname(os.__file__) + os.sep
# These stand in for parts of the standard library.
_STAND_INS = tuple(f"{os.sep}site-packages{os.sep}{name}{os.sep}" for name in ("gevent", "eventlet"))
_PACKAGE = os.path.abspath(os.path.join(os.path.dirname(__file__), os.pardir, os.pardir)) + os.sep


class BlockedCall:
    """A call that blocks an event loop.

    - `stack`: the blocked thread's frames, outermost first, as `traceback.FrameSummary` objects (`filename`, `lineno`,
      `name`, `line`).
    - `place`: the blocked line. It is the innermost frame that is neither in the standard library nor in this package.
    - `called_from`: if `place` is in an installed package, the innermost frame outside of installed packages; else
      None.
    - `seconds`: how long the loop hasn't turned, in real time.
    - `attempt`: 1 at first. It counts up while the loop stays blocked although its sockets were freed.
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

    def last(self, seconds: float) -> None:
        """The loop hasn't turned for so long by now."""
        self.seconds = seconds

    def __repr__(self) -> str:
        place = self.place
        return f"<BlockedCall {place.filename}:{place.lineno} in {place.name}, {self.seconds:.1f} s>"


def _is_installed(filename: str) -> bool:
    return f"{os.sep}site-packages{os.sep}" in filename or f"{os.sep}dist-packages{os.sep}" in filename


def _is_users(filename: str) -> bool:
    if filename.startswith((_PACKAGE, "<frozen ")) or any(folder in filename for folder in _STAND_INS):
        return False
    return not filename.startswith(_STDLIB) or _is_installed(filename)


def _descriptor(sock: Any) -> int:
    return sock if isinstance(sock, int) else int(sock.fileno())


def readable(sockets: Iterable[Any]) -> bool:
    """Return whether any of these sockets or descriptors has data, an end of stream, an error or a waiting connection.

    Closed ones don't count. Don't pass sockets that the server won't read from: a socket stays readable for ever once
    its stream has ended.
    """
    return _any_ready(sockets, to_write=False)


def writable(sockets: Iterable[Any]) -> bool:
    """Return whether any of these sockets or descriptors accepts data or has an error. Closed ones don't count."""
    return _any_ready(sockets, to_write=True)


def _any_ready(sockets: Iterable[Any], *, to_write: bool) -> bool:
    descriptors = [descriptor for descriptor in map(_descriptor, sockets) if descriptor >= 0]
    if SELECTABLE is not None:
        return any(_selects(descriptors[start : start + SELECTABLE], to_write)
                   for start in range(0, len(descriptors), SELECTABLE))
    poll: Any = originals.poll()
    system: Any = select  # Windows' has no names for poll()
    for descriptor in descriptors:
        poll.register(descriptor, system.POLLOUT if to_write else system.POLLIN)
    return any(event & ~system.POLLNVAL for _, event in poll.poll(0))


def _selects(descriptors: list[int], to_write: bool) -> bool:
    try:
        return any(select.select(() if to_write else descriptors, descriptors if to_write else (), (), 0))
    except OSError:  # one of them was closed elsewhere
        return len(descriptors) > 1 and any(_selects([each], to_write) for each in descriptors)


def free_sockets(connections: Iterable[Any], listeners: Iterable[Any], *, reset: bool = False) -> list[bytes]:
    """Break connections from another thread, so that a client that blocks on one of them returns.

    Return, for each connection, what it has received and the loop has not read (at most 64 KiB). Closed sockets are
    skipped.

    - `connections` are sockets or descriptors that the loop has accepted.
    - `listeners` must be non-blocking. The connections that wait there to be accepted are reset: their clients get
      ConnectionResetError.

    Without `reset`, an accepted connection is half-closed: a blocked ``recv()`` returns ``b""``, and the client can
    still read what it has received. This doesn't free two kinds of client:

    - one that blocks in ``send()`` because nobody reads;
    - one that takes ``b""`` for an empty answer and reads again. A later reset doesn't help it either: its kernel
      keeps returning ``b""``.

    With `reset` the connection is reset at once, which frees them all. Its descriptor then belongs to a socket without
    a peer, and the loop gets no more events for it: abort its transport when the loop turns again. (On Windows
    descriptors can't be replaced: there the connection is shut down in both directions.)
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
            for _ in range(_BACKLOG):  # bounded: a client may reconnect at once, again and again
                if not readable((sock,)):
                    break
                client, _ = originals.accept(sock)
                with client:
                    _reset_on_close(client)
    return unread


def close_listeners(listeners: Iterable[Any]) -> None:
    """Listen no more, from another thread: clients are refused. The descriptors stay open until their owner closes."""
    for listener in listeners:
        with contextlib.suppress(OSError):
            _replace(_descriptor(listener))


def _duplicate(sock: Any) -> socket.socket:
    return copied(_descriptor(sock))


def _reset_on_close(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)


def _replace(descriptor: int) -> None:
    """Close the socket behind a descriptor, but keep the number in use until its owner closes it."""
    if sys.platform == "win32":
        with _duplicate(descriptor) as sock:
            sock.shutdown(socket.SHUT_RDWR)
            return
    os.fstat(descriptor)  # raises OSError if it is closed: dup2() would open it
    replacement, other = originals.socketpair()
    with replacement, other:
        replacement.setblocking(False)
        os.dup2(replacement.fileno(), descriptor, inheritable=False)
