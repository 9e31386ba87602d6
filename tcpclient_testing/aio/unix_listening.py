"""A listening Unix-domain socket (unix(7)), and the file that it leaves behind.

The file is made by binding and does not go away by closing: `UnixListener.close` removes it, if it is still the one
that was made. A file that is there already is never removed, but the error says what it is.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import Any, Union

from .listening import listening

__all__ = ["UnixListener", "checked_path", "listen_unix", "refusing_unix"]

__unittest = True

# What the name of a socket that is about to take another one's place ends with: the first that is free.
_LAST = "~-+=@%,^"


# None where the platform has no Unix-domain sockets.
_AF_UNIX: Any = getattr(socket, "AF_UNIX", None)


class UnixListener(socket.socket):
    """A listening socket that removes its file when it is closed."""

    made: tuple[int, int] = (0, 0)
    path: str = ""

    def close(self) -> None:
        """Close the socket, and remove the file unless it is another one by now."""
        super().close()
        path, self.path = self.path, ""
        try:
            if path and _identity(path) == self.made:
                os.unlink(path)
        except OSError:
            pass  # gone already


def checked_path(path: Any, host: Any, port: Any) -> str:
    """Return a path as text; raise `TypeError` or `ValueError` for what can't be one, or where TCP is meant, too."""
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


def listen_unix(path: str) -> UnixListener:
    """Bind and listen at `path`; return the socket, which does not block.

    Raises `OSError` where a file is there already, or where its folder isn't or can't be written to, and `ValueError`
    for a path that is longer than the system allows (about 100 bytes: sun_path in unix(7)).
    """
    return listening(_bound(path))


def refusing_unix(listener: socket.socket, path: str) -> UnixListener:
    """Close the socket that listens at `path`, and return another one that is bound there and doesn't listen.

    Who connects is refused from the one moment to the other, and is never told that there is no such file. It listens
    again as soon as ``listen()`` is called. Raises `OSError` if the file is another one by now, which is left alone.
    """
    assert isinstance(listener, UnixListener)
    try:
        if _identity(path) != listener.made:
            raise FileExistsError(errno.EEXIST, "another file is there", path)
        # Made beside it, and moved into its place at once (rename(2)).
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
    """Return a socket that is bound to a free name in the same folder, no longer than `path`."""
    for last in _LAST:
        try:
            return _bound(path[:-1] + last)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or last == _LAST[-1]:
                raise
    raise AssertionError("the last one has raised")


def _bound(path: str) -> UnixListener:
    listener = UnixListener(_AF_UNIX, socket.SOCK_STREAM)
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
            # Python says "AF_UNIX path too long", without a number, before it asks the system.
            raise ValueError(f"unix_path {path!r} is {len(os.fsencode(path))} bytes long, and the system allows about "
                             "100: use a shorter folder, such as tempfile.mkdtemp(dir='/tmp')") from None
        why = _what_is_there(path) if error.errno == errno.EADDRINUSE else error.strerror
        raise OSError(error.errno, f"can't listen at {path!r}: {why}") from None


def _what_is_there(path: str) -> str:
    """Say what a file is that is in the way."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return "a file that is not a socket is there"
        # A datagram socket can't connect to a stream's, and is told so only where one is alive: nobody is disturbed.
        with socket.socket(_AF_UNIX, socket.SOCK_DGRAM) as probe:
            probe.connect(path)
    except ConnectionRefusedError:
        return "a socket is there that nobody listens at, left behind by a server that is gone; remove it"
    except OSError:
        pass
    return "another server listens there"


def _identity(path: Union[str, os.PathLike[str]]) -> tuple[int, int]:
    there = os.lstat(path)
    return there.st_dev, there.st_ino
