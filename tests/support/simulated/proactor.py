"""A proactor on top of selectors, so that the loop that Windows has by default runs elsewhere.

The loop is asyncio's own `BaseProactorEventLoop`, with its transports: it has no ``add_reader``, and reads ahead even
while it is paused. Only the operations of the system are simulated. An operation is tried at once, and then whenever
its socket is ready, as an overlapped operation of Windows is carried out by the system.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import selectors
import socket
from asyncio import events, proactor_events
from typing import Any, Callable, Optional

__all__ = ["ProactorLoop", "TICK"]

#: The resolution of Windows' monotonic clock, in seconds.
TICK = 0.015625

_Selector = selectors.DefaultSelector


class _Operation(asyncio.Future):  # type: ignore[type-arg] # it isn't generic at run time in Python 3.8
    """What the system does with a socket in the background."""

    def __init__(self, proactor: Proactor, sock: Any, event: int, attempt: Callable[[], Any]) -> None:
        super().__init__(loop=proactor.loop)
        self.proactor = proactor
        self.sock = sock
        self.event = event
        self.fd = sock.fileno()
        self._attempt = attempt

    def attempt(self) -> bool:
        """Try it. Return whether it has ended."""
        if self.done():
            return True
        try:
            if self.sock.fileno() < 0:
                raise ConnectionResetError(995, "The I/O operation has been aborted")
            result = self._attempt()
        except (BlockingIOError, InterruptedError):
            return False
        except BaseException as error:
            self.set_exception(error)
        else:
            self.set_result(result)
        return True

    def cancel(self, msg: Any = None) -> bool:
        """Take it back."""
        self.proactor.forget(self)
        return super().cancel()


class _Overlapped:
    """An operation, as the system has it."""

    def __init__(self, operation: _Operation) -> None:
        self._operation = operation

    @property
    def pending(self) -> bool:
        """Whether the system has not carried it out yet."""
        with _Selector() as selector:
            selector.register(self._operation.fd, self._operation.event)
            return not selector.select(0)


class Proactor:
    """Carries out operations, and completes their futures."""

    def __init__(self) -> None:
        self.loop: Any = None
        self._selector: Optional[selectors.BaseSelector] = _Selector()
        self._operations: dict[int, list[_Operation]] = {}

    @property
    def _cache(self) -> dict[int, Any]:
        """What is under way, in the form in which the Proactor of Windows has it."""
        return {id(each): (each, _Overlapped(each), each.sock, None)
                for some in self._operations.values() for each in some}

    def set_loop(self, loop: events.AbstractEventLoop) -> None:
        self.loop = loop

    def select(self, timeout: Optional[float] = None) -> list[Any]:
        """Wait until a socket is ready, and carry out what can be."""
        assert self._selector is not None
        closed = [fd for fd, operations in self._operations.items()
                  if any(each.sock.fileno() < 0 for each in operations)]
        for fd in closed:
            self._carry_out(fd, -1)
        for key, _ in self._selector.select(0 if closed else timeout):
            self._carry_out(key.fd, -1)
        return []

    def _carry_out(self, fd: int, events_mask: int) -> None:
        waiting: set[int] = set()
        left = []
        for operation in self._operations.get(fd, ()):
            # Operations of one kind are carried out in the order in which they were begun.
            if operation.event in waiting or not operation.attempt():
                waiting.add(operation.event)
                left.append(operation)
        self._operations[fd] = left
        self._register(fd)

    def _register(self, fd: int) -> None:
        """Wait for what the operations of a descriptor need."""
        if self._selector is None:
            return
        operations = self._operations.get(fd, [])
        mask = 0
        for operation in operations:
            mask |= operation.event
        known = self._selector.get_map().get(fd)
        if not mask:
            self._operations.pop(fd, None)
            if known is not None:
                self._selector.unregister(fd)
        elif known is None:
            self._selector.register(fd, mask)
        elif known.events != mask or known.data is not operations[0].sock:
            # The number may belong to another socket now, which epoll(7) does not know.
            self._selector.unregister(fd)
            self._selector.register(fd, mask, operations[0].sock)

    def _begin(self, sock: Any, event: int, attempt: Callable[[], Any]) -> _Operation:
        if sock.fileno() < 0:
            raise OSError(10038, "An operation was attempted on something that is not a socket")
        operation = _Operation(self, sock, event, attempt)
        stale = [each for each in self._operations.get(operation.fd, ()) if each.sock.fileno() < 0]
        for each in stale:
            each.attempt()
            self.forget(each)
        if any(each.event == event for each in self._operations.get(operation.fd, ())) or not operation.attempt():
            self._operations.setdefault(operation.fd, []).append(operation)
            self._register(operation.fd)
        return operation

    def forget(self, operation: _Operation) -> None:
        """Carry out an operation no more."""
        operations = self._operations.get(operation.fd, [])
        if operation in operations:
            operations.remove(operation)
            self._register(operation.fd)

    # The operations.

    def recv(self, conn: Any, nbytes: int, flags: int = 0) -> Any:
        return self._begin(conn, selectors.EVENT_READ, lambda: conn.recv(nbytes, flags))

    def recv_into(self, conn: Any, buf: Any, flags: int = 0) -> Any:
        if isinstance(conn, socket.socket):
            return self._begin(conn, selectors.EVENT_READ, lambda: conn.recv_into(buf, 0, flags))
        return self._begin(conn, selectors.EVENT_READ, lambda: os.readv(conn.fileno(), [buf]))

    def send(self, conn: Any, buf: Any, flags: int = 0) -> Any:
        left = memoryview(buf).cast("B")
        size = len(left)

        def attempt() -> int:
            nonlocal left
            while left:
                left = left[conn.send(left, flags) :]
            return size
        return self._begin(conn, selectors.EVENT_WRITE, attempt)

    def recvfrom(self, conn: Any, nbytes: int, flags: int = 0) -> Any:
        return self._begin(conn, selectors.EVENT_READ, lambda: conn.recvfrom(nbytes, flags))

    def sendto(self, conn: Any, buf: Any, flags: int = 0, addr: Any = None) -> Any:
        return self._begin(conn, selectors.EVENT_WRITE,
                           lambda: conn.send(buf, flags) if addr is None else conn.sendto(buf, flags, addr))

    def connect(self, conn: Any, address: Any) -> Any:
        begun = False

        def attempt() -> None:
            nonlocal begun
            if not begun:
                begun = True
                conn.connect(address)
                return
            error = conn.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, os.strerror(error))
        return self._begin(conn, selectors.EVENT_WRITE, attempt)

    def accept(self, listener: Any) -> Any:
        def attempt() -> Any:
            conn, address = listener.accept()
            conn.settimeout(listener.gettimeout())
            return conn, address

        async def accept_coro(future: Any) -> None:
            with contextlib.suppress(OSError):  # as Windows has it, an accept that fails is logged; not so here
                await future

        future = self._begin(listener, selectors.EVENT_READ, attempt)
        # As on Windows: a task of the loop's own waits for each client.
        asyncio.ensure_future(accept_coro(future), loop=self.loop)  # noqa: RUF006 - the future refers to it
        return future

    def _stop_serving(self, sock: Any) -> None:
        for operation in list(self._operations.get(sock.fileno(), ())):
            operation.cancel()

    def close(self) -> None:
        for operations in list(self._operations.values()):
            for operation in list(operations):
                operation.cancel()
        if self._selector is not None:
            self._selector.close()
            self._selector = None


class _Transport(proactor_events._ProactorSocketTransport):
    """A transport that closes its socket although that can't be shut down after a reset: on Windows it can."""

    def _call_connection_lost(self, exc: Optional[BaseException]) -> None:
        sock = self._sock
        try:
            super()._call_connection_lost(exc)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise
            sock.close()
            self._sock = None
            self._called_connection_lost = True
            server, self._server = self._server, None
            if server is not None:
                server._detach()


class ProactorLoop(proactor_events.BaseProactorEventLoop):
    """Windows' default loop, as far as it can be had elsewhere, with Windows' clock."""

    def __init__(self) -> None:
        super().__init__(Proactor())
        self._clock_resolution = TICK

    def _make_socket_transport(self, sock: Any, protocol: Any, waiter: Any = None, extra: Any = None,
                               server: Any = None) -> Any:
        return _Transport(self, sock, protocol, waiter, extra, server)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Say nothing of a TLS transport that can't shut down its socket after a reset: on Windows it can."""
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno == errno.ENOTCONN):
            super().call_exception_handler(context)

    def run_forever(self) -> None:
        try:
            assert self._self_reading_future is None  # type: ignore[has-type]
            self.call_soon(self._loop_self_reading)
            super().run_forever()
        finally:
            reading, self._self_reading_future = self._self_reading_future, None
            if reading is not None:
                reading.cancel()
