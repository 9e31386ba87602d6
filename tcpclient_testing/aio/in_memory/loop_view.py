"""An event loop as transports see it, over `MemorySocket`s: asyncio's own transports, without descriptors.

asyncio's transports of sockets ask their loop to watch a descriptor, and call the socket when that can be read or
written. `LoopView` is such a loop. It watches memory sockets itself, and passes everything else on to the real loop. So
buffers, flow control, half-closes, errors and TLS are those of asyncio, in every version of Python.

What happens in one turn of the loop is seen in the next one, behind all callbacks that were scheduled meanwhile, and
again in each turn as long as it lasts: as with epoll(7). For that, `PollingSelector` takes part in the loop's own wait.
Without it (see `LoopView.hook`), callbacks are scheduled at once, in the order in which sockets become ready.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
import weakref
from asyncio import base_events, constants, selector_events
from collections.abc import Coroutine
from functools import partial
from typing import Any, Callable, Optional, Protocol

__all__ = ["LoopView"]

__unittest = True


# What typeshed does not declare is used, too.
_base: Any = base_events.BaseEventLoop


class Watched(Protocol):
    """What can be watched: a socket, or a listening socket."""

    @property
    def can_read(self) -> bool:
        """Whether it is readable."""

    @property
    def can_write(self) -> bool:
        """Whether it is writable."""

    def fileno(self) -> int:
        """The number that stands for it."""

    def watch(self, readable: Optional[Callable[[], None]] = None,
              writable: Optional[Callable[[], None]] = None) -> None:
        """Call these when it may have become ready."""


class _Watch:
    """Calls `callback` in each turn of the loop in which `is_ready` says yes, until it is stopped.

    at rest --look, and it is ready--> pending --`view` asks for it--> scheduled --called--> at rest, or pending
    """

    __slots__ = ("_view", "_is_ready", "_callback", "_context", "_pending", "_handle")

    def __init__(self, view: LoopView, is_ready: Callable[[], bool], callback: Callable[[], Any]) -> None:
        self._view = view
        self._is_ready = is_ready
        self._callback: Optional[Callable[[], Any]] = callback
        self._context = contextvars.copy_context()
        self._pending = False
        self._handle: Optional[asyncio.Handle] = None
        self.look()

    def look(self) -> None:
        """The socket may have become ready."""
        if not self._pending and self._callback is not None and self._is_ready():
            self._pending = True
            self._view.schedule(self)

    def schedule(self) -> None:
        """Call the callback in this turn of the loop, or the next one."""
        if self._callback is not None and not self._view.is_closed():
            self._handle = self._view.call_soon(self._call, context=self._context)

    def stop(self) -> None:
        """Call nothing more."""
        self._callback = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _call(self) -> None:
        self._handle, self._pending = None, False
        callback = self._callback
        if callback is not None and self._is_ready():
            callback()
            self.look()


class PollingSelector:
    """The `inner` selector of a loop, which asks a view of the loop each time before it waits."""

    def __init__(self, inner: Any, deliver: Callable[[], bool]) -> None:
        self.inner = inner
        self._deliver = deliver

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def select(self, timeout: Optional[float] = None) -> Any:
        """Wait as the inner selector does, but not at all if a socket in memory is ready."""
        return self.inner.select(0 if self._deliver() else timeout)


class LoopView:
    """The loop of the transports of memory sockets. `loop` does everything else.

    A socket is `add`ed before it is watched. It is forgotten when nobody refers to it.
    """

    _ensure_fd_no_transport = selector_events.BaseSelectorEventLoop._ensure_fd_no_transport  # type: ignore[attr-defined]
    _make_ssl_transport = selector_events.BaseSelectorEventLoop._make_ssl_transport  # type: ignore[attr-defined]

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._known: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self._pending: list[_Watch] = []
        self._polling: Optional[PollingSelector] = None
        self._readers: dict[int, _Watch] = {}
        self._writers: dict[int, _Watch] = {}
        self._transports: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        # Called for each callback of each transport: don't look them up in `__getattr__`.
        self.call_soon = loop.call_soon
        self.call_later = loop.call_later
        self.create_future = loop.create_future
        self.get_debug = loop.get_debug
        self.is_closed = loop.is_closed
        self.time = loop.time

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    # The loop's wait.

    def hook(self) -> None:
        """Take part in the loop's wait from now on."""
        loop: Any = self._loop
        self._polling = loop._selector = PollingSelector(loop._selector, self._deliver)

    def unhook(self) -> None:
        """Take part no more. What becomes ready from now on is called in the next turn."""
        loop: Any = self._loop
        if self._polling is not None and loop._selector is self._polling:
            loop._selector = self._polling.inner
        self._polling = None
        self._deliver()

    def schedule(self, watch: _Watch) -> None:
        """A watched socket is ready: call its callback in the next turn."""
        if self._polling is None:
            watch.schedule()
        else:
            self._pending.append(watch)

    def _deliver(self) -> bool:
        pending, self._pending = self._pending, []
        for watch in pending:
            watch.schedule()
        return bool(pending)

    # Transports.

    def connect_accepted_socket(self, protocol_factory: Callable[[], asyncio.BaseProtocol], sock: Any,
                                **options: Any) -> Coroutine[Any, Any, tuple[Any, Any]]:
        """Give a server's end its transport, as the loop's method does."""
        connecting: Coroutine[Any, Any, tuple[Any, Any]] = _base.connect_accepted_socket(self, protocol_factory, sock,
                                                                                         **options)
        return connecting

    async def connect_transport(self, sock: Any, *arguments: Any, **options: Any) -> tuple[Any, Any]:
        """Give an end its transport. It is closed if it gets none, since nobody else has it."""
        self.add(sock)
        try:
            connected: tuple[Any, Any] = await _base._create_connection_transport(self, sock, *arguments, **options)
        except BaseException:
            if sock.fileno() not in self._transports:
                sock.close()
            raise
        return connected

    _create_connection_transport = connect_transport

    def _make_socket_transport(self, *arguments: Any, **options: Any) -> Any:
        selecting: Any = selector_events.BaseSelectorEventLoop
        transport = selecting._make_socket_transport(self, *arguments, **options)
        transport._sendfile_compatible = constants._SendfileMode.FALLBACK  # no descriptor
        return transport

    def add(self, watched: Watched) -> None:
        """Know this socket by its number from now on."""
        self._known[watched.fileno()] = watched

    def add_reader(self, number: int, callback: Callable[..., Any], *args: Any) -> None:
        """Call `callback` whenever the socket can be read."""
        self.remove_reader(number)
        watched: Watched = self._known[number]
        watch = self._readers[number] = _Watch(self, lambda: watched.can_read, partial(callback, *args))
        watched.watch(readable=watch.look)

    def remove_reader(self, number: int) -> bool:
        """Stop that. Return whether there was a callback."""
        return self._stop(self._readers, number)

    def add_writer(self, number: int, callback: Callable[..., Any], *args: Any) -> None:
        """Call `callback` whenever the socket can be written."""
        self.remove_writer(number)
        watched: Watched = self._known[number]
        watch = self._writers[number] = _Watch(self, lambda: watched.can_write, partial(callback, *args))
        watched.watch(writable=watch.look)

    def remove_writer(self, number: int) -> bool:
        """Stop that. Return whether there was a callback."""
        return self._stop(self._writers, number)

    @staticmethod
    def _stop(watches: dict[int, _Watch], number: int) -> bool:
        watch = watches.pop(number, None)
        if watch is not None:
            watch.stop()
        return watch is not None

    # What the representations of transports show.

    @property
    def _selector(self) -> LoopView:
        return self

    def get_key(self, number: int) -> selectors.SelectorKey:
        """Return what a socket is watched for, as selectors do. Raises `KeyError` if it is not."""
        events = selectors.EVENT_READ * (number in self._readers) | selectors.EVENT_WRITE * (number in self._writers)
        if not events:
            raise KeyError(number)
        return selectors.SelectorKey(number, number, events, None)

    # What transports call: they know already that the socket is theirs.
    _add_reader = add_reader
    _remove_reader = remove_reader
    _add_writer = add_writer
    _remove_writer = remove_writer
