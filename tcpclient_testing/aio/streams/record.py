"""Records what one client in this process did with its pair of asyncio streams.

The wire doesn't show whether a client called ``writer.close()``, awaited ``wait_closed()``, or read what it was sent.
Inside the client's process all of this can be seen: while a `StreamWatch` runs, the client gets a writer that records
its calls in a `ClientStream`.

Invariants:

- A record states facts. `complaint` judges them.
- A record keeps only one of the client's objects alive: the reader's buffer, a `bytearray`, which refers to nothing.
  So everything that the client drops is collected, and warned about by Python, at the same time as without us.
- Some facts can be read only from a living writer. They are read a last time when it is collected, and stay so.

A client may make another writer for the same protocol, for example when it upgrades to TLS by hand
(``loop.start_tls()``, as before Python 3.11). Then the calls of both are recorded, and the newest writer is asked.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any

from tcpclient_testing.aio.native import originals

if TYPE_CHECKING:
    from collections.abc import Callable

    Endpoint = tuple[str, int]

__all__ = ["ClientStream"]

__unittest = True


def _gone() -> None:
    """Return None, as a weak reference to a collected object does."""


class ClientStream:
    """What one client did with its pair of streams: facts that are true at the moment when they are read.

    The facts may be read in any thread, and after the streams are gone. `complaint` judges them.
    """

    __slots__ = (
        "_buffer",
        "_closed_directly",
        "_handed_over",
        "_protocol",
        "_task",
        "_writer",
        "client_address",
        "close_called",
        "collected",
        "eof_written",
        "thread_id",
        "wait_closed_awaited",
        "wait_closed_done",
    )

    #: The client's address, as the server sees it: (host, port), or ("", inode) of a Unix-domain socket.
    client_address: Endpoint
    #: The client called ``writer.close()``. The call that a collected `StreamWriter` makes by itself doesn't count.
    close_called: bool
    #: The client called ``writer.write_eof()``, which half-closes the stream.
    eof_written: bool
    #: The client began to await ``writer.wait_closed()``.
    wait_closed_awaited: bool
    #: ``wait_closed()`` has returned or raised, and was not cancelled while the connection was open.
    wait_closed_done: bool
    #: The writer was garbage collected without ``writer.close()``.
    collected: bool
    #: The thread (`originals.get_ident`) that made the stream. Turns of another thread's loop say nothing about it.
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
        self.thread_id = originals.get_ident()
        # The reader keeps this one object for life, in every Python version: it is emptied and filled, never replaced.
        self._buffer: bytearray | bytes = getattr(reader, "_buffer", b"")
        self._protocol = weakref.ref(protocol)
        self._writer: Callable[[], asyncio.StreamWriter | None] = weakref.ref(writer)
        self._closed_directly = self._handed_over = False
        self._task: Callable[[], asyncio.Task[Any] | None] = _gone
        self._acted()

    def continues_with(self, writer: asyncio.StreamWriter, protocol: asyncio.BaseProtocol) -> bool:
        """Take note of another writer, if it is for the same protocol. Return whether it is."""
        if self._protocol() is not protocol:
            return False
        self._writer = weakref.ref(writer)
        self._acted()
        return True

    def half_closes(self) -> None:
        """Note that the client calls ``writer.write_eof()``."""
        self.eof_written = True
        self._acted()

    def closes(self) -> None:
        """Note that the client calls ``writer.close()``."""
        self.close_called = True
        self._acted()

    def begins_wait(self) -> None:
        """Note that the client awaits ``writer.wait_closed()``."""
        self.wait_closed_awaited = True

    def ends_wait(self) -> None:
        """Note that the client's ``wait_closed()`` has returned or raised."""
        self.wait_closed_done = self.connection_lost

    def _acted(self) -> None:
        """Note which task now closes or half-closes the writer: it may be about to do the rest."""
        try:
            task = asyncio.current_task()
        except RuntimeError:
            return  # no loop runs in this thread
        if task is not None:
            self._task = weakref.ref(task)

    def may_go_on(self, current: asyncio.Task[Any] | None) -> bool:
        """Return whether the task that last closed or half-closed the writer may do more with it.

        It can't if it has ended, if it is `current`, the task that asks, or if the writer was collected.
        """
        task = self._task()
        return task is not None and task is not current and not task.done() and self._writer() is not None

    @property
    def connection_lost(self) -> bool:
        """Whether the client's transport has lost its connection, so that the client can receive nothing more."""
        protocol = self._protocol()
        # A transport drops its protocol only when it has lost its connection, or serves another protocol.
        return protocol is None or getattr(protocol, "_connection_lost", False)

    @property
    def transport_closed_directly(self) -> bool:
        """Whether the client's side closed the connection without an error, but not by ``writer.close()``.

        That is by ``writer.transport.close()`` or ``.abort()``. Over TLS it may also be asyncio, which closes the
        client's transport when the server ends the stream. (Over plain TCP the client has to close it.)
        """
        self._look(self._writer())
        return self._closed_directly and not self.close_called

    @property
    def handed_over(self) -> bool:
        """Whether the transport serves another protocol now (``loop.start_tls()``, ``set_protocol()``).

        Then don't blame the client for not closing the stream: something else uses the connection.
        """
        self._look(self._writer())
        return self._handed_over

    def unread(self) -> bytes:
        """Return what reached the client's `StreamReader` and was not read from it; ``b""`` if all was read.

        The answer is final only once `connection_lost` is true. It doesn't include what the client's kernel still held
        when the client closed: that shows on the wire, as a reset.
        """
        return bytes(self._buffer)

    @property
    def held(self) -> int:
        """How many bytes have left the client's kernel, and were not read from its `StreamReader`.

        Over TLS this includes what is still encrypted, as far as asyncio shows it (uvloop doesn't).
        """
        tls = getattr(getattr(self._writer(), "transport", None), "_ssl_protocol", None)
        # Python 3.9 and 3.10 keep the SSL object and its input in a "pipe".
        encrypted = getattr(getattr(tls, "_sslpipe", tls), "_incoming", None)
        return len(self._buffer) + int(getattr(encrypted, "pending", 0))

    @property
    def all_read(self) -> bool:
        """Whether the client has read everything that has reached its `StreamReader`."""
        return not self._buffer

    @property
    def reading(self) -> bool:
        """Whether the client awaits more than its reader has now. True, too, if the reader can no longer be asked."""
        reader = getattr(self._writer(), "_reader", None)
        return reader is None or getattr(reader, "_waiter", None) is not None

    @property
    def read_waiter(self) -> asyncio.Future[Any] | None:
        """The future on which a read of the client's `StreamReader` waits for more; None if none waits."""
        return getattr(getattr(self._writer(), "_reader", None), "_waiter", None)

    def _look(self, writer: asyncio.StreamWriter | None) -> None:
        """Update the facts that can be read only from a living writer. Without one, they stay as they are."""
        if writer is None:
            return
        transport: Any = writer.transport
        lost = self.connection_lost
        # A transport that loses its connection drops its protocol, but first calls its connection_lost().
        self._handed_over = not lost and transport.get_protocol() is not self._protocol()
        reader = getattr(writer, "_reader", None)
        without_error = reader is None or reader.exception() is None
        # Before Python 3.11 is_closing() is false for a TLS transport that has lost its connection.
        closing = lost or transport.is_closing()
        self._closed_directly = closing and without_error and not self._handed_over

    def _writer_collected(self, writer: asyncio.StreamWriter) -> None:
        if self._writer() not in (None, writer):
            return  # another writer goes on
        self.collected = not self.close_called
        self._look(writer)
        # If warnings are errors, the ResourceWarning keeps the writer alive after all. It has closed itself by then.
        self._writer = _gone

    def __repr__(self) -> str:
        told = [fact for fact in (*self.__slots__, "connection_lost") if getattr(self, fact) is True and fact[0] != "_"]
        return f"<ClientStream {self.client_address[0]}:{self.client_address[1]} {' '.join(told) or 'open'}>"
