"""Makes another socket object for a descriptor that belongs to somebody else, and changes nothing by doing so.

``socket.socket(fileno=...)`` may change whether calls on a descriptor block. Copies of a descriptor share that mode
(fcntl(2)), so its owner's calls would behave otherwise from then on:

- PyPy makes the descriptor blocking.
- CPython makes it non-blocking if ``socket.setdefaulttimeout()`` was called.

Neither happens if the constructor is told that the socket is non-blocking, whether it is or not. Where it can't be told
(macOS, Windows), the mode is restored at once. On Windows nobody can ask for the mode of a socket: `os.get_blocking`
knows pipes only. There only CPython with a default time-out changes it, and the sockets of an event loop don't block.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any, Optional

from tcpclient_testing.aio.native.originals import Socket

__all__ = ["copied", "lent"]

__unittest = True

_NON_BLOCKING = getattr(socket, "SOCK_NONBLOCK", 0)
_posix: Any = os  # what is used of it is not there on Windows before Python 3.12


def lent(descriptor: int) -> socket.socket:
    """Return a socket object for a descriptor. Call its ``detach()`` in the end: the owner closes the descriptor.

    The object may take the socket for a non-blocking one: give MSG_DONTWAIT to calls that could wait. Raises OSError if
    the descriptor is closed, or not that of a socket.
    """
    if _NON_BLOCKING:
        return Socket(type=socket.SOCK_STREAM | _NON_BLOCKING, fileno=descriptor)
    blocks: Optional[bool] = None
    with contextlib.suppress(AttributeError, OSError):
        blocks = _posix.get_blocking(descriptor)
    sock = Socket(fileno=descriptor)
    if blocks is not None:
        _posix.set_blocking(descriptor, blocks)
    return sock


def copied(descriptor: int) -> socket.socket:
    """Return a socket object, as `lent` does, for a copy of a descriptor. Close it.

    Don't copy the descriptor of a file: closing the copy would release the file's locks (fcntl(2)).
    """
    copy = socket.dup(descriptor)
    try:
        return lent(copy)
    except BaseException:
        socket.close(copy)
        raise
