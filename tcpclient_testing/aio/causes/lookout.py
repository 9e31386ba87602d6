"""Looks, while somebody waits for a server's script, whether the client has failed by itself: see `Causes`.

    a wait begins -> look -> again, a moment later: nothing has happened -> at rest? -> the body gets the exception

There is one timer for all waits of a server, so a wait costs nothing. A client's data may be under way for a moment.
Hence the two looks: what was sent before the first has come by the second. On virtual time no timer is needed: the loop
asks before each jump.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.aio.context import is_virtual
from tcpclient_testing.aio.process import thread_errors
from tcpclient_testing.harness.in_flight import called_by_loop

from .dead import dead_tasks
from .unretrieved import Unretrieved

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import ServerContext

    from .causes import Causes

__all__ = ["Lookout"]

__unittest = True

# Seconds between two looks.
_PAUSE = 0.025

# After so many looks at which nothing had happened, there are fewer.
_OFTEN, _SELDOM = 24, 8


_running: weakref.WeakSet[Lookout] = weakref.WeakSet()


def running_servers() -> list[tuple[ServerContext, Any]]:
    """Return the servers that run in this process, each with its address."""
    return [(each._context, each._address()) for each in list(_running)]


class Lookout:
    """The looks of one server in `loop`: its own, or, if `elsewhere`, one where clients of a server in a thread run.

    `start` it, and `listen` when the script begins; whether or not these have ended, `stop` undoes them, and can be
    called again if it was interrupted. What has failed before the script began belongs to an earlier test, perhaps.

    - `address` returns where the server listens.
    - `waiting` returns the tasks that wait for its steps.
    - `report` gives one of these, the body, an exception. It returns False if the body doesn't wait.
    - `waiting_threads` returns the threads that wait for servers, and those in which servers run.
    """

    def __init__(self, context: ServerContext, address: Callable[[], Any],
                 waiting: Callable[[], Collection[asyncio.Task[Any]]],
                 report: Callable[[BaseException], bool],
                 waiting_threads: Callable[[], Collection[threading.Thread]],
                 loop: asyncio.AbstractEventLoop, *, elsewhere: bool = False) -> None:
        self._context = context
        self._loop = loop
        self._virtual = is_virtual(loop)
        self._address = address
        self._waiting = waiting
        self._report = report
        self._waiting_threads = waiting_threads
        self._unretrieved = Unretrieved.of(loop)
        self._timer: Optional[asyncio.TimerHandle] = None
        self._causes: Optional[Causes] = None
        self._looks = 0
        self.stopped = False
        self._elsewhere = elsewhere
        self._listens = False
        self._stale: Collection[asyncio.Future[Any]] = ()
        self._earlier: list[BaseException] = []

    def start(self) -> None:
        """The server runs: begin to look."""
        if not self._elsewhere:
            _running.add(self)
        if self._virtual:
            virtual: Any = self._loop
            virtual.look_before_jumps(self._look_at_once)

    def listen(self) -> None:
        """The script begins: hear of exceptions from now on. Idempotent."""
        if self._listens or self.stopped:
            return
        self._listens = True
        self._stale = dead_tasks()
        self._earlier = [*thread_errors.kept(), *self._unretrieved.exceptions()]  # other servers have heard of these
        self._unretrieved.acquire(id(self))
        if not self._elsewhere:
            thread_errors.acquire(id(self))

    def stop(self) -> None:
        """The server is closed: look no more."""
        self.stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        _running.discard(self)
        if self._virtual:
            virtual: Any = self._loop
            virtual.look_no_more(self._look_at_once)
        self._unretrieved.release(id(self))
        if not self._elsewhere:
            thread_errors.release(id(self))
        self._causes = None
        self._earlier = []

    @staticmethod
    def hear_threads() -> None:
        """Hear of exceptions that end threads, whatever hook has been set meanwhile."""
        thread_errors.hear()

    @property
    def causes(self) -> Causes:
        """What finds the exceptions; its code is loaded when it is first asked."""
        if self._causes is None:
            from .causes import Causes
            self._causes = Causes(self._context, self._loop, self._address(), running_servers, self._unretrieved,
                                  self._waiting_threads, self._stale, self._earlier)
        return self._causes

    def named(self) -> list[BaseException]:
        """Return the clients' errors that came before the failure, for its report."""
        return [] if self._causes is None else self._causes.named()

    def nobody_could_connect(self) -> bool:
        """Whether no thread and no child process lives that could be the client, other than those that wait."""
        from .at_rest import nobody_else_lives
        return nobody_else_lives(besides=self._waiting_threads())

    def begin(self) -> None:
        """Somebody waits for a step: look now and then, until nobody waits."""
        self.listen()
        if self._timer is None and not self._virtual and not self.stopped:
            thread_errors.hear()
            self._timer = self._loop.call_later(_PAUSE, self._look)

    def _look(self) -> None:
        called_by_loop(self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        if not self._waiting() or self._context.environment.over:
            self._looks = 0
            return
        self.begin()
        self._looks = self._looks + 1 if self.causes.is_quiet() else 0
        if 0 < self._looks <= _OFTEN or (self._looks and not self._looks % _SELDOM):
            self._look_at_once()

    def _look_at_once(self) -> None:
        """If nothing can happen any more, and a client has failed by itself, report its exception."""
        waiting = self._waiting()
        if not waiting or self._context.environment.over or self.stopped:
            return
        causes = self.causes
        if causes.is_at_rest(waiting):
            cause = causes.cause(waiting)
            if cause is not None and self._report(cause):
                causes.take([cause])
