"""Refuses netlink sockets, as sandboxes do, in every Python that is started with this folder on PYTHONPATH."""

import errno
import socket

_init = socket.socket.__init__


def _refuse(self, family=-1, type=-1, proto=-1, fileno=None):  # noqa: A002 - the name in the standard library
    if family == getattr(socket, "AF_NETLINK", None):
        raise PermissionError(errno.EPERM, "Operation not permitted")
    _init(self, family, type, proto, fileno)


socket.socket.__init__ = _refuse
