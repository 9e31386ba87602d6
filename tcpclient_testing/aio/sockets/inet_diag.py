"""Asks the kernel about the client's socket: how many of our bytes it has received, and how many are unread.

Two things can't be seen from the server's side alone:

- whether the client reads two writes separately (they may arrive in one read)
- whether the client has closed or half-closed its socket (on the wire both are the same FIN)

The kernel knows. On Linux any process may ask it about one socket, given by its four-tuple: sock_diag(7), with the
structures of <linux/inet_diag.h> and tcp_info of <linux/tcp.h>. A look-up takes about 10 microseconds and needs no
privilege. It finds only the sockets of this machine, more exactly those of this network namespace.

Nothing here waits: the kernel queues its answer before the request's ``send()`` returns.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from typing import Any, Optional

from tcpclient_testing.aio.native.originals import Socket

from .listening import EXHAUSTED

if sys.platform != "win32":
    import fcntl
    import termios

__all__ = ["PeerProbe", "PeerState", "available", "on_this_machine", "unacknowledged"]

__unittest = True

# Values of <linux/netlink.h>, <linux/sock_diag.h> and <linux/inet_diag.h>; the socket module has few of them.
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_NLMSG_ERROR = 2
_INET_DIAG_INFO = 2
_INET_DIAG_SHUTDOWN = 8
_WANTED = 1 << (_INET_DIAG_INFO - 1) | 1 << (_INET_DIAG_SHUTDOWN - 1)

_STATES = (
    "UNKNOWN", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT",
    "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV",
)  # fmt: skip

# nlmsghdr, then inet_diag_req_v2: family, protocol, ext, pad, states, and the inet_diag_sockid: ports, addresses,
# interface, cookie (all ones: any). Ports and addresses are in network byte order, everything else in native order.
_REQUEST = struct.Struct("=IHHII BBBxI HH16s16sIQ")
_HEADER = struct.Struct("=IHHII")
# inet_diag_msg: family, state, timer, retransmits, the same inet_diag_sockid, expires, rqueue, wqueue, uid, inode.
_ANSWER = struct.Struct("=BBBB HH16s16sIQ IIIII")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")
_U64 = struct.Struct("=Q")
_BYTES_RECEIVED = 128  # offset of tcpi_bytes_received in struct tcp_info (Linux 4.1)
_ANY_COOKIE = 0xFFFFFFFFFFFFFFFF
_ALL_STATES = 0xFFFFFFFF
_SO_NWRITE = 0x1024  # <sys/socket.h> of macOS

_available: Optional[bool] = None


class PeerState:
    """What the kernel said about the client's socket at one moment.

    `unread` is the number of bytes that have arrived and that the client has not yet taken out of the kernel.
    `bytes_received` is the number of bytes that have arrived since the client connected. It is None in TIME_WAIT,
    where the kernel no longer knows it. Both count our FIN as one byte, as TCP's sequence numbers do.

    `closed` is true if nobody can read from the client's socket again: it was closed, or shut down in both directions.
    It is false for a half-closed socket. It is also false in TIME_WAIT, where the kernel can't tell.

    `state` is the name of the socket's TCP state: "ESTABLISHED", "CLOSE_WAIT", "FIN_WAIT2" ... (RFC 9293, 3.3.2).

    `inode` is the socket's number, which ``os.fstat()`` shows to the processes that have it open; 0 if none has.
    """

    __slots__ = ("unread", "bytes_received", "closed", "state", "inode")

    def __init__(self, unread: int, bytes_received: Optional[int], closed: bool, state: str, inode: int = 0) -> None:
        self.unread = unread
        self.bytes_received = bytes_received
        self.closed = closed
        self.state = state
        self.inode = inode

    def __repr__(self) -> str:
        closed = ", closed" if self.closed else ""
        return f"<PeerState {self.state}{closed}: {self.bytes_received} bytes received, {self.unread} unread>"


class PeerProbe:
    """Asks the kernel about the client's end of connections on this machine.

    The first look opens a netlink socket. Close it with `close()`, or use the probe in a ``with`` statement.
    A closed probe may be used again. So may a probe in a forked child, where it opens a socket of its own.
    Use a probe in one thread only.
    """

    def __init__(self) -> None:
        self._socket: Optional[socket.socket] = None
        self._pid = 0
        self._sequence = 0

    def look(self, local: tuple[Any, ...], peer: tuple[Any, ...]) -> Optional[PeerState]:
        """Return the state of the client's socket of an accepted TCP connection, or None if there is no such socket.

        `local` and `peer` are the results of ``getsockname()`` and ``getpeername()`` of *our* socket when it was
        accepted.

        None means that the kernel has no such socket. Either it is gone without a trace (for example, the client closed
        it with unread data, or after our FIN), or it is not on this machine. Raises OSError if the kernel can't be
        asked: see `available()`.

        The client has taken everything when `bytes_received` has reached the number of bytes sent and `unread` is 0.
        (`unread` alone is not enough: it is 0 before the data arrives, too.) The kernel reads `unread` first. Then it
        waits until the client's call is over, and reads `bytes_received`. So an `unread` of 0 is exact only in a later
        look than the one in which `bytes_received` reached its number.
        """
        family, here, there, interface = _packed(local, peer)
        self._sequence = self._sequence % 0xFFFFFFFF + 1
        request = _REQUEST.pack(
            _REQUEST.size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, self._sequence, 0,
            family, socket.IPPROTO_TCP, _WANTED, _ALL_STATES,
            socket.htons(peer[1]), socket.htons(local[1]), there, here, interface, _ANY_COOKIE,
        )  # fmt: skip
        netlink = self._socket
        if netlink is None or self._pid != os.getpid():
            netlink = self._open()
        netlink.send(request)
        while True:
            # The answer is there already. If not, this raises BlockingIOError, which is an OSError.
            data = netlink.recv(8192)
            length, kind, _, sequence, _ = _HEADER.unpack_from(data)
            if sequence == self._sequence:  # otherwise it answers an earlier request that was interrupted
                break
        if kind == _NLMSG_ERROR:
            number = -_ERROR.unpack_from(data, _HEADER.size)[0]
            if number == errno.ENOENT:
                return None
            raise OSError(number, os.strerror(number))
        return _parsed(data[_HEADER.size : length], socket.htons(local[1]))

    def close(self) -> None:
        """Close the netlink socket, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> PeerProbe:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _open(self) -> socket.socket:
        # After a fork, close the parent's socket: both processes would read each other's answers from it.
        self.close()
        if sys.platform != "linux":
            raise OSError(errno.EAFNOSUPPORT, "sock_diag exists on Linux only")
        self._socket = Socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
        self._socket.setblocking(False)
        self._pid = os.getpid()
        return self._socket


def _packed(local: tuple[Any, ...], peer: tuple[Any, ...]) -> tuple[int, bytes, bytes, int]:
    """Return the family, both addresses in the kernel's form, and the interface (link-local addresses need it)."""
    here, there = local[0], peer[0]
    if ":" in here:
        packed_here = socket.inet_pton(socket.AF_INET6, here.partition("%")[0])
        packed_there = socket.inet_pton(socket.AF_INET6, there.partition("%")[0])
        if not packed_here.startswith(b"\0" * 10 + b"\xff\xff"):
            return socket.AF_INET6, packed_here, packed_there, peer[3]
        # A dual-stack socket whose client has connected over IPv4.
        return socket.AF_INET, packed_here[12:], packed_there[12:], 0
    return socket.AF_INET, socket.inet_aton(here), socket.inet_aton(there), 0


def _parsed(message: bytes, port: int) -> Optional[PeerState]:
    """Return what an inet_diag_msg says; None if it is about a listening socket.

    The kernel falls back on the listening socket if it has no socket for the four-tuple.
    """
    _, state, _, _, _, remote_port, _, _, _, _, _, unread, _, _, inode = _ANSWER.unpack_from(message)
    if remote_port != port:
        return None
    received: Optional[int] = None
    name = _STATES[state] if state < len(_STATES) else _STATES[0]
    # An orphaned socket has no inode. close() first shuts down both directions, then sends its FIN, and a little later
    # gives up the inode. So only the shutdown state tells a close from a half-close without a race.
    closed = not inode and name != "TIME_WAIT"
    offset = _ANSWER.size
    while offset + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, offset)
        if length < _ATTRIBUTE.size:
            break
        start = offset + _ATTRIBUTE.size
        if kind == _INET_DIAG_INFO and length >= _ATTRIBUTE.size + _BYTES_RECEIVED + _U64.size:
            received = _U64.unpack_from(message, start + _BYTES_RECEIVED)[0]
        elif kind == _INET_DIAG_SHUTDOWN and length > _ATTRIBUTE.size:
            closed = closed or message[start] == 3
        offset += (length + 3) & ~3
    return PeerState(unread, received, closed, name, inode)


def available() -> bool:
    """Return whether `PeerProbe` works here: on Linux, if the kernel answers and counts received bytes.

    It doesn't work in gVisor, in some sandboxes, and without the kernel module tcp_diag. This is tested once per
    process, by looking up a connection made for the test (0.1 ms).
    """
    global _available
    if _available is None:
        try:
            _available = sys.platform == "linux" and _answers()
        except OSError:
            return False  # out of descriptors: this says nothing of the kernel, so test again the next time
    return _available


def _answers() -> bool:
    try:
        with Socket() as listener, Socket() as client, PeerProbe() as probe:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            client.settimeout(1.0)
            client.connect(listener.getsockname())
            state = probe.look(client.getpeername(), client.getsockname())
    except (OSError, struct.error) as error:
        if getattr(error, "errno", None) in EXHAUSTED:
            raise
        return False
    return state is not None and state.state == "ESTABLISHED" and state.bytes_received == 0


def on_this_machine(local: Any, peer: Any) -> bool:
    """Return whether the client's socket is a TCP socket of this machine: the kernel knows no others.

    `local` and `peer` are the addresses that `PeerProbe.look` takes. What transports report for sockets of other kinds
    may be passed, too; then the result is False.
    """
    if not (isinstance(local, tuple) and isinstance(peer, tuple)):
        return False
    here, there = str(local[0]), str(peer[0])
    return here == there or there.startswith(("127.", "::ffff:127."))


def unacknowledged(sock: Any) -> Optional[int]:
    """Return how many of the bytes sent over `sock` are not acknowledged yet; None if the system doesn't say.

    An acknowledged byte has reached the client's kernel; the client need not have read it. The acknowledgement may be
    40 ms late (RFC 9293, 3.8.6.3). A FIN counts as one byte. `sock` is a connected TCP socket, or the object that
    a transport gives for it. Linux uses SIOCOUTQ (tcp(7)), macOS SO_NWRITE; a socket in memory knows it itself. On
    other systems, and for a closed socket, the result is None.
    """
    raw = getattr(sock, "_sock", sock)
    if hasattr(type(raw), "unacknowledged"):
        return int(raw.unacknowledged())
    try:
        if sys.platform == "linux":
            # SIOCOUTQ has the same number as TIOCOUTQ, which depends on the processor.
            return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0])
        if sys.platform == "darwin":
            return int(sock.getsockopt(socket.SOL_SOCKET, _SO_NWRITE))
    except (OSError, ValueError):  # ValueError: the descriptor of a closed socket is -1
        pass
    return None
