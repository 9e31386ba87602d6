"""Streams of messages, and messages of great size."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import Coroutine
from functools import partial
from typing import Any, Callable

from tcpclient_testing import MockTCPServer

from .by_hand import Comparing, StreamServer, listen_raw
from .clients import Address, InThread, Sender, receive_all, send_all, talk
from .measuring import OURS, RAW, STREAMS, Goal, Scenario

__all__ = ["bulk_expectation", "bulk_reply", "dialogue", "many_replies", "pipelined", "pipelined_cost"]

Work = Callable[[], Coroutine[Any, Any, float]]
MIB = 1024 * 1024


def _contestants(**work: Work) -> dict[str, Callable[[], float]]:
    def runner(function: Work) -> Callable[[], float]:
        return lambda: asyncio.run(function())
    return {name: runner(function) for name, function in work.items()}


async def _raw_server(expected: bytes, client: Callable[[Address], Coroutine[Any, Any, None]], reply: bytes = b"",
                      every: int = 0) -> None:
    """A protocol by hand, for one connection of `client`."""
    protocols: list[Comparing] = []

    def factory() -> Comparing:
        protocols.append(Comparing(expected, reply, every))
        return protocols[-1]
    server, address = await listen_raw(factory)
    await client(address)
    while not protocols:
        await asyncio.sleep(0)
    await protocols[0].ended
    server.close()


# Many small messages.

_SIZE = 16


def _messages(count: int) -> list[bytes]:
    return [b"%015d\n" % number for number in range(count)]


async def _send(data: bytes, address: Address) -> None:
    _, protocol = await asyncio.get_running_loop().create_connection(lambda: Sender(data), *address)
    await protocol.closed


async def pipelined_cost(messages: list[bytes], data: bytes, *, as_one: bool = False) -> float:
    """Seconds of CPU time to script and to judge these messages, which a client sends at once.

    Each has a step, or all have one.
    """
    started = time.process_time()
    async with MockTCPServer() as server:
        server.expect_connect()
        if as_one:
            server.expect_each(messages)
        else:
            for message in messages:
                server.expect_bytes(message)
        server.expect_disconnect()
        await _send(data, server.address)
    return time.process_time() - started


def pipelined(count: int, *, as_one: bool = False) -> Scenario:
    """Expectations of 16 bytes, all of whose bytes come at once; scripting them included; the figure is for each.

    With `as_one`, one step expects all of them.
    """
    messages = _messages(count)
    data = b"".join(messages)

    async def ours() -> float:
        return await pipelined_cost(messages, data, as_one=as_one) / count

    async def streams() -> float:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for message in messages:
                got = await reader.readexactly(_SIZE)
                assert got == message
            got = await reader.read()
            assert not got
        started = time.process_time()
        async with StreamServer(serve) as server:
            await _send(data, server.address)
        return (time.process_time() - started) / count

    async def raw() -> float:
        started = time.process_time()
        await _raw_server(b"".join(messages), partial(_send, data))
        return (time.process_time() - started) / count
    name, title = ("each", "the same as one step, expect_each()") if as_one \
        else ("pipelined", f"{count:,} expectations of 16 bytes, each")
    return Scenario(name, title, "us", Goal(1.0, STREAMS),
                    _contestants(ours=ours, streams=streams, raw=raw))


def dialogue(count: int) -> Scenario:
    """Request and reply of 32 bytes, one after another; scripting them included; the figure is for each pair."""
    request, reply = b"q" * 31 + b"\n", b"r" * 31 + b"\n"

    async def ours() -> float:
        started = time.process_time()
        async with MockTCPServer() as server:
            server.expect_connect()
            for _ in range(count):
                server.expect_bytes(request)
                server.send_bytes(reply)
            server.expect_disconnect()
            await talk(server.address, request, count)
        return (time.process_time() - started) / count

    async def streams() -> float:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for _ in range(count):
                got = await reader.readexactly(32)
                assert got == request
                writer.write(reply)
                await writer.drain()
            got = await reader.read()
            assert not got
        started = time.process_time()
        async with StreamServer(serve) as server:
            await talk(server.address, request, count)
        return (time.process_time() - started) / count

    async def raw() -> float:
        expected = request * count
        started = time.process_time()
        await _raw_server(expected, lambda address: talk(address, request, count), reply, 32)
        return (time.process_time() - started) / count
    return Scenario("dialogue", "request and reply, 32 bytes, each", "us", Goal(1.15, RAW),
                    _contestants(ours=ours, streams=streams, raw=raw))


# Bulk: the client is a thread that blocks; the server's side is measured.


class _Meter:
    """The CPU time of this thread, or the most memory in use beyond the present, until `stop`."""

    def __init__(self, memory: bool) -> None:
        self._memory = memory
        if memory:
            tracemalloc.start()
        self._started = time.thread_time()

    def stop(self) -> float:
        if not self._memory:
            return time.thread_time() - self._started
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return float(peak)


async def _in_thread(function: Callable[..., object], *args: Any) -> None:
    await InThread(partial(function, *args)).ended()


def bulk_expectation(size: int, *, memory: bool) -> Scenario:
    """One message of many bytes from the client."""
    payload = bytes(MIB) * (size // MIB)
    client = partial(send_all, data=memoryview(payload))

    async def ours() -> float:
        meter = _Meter(memory)
        async with MockTCPServer() as server:
            server.expect_connect()
            server.expect_bytes(payload)
            server.expect_disconnect()
            await _in_thread(client, server.address)
        return meter.stop()

    async def streams() -> float:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            got = await reader.readexactly(size)
            assert got == payload
            got = await reader.read()
            assert not got
        meter = _Meter(memory)
        async with StreamServer(serve) as server:
            await _in_thread(client, server.address)
        return meter.stop()

    async def raw() -> float:
        meter = _Meter(memory)
        await _raw_server(payload, partial(_in_thread, client))
        return meter.stop()
    return _bulk("expectation", size, memory, ours, streams, raw)


def _bulk(what: str, size: int, memory: bool, ours: Work, streams: Work, raw: Work) -> Scenario:
    title = f"one {what} of {size // MIB} MiB"
    contestants = _contestants(ours=ours, streams=streams, raw=raw)
    if memory:
        return Scenario(f"bulk-{what}-memory", f"{title}, peak memory", "MiB", Goal(4.0), contestants, once=True)
    # 0.8 of the speed of a protocol by hand.
    return Scenario(f"bulk-{what}", f"{title}, CPU time", "ms", Goal(1 / 0.8, RAW), contestants)


class _Replying(asyncio.Protocol):
    """Sends `data` in slices under flow control, and closes."""

    def __init__(self, data: bytes, ended: asyncio.Future[None]) -> None:
        self._left = memoryview(data)
        self._ended = ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._paused = False
        transport.set_write_buffer_limits(high=0)
        self._pump()

    def _pump(self) -> None:
        while self._left and not self._paused:
            piece, self._left = self._left[:256 * 1024], self._left[256 * 1024:]
            self._transport.write(piece)
        if not self._left:
            self._transport.close()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        # asyncio's transport must not be closed in here: it would close itself twice.
        self._paused = False
        asyncio.get_running_loop().call_soon(self._pump)

    def connection_lost(self, exc: Any) -> None:
        self._ended.set_result(None)


async def _our_replies(replies: list[bytes]) -> None:
    async with MockTCPServer() as server:
        server.expect_connect()
        for reply in replies:
            server.send_bytes(reply)
        server.disconnect()
        await _in_thread(receive_all, server.address)


async def _stream_replies(replies: list[bytes]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            writer.write(reply)
            await writer.drain()
    async with StreamServer(serve) as server:
        await _in_thread(receive_all, server.address)


async def _raw_replies(replies: list[bytes]) -> None:
    ended = asyncio.get_running_loop().create_future()
    server, address = await listen_raw(lambda: _Replying(replies[0], ended))
    await _in_thread(receive_all, address)
    await ended
    server.close()


def bulk_reply(size: int, *, memory: bool) -> Scenario:
    """One message of many bytes to the client."""
    payload = bytes(MIB) * (size // MIB)

    def measured(work: Callable[[list[bytes]], Coroutine[Any, Any, None]]) -> Work:
        async def run() -> float:
            meter = _Meter(memory)
            await work([payload])
            return meter.stop()
        return run
    return _bulk("reply", size, memory, measured(_our_replies), measured(_stream_replies), measured(_raw_replies))


def many_replies(count: int) -> Scenario:
    """Replies of 16 KiB in one go: four times as many must not cost much more than four times as much."""
    reply = bytes(16 * 1024)

    def exponent(work: Callable[[list[bytes]], Coroutine[Any, Any, None]]) -> float:
        from math import log
        costs = []
        for number in (count // 4, count):
            started = time.thread_time()
            asyncio.run(work([reply] * number))
            costs.append(time.thread_time() - started)
        return log(costs[1] / costs[0], 4)
    return Scenario("replies", f"{count:,} replies of 16 KiB: growth, as an exponent", "", Goal(1.2),
                    {OURS: lambda: exponent(_our_replies), STREAMS: lambda: exponent(_stream_replies)})
