"""Accepts a server's clients. Owns the listening sockets, and each accepted socket until it has a protocol.

    new --bind--> bound --open--> accepting <--refuse, accept again--> refusing
                    |--------------stop-------------------------------> stopped: refuses clients, keeps the address
                    |--------------release----------------------------> released: the sockets belong to a new script
                    `--------------close------------------------------> closed

Clients that connect before there is a loop wait in the backlog.

After `fail`, as many clients as the script says are reset right away. They don't count as connections of the script.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import selectors
import socket
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from tcpclient_testing.aio.native import originals
from tcpclient_testing.aio.process.blocked_call import SELECTABLE, readable
from tcpclient_testing.aio.sockets.attaching import Attaching
from tcpclient_testing.aio.sockets.listening import BACKLOG, EXHAUSTED, LINGER_RESET, close_all, listening, refusing
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.wording import address_text

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import ServerContext
    from tcpclient_testing.aio.sockets.accept_loop import AcceptLoop
    from tcpclient_testing.aio.sockets.attaching import DelayedReset

__all__ = ["Reception"]

__unittest = True

_BUFFER = 256 * 1024

_buffers = threading.local()


def _receive_buffer(loop: asyncio.AbstractEventLoop) -> memoryview:
    """The buffer into which bytes are received and in which they are judged: one for all connections of a thread.

    They can share it because the engine is done with it before the loop reads again. With the Proactor loop of Windows
    each connection has its own buffer, because the system fills it in the background.
    """
    if hasattr(loop, "_proactor"):
        return memoryview(bytearray(_BUFFER // 4))
    buffer: Optional[memoryview] = getattr(_buffers, "view", None)
    if buffer is None:
        buffer = _buffers.view = memoryview(bytearray(_BUFFER))
    return buffer


def _exhausted(error: OSError) -> str:
    """Say of what the system has run out; of descriptors in this process, say how many it may have."""
    if error.errno != errno.EMFILE or not hasattr(os, "sysconf"):
        return f"{error.strerror}"
    return f"{error.strerror} in the server's own process, which may have {os.sysconf('SC_OPEN_MAX')} (RLIMIT_NOFILE)"


class Reception:
    """Accepts clients for one server."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self.address: Any = None
        self.listeners: list[socket.socket] = []
        self._kept: list[socket.socket] = []  # bound to the addresses after `stop`
        self._addresses: frozenset[Any] = frozenset()
        self._attaching: set[Attaching] = set()
        self._delayed_resets: set[DelayedReset] = set()
        self._accepting = True
        self._lacks_descriptors = False
        self._to_fail = 0
        self._accept_loops: list[AcceptLoop] = []
        self._make_protocol: Callable[[memoryview, Any], asyncio.BaseProtocol]  # from open on

    def bind(self, listen: Callable[[list[socket.socket]], Any]) -> None:
        """Let `listen` append listening sockets to a list. Clients wait in their backlog until `open` is called."""
        try:
            listen(self.listeners)
            # A socket that took another's place at a path was bound to another name before.
            names = [getattr(listener, "path", None) or listener.getsockname() for listener in self.listeners]
            self.address = names[0]
            self._addresses = frozenset(name[:2] if isinstance(name, tuple) else name for name in names)
        except BaseException:
            self.close()
            raise

    def open(self, make_protocol: Callable[[memoryview, Any], asyncio.BaseProtocol]) -> None:
        """Accept clients from now on, in the server's loop.

        `make_protocol` makes a connection's protocol from the buffer in which it receives, and the client's address.
        """
        self._make_protocol = make_protocol
        self._listen()

    def _listen(self) -> None:
        loop = self._context.sockets.loop
        try:
            for listener in self.listeners:
                # Pass the number: for a socket, the selectors of 3.9 to 3.12 make a message with its repr, and drop it.
                loop.add_reader(listener.fileno(), self.accept_from, listener)
        except NotImplementedError:  # the loop is a Proactor, Windows' default
            from tcpclient_testing.aio.sockets.accept_loop import AcceptLoop
            self._accept_loops += [AcceptLoop(loop, listener, self._accepted, self._failed)
                                   for listener in self.listeners]

    def _ignore(self) -> None:
        """Take no notice of the listening sockets any more."""
        while self._accept_loops:
            self._accept_loops.pop().stop()
        loop = self._context.sockets.loop if self._context.attached else None
        for listener in self.listeners:
            if loop is not None and not loop.is_closed() and listener.fileno() >= 0:
                with contextlib.suppress(NotImplementedError):
                    loop.remove_reader(listener.fileno())

    def close(self) -> None:
        """Accept no more clients, and close the listening sockets. If it is interrupted, call it again."""
        self._ignore()
        close_all(self.listeners)
        close_all(self._kept)

    def stop(self) -> None:
        """Refuse clients from now on, since the script has failed. Keep the address until `close`.

        The system gives it to nobody by itself. But another server that asks for this port gets it. Without a
        descriptor left, don't keep it: the report needs descriptors, to load its code.
        """
        self._ignore()
        if self._lacks_descriptors:
            close_all(self.listeners)
            return
        self._kept, self.listeners = self.listeners, []
        if self._accepting:
            with contextlib.suppress(OSError):  # somebody else has the address now: `release` returns no socket
                self._refuse(self._kept)

    def release(self) -> list[socket.socket]:
        """Accept no more clients, and return the listening sockets, which listen again if they did not.

        Reset the clients that wait there: they have connected before that. No socket is returned if the address was
        lost.
        """
        self._ignore()
        for listener in self.listeners if self._accepting else ():
            _turn_away(listener)
        try:
            for bound in self._kept if self._accepting else [*self._kept, *self.listeners]:
                listening(bound)
        except OSError:
            self.close()
        released = [*self.listeners, *self._kept]
        self.listeners, self._kept = [], []
        return released

    def give_up(self) -> None:
        """Close the accepted sockets that have no protocol yet. If the loop goes on, the protocol resets them.

        If it is interrupted, call it again.
        """
        for attaching in list(self._attaching) if not self._context.cleared else ():
            attaching.cancel()
            self._attaching.discard(attaching)
        for turning_away in list(self._delayed_resets):
            turning_away.cancel()
            self._delayed_resets.discard(turning_away)

    def abandon(self) -> None:
        """In a forked child: close our copies of the listening sockets, and of those that have no protocol yet."""
        for listeners in self.listeners, self._kept:
            while listeners:
                os.close(listeners.pop().detach())  # close() would also remove the path of a Unix-domain socket
        for attaching in list(self._attaching):
            attaching.abandon()
        for turning_away in list(self._delayed_resets):
            turning_away.abandon()
        self._attaching.clear()
        self._delayed_resets.clear()

    def listens_at(self, address: Union[tuple[str, int], str]) -> bool:
        """Whether `address`, as a client sees it, is one of the listening addresses: host and port, or a path."""
        return address in self._addresses

    # Accepting.

    def accept(self) -> None:
        """Accept every waiting client."""
        for listener in self.listeners:
            self.accept_from(listener)

    def accept_from(self, listener: socket.socket) -> None:
        """Accept every client that waits at this listening socket."""
        while True:
            try:
                accepted, peername = originals.accept(listener)
            except OSError as error:
                # Without a descriptor, accept(2) fails before it looks whether a client waits.
                if error.errno in EXHAUSTED and readable([listener]):
                    self._failed(error)
                break  # no client waits (any more)
            self._accepted(accepted, peername)

    def _failed(self, error: OSError) -> None:
        """A client can't be accepted. One that has gone meanwhile concerns nobody."""
        if error.errno in EXHAUSTED:
            self._lacks_descriptors = True
            self._context.fail(None, None, Mismatch(f"a client can't be accepted: {_exhausted(error)}"))

    def _accepted(self, accepted: socket.socket, peername: Any) -> None:
        """A client has connected: give it a protocol, or reset it."""
        context = self._context
        if SELECTABLE is not None and self._is_full(SELECTABLE):
            accepted.close()
            context.fail(None, None, Mismatch("a client can't be accepted: the server's loop waits by select(), which "
                                              f"takes {SELECTABLE} sockets on this system"))
            return
        if self._to_fail:
            self._fail(accepted, peername)
            return
        accepted.setblocking(False)
        if isinstance(peername, str):
            from tcpclient_testing.aio.sockets.unix_diag import UnixPeername, peer_of
            peername = UnixPeername(peername, peer_of(accepted) or 0)
        factory = partial(self._make_protocol, _receive_buffer(context.loop), peername)
        attaching = Attaching(context.loop, context.sockets.loop.connect_accepted_socket(factory, accepted), accepted,
                              self._attached)
        self._attaching.add(attaching)
        attaching.proceed()

    def _is_full(self, most: int) -> bool:
        """Whether the loop watches as many sockets as it can, or will when it knows of all that were accepted."""
        context = self._context
        selector = getattr(context.loop, "_selector", None)
        if not isinstance(selector, selectors.SelectSelector):
            return False
        accepted = sum(each.inbox.accepted and not each.inbox.closed for each in context.session.connections.all)
        own = len(self.listeners) + 1  # what wakes the loop
        # The client that is accepted needs one more, and so does its own end, if it is in this loop.
        return max(len(selector.get_map()), accepted + len(self._attaching) + own) > most - 2

    def _attached(self, attaching: Attaching) -> None:
        self._attaching.discard(attaching)

    @property
    def attaching(self) -> bool:
        """Whether there is an accepted client that the engine doesn't know yet, or that is about to be reset."""
        return bool(self._attaching or self._delayed_resets)

    @property
    def accepted(self) -> list[socket.socket]:
        """The sockets of accepted clients that have no protocol yet."""
        # Copies: another thread asks for them, too.
        return [*(attaching.accepted for attaching in tuple(self._attaching)),
                *(turning_away.accepted for turning_away in tuple(self._delayed_resets))]

    # Called by steps of the script.

    def fail(self, count: int) -> None:
        """Reset the next `count` connections."""
        self._to_fail = count

    def _fail(self, accepted: socket.socket, peername: Any) -> None:
        """Reset a connection that does not belong to the script."""
        from tcpclient_testing.aio.sockets.attaching import DelayedReset
        self._to_fail -= 1
        self._context.turned_away()
        self._context.note(f"reset a connection from {address_text(peername)}, as fail_connections() says "
                           f"({self._to_fail} to go)")
        self._delayed_resets.add(DelayedReset(self._context.loop, accepted, self._delayed_resets.discard))

    def set_accepting(self, accepting: bool) -> None:
        """Refuse connections from now on, or accept them again."""
        if accepting == self._accepting:
            return
        self._accepting = accepting
        if accepting:
            self._context.note("accepts connections again")
            for listener in self.listeners:
                listener.listen(BACKLOG)
            self._listen()
            return
        self._context.note("refuses connections")
        self._ignore()
        try:
            self._refuse(self.listeners)
        except OSError as error:
            what = "path" if isinstance(self.address, str) else "port"
            self._context.fail(None, None, Mismatch(
                f"the {what} can't be kept while connections are refused: {error}"))

    def _refuse(self, listeners: list[socket.socket]) -> None:
        """Put sockets into the place of these that are bound to the same address, and don't listen."""
        if not isinstance(self.address, str):
            refusing(listeners)
            return
        from tcpclient_testing.aio.sockets.unix import refusing_unix
        try:
            for index, listener in enumerate(listeners):
                listeners[index] = refusing_unix(listener, self.address)
        except BaseException:
            close_all(listeners)
            raise
        # Clients see the name to which a socket was bound, although its file has another name by now.
        self._addresses = self._addresses.union(listener.getsockname() for listener in listeners)


def _turn_away(listener: socket.socket) -> None:
    """Reset every client that waits at a listening socket."""
    for _ in range(BACKLOG):  # bounded: a client may connect again at once, again and again
        try:
            accepted, _ = originals.accept(listener)
        except OSError:
            return  # no client waits (any more)
        with accepted:
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
