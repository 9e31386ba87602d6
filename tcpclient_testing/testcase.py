"""unittest: mixins that give test cases a server, and make its verdict theirs.

    setUp, asyncSetUp -> test method (the body) -> asyncTearDown, tearDown -> clean-ups -> the verdict -> earlier
    clean-ups

The server is made on first use. Its verdict is a clean-up registered then: so it comes after everything that closes
the client. What the test method, `asyncTearDown` or a later clean-up raises once the script has failed is a
consequence, and stands in the verdict's report; there is one report a test.
"""

from __future__ import annotations

import asyncio
import unittest
from asyncio import events
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Optional

from .aio.raising import raise_alone
from .aio.server import MockTCPServer
from .aio.servers_of_test import JudgedTogether, ServersOfTest
from .errors import ScriptError

__all__ = ["MockTCPServerMixin", "ThreadedMockTCPServerMixin"]

__unittest = True

if TYPE_CHECKING:
    from .threaded import ThreadedMockTCPServer
    _Base = unittest.IsolatedAsyncioTestCase
    _ThreadedBase = unittest.TestCase
else:
    _Base = _ThreadedBase = object


class MockTCPServerMixin(_Base):
    """Gives an `unittest.IsolatedAsyncioTestCase` the server `self.tcpserver`; name it before the test case class.

    `tcpserver_options` holds the arguments with which servers are made: those of `MockTCPServer`. With
    ``virtual_time = True`` each test, its set-up and its clean-ups run on a `VirtualClockEventLoop`: time jumps over
    waiting, for the script as for the client, so that an hour of back-off takes milliseconds.
    """

    tcpserver_options: ClassVar[Mapping[str, Any]] = {}

    #: Whether the tests run on virtual time: see `VirtualClockEventLoop`.
    virtual_time: ClassVar[bool] = False

    @property
    def tcpserver(self) -> MockTCPServer:
        """The test's server: made, and listening, on first use; judged after the test and its clean-ups."""
        server: Optional[MockTCPServer] = self.__dict__.get("_tcpserver")
        if server is None:
            server = self.__dict__["_tcpserver"] = self.start_tcpserver()
        return server

    def start_tcpserver(self, **options: Any) -> MockTCPServer:
        """Make a further server, which listens at once; `options` go before those of `tcpserver_options`.

        Raises `ScriptError` outside the test's event loop, as in a synchronous test method.
        """
        loop = events._get_running_loop() or self._tcpserver_loop()
        if loop is None:
            raise ScriptError(f"{self.id()} has no running event loop: make the test method `async def`, or use "
                              "ThreadedMockTCPServerMixin with unittest.TestCase for a client that blocks")
        self._check_tcpserver_loop()
        server = MockTCPServer(**{**self.tcpserver_options, **options})
        server.open(loop)
        self._tcpservers.add(server)
        super().addCleanup(self._end_tcpserver, server)
        return server

    def _end_tcpserver(self, server: MockTCPServer) -> None:
        """Leave a server that has nothing to wait for without a further run of the loop; else in one."""
        if not server.leave_at_once():
            # A clean-up that is added now is the next one.
            super().addAsyncCleanup(self._leave_tcpserver, server)

    def _tcpserver_loop(self) -> Optional[asyncio.AbstractEventLoop]:
        """The loop of a test that is going to be run in it: `setUp` and sync clean-ups are called while it pauses."""
        if not asyncio.iscoroutinefunction(getattr(self, self._testMethodName)):
            return None
        runner = getattr(self, "_asyncioRunner", None)  # 3.11 and later
        return runner.get_loop() if runner is not None else getattr(self, "_asyncioTestLoop", None)

    async def _leave_tcpserver(self, server: MockTCPServer) -> None:
        """Give the verdict on a server; if it is a failure, it is the one report, and the other servers give none."""
        try:
            await server.leave()
        except BaseException:
            self._tcpservers.excuse()
            raise

    # The body: the test method, run by a wrapper that knows its task and its end.

    def run(self, result: Optional[unittest.TestResult] = None) -> Optional[unittest.TestResult]:
        """Run the test; its method and `asyncTearDown` by way of wrappers that know when they end."""
        with _loops_of(self), _Wrapped(self, self._tcpserver_wrappers()):
            return super().run(result)

    def debug(self) -> None:
        """Run the test without collecting errors."""
        with _loops_of(self), _Wrapped(self, self._tcpserver_wrappers()):
            try:
                super().debug()
            finally:
                for server in self._tcpservers.live():  # debug() stops at the first exception, before the clean-ups
                    server.close()
                if getattr(self, "_asyncioTestLoop", None) is not None:
                    # 3.9 and 3.10 leave it to __del__, where ending the loop hangs once the test is garbage.
                    self._tearDownAsyncioLoop()  # type: ignore[attr-defined]

    def _tcpserver_wrappers(self) -> dict[str, Callable[..., Any]]:
        method = getattr(self, self._testMethodName)
        set_up, async_set_up = self.setUp, self.asyncSetUp
        tear_down, async_tear_down = self.tearDown, self.asyncTearDown

        async def body(*args: Any, **kwargs: Any) -> Any:
            self._check_tcpserver_loop()
            task = asyncio.current_task()
            assert task is not None
            self._tcpservers.begin(task)
            value = await self._run_tcpserver_body(method, *args, **kwargs)
            instead = await self._tcpservers.end(None)
            if instead is not None:
                raise_alone(instead)
            return value

        async def async_setting_up() -> None:
            await self._run_tcpserver_body(async_set_up)

        async def async_tearing_down() -> None:
            await self._run_tcpserver_teardown(async_tear_down)
        wrappers: dict[str, Callable[..., Any]] = {
            "setUp": lambda: self._run_tcpserver_cleanup(set_up), "asyncSetUp": async_setting_up,
            "asyncTearDown": async_tearing_down, "tearDown": lambda: self._run_tcpserver_cleanup(tear_down)}
        if asyncio.iscoroutinefunction(method):
            wrappers[self._testMethodName] = body
        return wrappers

    async def _run_tcpserver_body(self, method: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        """Run the test method, or `asyncSetUp`; what is raised instead of its exception is the verdict, if first."""
        try:
            return await method(*args, **kwargs)
        except BaseException as exc:
            instead = await self._tcpservers.end(exc)
            if instead is None:
                raise
        return raise_alone(instead)

    async def _run_tcpserver_teardown(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Run a part of the test after its body; what it raises once the script has failed is a consequence."""
        try:
            value = function(*args, **kwargs)
            if asyncio.iscoroutine(value) or hasattr(value, "__await__"):
                await value
        except Exception as exc:
            if not self._tcpservers.is_consequence(exc):
                raise

    def addCleanup(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        """Add a function to be called after the test, as `unittest.TestCase` does."""
        if asyncio.iscoroutinefunction(function):
            super().addCleanup(function, *args, **kwargs)
        else:
            super().addCleanup(self._run_tcpserver_cleanup, function, *args, **kwargs)

    def _run_tcpserver_cleanup(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as exc:
            if not self._tcpservers.is_consequence(exc):
                raise
            return None

    def addAsyncCleanup(self, func: Callable[..., Awaitable[Any]], /, *args: Any, **kwargs: Any) -> None:
        """Add a coroutine function to be called after the test, as `unittest.IsolatedAsyncioTestCase` does."""
        super().addAsyncCleanup(self._run_tcpserver_teardown, func, *args, **kwargs)

    def _check_tcpserver_loop(self) -> None:
        """Raise `ScriptError` if the test is to run on virtual time, and its loop isn't ours."""
        if self.virtual_time:
            from .aio.clock import is_virtual
            loop = asyncio.get_running_loop()
            if not is_virtual(loop):
                kind = f"{type(loop).__module__}.{type(loop).__qualname__}"
                raise ScriptError(f"{self.id()} has virtual_time = True, which needs an event loop of this library, "
                                  f"but runs on {kind}: remove one of the two")

    @property
    def _tcpservers(self) -> ServersOfTest:
        servers: Optional[ServersOfTest] = self.__dict__.get("_servers_of_test")
        if servers is None:
            servers = self.__dict__["_servers_of_test"] = ServersOfTest()
        return servers


@contextmanager
def _loops_of(test: MockTCPServerMixin) -> Iterator[None]:
    """While a test runs that wants virtual time, new event loops are on virtual time."""
    with ExitStack() as stack:
        if test.virtual_time:
            from .aio.clock import virtual_loops
            try:
                stack.enter_context(virtual_loops(test))
            except ScriptError:
                pass  # the test has chosen another loop: that is an error of its own, which it raises when it runs
        yield


class ThreadedMockTCPServerMixin(_ThreadedBase):
    """Gives an `unittest.TestCase`, for a client that blocks, the server `self.tcpserver`; name it before `TestCase`.

    `tcpserver_options` holds the arguments with which servers are made: those of `ThreadedMockTCPServer`.
    """

    tcpserver_options: ClassVar[Mapping[str, Any]] = {}

    @property
    def tcpserver(self) -> ThreadedMockTCPServer:
        """The test's server: made, and listening, on first use; judged after the test and its clean-ups."""
        server: Optional[ThreadedMockTCPServer] = self.__dict__.get("_tcpserver")
        if server is None:
            server = self.__dict__["_tcpserver"] = self.start_tcpserver()
        return server

    def start_tcpserver(self, **options: Any) -> ThreadedMockTCPServer:
        """Make a further server, which listens at once; `options` go before those of `tcpserver_options`."""
        from .threaded import ThreadedMockTCPServer
        server = ThreadedMockTCPServer(**{**self.tcpserver_options, **options})
        server.open()
        self._tcpservers.add(server)
        super().addCleanup(self._leave_tcpserver, server)
        return server

    def _leave_tcpserver(self, server: ThreadedMockTCPServer) -> None:
        """Give the verdict on a server; if it is a failure, it is the one report, and the other servers give none."""
        try:
            server.leave()
        except BaseException:
            self._tcpservers.excuse()
            raise

    def run(self, result: Optional[unittest.TestResult] = None) -> Optional[unittest.TestResult]:
        """Run the test; its method and `tearDown` by way of wrappers that know when they end."""
        with _Wrapped(self, self._tcpserver_wrappers()):
            return super().run(result)

    def debug(self) -> None:
        """Run the test without collecting errors."""
        with _Wrapped(self, self._tcpserver_wrappers()):
            try:
                super().debug()
            finally:
                for server in self._tcpservers.live():  # debug() stops at the first exception, before the clean-ups
                    server.close()

    def _tcpserver_wrappers(self) -> dict[str, Callable[..., Any]]:
        method, set_up, tear_down = getattr(self, self._testMethodName), self.setUp, self.tearDown

        def body(*args: Any, **kwargs: Any) -> Any:
            value = self._run_tcpserver_body(method, *args, **kwargs)
            instead = self._end_tcpserver_bodies(None)
            if instead is not None:
                raise_alone(instead)
            return value

        def prepared() -> None:
            self._run_tcpserver_body(set_up)

        def torn_down() -> None:
            self._run_tcpserver_teardown(tear_down)
        return {self._testMethodName: body, "setUp": prepared, "tearDown": torn_down}

    def _run_tcpserver_body(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run the test method, or `setUp`; what is raised instead of its exception is the verdict that came first."""
        try:
            return method(*args, **kwargs)
        except BaseException as exc:
            instead = self._end_tcpserver_bodies(exc)
            if instead is None:
                raise
        return raise_alone(instead)

    def _end_tcpserver_bodies(self, exc: Optional[BaseException]) -> Optional[BaseException]:
        """The body has ended: return what is to be raised instead of `exc`, the verdict that came first."""
        return self._tcpservers.concluded(exc, [server.body_ended(exc) for server in self._tcpservers.live()])

    def _run_tcpserver_teardown(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Run a part of the test after its body; what it raises once the script has failed is a consequence."""
        try:
            function(*args, **kwargs)
        except Exception as exc:
            if not self._tcpservers.is_consequence(exc):
                raise

    def addCleanup(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        """Add a function to be called after the test, as `unittest.TestCase` does."""
        super().addCleanup(self._run_tcpserver_teardown, function, *args, **kwargs)

    @property
    def _tcpservers(self) -> JudgedTogether[ThreadedMockTCPServer]:
        servers: Optional[JudgedTogether[ThreadedMockTCPServer]] = self.__dict__.get("_servers_of_test")
        if servers is None:
            servers = self.__dict__["_servers_of_test"] = JudgedTogether()
        return servers


class _Wrapped:
    """While a test runs, its instance has wrappers for some of its methods, under the same names."""

    def __init__(self, test: unittest.TestCase, wrappers: dict[str, Callable[..., Any]]) -> None:
        self._test = test
        self._wrappers = wrappers
        self._before = dict(test.__dict__)

    def __enter__(self) -> None:
        for name, wrapper in self._wrappers.items():
            original = getattr(self._test, name)
            for attribute in ("__name__", "__qualname__", "__doc__", "__module__"):
                setattr(wrapper, attribute, getattr(original, attribute, None))
            # Marks such as unittest.skip and expectedFailure are attributes of the method.
            wrapper.__dict__.update(getattr(original, "__dict__", {}))
            self._test.__dict__[name] = wrapper

    def __exit__(self, *exc_info: object) -> None:
        for name in self._wrappers:
            self._test.__dict__.pop(name, None)
            if name in self._before:  # pytest, too, puts a method there, and takes it away
                self._test.__dict__[name] = self._before[name]
