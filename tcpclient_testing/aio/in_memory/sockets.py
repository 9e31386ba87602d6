"""The two ends of a connection that no operating system knows, as non-blocking sockets.

Each does what a TCP socket of Linux does on the loopback interface, with everything delivered at once:

    open --shutdown--> half-closed --close--> closed
      |--close, nothing unread--> closed: the other end reads to the end of the stream
      `--close, data unread, or SO_LINGER of 0--> dead: the other end is reset

- What is sent stands in the other end's queue, at most `CAPACITY` bytes; then ``send()`` takes no more.
- Data that arrives at a closed end is answered with a reset (RFC 9293, 3.10.7.1), and never acknowledged.
- What had arrived before a reset can still be read.
- An end that was reset when it had read the other's FIN gets EPIPE, otherwise ECONNRESET (Linux, ``tcp_reset()``).

Nobody waits here. Whoever wants to know when an end can be read or written gives it a callback: see
`MemorySocket.watch`.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Callable, NoReturn, Optional

from tcpclient_testing.aio.sockets.inet_diag import PeerState
from tcpclient_testing.aio.sockets.listening import LINGER_RESET
from tcpclient_testing.errors import ScriptError

__all__ = ["CAPACITY", "MemorySocket", "connected_pair"]

__unittest = True

#: How many unread bytes an end holds.
CAPACITY = 4 * 1024 * 1024

# No descriptor of the operating system is so high.
_numbers = itertools.count(1 << 30)

Address = tuple[Any, ...]


def _nothing() -> None:
    """Nobody wants to know."""


class MemorySocket:
    """One end of a connection; what a transport, and a client that asks for the transport's socket, need of it.

    `local` and `remote` are the addresses of both ends. `connected_pair` makes two.
    """

    __slots__ = ("unread", "arrived", "refused", "closed", "_number", "_local", "_remote", "_other", "_queue", "_fin",
                 "_fin_read", "_shut", "_ended_first", "_deaf", "_dead", "_error", "_options", "_readable", "_writable",
                 "__weakref__")

    type = socket.SOCK_STREAM
    proto = socket.IPPROTO_TCP

    def __init__(self, local: Address, remote: Address) -> None:
        #: How many bytes have arrived that were not read yet.
        self.unread = 0
        #: How many bytes have arrived since the connection began. The other end's FIN counts as one.
        self.arrived = 0
        #: How many bytes were sent that the other end, which was closed, has answered with a reset.
        self.refused = 0
        self.closed = False
        self._number = next(_numbers)
        self._local = local
        self._remote = remote
        self._other: MemorySocket = self
        self._queue: deque[memoryview] = deque()
        self._fin = self._fin_read = False
        self._shut = self._ended_first = False
        self._deaf = False
        self._dead = False
        self._error = 0
        self._options: dict[tuple[int, int], Any] = {}
        self._readable = self._writable = _nothing

    def __repr__(self) -> str:
        return f"<MemorySocket {'closed ' if self.closed else ''}{self._local} -> {self._remote}>"

    def join(self, other: MemorySocket) -> None:
        """The other end of this one's connection is `other`."""
        self._other = other

    # What an event loop asks.

    def watch(self, readable: Optional[Callable[[], None]] = None,
              writable: Optional[Callable[[], None]] = None) -> None:
        """Call these when this end may have become readable, or writable; None leaves what was said before."""
        self._readable = readable or self._readable
        self._writable = writable or self._writable

    @property
    def can_read(self) -> bool:
        """Whether `recv` would not block."""
        return bool(self._queue) or self._fin or self._dead or self._deaf or bool(self._error)

    @property
    def can_write(self) -> bool:
        """Whether `send` would not block."""
        other = self._other
        return self._shut or self._dead or bool(self._error) or other.unreadable or other.unread < CAPACITY

    @property
    def unreadable(self) -> bool:
        """Whether nobody will read what arrives here: it is answered with a reset."""
        return self.closed or (self._shut and self._deaf)

    # What transports call.

    @property
    def family(self) -> socket.AddressFamily:
        """The family of the addresses."""
        return socket.AF_INET if len(self._local) == 2 else socket.AF_INET6

    def fileno(self) -> int:
        """A number that is no descriptor of the operating system; -1 once this end is closed."""
        return -1 if self.closed else self._number

    def getsockname(self) -> Address:
        """This end's address."""
        self._check_open()
        return self._local

    def getpeername(self) -> Address:
        """The other end's address."""
        self._check_open()
        return self._remote

    def setblocking(self, flag: bool) -> None:
        """Do nothing: this end never blocks."""
        if flag:
            self._refuse("block")

    def settimeout(self, value: Optional[float]) -> None:
        """Accept 0, which means not to block."""
        if value != 0:
            self._refuse("block")

    def gettimeout(self) -> float:
        """0: this end never blocks."""
        return 0.0

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """Remember the option; SO_LINGER of 0 s takes effect."""
        self._check_open()
        self._options[level, option] = value

    def getsockopt(self, level: int, option: int, length: int = 0) -> Any:
        """Return the option: what was set, or the error of this end, which is forgotten then, or 0."""
        self._check_open()
        if (level, option) == (socket.SOL_SOCKET, socket.SO_ERROR):
            error, self._error = self._error, 0
            return error
        if (level, option) == (socket.SOL_SOCKET, socket.SO_TYPE):
            return int(self.type)
        return self._options.get((level, option), bytes(length) if length else 0)

    def recv(self, size: int) -> bytes:
        """Return at most `size` bytes that have arrived; b"" at the end of the stream."""
        taken = self._take(size)
        return taken[0].tobytes() if len(taken) == 1 else b"".join(taken)

    def recv_into(self, buffer: Any) -> int:
        """Copy bytes that have arrived into `buffer`. Return how many; 0 at the end of the stream."""
        view = memoryview(buffer).cast("B")
        position = 0
        for piece in self._take(len(view)):
            view[position : position + len(piece)] = piece
            position += len(piece)
        return position

    def send(self, data: Any) -> int:
        """Send as much as the other end has room for; return how many bytes that is."""
        self._check_open()
        self._raise_error()
        if self._shut or self._dead:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        size = memoryview(data).nbytes
        other = self._other
        if other.unreadable:
            self.refused += size
            other._was_reset()
            self._was_reset()
            return size
        room = CAPACITY - other.unread
        if room <= 0:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        taken = bytes(data) if size <= room else bytes(memoryview(data).cast("B")[:room])
        if taken:
            other._arrives(taken)
        return len(taken)

    def sendmsg(self, buffers: Iterable[Any]) -> int:
        """Send these one after another, as much as there is room for; return how many bytes that is."""
        sent = 0
        for buffer in buffers:
            if sent and not (self._other.unread < CAPACITY and self.can_write):
                break
            taken = self.send(buffer)
            sent += taken
            if taken < memoryview(buffer).nbytes or self._dead:
                break
        return sent

    def shutdown(self, how: int) -> None:
        """End this end's stream, or stop reading, or both."""
        self._check_open()
        if self._dead or (self._shut and self._fin):
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        if how in (socket.SHUT_RD, socket.SHUT_RDWR):
            self._deaf = True
            self._readable()
        if how in (socket.SHUT_WR, socket.SHUT_RDWR) and not self._shut:
            self._send_end()
        self._other._writable()

    def close(self) -> None:
        """Close this end: with a reset if data is unread, or SO_LINGER says so."""
        if self.closed:
            return
        self.closed = True
        other, unread = self._other, self.unread
        self._queue.clear()
        self.unread = 0
        if self._dead or (self._shut and self._fin):
            pass  # nothing is sent any more (RFC 9293, 3.10.7.1)
        elif unread or self._lingers_not:
            self._dead = True
            other._was_reset()
        elif not self._shut:
            self._send_end()
        other._writable()
        self._readable = self._writable = _nothing

    def reset(self) -> None:
        """Close this end with a reset."""
        self.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        self.close()

    def __enter__(self) -> MemorySocket:
        return self

    def __exit__(self, exc_type: Any, exc: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self.close()

    # What an operating system knows.

    def unacknowledged(self) -> int:
        """How many of the bytes sent were never acknowledged, because the other end was closed."""
        return self.refused

    def state(self) -> Optional[PeerState]:
        """What `PeerProbe.look` would say of this end; None once it is gone."""
        if self._dead:
            return None
        if self._shut and self._fin:
            return PeerState(0, None, False, "TIME_WAIT") if self._ended_first else None
        name = "FIN_WAIT2" if self._shut else "CLOSE_WAIT" if self._fin else "ESTABLISHED"
        unread = self.unread + (self._fin and not self._fin_read)
        return PeerState(unread, self.arrived, self.unreadable, name,
                         0 if self.closed else self._number)

    # What is refused.

    def dup(self) -> NoReturn:
        """Not possible."""
        self._refuse("be duplicated")

    def accept(self) -> NoReturn:
        """Not possible."""
        self._refuse("accept")

    def connect(self, address: Any) -> NoReturn:
        """Not possible."""
        self._refuse("connect")

    def sendall(self, data: Any) -> NoReturn:
        """Not possible: it blocks."""
        self._refuse("block")

    def detach(self) -> NoReturn:
        """Not possible."""
        self._refuse("be detached")

    def _refuse(self, what: str) -> NoReturn:
        raise ScriptError(f"this socket can't {what}: the server was made with in_memory=True, so that the operating "
                          "system knows nothing of it; for this client, make the server without that")

    # What happens to this end.

    def _check_open(self) -> None:
        if self.closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    @property
    def _lingers_not(self) -> bool:
        return self._options.get((socket.SOL_SOCKET, socket.SO_LINGER)) == LINGER_RESET

    def _raise_error(self) -> None:
        if self._error:
            error, self._error = self._error, 0
            raise OSError(error, os.strerror(error))

    def _take(self, size: int) -> list[memoryview]:
        """Take at most `size` bytes out of the queue, in pieces; none at the end of the stream."""
        self._check_open()
        queue = self._queue
        if not queue:
            if self._fin:
                self._fin_read = True
                return []
            self._raise_error()
            if self._dead or self._deaf:
                return []
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        was_full = self.unread >= CAPACITY
        pieces = []
        while queue and size:
            piece = queue[0]
            if len(piece) > size:
                queue[0] = piece[size:]
                piece = piece[:size]
            else:
                queue.popleft()
            pieces.append(piece)
            size -= len(piece)
            self.unread -= len(piece)
        self._fin_read = self._fin and not queue  # with the last bytes, as Linux does
        if was_full:
            self._other._writable()
        return pieces

    def _arrives(self, data: bytes) -> None:
        self.unread += len(data)
        self.arrived += len(data)
        self._queue.append(memoryview(data))
        self._readable()

    def _send_end(self) -> None:
        """Send our FIN."""
        self._shut = True
        self._ended_first = not self._fin
        self._other._ends()

    def _ends(self) -> None:
        """The other end's FIN arrives."""
        if not self._dead:
            self.arrived += 1
            self._fin = True
            self._readable()

    def _was_reset(self) -> None:
        """The other end's RST arrives."""
        if self._dead or self.closed:
            self._dead = True
            return
        self._dead = True
        self._error = errno.EPIPE if self._fin and not self._shut else errno.ECONNRESET
        self._readable()
        self._writable()


def connected_pair(client: Address, server: Address) -> tuple[MemorySocket, MemorySocket]:
    """Return the two ends of a new connection, the client's first, with these addresses."""
    one, other = MemorySocket(client, server), MemorySocket(server, client)
    one.join(other)
    other.join(one)
    return one, other
