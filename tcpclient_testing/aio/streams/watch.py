"""Finds the asyncio streams that connect clients to a server, and records what the clients do with them.

While at least one `StreamWatch` runs, ``asyncio.streams.StreamWriter`` is a subclass that records calls. That is the
global from which ``open_connection()`` makes its writers. No other name is replaced:

- ``asyncio.StreamWriter`` stays the original class, so ``isinstance()`` gives the same answers as before. Its
  constructor is replaced: a client's writer that is built by hand from it changes to the subclass.
- ``StreamReader`` stays, because the writer asserts on its class.

Clients of Unix-domain sockets have no address. They are known by their sockets' inodes, which the kernel tells on
Linux.

Invariants:

- A stream that is not a client's stream to one of our servers gets a writer of the original class. The writer's
  constructor decides that once, from the peer's address.
- When the last watch stops, the original class gets its name and its constructor back, unless somebody else has
  replaced ours since. A stand-in class that somebody else kept goes on working, and records nothing.
- Writers for the same protocol share one record: it is one stream, whichever of them closes it.
- There is no lock, which Ctrl-C could leave locked: each change of `_watches` is one instruction, and `_settle` makes
  the name and the constructor agree with it, whoever else changes it meanwhile.

Limits. These are not seen:

- writers that are built by hand from a class of the client's own;
- streams to Unix-domain sockets on other systems than Linux.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from asyncio import streams
from types import MethodType
from typing import TYPE_CHECKING, Any

from .record import ClientStream

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from .record import Endpoint

__all__ = ["StreamWatch", "is_of_dropped_stream"]

__unittest = True


class StreamWatch:
    """Finds and keeps the records of this process's client streams that are connected to one server.

    `owns` is called with the address to which a stream is connected: (host, port), or the path of a Unix-domain socket.
    It returns whether that is an address of the server. It is called in the thread that opens the connection: it must
    be quick, and must not raise. If it is a method, the watch stops when its object is garbage: nobody could stop it
    any more.
    """

    __slots__ = ("_owns", "_method", "_streams")

    def __init__(self, owns: Callable[[Endpoint | str], bool]) -> None:
        self._owns = owns
        self._method: weakref.WeakMethod[Callable[[Endpoint | str], bool]] | None = None
        if isinstance(owns, MethodType):
            self._method = weakref.WeakMethod(owns, lambda _: self.stop())
            self._owns = self._ask
        self._streams: dict[Endpoint, ClientStream] = {}

    def _ask(self, address: Endpoint | str) -> bool:
        owns = None if self._method is None else self._method()
        return owns is not None and owns(address)

    def start(self) -> None:
        """Watch the streams that are opened from now on. Call `stop` at the end. Idempotent."""
        if self not in _watches:
            _watches.append(self)
        _settle()

    def stop(self) -> None:
        """Watch no new streams. Streams that are known already are still recorded. Idempotent."""
        with contextlib.suppress(ValueError):
            _watches.remove(self)
        _settle()

    def stream_of(self, client_address: Any) -> ClientStream | None:
        """Return the latest stream from a client's address, the server's ``peername``; None if there is none.

        A client's stream exists only some turns after its connection does. So ask late: at the end of the connection.
        """
        inode = getattr(client_address, "inode", None)
        endpoint = _endpoint(client_address) if inode is None else ("", inode)
        return None if endpoint is None else self._streams.get(endpoint)

    def forget(self, stream: ClientStream) -> None:
        """Drop a stream whose address another client has now. The other client may not use streams."""
        if self._streams.get(stream.client_address) is stream:
            del self._streams[stream.client_address]


def _endpoint(address: object) -> Endpoint | None:
    """Return the (host, port) of a socket address; None if it has none (a Unix socket's address is a string)."""
    if not isinstance(address, tuple) or len(address) < 2 or not isinstance(address[0], str):
        return None
    host, port = address[:2]
    # If one end of a connection is an IPv6 socket, only that end shows IPv4-mapped addresses (RFC 4291, 2.5.5.2).
    return (host[7:] if host.startswith("::ffff:") and "." in host else host, port)


_watches: list[StreamWatch] = []


def _record(
    writer: asyncio.StreamWriter,
    transport: asyncio.BaseTransport,
    protocol: asyncio.BaseProtocol,
    reader: asyncio.StreamReader | None,
) -> ClientStream | None:
    """Begin the record of a new stream if it connects a client to a watched server; otherwise return None."""
    # Leave out the streams of an asyncio server (start_server): they have a callback, and their peer is a client.
    if not _watches or getattr(protocol, "_client_connected_cb", None) is not None:
        return None
    name = transport.get_extra_info("peername")
    peer = name if isinstance(name, str) and name else _endpoint(name)
    if peer is None:
        return None
    owners = [watch for watch in tuple(_watches) if watch._owns(peer)]
    own = _own_endpoint(transport, peer) if owners else None
    if own is None:
        return None
    stream = next((watch._streams[own] for watch in owners if own in watch._streams), None)
    if stream is None or not stream.continues_with(writer, protocol):
        stream = ClientStream(own, writer, protocol, reader)
    for watch in owners:
        watch._streams[own] = stream
    return stream


def _own_endpoint(transport: asyncio.BaseTransport, peer: Endpoint | str) -> Endpoint | None:
    """Return what the server knows a client by: its address, or the inode of its Unix-domain socket."""
    if isinstance(peer, str):
        sock = transport.get_extra_info("socket")
        try:
            return "", os.fstat(sock.fileno()).st_ino & 0xFFFFFFFF  # the server is told as many bits
        except (OSError, ValueError, AttributeError):
            return None  # it is closed
    return _endpoint(transport.get_extra_info("sockname"))


class _StandIn(type):
    """The metaclass of stand-ins: ``isinstance()`` and ``issubclass()`` take such a class for the one it stands for.

    This is for clients that are imported while a server runs, and do ``from asyncio.streams import StreamWriter``.
    """

    stands_for: type[asyncio.StreamWriter]

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.stands_for) if _is_stand_in(cls) else super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.stands_for) if _is_stand_in(cls) else super().__subclasscheck__(subclass)


def _is_stand_in(cls: type) -> bool:
    """Whether this class itself is a stand-in, and not one that a client derived from a stand-in."""
    return "stands_for" in cls.__dict__


class _WatchedStreamWriter(asyncio.StreamWriter, metaclass=_StandIn):
    stands_for = asyncio.StreamWriter
    _client_stream: ClientStream | None = None

    def __init__(
        self,
        transport: asyncio.WriteTransport,
        protocol: asyncio.BaseProtocol,
        reader: asyncio.StreamReader | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(transport, protocol, reader, loop)
        self._client_stream = _record(self, transport, protocol, reader)
        if self._client_stream is None and _is_stand_in(type(self)):
            self.__class__ = type(self).stands_for  # type: ignore[assignment]

    def write_eof(self) -> None:
        if self._client_stream is not None:
            self._client_stream.half_closes()
        super().write_eof()

    def close(self) -> None:
        if self._client_stream is not None:
            self._client_stream.closes()
        super().close()

    async def wait_closed(self) -> None:
        stream = self._client_stream
        if stream is None:
            return await super().wait_closed()
        stream.begins_wait()
        try:
            await super().wait_closed()
        finally:
            stream.ends_wait()

    # Python's warning about a coroutine that was never awaited should name what the client called.
    wait_closed.__qualname__ = "StreamWriter.wait_closed"

    def __del__(self, *_: Any) -> None:
        stream, self._client_stream = self._client_stream, None
        if stream is not None:
            stream._writer_collected(self)
        # It closes and warns; `close` no longer records that. There is no `__del__` before Python 3.11.3.
        original = getattr(super(), "__del__", None)
        if original is not None:
            original()


_original_init = asyncio.StreamWriter.__init__


def _init_and_watch(
    self: asyncio.StreamWriter,
    transport: asyncio.WriteTransport,
    protocol: asyncio.BaseProtocol,
    reader: asyncio.StreamReader | None,
    loop: asyncio.AbstractEventLoop,
) -> None:
    """Construct a writer. One that is built by hand, and a client's, records calls as those of `open_connection()`."""
    _original_init(self, transport, protocol, reader, loop)
    if type(self) is _WatchedStreamWriter.stands_for:
        stream = _record(self, transport, protocol, reader)
        if stream is not None:
            self.__class__ = _WatchedStreamWriter
            self._client_stream = stream  # type: ignore[attr-defined]


def is_of_dropped_stream(traceback: TracebackType | None) -> bool:
    """Whether an exception with this traceback is about a client's stream that was dropped without being closed."""
    return traceback is not None and traceback.tb_frame.f_code is _WatchedStreamWriter.__del__.__code__


_WatchedStreamWriter.__name__ = "StreamWriter"  # for its repr, which is part of ResourceWarnings


def _settle() -> None:
    """Substitute the class if there are watches, and restore it if there are none."""
    while True:
        watched = bool(_watches)
        if watched:
            _substitute()
        else:
            _restore()
        if watched == bool(_watches):
            return


def _substitute() -> None:
    current: Any = streams.StreamWriter
    original = _WatchedStreamWriter.stands_for
    if original.__init__ is _original_init:
        original.__init__ = _init_and_watch  # type: ignore[method-assign]
    if current is original:
        streams.StreamWriter = _WatchedStreamWriter  # type: ignore[misc]
    elif type(current) is type and issubclass(current, original):  # another tool's, which must keep working
        names = {"stands_for": current, "__module__": __name__}
        stand_in: Any = _StandIn(current.__name__, (_WatchedStreamWriter, current), names)
        streams.StreamWriter = stand_in  # type: ignore[misc]
    # Otherwise it is a mock, or ours already, or derived from ours: leave it.


def _restore() -> None:
    original = _WatchedStreamWriter.stands_for
    if original.__init__ is _init_and_watch:
        original.__init__ = _original_init  # type: ignore[method-assign]
    current: Any = streams.StreamWriter
    if isinstance(current, _StandIn) and _is_stand_in(current):
        streams.StreamWriter = current.stands_for  # type: ignore[misc]
