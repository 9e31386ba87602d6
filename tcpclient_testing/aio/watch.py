"""What the client's asyncio streams did, seen from inside their process.

On the wire one can't see whether a client called ``writer.close()``, awaited ``wait_closed()``, or read what it was
sent. In its own process one can. While at least one `StreamWatch` runs, ``asyncio.streams.StreamWriter``, the global
from which ``open_connection()`` makes its writers, is a subclass that takes notes. It is that name alone:
``asyncio.StreamWriter`` stays what it is, so ``isinstance()`` says what it always said. ``StreamReader`` stays, too:
the writer asserts on its class.

Invariants:

- A stream that is not a client's stream to one of our servers gets a writer of the original class. That is decided
  once, in the writer's constructor, from the peer's address.
- A record keeps no object of the client's alive but the reader's buffer, a `bytearray`, which refers to nothing. So
  whatever the client drops is collected, and complained about by Python, when it would have been without us.
- The name is given back when the last watch stops, if it is still ours. A stand-in that somebody else kept goes on
  working, and watches nothing.
- `_watches` is a tuple that is replaced, never changed: constructors in other threads read it without the lock.

When it is sound to ask for a `complaint()`: once the server has seen the end of the client's stream, and

- for what was left unread, when ``stream.connection_lost`` is true. In one plain TCP loop it is true before the server
  gets the FIN, because asyncio tells the protocol before it closes the socket; over TLS, within 5 turns of the loop
  after the server's ``eof_received()`` (3 after its ``connection_lost()``, where Python has no such event for TLS);
- for the rest, after a grace. ``writer.close(); await writer.wait_closed()`` is beyond reproach before its FIN leaves;
  `asyncio.wait_for` or another task between the two takes a turn or two; a client that half-closes and reads to the end
  needs 5 to 7 turns from the moment at which the server closes. 20 turns are ample. Clients in another thread need
  0.3 ms, and up to 3 ms under load.

So: end the grace as soon as ``stream.connection_lost and complaint(stream) is None``, and in any case when it is over.

Limits. A client that upgrades to TLS by hand (``loop.start_tls()`` and a new writer, as before Python 3.11) and keeps
the old writer to the end can't be told from one that never closed it. A writer that is built by hand from a class
that was imported before the watch began is not seen at all; and neither are streams to Unix sockets, whose clients
have no address.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from asyncio import streams
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Endpoint = tuple[str, int]

__all__ = ["ClientStream", "StreamWatch", "complaint"]

__unittest = True

#: How many unread bytes a complaint shows.
_SHOWN = 40


class ClientStream:
    """What one client did with its pair of streams: plain facts, true at the moment at which they are read.

    The facts may be read in any thread, and after the streams are gone. `complaint` judges them.
    """

    __slots__ = (
        "_buffer",
        "_closed_directly",
        "_handed_over",
        "_protocol",
        "_writer",
        "client_address",
        "close_called",
        "collected",
        "eof_written",
        "thread_id",
        "wait_closed_awaited",
        "wait_closed_done",
    )

    #: The client's own address, as the server sees it: (host, port).
    client_address: Endpoint
    #: The client called ``writer.close()``. The call that a collected `StreamWriter` makes by itself doesn't count.
    close_called: bool
    #: The client called ``writer.write_eof()``, which half-closes the stream.
    eof_written: bool
    #: The client began to await ``writer.wait_closed()``.
    wait_closed_awaited: bool
    #: ``wait_closed()`` has ended, by returning or by raising, and was not cancelled while the connection was open.
    wait_closed_done: bool
    #: The writer was garbage collected without ``writer.close()``.
    collected: bool
    #: The thread (`threading.get_ident`) that made the stream: turns of another thread's loop say nothing about it.
    thread_id: int

    def __init__(
        self,
        client_address: Endpoint,
        writer: asyncio.StreamWriter,
        protocol: asyncio.BaseProtocol,
        reader: asyncio.StreamReader | None,
    ) -> None:
        self.client_address = client_address
        self.close_called = self.eof_written = self.collected = False
        self.wait_closed_awaited = self.wait_closed_done = False
        self.thread_id = threading.get_ident()
        # One object for the reader's whole life, in every version: it is emptied and filled, never replaced.
        self._buffer: bytearray | bytes = getattr(reader, "_buffer", b"")
        self._protocol = weakref.ref(protocol)
        self._writer = weakref.ref(writer)
        self._closed_directly = self._handed_over = False

    @property
    def connection_lost(self) -> bool:
        """Whether the client's transport is gone, and with it every chance of receiving more."""
        protocol = self._protocol()
        # Only a transport that lost its connection lets go of its protocol (or one that was handed over).
        return protocol is None or getattr(protocol, "_connection_lost", False)

    @property
    def transport_closed_directly(self) -> bool:
        """Whether the connection was closed on this side, without an error, but not by ``writer.close()``.

        By ``writer.transport.close()`` or ``.abort()``, that is; or, over TLS, by asyncio, which closes the client's
        transport when the server ends the stream. (Over plain TCP the client has to close it.)
        """
        self._look(self._writer())
        return self._closed_directly and not self.close_called

    @property
    def handed_over(self) -> bool:
        """Whether the transport serves another protocol now (``loop.start_tls()``, ``set_protocol()``).

        The stream is then not the whole story, and nobody should be blamed for not closing it.
        """
        self._look(self._writer())
        return self._handed_over

    def unread(self) -> bytes:
        """Return what reached the client's `StreamReader` and was not read from it; ``b""`` if all was.

        Only final once `connection_lost` is true. What the client's kernel still held when the client closed isn't
        part of it: that shows on the wire, as a reset.
        """
        return bytes(self._buffer)

    @property
    def all_read(self) -> bool:
        """Whether the client has taken everything out of its `StreamReader` that came there."""
        return not self._buffer

    @property
    def reading(self) -> bool:
        """Whether the client awaits more than what is there; True too where nobody knows any more."""
        reader = getattr(self._writer(), "_reader", None)
        return reader is None or getattr(reader, "_waiter", None) is not None

    def _look(self, writer: asyncio.StreamWriter | None) -> None:
        """Bring up to date what only a living writer can tell; afterwards the last answer stands."""
        if writer is None:
            return
        transport: Any = writer.transport
        lost = self.connection_lost
        # A transport that loses its connection forgets its protocol, but not before telling it.
        self._handed_over = not lost and transport.get_protocol() is not self._protocol()
        reader = getattr(writer, "_reader", None)
        without_error = reader is None or reader.exception() is None
        # Before Python 3.11 a TLS transport that lost its connection doesn't say that it is closing.
        closing = lost or transport.is_closing()
        self._closed_directly = closing and without_error and not self._handed_over

    def _writer_collected(self, writer: asyncio.StreamWriter) -> None:
        self.collected = not self.close_called
        self._look(writer)

    def __repr__(self) -> str:
        told = [fact for fact in (*self.__slots__, "connection_lost") if getattr(self, fact) is True and fact[0] != "_"]
        return f"<ClientStream {self.client_address[0]}:{self.client_address[1]} {' '.join(told) or 'open'}>"


def complaint(stream: ClientStream, *, wait_closed: bool = True) -> str | None:
    """Return what is wrong with how a client treated its stream, as a fragment of a sentence; None if nothing is.

    The rules (asyncio's documentation, "Streams"): a client calls ``writer.close()``, then awaits
    ``writer.wait_closed()`` (not demanded with ``wait_closed=False``); and, ours, it reads all that it was sent. To
    begin to wait is enough: a `wait_closed()` that is cancelled half-way, by a time-out, was awaited.
    ``writer.transport.close()`` or ``.abort()`` do what ``writer.close()`` does, so a client that uses one of them and
    awaits ``wait_closed()`` has done its duty.

    Ask when the server has seen the end of the client's stream, and not at once: see the head of this module. It
    doesn't speak of unread bytes before ``stream.connection_lost``.
    """
    if not stream.close_called:
        if stream.handed_over:
            return None
        if not stream.transport_closed_directly:
            return _not_closed(stream)
        if wait_closed and not stream.wait_closed_awaited:
            return "the client's transport was closed without writer.close(), and wait_closed() was never awaited"
    elif wait_closed and not stream.wait_closed_awaited:
        return "the client closed its stream without awaiting wait_closed()"
    unread = stream.unread() if stream.connection_lost else b""
    if not unread:
        return None
    many = "byte" if len(unread) == 1 else "bytes"
    more = "..." if len(unread) > _SHOWN else ""
    return f"the client left {len(unread)} {many} of the server's reply unread: {unread[:_SHOWN]!r}{more}"


def _not_closed(stream: ClientStream) -> str:
    if stream.collected:
        return "the client never called writer.close(); its stream was garbage collected"
    if stream.connection_lost:
        return "the client never called writer.close() after its connection was lost"
    if stream.eof_written:
        return "the client half-closed its stream with write_eof(), and never called writer.close()"
    return "the client never called writer.close()"


class StreamWatch:
    """Knows the client streams of this process that talk to one server.

    `owns` is called with the address, (host, port), to which a stream is connected, and says whether it is one of the
    server's. It is called by whoever opens a connection, in their thread: it must be quick, and must not raise.
    """

    __slots__ = ("_owns", "_streams")

    def __init__(self, owns: Callable[[Endpoint], bool]) -> None:
        self._owns = owns
        self._streams: dict[Endpoint, ClientStream] = {}

    def start(self) -> None:
        """Watch the streams that are opened from now on. Call `stop` in the end. Idempotent."""
        global _watches
        with _lock:
            if self not in _watches:
                _watches = (*_watches, self)
                _substitute()

    def stop(self) -> None:
        """Watch no further streams; those that are known go on being recorded. Idempotent."""
        global _watches
        with _lock:
            _watches = tuple(watch for watch in _watches if watch is not self)
            if not _watches:
                _restore()

    def stream_of(self, client_address: tuple[Any, ...]) -> ClientStream | None:
        """Return the latest stream from that address, the server's ``peername``; None if no stream comes from there.

        A client's stream exists only some turns after its connection does, so ask late: at the end of the connection.
        """
        endpoint = _endpoint(client_address)
        return None if endpoint is None else self._streams.get(endpoint)

    def forget(self, stream: ClientStream) -> None:
        """Drop a stream that has been judged: another client, without streams, may get the same port later."""
        if self._streams.get(stream.client_address) is stream:
            del self._streams[stream.client_address]


def _endpoint(address: object) -> Endpoint | None:
    """Return the (host, port) of a socket address, or None for one that has none (a Unix socket's is a string)."""
    if not isinstance(address, tuple) or len(address) < 2 or not isinstance(address[0], str):
        return None
    host, port = address[:2]
    # The two ends of one connection differ in this if one of them is an IPv6 socket (RFC 4291, section 2.5.5.2).
    return (host[7:] if host.startswith("::ffff:") and "." in host else host, port)


# Re-entrant, because a server may be collected, and stop its watch, while this very thread is in here.
_lock = threading.RLock()
_watches: tuple[StreamWatch, ...] = ()


def _record(
    writer: asyncio.StreamWriter,
    transport: asyncio.BaseTransport,
    protocol: asyncio.BaseProtocol,
    reader: asyncio.StreamReader | None,
) -> ClientStream | None:
    """Begin the record of a new stream, if it is a client's to one of the watched servers."""
    # The writers of a server (asyncio.start_server) have a callback, and their peer is a client.
    if not _watches or getattr(protocol, "_client_connected_cb", None) is not None:
        return None
    peer = _endpoint(transport.get_extra_info("peername"))
    if peer is None:
        return None
    owners = [watch for watch in _watches if watch._owns(peer)]
    own = _endpoint(transport.get_extra_info("sockname")) if owners else None
    if own is None:
        return None
    stream = ClientStream(own, writer, protocol, reader)
    for watch in owners:
        watch._streams[own] = stream
    return stream


class _StandIn(type):
    """The class of classes that stand in for another: to ``isinstance()`` and ``issubclass()`` they are that one.

    For clients that are imported while a server runs, and say ``from asyncio.streams import StreamWriter``.
    """

    stands_for: type[asyncio.StreamWriter]

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.stands_for) if _is_stand_in(cls) else super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.stands_for) if _is_stand_in(cls) else super().__subclasscheck__(subclass)


def _is_stand_in(cls: type) -> bool:
    """Whether this very class is a stand-in, and not one that a client derived from it."""
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
            self._client_stream.eof_written = True
        super().write_eof()

    def close(self) -> None:
        if self._client_stream is not None:
            self._client_stream.close_called = True
        super().close()

    async def wait_closed(self) -> None:
        stream = self._client_stream
        if stream is None:
            return await super().wait_closed()
        stream.wait_closed_awaited = True
        try:
            await super().wait_closed()
        finally:
            stream.wait_closed_done = stream.connection_lost

    # What Python says of a coroutine that nobody awaited should name what the client called.
    wait_closed.__qualname__ = "StreamWriter.wait_closed"

    def __del__(self, *_: Any) -> None:
        stream, self._client_stream = self._client_stream, None
        if stream is not None:
            stream._writer_collected(self)
        # 3.11+: closes and warns; `close` takes no note of it any more. Before 3.11 there is none.
        original = getattr(super(), "__del__", None)
        if original is not None:
            original()


_WatchedStreamWriter.__name__ = "StreamWriter"  # for its repr, which is part of ResourceWarnings


def _substitute() -> None:
    current: Any = streams.StreamWriter
    original = _WatchedStreamWriter.stands_for
    if current is original:
        streams.StreamWriter = _WatchedStreamWriter  # type: ignore[misc]
    elif type(current) is type and issubclass(current, original):  # another tool's, which has to go on working
        names = {"stands_for": current, "__module__": __name__}
        stand_in: Any = _StandIn(current.__name__, (_WatchedStreamWriter, current), names)
        streams.StreamWriter = stand_in  # type: ignore[misc]
    # Else it is a mock; or ours already, or derived from ours.


def _restore() -> None:
    current: Any = streams.StreamWriter
    if isinstance(current, _StandIn) and _is_stand_in(current):
        streams.StreamWriter = current.stands_for  # type: ignore[misc]
