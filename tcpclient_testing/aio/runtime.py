"""Runs the engine in an event loop: puts the parts of one server together, begins and ends them.

    new --bind--> running --GiveUp--> failed --close--> closed
                     `---------------close----------------^
                     `---------------clear----------------> closed; another one takes over the listening sockets

While the server is running, `attach` gives it its loop. The engine receives events and queues commands; `Performer`
carries them out, in order. The parts share a `ServerContext`.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Optional, Union

from tcpclient_testing.aio.connection.registry import Connections
from tcpclient_testing.aio.context import is_virtual
from tcpclient_testing.aio.sockets.layer import SocketLayer
from tcpclient_testing.aio.sockets.listening import listen
from tcpclient_testing.engine.commands import GiveUp

from .accepting import Reception
from .commands import Performer
from .host import HandleFactory, Host

if TYPE_CHECKING:
    from tcpclient_testing.aio.guards.guard import DeadlockGuard
    from tcpclient_testing.aio.guards.thread_guard import ThreadGuard
    from tcpclient_testing.network.conditions import Network

    from .handlers import Handlers
    from .tasks import StepTasks

__all__ = ["Runtime"]

__unittest = True


class Runtime:
    """The inner part of one server; see `Host` for the arguments. There are `connections` from `attach` on."""

    host_type: ClassVar[type[Host]] = Host
    reception_type: ClassVar[type[Reception]] = Reception

    def __init__(self, timeout: Optional[float], idle_timeout: Optional[float], transcript_limit: int,
                 make_handle: HandleFactory, make_handle_for_handler: HandleFactory) -> None:
        self.host = host = self.host_type(timeout, idle_timeout, transcript_limit, make_handle,
                                          make_handle_for_handler, self.attach, self._address)
        self.context = host.context
        self.session = host.session
        self.transcript = host.transcript
        self.reception = self.reception_type(host.context)
        self.running = False
        self.forked = False  # whether it is the parent's server, in a forked child
        self.connections: Connections
        self._performer: Performer
        self._guard: Union[DeadlockGuard, ThreadGuard, None] = None
        self._network: Optional[Network] = None

    def set_network(self, network: Optional[Network]) -> None:
        """Set the network conditions of all connections; None for no conditions. Call this before `attach`."""
        self._network = network

    @staticmethod
    def is_virtual(loop: asyncio.AbstractEventLoop) -> bool:
        """Whether a loop runs on virtual time."""
        return is_virtual(loop)

    def listen(self, host: Optional[str], port: int, *, allow_remote: bool) -> None:
        """Listen at this address; see `bind`."""
        self.bind(lambda listeners: listen(host, port, allow_remote=allow_remote, into=listeners))

    def bind(self, listen: Callable[[list[socket.socket]], Any]) -> None:
        """Let `listen` append listening sockets to a list. Clients wait in their backlog until `attach` is called.

        If that raises, nothing stays open.
        """
        self.reception.bind(listen)
        self.running = True

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run in `loop`: accept clients from now on. The time-outs of steps that are already written start now."""
        context, host = self.context, self.host
        self.connections = Connections(context, self._network)
        self._performer = Performer(context, host, self.connections, self.reception)
        host.attached(loop, self.connections.link_of)
        context.attach(loop, self._make_sockets(loop), self._performer.perform, self._performer.perform_deferred)
        self.reception.open(self.connections.accept)
        self._guard = guard = self._make_guard()
        if guard is not None:
            guard.start()
        self.session.begin_time(loop.time())
        context.perform()

    def _make_sockets(self, loop: asyncio.AbstractEventLoop) -> SocketLayer:
        return SocketLayer(loop)

    def _make_guard(self) -> Union[DeadlockGuard, ThreadGuard, None]:
        from tcpclient_testing.aio.guards.guard import DeadlockGuard
        reception = self.reception
        return DeadlockGuard(self.context, self.connections.links, lambda: reception.listeners,
                             lambda: reception.accepted, self._wants_a_turn, self._fail_from_outside)

    def close(self) -> None:
        """Close everything at once, whatever the clients do. If it is interrupted, call it again."""
        context = self.context
        context.close()
        if self._guard is not None:
            self._guard.stop()
        self.session.leave()
        self.reception.close()
        if not context.attached:
            self.host.closed()
            return
        context.sockets.close()
        if context.loop.is_closed():
            self.connections.abandon()
            self.host.closed()
            return
        self.reception.give_up()
        self._performer.stop()
        self.connections.leave()
        self.host.waiters.give_up()
        self.host.closed()

    def clear(self) -> list[socket.socket]:
        """Close everything but the listening sockets, whatever the clients do, and return those sockets.

        Clients that have connected by now are reset, even if they were not accepted yet. No socket is returned if the
        server has lost its address.
        """
        listeners = self.reception.release()
        if listeners:
            self.context.clear()
        self.close()
        return listeners

    def abandon(self) -> None:
        """In a forked child: close our copies of the descriptors. The loop and the connections belong to the parent."""
        self.forked = True
        self.context.close()
        self.session.leave()
        self.reception.abandon()
        if self.context.attached:
            self.connections.abandon()
            self.context.sockets.close()
            self.host.take_body()

    @property
    def closed(self) -> bool:
        """Whether the server was closed."""
        return self.context.closed

    @property
    def cleared(self) -> bool:
        """Whether another runtime has taken over the listening sockets."""
        return self.context.cleared

    def runs_handler(self, task: Optional[asyncio.Task[Any]]) -> bool:
        """Whether a handler runs in `task`."""
        return self.handlers is not None and self.handlers.includes(task)

    @property
    def handlers(self) -> Optional[Handlers]:
        """The tasks that run handlers; None if no handler has been started."""
        return self._performer.handlers if self.context.attached else None

    @property
    def step_tasks(self) -> Optional[StepTasks]:
        """The tasks that compute replies and wait for events; None if no step has needed one."""
        return self._performer.step_tasks if self.context.attached else None

    def splits_of(self, number: int) -> tuple[int, ...]:
        """Return the offsets at which the outgoing stream of a connection was certainly split."""
        return self.connections.splits_of(number) if self.context.attached else ()

    def look_back(self, exc: BaseException) -> None:
        """The test has raised `exc`: the script fails if that shows what its client has done.

        It may have blocked the loop until now, or have refused the server's certificate.
        """
        mismatch = None if self._guard is None else self._guard.look_back(exc)
        if mismatch is not None:
            self.context.fail(None, None, mismatch)
        elif not self.context.environment.over and "ssl" in sys.modules:
            from .tls.refusal import judge_refusal
            judge_refusal(exc, self.context)

    def _wants_a_turn(self) -> bool:
        """Return whether the script waits only for the next iteration of the loop."""
        return self._performer.busy or self.reception.attaching

    def _fail_from_outside(self) -> None:
        """Give up, because something other than the engine has set the session's failure."""
        if not self.context.closed:
            self.context.commands[:] = [GiveUp()]
            self.context.perform()

    def _address(self) -> Any:
        return self.reception.address
