"""The asynchronous server that tests use: its options, start and stop, its script, and `join`.

    new --start--> running --stop--> stopped
                    ^   |
                    `clear

Other classes do the rest: `Runtime` runs the server, `Lifetime` knows when it can be used, `Judgement` how its test
ends, `ServerView` has the attributes that can be read at any time.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from asyncio.events import _get_running_loop as _running_loop
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, ClassVar, NoReturn, Optional, TypeVar, Union

from tcpclient_testing.engine.builder.actions import checked_ending
from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.framing.sized import LengthPrefixed
from tcpclient_testing.engine.origin import origin_of
from tcpclient_testing.engine.steps.lifecycle import ExpectConnect
from tcpclient_testing.engine.steps.timing import UNSET, timing_of
from tcpclient_testing.errors import ScriptError
from tcpclient_testing.harness.judged import ON_ITS_WAY
from tcpclient_testing.harness.tracebacks import FRAMES_HIDDEN

from .connection import Connection, Handles
from .forgotten import Forgettable
from .judgement import Judgement
from .leaving import FinalCheck
from .lifetime import Lifetime
from .options import ServerOptions, checked_grace, checked_name, checked_timeout, checked_unix_path, timeout_scale
from .properties import ServerView
from .script import ServerScript, ServerScriptWriter

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tcpclient_testing.aio.runtime import Runtime
    from tcpclient_testing.engine.steps.base import Step
    from tcpclient_testing.harness.run import RunningPart
    from tcpclient_testing.network.conditions import Network
    from tcpclient_testing.report.report import ExpectationError

__all__ = ["ConnectStep", "MockTCPServer"]

__unittest = True

C = TypeVar("C")

S = TypeVar("S", bound="MockTCPServer")


class ConnectStep(ExpectConnect[C]):
    """The step that `expect_connect()` returns. Its result is the connection's handle; `connection` has it at once."""

    __slots__ = ()

    for_tests = (*ExpectConnect.for_tests, "connection")

    @property
    def connection(self) -> C:
        """The handle of the expected connection. You can write its script before the client connects."""
        handle: C = self.cursor.handle
        return handle


class MockTCPServer(ServerScriptWriter, ServerView, Forgettable):
    """A real TCP server on the local machine that checks its clients against a script.

    It runs in the running event loop: use ``async with MockTCPServer() as server``, or ``await server.start()`` and
    ``await server.stop()``. On leaving, the server waits for the rest of the script, and raises `ExpectationError` if
    the clients did not do what it says.

    Where it listens:

    - `host`: a literal address; None for every loopback address. `port`: a number; 0 for a free port.
    - `allow_remote`: True permits a `host` that other machines can reach.
    - `unix_path`: listen on a Unix-domain socket at this path, and on no port (Linux, macOS). The server creates the
      socket, and removes it at the end.
    - `tls`: begin each connection with a TLS handshake. True for the throwaway certificate that comes with the package;
      otherwise an `ssl.SSLContext` of a server, the name of another shipped certificate, or the path of your own. See
      `tcpclient_testing.tls`; `tls.server_context` documents the exceptions.

    Time-outs, in seconds; None for no limit:

    - `timeout`: the default of each step, in seconds without progress; 5 by default.
    - `idle_timeout`: a complete script fails if a client stays connected and nothing happens for this long; 30 by
      default. Already after `timeout`, if the test itself is seen to wait for data, or a half-closed client for the
      end.
    - On virtual time (`VirtualClockEventLoop`) the default of both is a day, so that the client's timers fire first;
      but no more than five seconds of real time in which nothing but timers has happened on any connection.

    Messages and the network:

    - `framing`, `ending`: the defaults of frames (a length of four bytes) and lines (CR LF).
    - `network`: the conditions under which clients receive, such as ``Network(chunk=1)``.
    - `pipelining`: with False, the client must wait for the answer to each request. The test fails if the client sends
      anything after an expected message until the last byte of the first send that follows it has been handed over to
      the operating system.
    - `pipelining_grace`: how long the server looks for more before it answers, in seconds of real time; by default
      0.01. It does so with ``pipelining=False``, and before the go-ahead for TLS, if the client may be in another
      thread or process. (A client in the server's own loop is given as many turns as it needs.) A client that is slower
      to send what it should not have sent is not caught.
    - `handler`: a coroutine function that serves the connections that the script does not mention. It is called with
      each connection that is accepted when every `expect_connect()` written so far has its connection; with
      `any_order()`, with each that matches none of its scripts. It awaits steps, and reads with
      ``async for line in connection.lines()``. When it returns, the server disconnects; if it raises, the test fails.

    What is checked and recorded:

    - `watch_streams`: with False, don't check whether clients that use asyncio's streams await `wait_closed()` and read
      all that was sent.
    - `allow_open`: True permits clients to be still connected when the server is left.
    - `allow_extra`: True permits bytes and connections that no step explains.
    - `outside_clients`: True says that the client may be a program that this process has not started. Without it, when
      the test is over and nothing in its process or its child processes can connect any more, an `expect_connect()`
      without a time-out of its own fails at once. A server with a `port`, a `unix_path` or ``allow_remote=True`` always
      waits.
    - `in_memory`: with True, clients in the server's own event loop connect without sockets, by asyncio's streams or
      ``loop.create_connection()``; nobody else can connect.
    - `cancel_body`: with False, the body of the test is not interrupted when the script has failed.
    - `transcript_limit`: how many bytes of what clients sent the transcript keeps whole.
    - `name`: what reports and the log call this server, such as ``name="primary"``, for tests with several servers.
    """

    _connection_type: ClassVar[type[Connection]] = Connection

    _twin = "ThreadedMockTCPServer"

    def __init__(self, host: Optional[str] = None, port: int = 0, *, timeout: Optional[float] = UNSET,
                 idle_timeout: Optional[float] = UNSET, tls: Any = None,
                 unix_path: Union[str, os.PathLike[str], None] = None, framing: Optional[Framing] = None,
                 ending: bytes = b"\r\n", watch_streams: bool = True, allow_open: bool = False,
                 allow_extra: bool = False, allow_remote: bool = False, cancel_body: bool = True,
                 transcript_limit: int = 1024 * 1024,
                 handler: Optional[Callable[[Connection], Awaitable[None]]] = None, pipelining: bool = True,
                 pipelining_grace: float = 0.01, network: Optional[Network] = None,
                 outside_clients: bool = False, in_memory: bool = False, name: Optional[str] = None,
                 **unknown: NoReturn) -> None:
        if unknown:
            from .options import no_such_option, option_names
            raise TypeError(no_such_option(next(iter(unknown)), option_names(MockTCPServer.__init__)))
        if framing is not None and not isinstance(framing, Framing):
            raise TypeError(f"framing is a Framing such as LengthPrefixed(4), not {framing!r}")
        ending = checked_ending("MockTCPServer(ending=...)", ending)
        if in_memory:
            from tcpclient_testing.aio.in_memory.listening import refuse_options
            refuse_options(unix_path=unix_path, allow_remote=allow_remote, outside_clients=outside_clients)
        unix_path = None if unix_path is None else checked_unix_path(unix_path, host, port)
        timeouts_given = (timeout is not UNSET, idle_timeout is not UNSET)
        timeout = checked_timeout("timeout", 5.0 if timeout is UNSET else timeout)
        idle_timeout = checked_timeout("idle_timeout", 30.0 if idle_timeout is UNSET else idle_timeout)
        scale = timeout_scale()
        settings: dict[str, Any] = {}
        if scale != 1 or allow_extra or not pipelining or unix_path is not None:
            settings = {"scale": scale, "allow_extra": allow_extra, "pipelining": bool(pipelining),
                        "can_reset": unix_path is None}
        if handler is not None:
            from tcpclient_testing.engine.steps.handlers import checked_handler
            handler = checked_handler(handler, "MockTCPServer(handler=...)")
        if tls is not None and tls is not False:
            settings["tls_context"] = self._server_context(tls)
        if network is not None:
            from tcpclient_testing.network.conditions import checked_network
            network = checked_network("MockTCPServer(network=...)", network)
        self._options = ServerOptions(
            (host, port, allow_remote), unix_path, None if timeout is None else timeout * scale,
            None if idle_timeout is None else idle_timeout * scale, timeouts_given, settings,
            LengthPrefixed(4) if framing is None else framing, ending, watch_streams, allow_open, allow_extra,
            cancel_body, transcript_limit, handler, network, checked_grace(pipelining_grace) * scale,
            outside_clients or (not in_memory and (port != 0 or unix_path is not None or allow_remote)),
            bool(in_memory), checked_name(name))
        self._begin()

    def _begin(self) -> None:
        """Make what one script needs, from its connections to its judgement; `clear` begins another one."""
        options = self._options
        self._handles = Handles(self._connection_type)
        runtime = self._runtime = self._make_runtime(options)
        if options.settings:
            runtime.session.environment.configure(**options.settings)
        runtime.context.set_grace(options.pipelining_grace)
        runtime.context.expect_outsiders(options.outside_clients)
        runtime.context.name_twin(self._twin)
        if options.name is not None:
            runtime.transcript.begin_as(options.name)
        if options.handler is not None:
            runtime.session.connections.serve_with(options.handler)
        runtime.set_network(options.network)
        check = FinalCheck(runtime, allow_open=options.allow_open, allow_extra=options.allow_extra)
        lifetime = self._lifetime = Lifetime(runtime, options.address, options.unix_path, options.timeouts_given,
                                             check.watch_streams if options.watch_streams else None)
        self._judgement = Judgement(runtime, lifetime, check, cancel_body=options.cancel_body,
                                    begin_anew=self._begin_anew)
        self._script = self._make_script(options)
        self._handles.write_with(self._script)

    def _stands_in_for(self, twin: str) -> None:
        """The server was made by a mixin, of which `twin` is the one for clients that block."""
        self._twin = twin
        self._runtime.context.name_twin(twin)

    def _begin_anew(self, listeners: list[socket.socket], loop: Optional[asyncio.AbstractEventLoop]) -> Judgement:
        """Begin another script, on these listening sockets and in this loop. Return its judgement."""
        self._begin()
        try:
            self._lifetime.take_over(listeners, loop)
        except BaseException:  # Ctrl-C
            self._judgement.close()
            raise
        return self._judgement

    def _make_runtime(self, options: ServerOptions) -> Runtime:
        """Make the inner part of the server. Its code is loaded with the first server, not with the package."""
        if options.in_memory:
            from tcpclient_testing.aio.in_memory.runtime import MemoryRuntime
            kind: type[Runtime] = MemoryRuntime
        else:
            from tcpclient_testing.aio.runtime import Runtime
            kind = Runtime
        return kind(options.timeout, options.idle_timeout, options.transcript_limit, self._handles.make,
                    self._handles.make_for_handler)

    def _make_script(self, options: ServerOptions) -> ServerScript:
        return ServerScript(self._runtime, options.framing, options.ending, self._lifetime.check_usable)

    # Start and stop.

    # Ctrl-C may strike in any line of these methods. It leaves nothing open: to close a closed server does nothing.

    async def __aenter__(self: S) -> S:
        try:
            self.open()
            self._join_test(block=True)
            await self._block().__aenter__()
            return self
        except BaseException:
            if self._runtime.running:
                self._judgement.close()
            raise

    async def __aexit__(self, exc_type: Optional[type[BaseException]], exc: Optional[BaseException],
                        traceback: Optional[TracebackType]) -> None:
        try:
            with FRAMES_HIDDEN:
                await self._block().__aexit__(exc_type, exc, traceback)
        finally:
            self._judgement.close()

    def _join_test(self, *, block: bool) -> None:
        from tcpclient_testing.harness.adopting.owners import adopt
        adopt(self._judgement, self, block=block)

    def _block(self, judge: bool = True, *, clears: bool = False) -> RunningPart:
        from tcpclient_testing.harness.run import block_of  # here, since only a server that runs needs it
        return block_of(self._judgement, judge=judge, clears=clears)

    async def start(self: S) -> S:
        """Listen, and accept clients from now on; return the server. Raises `OSError` if the port is taken.

        If the script fails, a task that awaits a step or `join` gets the failure at once. A task that waits for
        something else, such as the client's own event, is interrupted only if `start` was called in the set-up of a
        unittest case, or in a pytest fixture that is made for one test. Elsewhere, use ``async with``: it knows which
        task to cancel.
        """
        try:
            self.open()
            self._join_test(block=False)
            # Load what `stop` needs now: there may be no descriptor left to load it then.
            from tcpclient_testing.harness.run import block_of  # noqa: F401
            return self
        except BaseException:
            if self._runtime.running:
                self._judgement.close()
            raise

    async def stop(self, exc: Optional[BaseException] = ON_ITS_WAY, *, judge: bool = True) -> None:
        """Leave the server: wait for the rest of the script, check it, close everything. A second call does nothing.

        Raises `ExpectationError` if the clients did not do what the script says.

        While an exception is leaving the block (in a ``finally``, or in an ``except`` that ends with ``raise``), `stop`
        doesn't wait, and the exception stands unless the script had failed before. In an ``except`` that handles the
        exception, and in a context manager's ``finally`` after it was handled, `stop` checks the script as usual. It
        looks for itself. If you know better:

        - `exc`: the exception that is leaving the block; None if none is.
        - ``judge=False``: don't wait, and check nothing more. A failure that was there before is raised all the same.
        """
        try:
            if not self._judgement.finished:
                from tcpclient_testing.harness.run import leaving_with
                with FRAMES_HIDDEN:
                    await self._block(judge).__aexit__(None, leaving_with(self._judgement, exc), None)
        finally:
            self._judgement.close()

    async def clear(self, exc: Optional[BaseException] = ON_ITS_WAY, *, judge: bool = True) -> None:
        """End this script, and begin a new one: for a server that outlives a test.

        Wait for the rest of the script, and check it, as leaving the server does. Then, whatever came of that, close
        every connection, and begin with an empty script and transcript; connections count from 1 again. The address,
        the options and the certificate stay, and so does what ``MockTCPServer(handler=...)`` serves. No client is
        refused meanwhile. What the old connections do from now on concerns nobody. ::

            server.expect_connect()
            server.expect_disconnect()
            await use_client(*server.address)
            await server.clear()            # checks this, and the next test gets an empty script

        Raises `ExpectationError` if the clients did not do what the script says, and no report has said so yet: the
        failure belongs to the test that clears. Raises `ScriptError` if the server is not running, or not in this loop,
        or if a handler of the server calls this.

        Steps and connections of the old script keep their results. A task that waits for an unsatisfied step of it gets
        an `ExpectationError` that says so.

        For an exception that is on its way, and for the arguments, see `stop`.
        """
        self._lifetime.check_here()
        if self._runtime.runs_handler(asyncio.current_task()):
            raise ScriptError("clear() was called by a handler of the server, which is part of what it ends: call it "
                              "in the test")
        from tcpclient_testing.harness.run import leaving_with
        exc = leaving_with(self._judgement, exc)
        with FRAMES_HIDDEN:
            await self._block(judge, clears=True).__aexit__(None, exc, None)

    def open(self, loop: Optional[asyncio.AbstractEventLoop] = None) -> None:
        """Do what `start` does, without `await`: bind and listen at once, accept clients as soon as the loop runs.

        `loop` is the loop that is going to run, if none is running yet (a test case's, in ``setUp``). Raises
        `ScriptError` if there is neither.
        """
        try:
            self._lifetime.open(loop)
            self._remember()
        except BaseException:
            if self._runtime.running:  # no half-made server stays
                self._judgement.close()
            raise

    def close(self) -> None:
        """Close everything at once, whatever the clients do, without a verdict."""
        self._judgement.close()

    def _failure(self) -> Optional[ExpectationError]:
        return self._judgement.error()

    def _abandon(self) -> None:
        self._judgement.abandon()

    # The script.

    def expect_connect(self, *, timeout: Optional[float] = UNSET, within: Optional[float] = None,
                       after: Optional[float] = None, label: Optional[str] = None) -> ConnectStep[Connection]:
        """Expect a client to connect; the result is the connection. This is the first step of every script.

        Each further call expects the next accepted connection. All times are in seconds:

        - `after`, `within`: the client fails if it connects earlier than `after` or later than `within`. Both count
          from the moment when it is this step's turn: the server-level steps before it are done. The client may be
          early by 0.05 seconds, or by a tenth of `after` if that is less, since client and server notice the end of a
          connection at different times.
        - `timeout`: counts from `after` on. With `within`, there is none by default.

        On a server with ``tls=`` the step is satisfied when the TLS handshake has ended, and ``connection.tls`` shows
        what was agreed on. If the handshake fails, the test fails, unless `expect_tls_failure` is the next step.
        """
        step: ConnectStep[Connection] = ConnectStep(origin_of(sys._getframe(1), label),
                                                    timing_of("expect_connect", timeout, within, after))
        self._script.add_connection(step)
        return step

    def _add(self, step: Step[Any]) -> None:
        # Long scripts are written this way: while the last step can only wait, the next one is just appended.
        runtime = self._runtime
        script, context = runtime.session.newest, runtime.context
        if script is not None and script.settled and step.free and not context.environment.over \
                and context.loop is _running_loop():
            script.append(step)
            return
        # What `ServerScript.add` does, on the shortest way.
        self._lifetime.check_usable()
        runtime.session.add(step, context.loop.time() if context.attached else 0.0)
        if context.commands:
            context.perform_script()
        if context.environment.failure is not None:
            raise runtime.host.error()

    # Waiting.

    async def join(self, *, final: bool = False) -> None:
        """Wait until every step added so far is satisfied; raise `ExpectationError` if the script fails.

        Call it as often as you like, as a barrier in the middle of a test. With ``final=True`` it checks what leaving
        the server checks: every client must have disconnected, and no byte or connection may be left that no step
        explains.

        A client that closes its asyncio streams in a task of its own that is still running is checked only with
        ``final=True``.
        """
        with FRAMES_HIDDEN:
            await self._judgement.join(final=final)
