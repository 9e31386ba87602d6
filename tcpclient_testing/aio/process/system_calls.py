"""Which system call a thread sleeps in, and what it waits for there: /proc/pid/task/tid/syscall (proc(5)). Linux only.

Nothing here waits, except for a thread that is just between two calls (5 ms at most).
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple, Optional

from tcpclient_testing.aio.native import originals

__all__ = ["Call", "DESCRIPTORS", "NAP", "OTHER", "PROCESS", "RUNNING", "call_of", "known", "state_of"]

__unittest = True

#: The kinds of calls: those that wait for descriptors, for the end of a process, for the time to pass, for something
#: else (a lock, mostly), and none at all.
DESCRIPTORS, PROCESS, NAP, OTHER, RUNNING = "descriptors", "process", "nap", "other", "running"

# The numbers of the system calls, from the kernel's tables. Where one name has two forms, both are listed.
_TABLES = {
    "x86_64": {
        "first": {0, 1, 19, 20, 40, 42, 43, 44, 45, 46, 47, 288, 299, 307},
        "poll": {7, 271}, "select": {23, 270}, "epoll": {232, 281, 441}, "process": {61, 247}, "nap": {35, 230},
        "restart": {219}, "futex": {202},
    },
    "aarch64": {
        "first": {63, 64, 65, 66, 71, 202, 203, 206, 207, 211, 212, 242, 243, 269},
        "poll": {73}, "select": {72}, "epoll": {22, 441}, "process": {260, 95}, "nap": {101, 115},
        "restart": {128}, "futex": {98},
    },
}
_posix: Any = os  # what is used of it is not there on Windows, as type checkers know
_TABLE = _TABLES.get(_posix.uname().machine) if sys.platform == "linux" else None
_WAITID = {247, 95}
_P_PID = 1
_FUTEX_PRIVATE, _FUTEX_COMMAND, _FUTEX_WAITS = 0x80, 0x7F, (0, 9)  # linux/futex.h
_POLLFD = struct.Struct("ihh")
_MOST = 4096  # descriptors in one call
_TRIES = 5
_BETWEEN = 0.001  # seconds; a thread between two calls is in one again by then


class Call(NamedTuple):
    """What a thread waits for: the kind, and the descriptors, or the number of the process (None: any)."""

    kind: str
    descriptors: frozenset[int] = frozenset()
    process: Optional[int] = None


def known() -> bool:
    """Whether the system calls of this system are known, and the kernel shows them: /proc may be hidden."""
    return _TABLE is not None and os.path.exists("/proc/self/task")


def state_of(pid: str, tid: str) -> tuple[bytes, bytes]:
    """Return which system call a thread is in, and how often it has slept so far (voluntary context switches)."""
    with open(f"/proc/{pid}/task/{tid}/status", "rb") as file:
        switches = file.read().rpartition(b"\nvoluntary_ctxt_switches:")[2]
    return _syscall(pid, tid), switches


def call_of(pid: str, tid: str) -> Call:
    """Return what a thread waits for. `pid` may be "self". A thread that has ended is said to run.

    Raises `OSError` if the system doesn't say.
    """
    for attempt in range(_TRIES):
        if attempt:
            originals.sleep(_BETWEEN)
        try:
            words = _syscall(pid, tid).split()
            if len(words) >= 7:  # not "running", nor in the middle of a page fault
                return _parsed(pid, int(words[0]), [int(word, 16) for word in words[1:7]])
        except (FileNotFoundError, ProcessLookupError):
            break
    return Call(RUNNING)


def _syscall(pid: str, tid: str) -> bytes:
    with open(f"/proc/{pid}/task/{tid}/syscall", "rb") as file:
        return file.read()


def _parsed(pid: str, number: int, arguments: list[int]) -> Call:
    table = _TABLE
    if table is None:
        raise OSError("the system calls of this machine are not known")
    first, second = arguments[0], arguments[1]
    if number in table["restart"]:
        number = _interrupted(table, first, second)
    if number in table["first"]:
        return Call(DESCRIPTORS, frozenset((first & 0x7FFFFFFF,)))
    if number in table["epoll"]:
        return Call(DESCRIPTORS, watched_by(pid, first & 0x7FFFFFFF))
    if number in table["poll"]:
        memory = _read(pid, first, min(second, _MOST) * _POLLFD.size) if second else b""
        return Call(DESCRIPTORS, frozenset(entry[0] for entry in _POLLFD.iter_unpack(memory))) if memory else Call(NAP)
    if number in table["select"]:
        # time.sleep() of Python 3.9 and 3.10 is a select() without descriptors.
        size = (min(first, _MOST) + 63) // 64 * 8
        sets = [_read(pid, address, size) for address in arguments[1:4] if address and size]
        return Call(DESCRIPTORS, frozenset(bit for each in sets for bit in _bits(each))) if sets else Call(NAP)
    if number in table["process"]:
        child = _child(number, first, second)
        return Call(PROCESS, process=child)
    return Call(NAP if number in table["nap"] else OTHER)


def _interrupted(table: dict[str, set[int]], first: int, second: int) -> int:
    """Return which call goes on after a signal, as restart_syscall(2): the arguments are still those of the call.

    There are poll(address, small number), futex(address, operation), nanosleep(address, address), and
    clock_nanosleep(small number, ...).
    """
    if first < _MOST:
        return min(table["nap"])
    if second & _FUTEX_PRIVATE and second & _FUTEX_COMMAND in _FUTEX_WAITS:
        return min(table["futex"])
    return min(table["poll"] if 0 < second <= _MOST else table["nap"])


def _child(number: int, first: int, second: int) -> Optional[int]:
    """Return the process that wait4(2) or waitid(2) waits for; None for any."""
    if number in _WAITID:
        return second if first == _P_PID else None
    signed = first & 0xFFFFFFFF
    return signed if 0 < signed < 0x80000000 else None


def watched_by(pid: str, descriptor: int) -> frozenset[int]:
    """Return the descriptors that an epoll descriptor watches; none if it is something else, or was closed."""
    try:
        with open(f"/proc/{pid}/fdinfo/{descriptor}", "rb") as file:
            return frozenset(int(line.split()[1]) for line in file if line.startswith(b"tfd:"))
    except (FileNotFoundError, ProcessLookupError):
        return frozenset()


def _read(pid: str, address: int, size: int) -> bytes:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        data: bytes = _posix.pread(file.fileno(), size, address)
    return data


def _bits(data: bytes) -> Iterator[int]:
    number = int.from_bytes(data, "little")
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest
