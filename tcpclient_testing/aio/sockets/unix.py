"""Listening on Unix-domain sockets (unix(7)), and removing their files.

Binding a socket creates its file, but closing the socket does not remove it. `UnixListener.close` removes the file, if
it is still the one that was created. A file that existed before is never removed: the error says what it is.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import Any, Optional, Union

from tcpclient_testing.aio.native.originals import Socket

from .listening import listening

__all__ = ["UnixListener", "checked_path", "listen_unix", "refusing_unix"]

__unittest = True

# A socket that is to replace another one is first bound to a similar path: its last character is one of these, the
# first that gives a free name.
_LAST = "~-+=@%,^"


# None where the platform has no Unix-domain sockets.
_AF_UNIX: Any = getattr(socket, "AF_UNIX", None)


class UnixListener(Socket):
    """A listening socket that removes its file when it is closed."""

    made: tuple[int, int] = (0, 0)
    path: str = ""

    def close(self) -> None:
        """Close the socket, and remove its file unless another file is there by now."""
        super().close()
        path, self.path = self.path, ""
        try:
            if path and _identity(path) == self.made:
                os.unlink(path)
        except OSError:
            pass  # the file is gone already


def checked_path(path: Any, host: Any, port: Any) -> str:
    """Return `path` as text; raise `TypeError` or `ValueError` if it can't be one, or if `host` or `port` is given."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"unix_path is a str or a path, not {type(path).__name__}: {path!r}")
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(f"unix_path is a str or a path of str, not of {type(text).__name__}: {path!r}")
    if host is not None or port != 0:
        given = f"host={host!r}" if host is not None else f"port={port!r}"
        raise ValueError(f"unix_path={text!r} and {given} exclude each other: the server listens on one or the other")
    if not text or "\0" in text:
        raise ValueError(f"unix_path is the path of a file that does not exist yet, not {text!r}")
    if _AF_UNIX is None:
        raise ValueError("unix_path: this platform has no Unix-domain sockets")
    return text


def listen_unix(path: str, into: Optional[list[socket.socket]] = None) -> UnixListener:
    """Bind and listen at `path`; return the socket, which does not block.

    It is appended to `into` before anything is done with it, so that the owner of that list can close it.

    Raises `OSError` if a file is there already, or if the folder does not exist or can't be written to. Raises
    `ValueError` if the path is longer than the system allows (about 100 bytes: sun_path in unix(7)).
    """
    return listening(_bound(path, into))


def refusing_unix(listener: socket.socket, path: str) -> UnixListener:
    """Close the socket that listens at `path`, and return another one that is bound there and doesn't listen.

    Clients are refused from that moment on; at no time do they get the error that the file does not exist. The returned
    socket listens again as soon as its ``listen()`` is called. Raises `OSError` if another file is at `path` by now;
    that file is left alone.
    """
    assert isinstance(listener, UnixListener)
    try:
        if _identity(path) != listener.made:
            raise FileExistsError(errno.EEXIST, "another file is there", path)
        # Bind the new socket to another name, then move it into place in one step (rename(2)).
        successor = _bound_beside(path)
        try:
            os.rename(successor.path, path)
            successor.path = path
        except BaseException:
            successor.close()
            raise
    finally:
        listener.close()
    return successor


def _bound_beside(path: str) -> UnixListener:
    """Return a socket bound to a free name in the same folder. The name is no longer than `path`, so it is allowed."""
    for last in _LAST:
        try:
            return _bound(path[:-1] + last)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or last == _LAST[-1]:
                raise
    raise AssertionError("the last one has raised")


def _bound(path: str, into: Optional[list[socket.socket]] = None) -> UnixListener:
    listener = UnixListener(_AF_UNIX, socket.SOCK_STREAM)
    if into is not None:
        into.append(listener)
    try:
        listener.setblocking(False)
        _bind(listener, path)
        listener.path = path
        listener.made = _identity(path)
    except BaseException:
        listener.close()
        raise
    return listener


def _bind(listener: socket.socket, path: str) -> None:
    try:
        listener.bind(path)
    except OSError as error:
        if error.errno is None or error.errno == errno.ENAMETOOLONG:
            # Python itself raises "AF_UNIX path too long", without an errno, before it asks the system.
            raise ValueError(f"unix_path {path!r} is {len(os.fsencode(path))} bytes long, and the system allows about "
                             "100: use a shorter folder, such as tempfile.mkdtemp(dir='/tmp')") from None
        why = _what_is_there(path) if error.errno == errno.EADDRINUSE else error.strerror
        raise OSError(error.errno, f"can't listen at {path!r}: {why}") from None


def _what_is_there(path: str) -> str:
    """Say what the file is that prevents binding to `path`."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return "a file that is not a socket is there"
        # A datagram socket can't connect to a stream socket, so this does not disturb a server. If no process has the
        # socket open any more, the error is ECONNREFUSED; otherwise it is another one (EPROTOTYPE, unix(7)).
        with Socket(_AF_UNIX, socket.SOCK_DGRAM) as probe:
            probe.connect(path)
    except ConnectionRefusedError:
        return "a socket is there that nobody listens at, left behind by a server that is gone; remove it"
    except OSError:
        pass
    return "another server listens there"


def _identity(path: Union[str, os.PathLike[str]]) -> tuple[int, int]:
    there = os.lstat(path)
    return there.st_dev, there.st_ino
