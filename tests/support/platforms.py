"""What the system tells, and what it has: tests that need it ask here, and not which system it is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import unittest

from tcpclient_testing.aio.process.system_calls import call_of, known
from tcpclient_testing.aio.sockets import inet_diag
from tcpclient_testing.aio.sockets.polling import TICK

__all__ = [
    "HAS_PROC", "HAS_UNIX", "SEES_CLIENTS", "SEES_THREADS", "has", "needs_asyncio_processes", "needs_clients",
    "needs_fine_clock", "needs_proc", "needs_readers", "needs_threads", "needs_unix",
]


def _sees_threads() -> bool:
    with contextlib.suppress(OSError, ValueError):
        if known():
            call_of("self", str(threading.get_native_id()))
            return True
    return False


def _has_readers() -> bool:
    try:
        _LOOP.remove_reader(0)
    except NotImplementedError:
        return False
    return True


_LOOP = asyncio.new_event_loop()
_LOOP.close()

#: Whether there are Unix-domain sockets.
HAS_UNIX = hasattr(socket, "AF_UNIX")
#: Whether files in /proc tell of this process.
HAS_PROC = os.path.exists("/proc/self/stat") and os.path.exists("/proc/self/fd")
#: Whether the kernel tells what has become of a client's socket (sock_diag(7)).
SEES_CLIENTS = inet_diag.available()
#: Whether the kernel tells in which system call a thread waits (proc(5)).
SEES_THREADS = HAS_PROC and _sees_threads()

_KNOWN = {
    "": True, "unix": HAS_UNIX, "proc": HAS_PROC, "threads": SEES_THREADS, "clients": SEES_CLIENTS,
    "unix_clients": HAS_UNIX and SEES_CLIENTS,
}


def has(need: str) -> bool:
    """Whether this is there: "unix", "proc", "clients", "unix_clients" or "threads"; nothing always is."""
    return _KNOWN[need]


needs_asyncio_processes = unittest.skipIf(
    isinstance(_LOOP, asyncio.BaseEventLoop)
    and type(_LOOP)._make_subprocess_transport is asyncio.BaseEventLoop._make_subprocess_transport,  # type: ignore[attr-defined]
    "the loop starts no processes")
needs_fine_clock = unittest.skipIf(TICK > 0.001, "the clock is too coarse")
needs_unix = unittest.skipUnless(HAS_UNIX, "there are no Unix-domain sockets")
needs_proc = unittest.skipUnless(HAS_PROC, "there is no /proc")
needs_clients = unittest.skipUnless(SEES_CLIENTS, "the kernel does not tell what has become of a client's socket")
needs_threads = unittest.skipUnless(SEES_THREADS, "the kernel does not tell in which call a thread waits")
needs_readers = unittest.skipUnless(_has_readers(), "the loop has no add_reader()")
