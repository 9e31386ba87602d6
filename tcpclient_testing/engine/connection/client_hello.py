"""Reads a TLS client's first message, the ClientHello: is it TLS, and which server name does the client ask for?

It parses the bytes themselves (RFC 8446, 5.1 and 4.1.2; RFC 6066, 3). So nothing has to be installed in an
`ssl.SSLContext` that belongs to the test, and the server name is known even if the handshake fails.
"""

from __future__ import annotations

from typing import Optional

__all__ = ["begins_tls", "is_client_hello", "server_name"]

__unittest = True

_HANDSHAKE = 22
_CLIENT_HELLO = 1
_SERVER_NAME = 0


def begins_tls(data: bytes) -> bool:
    """Return whether these first bytes can come from a TLS client. Fewer than two bytes prove little."""
    # An old client may begin with a ClientHello in the format of SSL 2 (RFC 5246, E.2). Leave the answer to OpenSSL.
    return data[:1] >= b"\x80" or (data[:1] == b"\x16" and data[1:2] in (b"", b"\x03"))


def is_client_hello(data: bytes) -> bool:
    """Return whether these bytes are certainly the beginning of a ClientHello."""
    return data[:2] == b"\x16\x03" and data[5:6] == b"\x01"


def server_name(records: bytes) -> Optional[str]:
    """Return the server name that the client asks for (SNI). None if it asks for none, or its message is incomplete."""
    try:
        return _name(_Reader(_message(records)))
    except (IndexError, UnicodeDecodeError):
        return None


def _message(records: bytes) -> bytes:
    """Join the handshake messages in the first records."""
    reader, message = _Reader(records), b""
    while reader.left and reader.number(1) == _HANDSHAKE:
        reader.skip(2)
        message += reader.vector(2, short=True)
    return message


def _name(reader: _Reader) -> Optional[str]:
    if reader.number(1) != _CLIENT_HELLO:
        return None
    hello = _Reader(reader.vector(3))
    hello.skip(2 + 32)  # the version and the random
    hello.vector(1)  # the session ID
    hello.vector(2)  # the cipher suites
    hello.vector(1)  # the compression methods
    extensions = _Reader(hello.vector(2)) if hello.left else hello
    while extensions.left:
        kind, content = extensions.number(2), extensions.vector(2)
        if kind == _SERVER_NAME:
            names = _Reader(_Reader(content).vector(2))
            names.skip(1)  # the type: host_name is the only one defined
            return names.vector(2).decode("ascii")
    return None


class _Reader:
    """Reads the numbers and vectors of TLS (RFC 8446, 3) from bytes; raises IndexError if the bytes end too soon."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return len(self._data) - self._position

    def take(self, count: int, *, short: bool = False) -> bytes:
        """Return the next `count` bytes. With `short`, return fewer if there are fewer; else raise IndexError then."""
        if count > self.left and not short:
            raise IndexError
        taken = self._data[self._position:self._position + count]
        self._position += len(taken)
        return taken

    def skip(self, count: int) -> None:
        """Skip `count` bytes."""
        self.take(count)

    def number(self, size: int) -> int:
        """Read a number of `size` bytes, in network byte order."""
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int, *, short: bool = False) -> bytes:
        """Read a vector: its length, a number of `size` bytes, then so many bytes. For `short`, see `take`."""
        return self.take(self.number(size), short=short)
