"""What one client did with its pair of asyncio streams, seen from inside their process.

On the wire one can't see whether a client called ``writer.close()``, awaited ``wait_closed()``, or read what it was
sent. In its own process one can: the writer that `watch` gives it takes notes, in a record of this class.

Invariants:

- A record states facts, and judges none of them: `duties` does.
- A record keeps no object of the client's alive but the reader's buffer, a `bytearray`, which refers to nothing. So
  whatever the client drops is collected, and complained about by Python, when it would have been without us.
- What only a living writer can tell is told once more when it is collected; from then on that answer stands.

Limit. A client that upgrades to TLS by hand (``loop.start_tls()`` and a new writer, as before Python 3.11) and keeps
the old writer to the end can't be told from one that never closed it.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Endpoint = tuple[str, int]

__all__ = ["ClientStream"]

__unittest = True


def _gone() -> None:
    """What a weak reference says of an object that was collected."""


class ClientStream:
    """What one client did with its pair of streams: plain facts, true at the moment at which they are read.

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
        self._writer: Callable[[], asyncio.StreamWriter | None] = weakref.ref(writer)
        self._closed_directly = self._handed_over = False
        self._task: Callable[[], asyncio.Task[Any] | None] = _gone
        self.acted()

    def acted(self) -> None:
        """The client does something with its writer: whoever it is may be about to do the rest."""
        try:
            task = asyncio.current_task()
        except RuntimeError:
            return  # in no loop
        if task is not None:
            self._task = weakref.ref(task)

    def may_go_on(self, current: asyncio.Task[Any] | None) -> bool:
        """Whether the task that last closed or half-closed the writer may do more with it.

        It can't if it has ended, if it is the `current` one, which is busy asking, or if the writer was collected.
        """
        task = self._task()
        return task is not None and task is not current and not task.done() and self._writer() is not None

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
        # Where warnings are errors, the one that it gives now keeps it alive after all: it has closed itself by then.
        self._writer = _gone

    def __repr__(self) -> str:
        told = [fact for fact in (*self.__slots__, "connection_lost") if getattr(self, fact) is True and fact[0] != "_"]
        return f"<ClientStream {self.client_address[0]}:{self.client_address[1]} {' '.join(told) or 'open'}>"
