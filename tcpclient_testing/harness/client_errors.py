"""Which exceptions of tasks and threads are the client's own: what counts, and what has to do with a server.

An exception that ended a task or a thread beside the test is the client's own error, unless the script has caused it.
Not each such task is the client's: an application has others. Evidence that it was: the code that raised the exception
knew the server's address, or had a connection to it.
"""

from __future__ import annotations

import asyncio
import gc
import socket
from types import CodeType, CoroutineType, FrameType, FunctionType, GeneratorType, ModuleType
from typing import Any, Optional

from .exceptions import chain_of, is_control, parts_of

__all__ = ["belongs_to", "is_own", "knows"]

__unittest = True

_PACKAGE = __name__.partition(".")[0]

#: How many objects are looked at, from the variables of the code that raised an exception.
_MOST = 3000

# What leads away from the code that raised the exception: to the loop and all its tasks, to modules, to other code.
_NOT_ENTERED = (type, ModuleType, FunctionType, CodeType, FrameType, CoroutineType, GeneratorType,
                asyncio.AbstractEventLoop, asyncio.Task)
_PLAIN = frozenset({bytes, bytearray, memoryview, float, bool, type(None)})
_FRAMEWORKS = frozenset({"unittest", "_pytest", "pytest", "pytest_asyncio", "anyio", _PACKAGE})


def is_own(exc: Optional[BaseException], *, ended: bool) -> bool:
    """Whether `exc`, which has ended a task or a thread, is an error by which the client may have failed.

    `ended` says that the script has ended a connection, or broken or refused one. Then a broken connection and an end
    of stream are what the client has to expect.
    """
    if not isinstance(exc, Exception) or is_control(exc):
        return False
    from tcpclient_testing.report.report import ExpectationError
    parts = parts_of(exc)
    if any(isinstance(part, ExpectationError) for part in parts):
        return False
    return not (ended and all(isinstance(part, (ConnectionError, EOFError)) for part in parts))


def belongs_to(value: Any, address: Any) -> bool:
    """Whether the address of a socket, `value`, is that of the server: the same port, or the same path."""
    if isinstance(address, tuple):
        return isinstance(value, tuple) and len(value) > 1 and bool(value[1] == address[1])
    return bool(value) and bool(value == address)


def knows(exc: BaseException, address: Any) -> bool:
    """Whether the code that has raised `exc` knew the server's `address`, or had a connection to it.

    Its variables are searched, and what they refer to. The test case, the server and their like don't count: they are
    known to all of a test.
    """
    found: list[Any] = []
    for each in chain_of(exc):
        entry = each.__traceback__
        while entry is not None:
            if str(entry.tb_frame.f_globals.get("__name__")).partition(".")[0] != _PACKAGE:
                found += list(entry.tb_frame.f_locals.values())
            entry = entry.tb_next
    seen = {id(found)}
    looked = 0
    while looked < len(found) and looked < _MOST:
        value = found[looked]
        looked += 1
        if _shows(value, address):
            return True
        if _is_entered(value):
            for inner in gc.get_referents(value):
                if id(inner) not in seen:
                    seen.add(id(inner))
                    found.append(inner)
    return False


def _shows(value: Any, address: Any) -> bool:
    """Whether one object is the server's port or path, names it, or is a connection to it."""
    port = address[1] if isinstance(address, tuple) else address
    kind = type(value)
    if kind is int:
        return bool(value == port)
    if kind is str:
        return f":{port}" in value or (value == port)
    if isinstance(value, (asyncio.BaseTransport, asyncio.StreamWriter)):
        return belongs_to(value.get_extra_info("peername"), address)
    if isinstance(value, socket.socket):
        try:
            return belongs_to(value.getpeername(), address)
        except OSError:
            return False  # not connected any more
    return False


def _is_entered(value: Any) -> bool:
    kind = type(value)
    if kind in _PLAIN or kind is int or kind is str or isinstance(value, _NOT_ENTERED):
        return False
    if isinstance(value, (asyncio.BaseTransport, asyncio.StreamWriter)):
        return False
    return not any(str(each.__module__).partition(".")[0] in _FRAMEWORKS for each in kind.__mro__)
