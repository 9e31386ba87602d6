"""Asks the kernel which socket a Unix-domain socket is connected to: clients of such sockets have no address.

Each socket has a number, its inode, which ``os.fstat()`` shows to the processes that have it open. On Linux any process
may ask for the inode of a socket's peer: sock_diag(7), with the structures of <linux/unix_diag.h>. That takes about 20
microseconds, and needs no privilege. A number is not used again while the system runs, unless it made 4,294,967,296
inodes meanwhile.

Nothing here waits: the kernel queues its answer before the request's ``send()`` returns.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from typing import Any, Optional

from tcpclient_testing.aio.native.originals import Socket

__all__ = ["UnixPeername", "inode_of", "peer_of"]

__unittest = True

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_UDIAG_SHOW_PEER = 4
_UNIX_DIAG_PEER = 2

# nlmsghdr, then unix_diag_req: family, protocol, pad, states, inode, show, cookie (all ones: any).
_REQUEST = struct.Struct("=IHHII BBHIII8s")
_HEADER = struct.Struct("=IHHII")
_MESSAGE = struct.Struct("=BBBxI8s")  # unix_diag_msg
_ATTRIBUTE = struct.Struct("=HH")
_INODE = struct.Struct("=I")


class UnixPeername(str):
    """The name of a client's Unix-domain socket, which is mostly empty, and the inode of that socket."""

    inode: int

    def __new__(cls, name: str, inode: int) -> UnixPeername:
        made = super().__new__(cls, name)
        made.inode = inode
        return made


def inode_of(sock: Any) -> Optional[int]:
    """Return the inode of a socket; None if it was closed. `sock` may be the object that a transport gives for it."""
    try:
        return os.fstat(sock.fileno()).st_ino & 0xFFFFFFFF
    except (OSError, ValueError, AttributeError):
        return None


def peer_of(sock: Any) -> Optional[int]:
    """Return the inode of the socket to which a Unix-domain socket is connected; None if it is not known.

    It is not known on other systems than Linux, where the kernel has no unix_diag, and when the peer was closed.
    """
    inode = inode_of(sock)
    if sys.platform != "linux" or inode is None:
        return None
    request = _REQUEST.pack(_REQUEST.size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0,
                            socket.AF_UNIX, 0, 0, 0xFFFFFFFF, inode, _UDIAG_SHOW_PEER, b"\xff" * 8)
    try:
        with Socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
            netlink.setblocking(False)
            netlink.send(request)
            return _parsed(netlink.recv(8192))
    except (OSError, struct.error):
        return None


def _parsed(answer: bytes) -> Optional[int]:
    length, kind, _, _, _ = _HEADER.unpack_from(answer)
    if kind != _SOCK_DIAG_BY_FAMILY:
        return None  # an error
    offset = _HEADER.size + _MESSAGE.size
    while offset + _ATTRIBUTE.size <= min(length, len(answer)):
        size, attribute = _ATTRIBUTE.unpack_from(answer, offset)
        if size < _ATTRIBUTE.size:
            break
        if attribute == _UNIX_DIAG_PEER:
            return int(_INODE.unpack_from(answer, offset + _ATTRIBUTE.size)[0]) or None
        offset += (size + 3) & ~3
    return None
