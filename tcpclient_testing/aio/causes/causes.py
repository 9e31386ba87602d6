"""Finds out that the client has failed by itself, beside the test's body: in a task, or in a thread of an executor.

Nobody else may ever tell: asyncio tells of an exception that nobody has taken when its task is collected, and the
script only sees that nothing comes. The body meanwhile waits for the script.

`Causes` belongs to one server. `Lookout` asks it while somebody waits for the script.

- If nothing can happen any more (see `at_rest`), and a client has failed by itself, the body gets the client's
  exception in place of a time-out.
- If the script fails because a client ends its stream, that may be a consequence: `Causes.of_end` returns the cause.
- Otherwise the exception is only named, first in the report, and makes no failure by itself.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import sys
import threading
import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.aio.process import thread_errors
from tcpclient_testing.aio.process.life import idle_workers
from tcpclient_testing.aio.process.quiescence import living_thread
from tcpclient_testing.aio.sockets.loop_inside import is_loops_own
from tcpclient_testing.harness.client_errors import is_own, knows

from .at_rest import is_ours, loop_is_at_rest, nobody_else_lives, other_tasks
from .dead import all_tasks, is_dead

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import ServerContext
    from tcpclient_testing.engine.session.session import Session

    from .unretrieved import Unretrieved

__all__ = ["Causes"]

__unittest = True

# How long a thread may take to end that has closed its connection on the way out; seconds between two looks at it.
_MOMENT = 0.05
_LOOK = 0.002
_TURNS = 3


class _Pace:
    """Lets searches take no more than a tenth of the time, in whatever servers and loops of this process."""

    def __init__(self) -> None:
        self._began = self._next = 0.0

    def is_due(self) -> bool:
        """Whether there may be a search now."""
        return time.monotonic() >= self._next

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        now = time.monotonic()
        self._next = now + 10 * (now - self._began)


_pace, _rest_pace = _Pace(), _Pace()

class Causes:
    """Looks for clients of one server, in one `loop`, that have failed by themselves.

    - `servers` returns the servers that run, each with the address where it listens; the server's own is `address`.
    - `unretrieved` has what asyncio has told of.
    - `waiting_threads` returns the threads that wait for servers, and those in which servers run.
    - `stale` are the tasks that had failed before the script began, `earlier` the exceptions of others that had.
    """

    def __init__(self, context: ServerContext, loop: asyncio.AbstractEventLoop, address: Any,
                 servers: Callable[[], list[tuple[ServerContext, Any]]], unretrieved: Unretrieved,
                 waiting_threads: Callable[[], Collection[threading.Thread]],
                 stale: Collection[asyncio.Future[Any]] = (), earlier: Collection[BaseException] = ()) -> None:
        self._context = context
        self._loop = loop
        self._servers = servers
        self._address = address
        self._unretrieved = unretrieved
        self._waiting_threads = waiting_threads
        self._stale = stale
        self._earlier = earlier
        self._before: Any = None
        self._searched_in: Any = None
        self._searches = 0
        self._dead: list[tuple[asyncio.Future[Any], BaseException]] = []
        self._named: Optional[list[BaseException]] = None
        self._pools_lived = False  # when the script failed
        self._collected = False  # whether garbage was looked for

    # While somebody waits.

    def is_quiet(self) -> bool:
        """Whether nothing has happened since the last call."""
        context = self._context
        seen = (context.environment.now, len(context.transcript),
                {(id(task), id(getattr(task, "_fut_waiter", None))) for task in asyncio.all_tasks(self._loop)})
        before, self._before = self._before, seen
        return bool(seen == before)

    def is_at_rest(self, waiting: Collection[asyncio.Task[Any]]) -> bool:
        """Whether nothing can happen before the script's time-out; the tasks in `waiting` wait for steps."""
        loop, threaded = self._loop, self._context.threaded
        servers = [(context, address) for context, address in self._servers()
                   if not context.environment.over and (context.threaded if threaded else context.loop is loop)]
        if not all(_waits_for_clients(context.session) for context, _ in servers):
            return False
        if loop is self._context.loop and threaded:
            return nobody_else_lives(besides=self._waiting_threads())
        until = min((deadline for context, _ in servers for deadline in context.session.deadlines()),
                    default=float("inf"))
        addresses = [address for _, address in servers]
        if hasattr(loop, "_ready"):
            return loop_is_at_rest(loop, until, addresses, waiting, self._waiting_threads())
        if not _rest_pace.is_due():  # such a loop doesn't show what it has: all objects are searched
            return False
        with _rest_pace:
            return loop_is_at_rest(loop, until, addresses, waiting, self._waiting_threads())

    def cause(self, waiting: Collection[asyncio.Task[Any]]) -> Optional[BaseException]:
        """Return the exception of a client that has failed by itself, the first one; None if there is none.

        An exception is the client's if the code that raised it knew the server. Before any client has connected, it is
        enough that there is no other task that could be the client, and that no client comes from elsewhere.
        """
        found = self.errors()
        own = next((exc for exc in found if knows(exc, self._address)), None)
        if own is None and self._is_time_to_search():
            with _pace:
                found = self.errors(thorough=True)
                jobs = self._of_jobs()
            own = next((exc for exc in [*found, *jobs] if knows(exc, self._address)), None)
        if own is not None:
            return own
        if not (self._context.outsiders or self._context.environment.accepted or other_tasks(self._loop, waiting)):
            return next(iter(found), None)
        return None

    def _is_time_to_search(self) -> bool:
        """Whether to look at all objects of the process, which takes its time: less and less often in one wait."""
        state = len(self._context.transcript)
        self._searches = self._searches + 1 if state == self._searched_in else 1
        self._searched_in = state
        return not self._searches & (self._searches - 1) and _pace.is_due()  # the 1st, 2nd, 4th, 8th ...

    # What there is.

    def errors(self, *, after_failure: bool = False, thorough: bool = False) -> list[BaseException]:
        """Return the exceptions with which tasks and threads have ended, and which nobody has taken, in order.

        `after_failure` includes those that the script makes a client expect: they are only named. Futures that are no
        tasks are found only if the search is `thorough`, which takes some time.
        """
        ended = not after_failure and self._has_ended_something()
        self._dead = self._dead_futures(None if thorough else all_tasks())
        found = [*self._of_threads(), *self._unretrieved.exceptions(), *(exc for _, exc in self._dead)]
        own: list[BaseException] = []
        for exc in found:
            if is_own(exc, ended=ended) and not any(exc is each for each in (*own, *self._earlier)):
                own.append(exc)
        return own

    def _dead_futures(self, among: Optional[list[Any]]) -> list[tuple[asyncio.Future[Any], BaseException]]:
        """Return the futures and tasks that have an exception which nobody has taken, in order.

        They are those of the loop; a server in a thread may have clients in any loop. Look `among` these only, if that
        is not None. Those that may be an earlier test's count only if they knew the server.
        """
        found: list[Any] = [
            each for each in (gc.get_objects() if among is None else among) if issubclass(type(each), asyncio.Future)
            and is_dead(each) and (each.get_loop() is self._loop or self._context.threaded)
            and not is_ours(each) and not is_loops_own(each)]
        if not self._collected and any(each.get_loop().is_closed() for each in found):
            # It may be of an earlier test, and garbage that nobody has collected yet: on PyPy most garbage is that.
            self._collected = True
            found.clear()
            if among is not None:
                among.clear()
            gc.collect()
            return self._dead_futures(None if among is None else all_tasks())
        return [(each, each._exception) for each in sorted(found, key=_number)
                if each not in self._stale
                and (not self._may_be_earlier(each) or knows(each._exception, self._address))]

    @staticmethod
    def _may_be_earlier(future: asyncio.Future[Any]) -> bool:
        """Whether a future may have failed before this test began, as far as its outcome shows.

        A future that is no task doesn't tell when it failed. That of a stream has the error of its connection.
        """
        return future.get_loop().is_closed() or (
            not isinstance(future, asyncio.Task) and isinstance(future._exception, (ConnectionError, EOFError)))

    def _of_jobs(self, *, after_failure: bool = False) -> list[BaseException]:
        """Return the exceptions of jobs that executors have done, and that nobody has raised again.

        `after_failure` includes those that the script makes a client expect.
        """
        if "concurrent.futures.thread" not in sys.modules:
            return []
        found: list[Any] = [each for each in gc.get_objects() if issubclass(type(each), concurrent.futures.Future)]
        ended = not after_failure and self._has_ended_something()
        exceptions = [each._exception for each in found]
        return [exc for exc in exceptions if is_own(exc, ended=ended) and _is_fresh(exc)]

    def _of_threads(self) -> list[BaseException]:
        return [exc for exc in thread_errors.kept() if not any(exc is each for each in self._earlier)]

    def take(self, exceptions: Collection[BaseException]) -> None:
        """These exceptions are reported: nobody has to tell of them again."""
        self._unretrieved.forget(exceptions)
        thread_errors.forget(exceptions)
        for future, exc in self._dead:
            if any(exc is each for each in exceptions):
                future.exception()

    def _has_ended_something(self) -> bool:
        """Whether the script has ended, broken or refused a connection."""
        session, environment = self._context.session, self._context.environment
        return bool(environment.turned_away) or any(
            step.refuses for step in session.order.settings.script.steps) or any(
            each.inbox.closed or each.inbox.draining or each.outbox.ended for each in session.connections.all)

    # After a failure.

    async def until_threads_ended(self) -> None:
        """Wait a moment until a thread, or its job, has ended with an exception, if one may be about to."""
        loop = self._context.loop
        deadline = loop.time() + _MOMENT
        waited = False
        while not self._of_threads() and loop.time() < deadline and living_thread(
                {*self._waiting_threads(), *idle_workers(loop)}, threading.enumerate()) is not None:
            waited = True
            await asyncio.sleep(_LOOK)
        for _ in range(_TURNS if waited else 0):  # until a task has heard of what it waited for
            await asyncio.sleep(0)

    def failed(self) -> None:
        """The script has just failed: the errors that there are by now came before."""
        self._named = self.errors(after_failure=True)
        self._pools_lived = _pools_live()

    def named(self) -> list[BaseException]:
        """Return the errors that came before the failure, for its report: nobody has to tell of them again."""
        named = self._named or []
        if named:
            self.take(named)
        return named

    def of_end(self, by_itself: Callable[[BaseException], bool]) -> Optional[BaseException]:
        """The script has failed as a client ended its stream: return the exception that led to this, if there is one.

        `by_itself` says whether an exception was raised before the failure.
        """
        for look in self._seen, self._hidden:
            for exc in look():
                if by_itself(exc) and knows(exc, self._address):
                    self.take([exc])
                    return exc
        return None

    def _seen(self) -> list[BaseException]:
        return [*(self._named or ()), *self.errors(after_failure=True)]

    def _hidden(self) -> list[BaseException]:
        """Return what only a search of all objects shows: jobs of executors, and the futures that stand for them."""
        if not (self._pools_lived or _pools_live()):
            return []
        return [*self.errors(after_failure=True, thorough=True), *self._of_jobs(after_failure=True)]


def _pools_live() -> bool:
    """Whether a thread pool has threads. One that nobody refers to, and that has been shut down, has none any more."""
    module = sys.modules.get("concurrent.futures.thread")
    return bool(getattr(module, "_threads_queues", module))


def _is_fresh(exc: BaseException) -> bool:
    """Whether a job's exception has not been raised again, where somebody has taken it."""
    entry = exc.__traceback__
    return entry is not None and entry.tb_frame.f_globals.get("__name__") == "concurrent.futures.thread"


def _waits_for_clients(session: Session) -> bool:
    """Whether only a client can bring the script on: nothing is being sent, and no step waits for its time."""
    for conversation in session.connections.all:
        due, selection = conversation.script.due, conversation.selection
        if conversation.outbox.sending or (selection is not None and selection.beats and conversation.inbox.open):
            return False
        if conversation.script.gate is None and due is not None and (
                not due.is_expectation or due.takes_time or conversation.timer.alarm_at is not None):
            return False
    return True


def _number(future: asyncio.Future[Any]) -> int:
    """Return the number in a task's name, by which tasks are ordered; futures come last."""
    name = future.get_name() if isinstance(future, asyncio.Task) else ""
    digits = name.rpartition("-")[2]
    return int(digits) if digits.isdigit() else 1 << 60
