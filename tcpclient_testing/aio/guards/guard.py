"""What a server does about a client that blocks its event loop: it fails the script and breaks the sockets.

The watchdog detects such a client, and calls this. A client that has a time-out of its own gives up earlier: then the
test raises, and `look_back` says why.

    watching --blocked--> failed --the loop turns--> given up

The server can't fail by itself while its loop is blocked. So the watchdog's thread, while the loop's thread sleeps in
the kernel,

1. makes the session fail, once;
2. breaks the sockets, so that the client's call returns. By then the script has failed.

The loop does the rest when it turns again.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional, TypeVar

from tcpclient_testing.aio.native import originals
from tcpclient_testing.aio.process.blocked_call import BlockedCall, free_sockets, readable, writable
from tcpclient_testing.aio.process.watchdog import Watch
from tcpclient_testing.aio.sockets.borrowing import copied
from tcpclient_testing.aio.sockets.loop_inside import has_results
from tcpclient_testing.engine.environment import Failure
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.session.standstill import standstill_limit
from tcpclient_testing.engine.steps.base import TimedStep
from tcpclient_testing.engine.wording import seconds
from tcpclient_testing.harness.exceptions import chain_of

from .greenlets import greenlet_waits_for_client
from .guessing import may_wait_for_client
from .waiting import waits_for_client

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import Link, ServerContext

__all__ = ["DeadlockGuard"]

__unittest = True

T = TypeVar("T")

_DEFAULT = 5.0  # seconds, if the server has no time-out, or one in virtual seconds
_LONG = 30.0  # seconds that a call may block the loop if nobody knows whether it waits for a client
_SOURCE = 30  # characters of a source line in the first line of a report
_OVERDUE = 5.0  # seconds by which a step may exceed its time-out before it counts as long overdue


class DeadlockGuard:
    """Watches one server's loop, from `start()` on. Make it in the loop's thread. `stop()` it in the end.

    - `links`: returns what is known of the server's connections.
    - `listeners`: returns the listening sockets; `accepted`: those of accepted clients that have no connection yet.
    - `wants_a_turn`: returns whether the script waits only for the next iteration of the loop.
    - `give_up`: called in the loop after the session has failed.
    """

    def __init__(self, context: ServerContext, links: Callable[[], list[Link]],
                 listeners: Callable[[], list[socket.socket]], accepted: Callable[[], list[socket.socket]],
                 wants_a_turn: Callable[[], bool], give_up: Callable[[], None]) -> None:
        self._context = context
        self._links = links
        self._listeners = listeners
        self._accepted = accepted
        self._wants_a_turn = wants_a_turn
        self._give_up = give_up
        self._thread, self._ident = threading.get_native_id(), originals.get_ident()
        timeout = context.environment.timeout
        self._virtual = context.virtual
        self._certain = False  # whether the system has said what the loop's thread waits for
        bound = _DEFAULT if timeout is None or self._virtual else timeout
        # The watch must not keep alive a server that nobody has stopped, and whose loop is closed.
        attention, free = weakref.WeakMethod(self._attention), weakref.WeakMethod(self._free)
        self._watch = Watch(context.loop, self._ident, bound, lambda: _call(attention, False),
                            lambda blocked: _call(free, None, blocked), self._thread)

    def start(self) -> None:
        """Begin to watch."""
        self._watch.start()

    def stop(self) -> None:
        """Stop watching."""
        self._watch.stop()

    def look_back(self, exc: BaseException) -> Optional[Mismatch]:
        """Return the failure if a client has blocked the loop until now, and has given up by itself; else None.

        Call this in the loop, where the test has raised `exc`. Where nobody knows what it waited for, a time-out of a
        call that blocks shows that.
        """
        call = self._watch.noticed()
        if call is None or self._context.environment.over or not (self._certain or _timed_out(exc)):
            return None
        return _Blocked(call, self._context.twin)

    # What follows is called in the watchdog's thread, while the loop's thread blocks.

    def _attention(self) -> bool:
        """Return whether the server has something to do for a client, and the test waits for that.

        After the failure: whether clients are still connected, or wait to be accepted.
        """
        environment = self._context.environment
        if environment.over:
            return self._clients_wait()
        wanted = self._wants_a_turn() or self._action_is_due() or self._sockets_are_ready() \
            or self._step_is_long_overdue() or self._client_waits_beyond_the_script()
        if not wanted:
            return False
        frame = self._watch.suspended
        answer = waits_for_client(self._thread, self._ident, self._listeners()) if frame is None else \
            greenlet_waits_for_client(frame, self._listeners())
        self._certain = answer is not None
        return self._may_wait_for_client() if answer is None else answer

    def _may_wait_for_client(self) -> bool:
        """Guess whether the test waits for a client, where the system doesn't say. If nothing speaks for it, wait long.

        A test that waits for something else must not be failed; but one whose client nobody sees must not hang.
        """
        listeners = self._listeners()
        guess = may_wait_for_client(self._watch.suspended or sys._current_frames().get(self._ident), self._context.loop,
                                    [listener.getsockname() for listener in listeners if listener.fileno() >= 0],
                                    len(self._links()))
        if guess is None:
            return self._watch.blocked_for() >= _LONG
        return guess

    def _clients_wait(self) -> bool:
        """Return whether clients are still connected, or wait to be accepted."""
        return any(not link.lost for link in self._links()) or readable(self._listeners())

    def _sockets_are_ready(self) -> bool:
        links = self._links()
        heard = [sock for link in links if _reads(link) for sock in _socket_of(link)]
        full = [sock for link in links if link.paused for sock in _socket_of(link)]
        listeners = self._listeners()
        return readable([*heard, *listeners]) or writable(full) or \
            has_results(self._context.loop, [*heard, *full, *listeners])

    def _action_is_due(self) -> bool:
        now = self._context.loop.time()
        timers = [conversation.timer for conversation in self._context.session.connections.all]
        # Read each field once: the loop's thread may go on at any moment.
        return any(isinstance(due, TimedStep) and not due.is_expectation and alarm_at is not None
                   and (self._virtual or alarm_at <= now)
                   for due, alarm_at in [(timer.due, timer.alarm_at) for timer in timers])

    def _step_is_long_overdue(self) -> bool:
        """Return whether the client is very late."""
        now = self._context.loop.time()
        return any(self._virtual or deadline + _OVERDUE <= now for deadline in self._context.session.deadlines())

    def _client_waits_beyond_the_script(self) -> bool:
        """Return whether a client is connected, no step is due, and nothing happens any more."""
        environment, since = self._context.environment, self._context.session.idle_since()
        limit = standstill_limit(environment) or environment.idle_timeout
        return since is not None and limit is not None and \
            (self._virtual or since + limit <= self._context.loop.time())

    def _free(self, blocked: BlockedCall) -> None:
        context, session, loop = self._context, self._context.session, self._context.loop
        if not session.environment.over:
            session.end_with(Failure(None, None, _Blocked(blocked, context.twin), loop.time()))
            loop.call_soon_threadsafe(self._give_up)
        pairs = [(link.conversation, sock) for link in self._links() for sock in _socket_of(link)]
        if blocked.attempt == 1:
            # Do this before the sockets are freed: after that the loop's thread goes on, and may make its report.
            for conversation, sock in pairs:
                data = _unread(sock)
                if data and conversation.handshake is None:  # over TLS the bytes say nothing
                    context.transcript.received(loop.time(), conversation.number, data)
        connected = [*(sock for _, sock in pairs), *self._accepted()]
        free_sockets(connected, self._listeners(), reset=blocked.attempt > 1)


def _call(method: weakref.WeakMethod[Callable[..., T]], default: T, *args: Any) -> T:
    """Call a method if its object is still there; else return `default`."""
    function = method()
    return default if function is None else function(*args)


def _timed_out(exc: BaseException) -> bool:
    """Return whether a call that blocks has timed out, rather than an `await`, or a call in another thread."""
    return any(isinstance(each, (socket.timeout, TimeoutError)) and not _modules_of(each) & _ASYNCHRONOUS
               for each in chain_of(exc))


_ASYNCHRONOUS = frozenset({"asyncio", "concurrent", "anyio", "async_timeout"})


def _modules_of(exc: BaseException) -> set[str]:
    """Return the packages whose code an exception has passed."""
    found, entry = set(), exc.__traceback__
    while entry is not None:
        found.add(str(entry.tb_frame.f_globals.get("__name__")).partition(".")[0])
        entry = entry.tb_next
    return found


class _Blocked(Mismatch):
    """A client blocked the event loop that its server runs in; `twin` is the kind of server that it needs."""

    __slots__ = ()

    by_the_test = True

    def __init__(self, call: BlockedCall, twin: str) -> None:
        own = call.called_from or call.place
        source = own.line.strip() if own.line else "a call"
        source = source if len(source) <= _SOURCE else f"{source[:_SOURCE - 3]}..."
        inside = "" if own is call.place else f", in {_line_of(call.place)}"
        super().__init__(f"{source} blocked the event loop of its server for {seconds(call.seconds)}: use {twin} "
                         f"({_line_of(own)}{inside})")


def _line_of(frame: Any) -> str:
    return f"{os.path.basename(frame.filename)}:{frame.lineno}"


def _reads(link: Link) -> bool:
    """Return whether the server will read from this connection."""
    transport = link.transport
    return not (link.lost or link.conversation is None or link.conversation.inbox.ended) \
        and transport is not None and (not hasattr(transport, "is_reading") or transport.is_reading())


def _socket_of(link: Link) -> list[Any]:
    return [] if link.socket is None else [link.socket]


def _unread(sock: Any) -> bytes:
    """Return what a connection has received and the loop has not read (at most 64 KiB), without taking it."""
    with contextlib.suppress(OSError), copied(sock.fileno()) as copy:
        return copy.recv(65536, socket.MSG_PEEK | getattr(socket, "MSG_DONTWAIT", 0))
    return b""
