"""Tells whether a thread that blocks waits for a client of a server: the client's socket, or somebody who waits for it.

A test that waits for a child process or for another thread may be waiting for anything. It waits for the server only if

- the system call in which the thread sleeps has a client's socket among its descriptors, or
- the thread waits for another thread, or for a child process, which is in such a call itself, or
- the thread polls: sleeps again and again for a moment, while its process has a client's socket that no loop watches.

A client's socket is one that is connected to an address of the server. The kernel has a list of them (proc_net(5),
/proc/net/tcp), with their inodes; /proc/pid/fd has the inodes of a process.

Some clients can't be seen: on another machine, in a container, in a process that is no descendant of this one. If
there is one, or where the system doesn't say (macOS, Windows, a sandbox), nobody knows.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, Optional

from tcpclient_testing.aio.native import originals
from tcpclient_testing.aio.process.system_calls import (
    DESCRIPTORS,
    NAP,
    PROCESS,
    RUNNING,
    Call,
    call_of,
    known,
    state_of,
    watched_by,
)
from tcpclient_testing.aio.sockets.borrowing import copied

__all__ = ["waits_for_client"]

__unittest = True

_A_WHILE = 0.06  # seconds in which a polling thread wakes up at least once
_ENDED = (b"03", b"06", b"07", b"0A")  # states of connections with nobody at the client's end, and listening sockets
_UNIX_CONNECTED = b"03"
_SELF = "self"


def _polls(pid: str, tid: str) -> bool:
    """Return whether a thread that sleeps does so again and again, rather than once. It takes a while to find out."""
    before = state_of(pid, tid)
    originals.sleep(_A_WHILE)
    # If it sleeps no more, it was in one sleep, which has ended.
    return state_of(pid, tid) != before and call_of(pid, tid).kind == NAP


def waits_for_client(native_id: int, ident: int, listeners: Iterable[Any]) -> Optional[bool]:
    """Return whether a thread waits for a client of the server with these listening sockets.

    It asks once; a thread that polls may be asked about at the wrong moment. Return None where nobody knows.
    """
    if not known():
        return None
    try:
        return _Search(list(listeners)).reaches(native_id, ident)
    except (OSError, ValueError):
        return None


class _Search:
    """One search for the client for which a thread waits. What takes time is asked for only when it is needed."""

    def __init__(self, listeners: list[Any]) -> None:
        self._names = [listener.getsockname() for listener in listeners if listener.fileno() >= 0]
        self._seen: set[str] = set()
        self._own: dict[int, str]  # the sockets of this process, from `_look_around` on
        self._certain: set[str]  # the clients' sockets, those that are certainly connected to ours
        self._clients: set[str]
        self._strangers = False

    def _look_around(self) -> None:
        self._own = _sockets_of(_SELF)
        self._certain, self._strangers = _tcp_clients(self._names)
        self._clients = self._certain | _unix_clients(self._names, self._own)

    def reaches(self, native_id: int, ident: int) -> Optional[bool]:
        """Whether this thread of the process waits for a client; None if it may wait for one that can't be seen."""
        tid = str(native_id)
        self._seen.add(tid)
        call = call_of(_SELF, tid)
        if call.kind == RUNNING or (call.kind == NAP and not _polls(_SELF, tid)):
            return False
        if call.kind == DESCRIPTORS and any(_is_connected_to(self._names, each) for each in call.descriptors):
            return True
        if len(self._seen) == 1:
            self._look_around()
        if self._has_client(call, self._own) or (call.kind == NAP and self._may_poll(_SELF, self._own)):
            return True
        processes = _descendants()
        sockets = {pid: _sockets_of(pid) for pid in processes}
        if self._strangers or not self._certain <= {each for has in (self._own, *sockets.values())
                                                    for each in has.values()}:
            return None
        if call.kind == PROCESS:
            wanted = processes if call.process is None else _tree(str(call.process), processes)
            return any(self._process_waits(pid, sockets[pid]) for pid in wanted)
        frame = sys._current_frames().get(ident)
        return (not _is_of(frame, "subprocess") and self._thread_waits(frame)) \
            or any(self._process_waits(pid, sockets[pid]) for pid in processes)

    def _thread_waits(self, frame: Optional[FrameType]) -> bool:
        """Whether another thread waits for a client: that which is joined in `frame`, or any."""
        joined = _joined(frame)
        if joined is not None and joined.native_id is not None and joined.ident is not None:
            return str(joined.native_id) not in self._seen and bool(self.reaches(joined.native_id, joined.ident))
        return any(self._is_at_client(_SELF, tid, self._own)
                   for tid in os.listdir("/proc/self/task") if tid not in self._seen)

    def _process_waits(self, pid: str, sockets: dict[int, str]) -> bool:
        """Whether a thread of a child process waits for a client."""
        if not self._clients.intersection(sockets.values()):
            return False
        try:
            tids = os.listdir(f"/proc/{pid}/task")
        except (FileNotFoundError, ProcessLookupError):
            return False
        return any(self._is_at_client(pid, tid, sockets) for tid in tids)

    def _is_at_client(self, pid: str, tid: str, sockets: dict[int, str]) -> bool:
        """Whether a thread is in a call on a client's socket, or polls, and may poll such a socket."""
        call = call_of(pid, tid)
        return self._has_client(call, sockets) or (
            call.kind == NAP and self._may_poll(pid, sockets) and _polls(pid, tid))

    def _has_client(self, call: Call, sockets: dict[int, str]) -> bool:
        return call.kind == DESCRIPTORS and any(sockets.get(each) in self._clients for each in call.descriptors)

    def _may_poll(self, pid: str, sockets: dict[int, str]) -> bool:
        """Whether a process has a client's socket of its own that no event loop watches."""
        inherited = () if pid == _SELF else self._own.values()
        mine = [descriptor for descriptor, inode in sockets.items() if inode in self._clients
                and inode not in inherited]
        return bool(mine) and not _watched(pid).issuperset(mine)


# The clients' sockets.

def _is_connected_to(names: list[Any], descriptor: int) -> bool:
    """Return whether a descriptor of this process is certainly a socket that is connected to one of these addresses."""
    try:
        with copied(descriptor) as sock:
            name = sock.getpeername()
    except OSError:
        return False
    return (name[:2] in [each[:2] for each in names]) if isinstance(name, tuple) else name in names


def _tcp_clients(names: list[Any]) -> tuple[set[str], bool]:
    """Return the inodes of the sockets that are connected to these, and whether there is a client without one."""
    addresses = {(b"%04X" % name[1], _last_word(name[0])) for name in names if isinstance(name, tuple)}
    inodes, connected, served = set(), set(), set()
    for table in ("tcp", "tcp6") if addresses else ():
        for local, remote, state, inode in _rows(table, {port for port, _ in addresses}):
            if _is_among(remote, addresses):
                connected.add(local[-13:])
                if inode != b"0" and state not in _ENDED:  # without an inode the client has closed it
                    inodes.add(f"socket:[{inode.decode()}]")
            elif state not in _ENDED and _is_among(local, addresses):
                served.add(remote[-13:])
    return inodes, not served <= connected


def _rows(table: str, ports: set[bytes]) -> Iterator[tuple[bytes, bytes, bytes, bytes]]:
    """Yield each TCP connection with one of these ports (hex): both addresses, the state, and the inode."""
    try:
        with open(f"/proc/self/net/{table}", "rb") as file:
            data = file.read()
    except FileNotFoundError:  # no IPv6
        return
    # There may be thousands of others.
    for line in re.findall(rb"^.*:(?:%s) .*$" % b"|".join(ports), data, re.MULTILINE):
        words = line.split()
        yield words[1], words[2], words[3], words[9]


def _last_word(host: str) -> bytes:
    """Return the last 32 bits of an address, as /proc/net/tcp has them; nothing for the address that stands for all."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host.partition("%")[0])
    return b"%08X" % int.from_bytes(packed[-4:], sys.byteorder) if any(packed) else b""


def _is_among(address: bytes, addresses: set[tuple[bytes, bytes]]) -> bool:
    host, _, port = address.partition(b":")
    return any(port == other and host.endswith(word) for other, word in addresses)


def _unix_clients(names: list[Any], own: dict[int, str]) -> set[str]:
    """Return the inodes of the Unix sockets that may be connected to these.

    Of this process (`own`), they are connected to one of the paths. Of other processes, they are connected and have no
    path: the kernel doesn't say more.
    """
    names = [name for name in names if not isinstance(name, tuple)]
    if not names:
        return set()
    with open("/proc/self/net/unix", "rb") as file:
        rows = [line.split() for line in file.read().splitlines()[1:]]
    found = {f"socket:[{row[6].decode()}]" for row in rows if row[5] == _UNIX_CONNECTED and len(row) == 7}
    found.difference_update(inode for descriptor, inode in own.items() if not _is_connected_to(names, descriptor))
    return found


# Processes and threads.

def _links(pid: str) -> Iterator[tuple[int, str]]:
    """Yield the descriptors of a process, and what is behind them."""
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                yield int(name), os.readlink(f"/proc/{pid}/fd/{name}")
            except FileNotFoundError:
                pass
    except (FileNotFoundError, ProcessLookupError):
        pass


def _sockets_of(pid: str) -> dict[int, str]:
    return {descriptor: link for descriptor, link in _links(pid) if link.startswith("socket:")}


def _watched(pid: str) -> set[int]:
    """Return the descriptors of a process that an event loop watches."""
    return {descriptor for epoll, link in _links(pid) if link == "anon_inode:[eventpoll]"
            for descriptor in watched_by(pid, epoll)}


def _parents() -> dict[str, str]:
    """Return the parent of each process."""
    found = {}
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            try:
                with open(f"/proc/{pid}/stat", "rb") as file:
                    found[pid] = file.read().rpartition(b")")[2].split()[1].decode()
            except (FileNotFoundError, ProcessLookupError):
                pass
    return found


def _tree(root: str, among: Iterable[str]) -> list[str]:
    """Return a process and its descendants, as far as they are `among` these."""
    parents = _parents()
    return [pid for pid in among if pid == root or root in _ancestors(pid, parents)]


def _descendants() -> list[str]:
    parents, me = _parents(), str(os.getpid())
    return [pid for pid in parents if me in _ancestors(pid, parents)]


def _ancestors(pid: str, parents: dict[str, str]) -> Iterator[str]:
    while pid in parents:
        pid = parents[pid]
        yield pid


def _is_of(frame: Optional[FrameType], module: str) -> bool:
    """Whether a thread runs code of this module."""
    while frame is not None:
        if frame.f_globals.get("__name__") == module:
            return True
        frame = frame.f_back
    return False


def _joined(frame: Optional[FrameType]) -> Any:
    """Return the thread whose end a thread awaits, if it does so by `Thread.join`."""
    while frame is not None and frame.f_globals.get("__name__") == "threading":
        if frame.f_code.co_name == "join":
            return frame.f_locals.get("self")
        frame = frame.f_back
    return None
