"""Guesses whether a thread that blocks waits for a client of a server, where the system doesn't say.

What a client does shows in Python's objects, as far as it is written in Python. The guess is no if

- the line that blocks calls `sleep`, which ends by itself,
- each of the server's clients is one that the blocked loop itself serves: then something else blocks it.

It is yes if this process has a client's socket that no loop watches. Otherwise the client is not written in Python, or
it is elsewhere; and a child process that is waited for may be the client, or not. Then nobody knows.
"""

from __future__ import annotations

import dis
import gc
import socket
from collections.abc import Iterable
from types import FrameType
from typing import Any, Optional

from tcpclient_testing.aio.sockets.loop_inside import watched
from tcpclient_testing.harness.client_errors import belongs_to

__all__ = ["may_wait_for_client"]

__unittest = True

_WAITS_FOR_CHILDREN = frozenset({"subprocess", "multiprocessing"})


def may_wait_for_client(frame: Optional[FrameType], loop: Any, addresses: Iterable[Any],
                        clients: int) -> Optional[bool]:
    """Guess whether the thread with this innermost frame, which blocks `loop`, waits for a client of the server.

    `addresses` are those at which the server listens; `clients` is how many are connected. Return None if nothing
    speaks for or against it.
    """
    if frame is None or _sleeps(frame):
        return False
    if str(frame.f_globals.get("__name__")).partition(".")[0] in _WAITS_FOR_CHILDREN:
        return None
    ours = {each.descriptor for each in watched(loop) or ()}
    found = [sock.fileno() for sock in _sockets() if _is_clients(sock, addresses)]
    if any(descriptor not in ours for descriptor in found):
        return True
    return False if len(found) >= clients else None


def _sleeps(frame: FrameType) -> bool:
    """Whether the line that `frame` is at names a function `sleep`."""
    line = None
    for instruction in dis.get_instructions(frame.f_code):
        line = _begins(instruction) or line
        if line == frame.f_lineno and instruction.argval == "sleep":
            return True
    return False


def _begins(instruction: dis.Instruction) -> Optional[int]:
    """Return the line that begins with this instruction; None if none does."""
    number = getattr(instruction, "line_number", None)  # from Python 3.13 on, where `starts_line` is a bool
    return number if number is not None else instruction.starts_line or None


def _sockets() -> list[socket.socket]:
    return [each for each in gc.get_objects() if isinstance(each, socket.socket) and each.fileno() >= 0]


def _is_clients(sock: socket.socket, addresses: Iterable[Any]) -> bool:
    try:
        peer = sock.getpeername()
    except OSError:
        return False
    return any(belongs_to(peer, address) for address in addresses)
