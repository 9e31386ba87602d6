"""When a server may be used: it listens, then it has a loop, then it is closed.

    new --bind--> listening --attach--> running --close--> closed
     `--take over--^                      `-----clear----> cleared: the server goes on with another lifetime

Clients that connect while the server only listens wait until it has a loop.
"""

from __future__ import annotations

import asyncio
import socket
from asyncio.events import _get_running_loop as _running_loop
from typing import TYPE_CHECKING, Callable, Optional

from tcpclient_testing.errors import ScriptError

if TYPE_CHECKING:
    from tcpclient_testing.aio.runtime import Runtime

    from .real_time import RealTimeBound

__all__ = ["Lifetime"]

__unittest = True

_DAY = 86400.0


class Lifetime:
    """Begins the `runtime` of one server, and says whether the server can be used now.

    - `address`: host, port, and whether other machines may reach them. `unix_path`, if it is not None, is used instead.
    - `timeouts_given`: whether the test has chosen `timeout`, and `idle_timeout`, itself.
    - `listening`: called once the server listens; None to call nothing.
    """

    def __init__(self, runtime: Runtime, address: tuple[Optional[str], int, bool], unix_path: Optional[str],
                 timeouts_given: tuple[bool, bool], listening: Optional[Callable[[], None]]) -> None:
        self.unix_path = unix_path
        self._runtime = runtime
        self._address = address
        self._timeouts_given = timeouts_given
        self._listening = listening

    def open(self, loop: Optional[asyncio.AbstractEventLoop] = None) -> None:
        """Listen, and run in the running loop; in `loop`, which is going to run, if there is none.

        Raises `ScriptError` if there is neither.
        """
        loop = _running_loop() or loop
        if loop is None and not self._runtime.running:
            raise ScriptError("MockTCPServer needs a running event loop: use it in a coroutine, or use "
                              "ThreadedMockTCPServer, which needs none")
        self.bind()
        self.attach(loop)

    def bind(self) -> None:
        """Bind and listen, in any loop or in none: fixtures need the address early. The script can be written then."""
        runtime = self._runtime
        if runtime.context.closed:
            raise self.misuse()
        if runtime.running:
            return
        if self.unix_path is not None:
            from tcpclient_testing.aio.sockets.unix import listen_unix
            path = self.unix_path
            runtime.bind(lambda listeners: listen_unix(path, listeners))
        else:
            host, port, allow_remote = self._address
            runtime.listen(host, port, allow_remote=allow_remote)
        if self._listening is not None:
            self._listening()

    def take_over(self, listeners: list[socket.socket], loop: Optional[asyncio.AbstractEventLoop]) -> None:
        """Listen on sockets of the lifetime before this one, and run in its loop, if it had one."""
        self._runtime.bind(lambda mine: mine.extend(listeners))
        if self._listening is not None:
            self._listening()
        if loop is not None:
            self.attach(loop)

    def attach(self, loop: Optional[asyncio.AbstractEventLoop] = None) -> None:
        """Run in this loop, or in the running one. Do nothing if the server has a loop already, or there is none."""
        runtime = self._runtime
        if loop is None:
            loop = _running_loop()
        if runtime.running and not runtime.context.closed and not runtime.context.attached and loop is not None:
            bound = self._adapt_to(loop)
            runtime.attach(loop)
            if bound is not None:
                bound.start()

    def _adapt_to(self, loop: asyncio.AbstractEventLoop) -> Optional[RealTimeBound]:
        """On virtual time, make default time-outs so long that the client's timers fire first.

        Return what bounds the real time that they may last; None if nothing has to.
        """
        if self._runtime.is_virtual(loop):
            timeout_given, idle_timeout_given = self._timeouts_given
            environment = self._runtime.context.environment
            environment.configure(timeout=environment.timeout if timeout_given else _DAY,
                                  idle_timeout=environment.idle_timeout if idle_timeout_given else _DAY)
            if not (timeout_given and idle_timeout_given):
                from .real_time import RealTimeBound
                return RealTimeBound(self._runtime.context, steps=not timeout_given, idle=not idle_timeout_given)
        return None

    def check_usable(self) -> None:
        """Raise `ScriptError` if the server can't be used here and now, and the verdict if its script has failed."""
        self.check_here()
        if self._runtime.context.environment.failure is not None:
            raise self._runtime.host.error()

    def check_here(self) -> None:
        """Raise `ScriptError` if the server can't be used here and now, whether or not its script has failed."""
        runtime, context = self._runtime, self._runtime.context
        if not runtime.running or context.closed:
            raise self.misuse()
        here = _running_loop()
        if not context.attached:
            self.attach(here)
        elif here is not context.loop and (here is not None or context.loop.is_running()):
            # If the server's loop is not running, the call is fine outside of any loop: nothing else uses the server.
            raise self.misuse()

    def misuse(self) -> ScriptError:
        """Make the exception that says why the server can't be used."""
        if self._runtime.forked:
            return ScriptError("this server belongs to the parent process; make a new one in this process")
        if self._runtime.cleared:
            return ScriptError("the server was cleared, and this belongs to the script before that")
        if self._runtime.closed:
            return ScriptError("this server was stopped; make a new one")
        if not self._runtime.running:
            return ScriptError("the server was not started: use `async with MockTCPServer()`, or await start()")
        return ScriptError("this server lives in another event loop: use it there, or use ThreadedMockTCPServer, which "
                           "can be used from anywhere")
