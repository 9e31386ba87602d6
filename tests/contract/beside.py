"""A client that fails by itself beside the body, which waits for the script; and sound clients that come near."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Optional

from .bodies import Body, Tools
from .case import PASSES, Case, fails, raises
from .clients import CLOSE, Operation, do, read, send
from .scripts import ASK, exchange


def fail() -> None:
    """Raise, as a client."""
    raise LookupError("the client's own")


def begin(coroutine: Any) -> list[Any]:
    """Start a task; return it in a list, so that it is not awaited."""
    return [asyncio.create_task(coroutine)]


class Beside:
    """A client that runs in a task or in a thread. With `closes`, it closes its connection when it fails."""

    def __init__(self, tools: Tools, *program: Operation, closes: bool = False) -> None:
        self.client = tools.another()
        self.program = program
        self.closes = closes
        self.asynchronous = tools.asynchronous

    def start(self) -> list[Any]:
        """Start it; return its task or thread, in a list, so that it is not awaited."""
        if self.asynchronous:
            return begin(self.run())
        thread = threading.Thread(target=self.run_blocking)
        thread.start()
        return [thread]

    async def run(self) -> None:
        """Run in a task."""
        try:
            await self.client.run(self.program)
        finally:
            if self.closes:
                self.client.abort()

    def run_blocking(self) -> None:
        """Run in a thread."""
        try:
            self.client.run(self.program)
        finally:
            if self.closes:
                self.client.abort()


class Pooled(Beside):
    """It is a job of a thread pool: its exception lives in the job's future, as long as somebody keeps that."""

    def start(self) -> list[Any]:
        """Start it; return its future."""
        pool = ThreadPoolExecutor(1)
        try:
            return [pool.submit(self.run_blocking)]
        finally:
            pool.shutdown(wait=False)


class Unconnected(Beside):
    """It fails before it connects."""

    async def run(self) -> None:
        fail()

    def run_blocking(self) -> None:
        fail()


def waits(kind: type[Beside], *program: Operation, wait: Optional[Callable[[Tools], Any]] = None, closes: bool = False,
          keeps: bool = True) -> Callable[[Tools], Body]:
    """Make a body that starts a client, and waits for the script. With `keeps`, it keeps the client's task."""
    def body(tools: Tools) -> Body:
        beside = kind(tools, *program, closes=closes)
        kept = yield beside.start
        if not keeps:
            kept = None
        if wait is not None:
            yield wait(tools)
        del kept
    return body


def first_step(tools: Tools) -> Any:
    """Wait for a step that never comes: the last one."""
    return tools.result(tools.server.expect_line(b"QUIT"))


def open_exchange(server: Any) -> None:
    """PING, PONG."""
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PONG")


def join(tools: Tools) -> Any:
    """Wait for the script."""
    return tools.join()


# Sound clients: somebody takes the exception, or the script goes on.

def raises_at_the_end(tools: Tools) -> Body:
    """The client raises when it has done its part; the body takes that after the script."""
    [task] = yield Beside(tools, *ASK, CLOSE, do(fail)).start
    yield tools.join()
    yield lambda: asyncio.wait([task])
    assert isinstance(task.exception(), LookupError)


def supervised(tools: Tools) -> Body:
    """Another task looks at the client now and then, and starts another one."""
    first = Beside(tools, *ASK, do(fail), closes=True)

    async def supervise() -> None:
        [task] = first.start()
        while not task.done():
            await asyncio.sleep(0.05)
        with contextlib.suppress(LookupError):
            await task
        await asyncio.sleep(0.2)
        await Beside(tools, *ASK, CLOSE).run()
    [task] = yield lambda: begin(supervise())
    yield tools.join()
    yield lambda: task


def polled(tools: Tools) -> Body:
    """The body looks at the task of a client that has failed, when another one has done the rest."""
    [task] = yield Beside(tools, *ASK, do(fail), closes=True).start

    async def another() -> None:
        await asyncio.sleep(0.2)
        await Beside(tools, *ASK, CLOSE).run()
    [other] = yield lambda: begin(another())
    yield tools.join()
    assert task.done()
    assert isinstance(task.exception(), LookupError)
    yield lambda: other


def gathered(tools: Tools) -> Body:
    """The body gathers what comes of two clients, after the script."""
    [first] = yield Beside(tools, *ASK, do(fail), closes=True).start

    async def later() -> None:
        await asyncio.sleep(0.2)
        await Beside(tools, *ASK, CLOSE).run()
    [second] = yield lambda: begin(later())
    yield tools.join()
    results = yield lambda: asyncio.gather(first, second, return_exceptions=True)
    assert isinstance(results[0], LookupError) and results[1] is None


def reconnects(tools: Tools) -> Body:
    """The client fails inside, and connects again."""
    async def run() -> None:
        with contextlib.suppress(LookupError):
            await Beside(tools, *ASK, do(fail), closes=True).run()
        await asyncio.sleep(0.2)
        await Beside(tools, *ASK, CLOSE).run()
    [task] = yield lambda: begin(run())
    yield tools.join()
    yield lambda: task


def restarts(tools: Tools) -> Body:
    """A callback starts the next client, a moment after the first one has failed."""
    loop: Any = None
    tasks: list[Any] = []

    def start() -> None:
        tasks.extend(Beside(tools, *ASK, CLOSE).start())

    def start_first() -> None:
        nonlocal loop
        loop = asyncio.get_running_loop()
        tasks.extend(Beside(tools, *ASK, do(fail), closes=True).start())
        tasks[0].add_done_callback(lambda _: loop.call_later(0.2, start))
    yield start_first
    yield tools.join()
    assert isinstance(tasks[0].exception(), LookupError)
    yield lambda: tasks[1]


def fails_while_another_goes_on(tools: Tools) -> Body:
    """The client fails when it has done its part; another one, in a thread of its own, takes its time for the rest."""
    def later() -> None:
        time.sleep(0.2)
        another.run_blocking()
    first, another = Beside(tools, *ASK, do(fail), closes=True), Beside(tools, *ASK, CLOSE)
    pool = ThreadPoolExecutor(2)
    jobs = yield lambda: [pool.submit(first.run_blocking), pool.submit(later)]
    yield tools.join()
    assert isinstance(jobs[0].exception(), LookupError)
    pool.shutdown()


def in_a_group(tools: Tools) -> Body:
    """A task group ends with the client's exception, which is handled; then another client does the rest."""
    first = Beside(tools, *ASK, do(fail), closes=True)

    async def run() -> None:
        with contextlib.suppress(Exception):
            async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined,unused-ignore]
                group.create_task(first.run())
        await asyncio.sleep(0.2)
        await Beside(tools, *ASK, CLOSE).run()
    [task] = yield lambda: begin(run())
    yield tools.join()
    yield lambda: task


def background_dies(slowly: bool) -> Callable[[Tools], Body]:
    """Make a body with a task that has nothing to do with the client, and fails."""
    async def background() -> None:
        raise LookupError("the background's own")

    async def client(tools: Tools) -> None:
        beside = Beside(tools, send(b"PING\r\n"))
        await beside.client.connect()
        if slowly:
            await asyncio.sleep(0.2)
            await beside.client.run((*ASK, CLOSE))
        else:
            await beside.client.run((read(1),))

    def body(tools: Tools) -> Body:
        [dead] = yield lambda: begin(background())
        [task] = yield lambda: begin(client(tools))
        try:
            yield tools.join()
        finally:
            task.cancel()
            yield lambda: asyncio.wait([task])
        assert isinstance(dead.exception(), LookupError)
    return body


def delayed(server: Any) -> None:
    """The server takes its time."""
    server.expect_connect()
    server.expect_line(b"PING")
    server.delay(0.2)
    server.send_line(b"PONG")
    server.expect_disconnect()


def twice(server: Any) -> None:
    """Two clients, one after the other."""
    exchange(server)
    exchange(server)


def soon(server: Any) -> None:
    """The exchange, with little time for the request."""
    server.expect_connect()
    server.expect_line(b"PING", timeout=0.3)
    server.expect_disconnect()


_OWN = raises(r"LookupError.*the client's own", r"(?s)script waited for step 4.*the conversation|transcript")

CASES = tuple(case._replace(lasts=True) for case in (
    Case("client_fails_beside", _OWN, waits(Beside, *ASK, do(fail), wait=join), exchange),
    Case("client_fails_beside_unkept", _OWN, waits(Beside, *ASK, do(fail), wait=join, keeps=False), exchange),
    Case("client_fails_beside_and_closes", raises(r"LookupError.*the client's own"),
         waits(Beside, *ASK, do(fail), wait=join, closes=True),
         lambda s: (open_exchange(s), s.expect_line(b"QUIT"), s.expect_disconnect())),
    Case("client_fails_beside_at_the_exit", _OWN, waits(Beside, *ASK, do(fail)), exchange),
    Case("client_fails_beside_and_closes_at_the_exit", raises(r"LookupError.*the client's own"),
         waits(Beside, *ASK, do(fail), closes=True),
         lambda s: (open_exchange(s), s.expect_line(b"QUIT"), s.expect_disconnect())),
    Case("client_fails_in_a_pool_and_closes", raises(r"LookupError.*the client's own"),
         waits(Pooled, *ASK, do(fail), wait=join, closes=True),
         lambda s: (open_exchange(s), s.expect_line(b"QUIT"), s.expect_disconnect()), only="threaded"),
    Case("client_in_a_pool", PASSES, waits(Pooled, *ASK, CLOSE), exchange, only="threaded"),
    Case("client_fails_beside_in_a_step", _OWN, waits(Beside, *ASK, do(fail), wait=first_step), open_exchange),
    Case("client_fails_before_connecting", raises(r"LookupError.*the client's own", r"waited for step 1|step 1 of 4"),
         waits(Unconnected, wait=join), exchange),
    Case("client_fails_before_connecting_unkept",
         raises(r"LookupError.*the client's own", r"waited for step 1|step 1 of 4"),
         waits(Unconnected, wait=join, keeps=False), exchange),
    Case("client_fails_before_connecting_at_the_exit",
         raises(r"LookupError.*the client's own", r"waited for step 1|step 1 of 4"), waits(Unconnected), exchange),
    Case("client_raises_at_the_end", PASSES, raises_at_the_end, exchange, only="asynchronous"),
    Case("client_supervised", PASSES, supervised, twice, only="asynchronous", options=lambda: {"watch_streams": False}),
    Case("client_polled", PASSES, polled, twice, only="asynchronous", options=lambda: {"watch_streams": False}),
    Case("client_gathered", PASSES, gathered, twice, only="asynchronous", options=lambda: {"watch_streams": False}),
    Case("client_reconnects", PASSES, reconnects, twice, only="asynchronous", options=lambda: {"watch_streams": False}),
    Case("client_restarts", PASSES, restarts, twice, only="asynchronous", options=lambda: {"watch_streams": False}),
    *([Case("client_in_a_task_group", PASSES, in_a_group, twice, only="asynchronous",
            options=lambda: {"watch_streams": False})] if sys.version_info >= (3, 11) else []),
    Case("client_fails_while_another_goes_on", PASSES, fails_while_another_goes_on, twice, only="threaded"),
    Case("background_dies", PASSES, background_dies(True), exchange, only="asynchronous"),
    Case("background_dies_and_the_server_is_slow", PASSES, background_dies(True), delayed, only="asynchronous"),
    Case("background_dies_and_the_client_hangs", fails(r"LookupError: the background's own.*nothing received"),
         background_dies(False), soon, only="asynchronous"),
))
