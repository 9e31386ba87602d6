"""A whole trivial test: what a server adds to a test of `IsolatedAsyncioTestCase`, and how a test fails early."""

from __future__ import annotations

import asyncio
import time
import unittest
from typing import Any, ClassVar

from tcpclient_testing import ExpectationError, MockTCPServer, MockTCPServerMixin

from .by_hand import Comparing, StreamServer, listen_raw
from .measuring import OURS, RAW, STREAMS, Goal, Scenario

__all__ = ["early_verdict", "empty_test", "our_test", "trivial_test", "trivial_test_without_debug"]

REQUEST, REPLY = b"Hello, server!", b"Hello, client!"


async def client(address: tuple[str, int]) -> None:
    """Say hello, hear hello, and close, with asyncio's streams."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(REQUEST)
    answer = await reader.readexactly(len(REPLY))
    writer.close()
    await writer.wait_closed()
    assert answer == REPLY


class _Debug(unittest.IsolatedAsyncioTestCase):
    debug_mode: ClassVar[bool] = True

    async def asyncSetUp(self) -> None:
        if not self.debug_mode:
            asyncio.get_running_loop().set_debug(False)


class _Empty(_Debug):
    async def test(self) -> None:
        pass


class _Ours(MockTCPServerMixin, _Debug):
    async def test(self) -> None:
        self.tcpserver.expect_connect()
        self.tcpserver.expect_bytes(REQUEST)
        self.tcpserver.send_bytes(REPLY)
        self.tcpserver.expect_disconnect()
        await client(self.tcpserver.address)


class _Streams(_Debug):
    async def test(self) -> None:
        async with StreamServer(self._serve) as server:
            await client(server.address)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.assertEqual(await reader.readexactly(len(REQUEST)), REQUEST)
        writer.write(REPLY)
        await writer.drain()
        self.assertEqual(await reader.read(), b"")


class _Raw(_Debug):
    async def test(self) -> None:
        protocols: list[Comparing] = []

        def factory() -> Comparing:
            protocols.append(Comparing(REQUEST, REPLY))
            return protocols[-1]
        server, address = await listen_raw(factory)
        await client(address)
        await protocols[0].ended
        server.close()


def _run(case: type[_Debug], debug_mode: bool) -> None:
    case.debug_mode = debug_mode
    result = unittest.TestResult()
    case("test").run(result)
    if not result.wasSuccessful():
        raise AssertionError((result.errors + result.failures)[0][1])


def our_test() -> None:
    """Run the trivial test once with our server, the loop in its debug mode."""
    _run(_Ours, True)


def empty_test() -> None:
    """Run a test that does nothing."""
    _run(_Empty, True)


def _cost(case: type[_Debug], debug_mode: bool) -> float:
    """What the test costs above the empty one."""
    def many(which: type[_Debug]) -> float:
        started = time.process_time()
        for _ in range(8):
            _run(which, debug_mode)
        return (time.process_time() - started) / 8
    return many(case) - many(_Empty)


def _trivial(name: str, title: str, debug_mode: bool, limit: float) -> Scenario:
    contestants = {which: lambda case=case: _cost(case, debug_mode)  # type: ignore[misc]
                   for which, case in ((OURS, _Ours), (STREAMS, _Streams), (RAW, _Raw))}
    return Scenario(name, title, "ms", Goal(limit, STREAMS), contestants)


def trivial_test() -> Scenario:
    """The test as unittest runs it."""
    return _trivial("trivial", "a trivial test, above the empty one", True, 0.85)


def trivial_test_without_debug() -> Scenario:
    """The same test, the loop's debug mode off."""
    return _trivial("trivial-nodebug", "the same without debug mode", False, 1.0)


def early_verdict() -> Scenario:
    """From the client's wrong first byte to the exception in the test."""
    wrong = b"J" + REQUEST[1:]

    async def send(address: tuple[str, int]) -> tuple[asyncio.StreamWriter, float]:
        _, writer = await asyncio.open_connection(*address)
        writer.write(wrong[:1])
        return writer, time.perf_counter()

    async def end(writer: asyncio.StreamWriter) -> None:
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            pass  # reset by the server: that is how it gives up

    async def ours() -> float:
        server = await MockTCPServer(cancel_body=False).start()
        server.expect_connect()
        server.expect_bytes(REQUEST)
        writer, sent = await send(server.address)
        try:
            await server.join()
        except ExpectationError as error:
            str(error)
            took = time.perf_counter() - sent
        server.close()
        await end(writer)
        return took

    async def raw() -> float:
        protocols: list[Comparing] = []

        def factory() -> Comparing:
            protocols.append(Comparing(REQUEST))
            return protocols[-1]
        server, address = await listen_raw(factory)
        writer, sent = await send(address)
        while not protocols:
            await asyncio.sleep(0)
        try:
            await protocols[0].ended
        except AssertionError:
            took = time.perf_counter() - sent
        server.close()
        await end(writer)
        return took

    def runner(function: Any) -> Any:
        return lambda: asyncio.run(function())
    return Scenario("early", "a wrong first byte, reported after", "ms", Goal(1.0), {OURS: runner(ours),
                                                                                    RAW: runner(raw)})
