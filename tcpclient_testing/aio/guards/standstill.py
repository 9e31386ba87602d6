"""Sees who waits for the server on a connection whose script is complete: its client for the end, or the test for data.

- A client that has half-closed waits for the end of the server's stream if its socket is still half-closed. That is
  asked of the kernel. If the client uses asyncio's streams, something must wait for its reader as well.
- The test waits for data if a read is all that its body waits for: directly, or through tasks, `gather()`,
  `wait_for()` and the like.
- A test that blocks waits for data if its own thread, the one that made the server, waits in the kernel for this
  connection's socket. Linux tells in which system call a thread is (proc_pid_syscall(5)), and so with which descriptor.

Nothing is seen as long as

- another server of this process has a step that is not satisfied: that step may bring about more;
- the test's body sleeps, or its thread runs or sleeps: then it goes on by itself (this concerns half-closed clients).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import stat
import struct
import sys
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.aio.context import running_servers
from tcpclient_testing.aio.native import originals
from tcpclient_testing.aio.sockets.borrowing import copied
from tcpclient_testing.aio.sockets.inet_diag import on_this_machine
from tcpclient_testing.engine.session.standstill import DATA, END, UNSEEN

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import Link

__all__ = ["awaits", "blocks_in", "standstill"]

__unittest = True

_posix: Any = os  # what is used of these two is not there on Windows, as type checkers know
_select: Any = select
_NONE: frozenset[int] = frozenset()
_GENERIC = (frozenset({63, 65, 207, 212}), frozenset({73}), frozenset({101, 115}), frozenset({72}))
# System calls by the processor: those that read from the descriptor in their first argument; poll a list of descriptors
# in memory; sleep; select, which also sleeps if there are no descriptors (time.sleep() up to Python 3.10).
_READS, _POLLS, _SLEEPS, _SELECTS = {
    "x86_64": (frozenset({0, 19, 45, 47}), frozenset({7, 271}), frozenset({35, 230}), frozenset({23, 270})),
    "aarch64": _GENERIC,
    "riscv64": _GENERIC,
}.get(_posix.uname().machine if sys.platform == "linux" else "", (_NONE, _NONE, _NONE, _NONE))
_POLLFD = struct.Struct("=ihh")
_POLLRDHUP = 0x2000  # <asm-generic/poll.h>; PyPy's module select doesn't have it
_RDHUP = getattr(select, "POLLRDHUP", _POLLRDHUP if sys.platform == "linux" else 0)


def standstill(link: Link, bodies: Sequence[asyncio.Task[Any]],
               thread: Optional[int]) -> Optional[tuple[str, object]]:
    """Return what is waited for on this connection, and which wait it is; None if nothing is seen.

    `bodies` are the tasks of the test, `thread` is the system's number of its thread; None if it is not known.
    """
    if link.lost or link.transport is None or _others_are_busy(link):
        return None
    if link.conversation.inbox.ended:
        if any(map(_sleeps, bodies)) or _thread_goes_on(thread):
            return None
        half_closed = _half_closed(link)
        return (UNSEEN if half_closed is None else END, None) if half_closed is not False else None
    wait = _read_by_task(link, bodies) or (None if thread is None else blocks_in(thread, link))
    return None if wait is None else (DATA, wait)


def _others_are_busy(link: Link) -> bool:
    """Whether another server of this process has a step that is not satisfied."""
    return any(context is not link.context and not (context.closed or context.environment.over
                                                    or context.session.complete) for context in running_servers())


# Half-closed clients.

def _half_closed(link: Link) -> Optional[bool]:
    """Whether the client's socket is still there, half-closed, and somebody may wait for the end of our stream.

    Return None if nobody knows.
    """
    assert link.transport is not None
    local, peer = link.transport.get_extra_info("sockname"), link.peername
    if not isinstance(peer, tuple):
        return _half_closed_on_unix(link.transport.get_extra_info("socket"))
    probe, stream = link.context.probe() if on_this_machine(local, peer) else None, link.context.stream_of(peer)
    try:
        if probe is None:  # asyncio's streams can be asked themselves
            return None if stream is None else stream.reading and not stream.connection_lost
        state = probe.look(local, peer)
    except OSError:
        return False
    if state is None or state.closed or state.state != "FIN_WAIT2" or state.unread:
        return False
    return stream is None or stream.reading


def _half_closed_on_unix(raw: Any) -> bool:
    """The same for a Unix-domain socket: a client that has closed it is seen as a hang-up (unix(7))."""
    if raw is None or not _RDHUP:
        return False
    poll = originals.poll()
    poll.register(raw.fileno(), _RDHUP)
    return all(event == _RDHUP for _, event in poll.poll(0))


def _sleeps(body: asyncio.Task[Any]) -> bool:
    """Whether the body of the test is in `asyncio.sleep()`, so that it goes on by itself."""
    coroutine: Any = body.get_coro()
    while coroutine is not None:
        if getattr(coroutine, "cr_code", None) is asyncio.sleep.__code__:
            return True
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return False


def _thread_goes_on(thread: Optional[int]) -> bool:
    """Whether the test's thread runs, or sleeps for a certain time."""
    words = _system_call(thread)
    if words is None:
        return False
    number = _number(words)
    return words[0] == "running" or number in _SLEEPS or (number in _SELECTS and int(words[1], 16) == 0)


# The test's task.

def _read_by_task(link: Link, bodies: Sequence[asyncio.Task[Any]]) -> Optional[object]:
    """Return which read of the client's stream a body waits for; None if none does."""
    stream = link.context.stream_of(link.peername) if bodies else None
    waiter = None if stream is None else stream.read_waiter
    return _Same(waiter) if waiter is not None and any(awaits(body, waiter) for body in bodies) else None


class _Same:
    """Equal if it refers to the same object, which it does not keep alive."""

    __slots__ = ("_reference",)

    def __init__(self, thing: Any) -> None:
        self._reference = weakref.ref(thing)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._reference() is not None and self._reference() is other._reference()

    __hash__ = None  # type: ignore[assignment]


def awaits(task: asyncio.Task[Any], future: asyncio.Future[Any]) -> bool:
    """Return whether `task` waits for `future`, and can't go on before it is done; directly, or through others."""
    tasks: dict[int, list[asyncio.Task[Any]]] = {}
    for other in asyncio.all_tasks(task.get_loop()):
        tasks.setdefault(id(getattr(other, "_fut_waiter", None)), []).append(other)
    found: list[asyncio.Future[Any]] = [future]
    for each in found:
        if each is task:
            return True
        for dependent in (*tasks.get(id(each), ()), *_dependents(each)):
            if not any(dependent is known for known in found):
                found.append(dependent)
    return False


def _dependents(future: asyncio.Future[Any]) -> Iterator[asyncio.Future[Any]]:
    """Find the futures that this one's callbacks have to do with: those of `gather()`, `wait()`, `wait_for()` ..."""
    for callback in getattr(future, "_callbacks", None) or ():
        function: Any = callback[0]
        while hasattr(function, "func"):  # a functools.partial
            yield from _futures(function.args)
            function = function.func
        owner = getattr(function, "__self__", None)
        names = getattr(getattr(function, "__code__", None), "co_freevars", ())
        values = [_content(cell) for cell in getattr(function, "__closure__", None) or ()]
        if asyncio.FIRST_COMPLETED in [value for name, value in zip(names, values) if name == "return_when"]:
            continue  # wait() may end without this one
        yield from _futures([owner, *values])


def _futures(values: Iterable[Any]) -> Iterator[asyncio.Future[Any]]:
    for value in values:
        # A task group has a future for its end.
        found = value if asyncio.isfuture(value) else getattr(value, "_on_completed_fut", None)
        if asyncio.isfuture(found):
            yield found


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return None


# The test's thread.

def blocks_in(thread: int, link: Link) -> Optional[object]:
    """Return in which call this thread waits for data on the client's end of a connection; None if it doesn't.

    What is returned changes whenever the thread has run: a client that polls again and again waits anew each time.
    """
    words = _system_call(thread)
    if words is None or link.transport is None:
        return None
    number = _number(words)
    descriptor = None
    if number in _READS:
        descriptor = int(words[1], 16)
    elif number in _POLLS and int(words[2], 16) == 1:
        descriptor = _polled(int(words[1], 16))
    if descriptor is None or not _is_clients_end(descriptor, link):
        return None
    runs = _read_of(thread, "schedstat")
    return None if runs is None else (*words, runs)


def _system_call(thread: Optional[int]) -> Optional[list[str]]:
    """Return the system call that a thread is in: its number, its arguments; or "running". None if it isn't known."""
    text = _read_of(thread, "syscall") if thread is not None and _READS else None
    return text.split() if text else None


def _read_of(thread: int, name: str) -> Optional[str]:
    try:
        with open(f"/proc/self/task/{thread}/{name}") as file:
            return file.read()
    except OSError:
        return None


def _number(words: list[str]) -> int:
    return int(words[0]) if words[0].lstrip("-").isdigit() and len(words) > 3 else -1


def _polled(address: int) -> Optional[int]:
    """Return the descriptor that is polled for input, from the pollfd structure in memory; None if it is for output."""
    try:
        memory = os.open("/proc/self/mem", os.O_RDONLY)
    except OSError:
        return None
    try:
        descriptor, events, _ = _POLLFD.unpack(_posix.pread(memory, _POLLFD.size, address))
    except (OSError, struct.error, OverflowError):  # the thread has moved on
        return None
    finally:
        os.close(memory)
    return descriptor if events & _select.POLLIN else None


def _is_clients_end(descriptor: int, link: Link) -> bool:
    """Whether a descriptor is the client's socket of this connection."""
    assert link.transport is not None
    ours = link.transport.get_extra_info("sockname")
    sock = _copy(descriptor)
    if sock is None:
        return False
    with sock, contextlib.suppress(OSError):  # it is not connected
        if isinstance(link.peername, tuple):
            return bool(sock.getsockname() == link.peername and sock.getpeername() == ours)
        # The client of a Unix-domain socket has no address: this is exact if it is the server's only connection.
        return bool(ours) and sock.getpeername() == ours and link.context.session.environment.accepted == 1
    return False


def _copy(descriptor: int) -> Optional[socket.socket]:
    """Return another socket object for a descriptor, to be closed; None if it is not that of a socket."""
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None  # to close a copy of a file's descriptor would release the file's locks (fcntl(2))
        return copied(descriptor)
    except OSError:
        return None
