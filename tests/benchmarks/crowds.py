"""Many connections at once, each with its script.

The clients are plain sockets in the server's own thread: the system completes their connections and keeps their bytes
before the server has accepted one. So the figures are the server's, and nothing depends on who is scheduled when.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import time
import tracemalloc
from collections.abc import Coroutine
from typing import Any, Callable

from tcpclient_testing import MockTCPServer

from .by_hand import BACKLOG, Comparing, StreamServer, listen_raw
from .clients import Address, resource_limit
from .measuring import OURS, RAW, STREAMS, Goal, Scenario

__all__ = ["connections", "connections_cost"]

_REQUEST, _REPLY = b"Hello, server!\r\n", b"Hello, client!\r\n"
_BURST = 1000

Wait = Callable[[], Coroutine[Any, Any, None]]


class _Crowd:
    """`count` clients, connected in bursts that fit the backlog."""

    def __init__(self, count: int) -> None:
        resource_limit(2 * count + 200)
        self._clients = [socket.socket() for _ in range(count)]

    async def meet(self, address: Address, answered: Wait) -> None:
        """Connect and send; return when all have their answers."""
        for start in range(0, len(self._clients), _BURST):
            for client in self._clients[start:start + _BURST]:
                client.connect(address)
                client.sendall(_REQUEST)
            # Two turns: what the first one's select() finds ready is called behind this task.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        await answered()

    def part(self) -> None:
        """Read the answers and close."""
        for client in self._clients:
            got = client.recv(64)
            assert got == _REPLY
            client.close()


async def connections_cost(count: int, memory: bool = False) -> float:
    """Seconds of CPU time to script and judge so many connections; or the bytes in use when all are answered."""
    crowd = _Crowd(count)
    meter = _Meter(memory)
    async with MockTCPServer(host="127.0.0.1") as server:
        for _ in range(count):
            connection = server.expect_connect().connection
            connection.expect_bytes(_REQUEST)
            connection.send_bytes(_REPLY)
        await crowd.meet(server.address, server.join)
        used = meter.memory()
        for connection in server.connections:
            connection.expect_disconnect()
        crowd.part()
    return used if memory else meter.seconds()


class _Meter:
    def __init__(self, memory: bool) -> None:
        self._memory = memory
        if memory:
            gc.collect()
            tracemalloc.start()
        self._started = time.process_time()

    def memory(self) -> float:
        if not self._memory:
            return 0.0
        gc.collect()
        used = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return float(used)

    def seconds(self) -> float:
        return time.process_time() - self._started


async def _streams(count: int, memory: bool) -> float:
    crowd = _Crowd(count)
    meter = _Meter(memory)
    answered = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        got = await reader.readexactly(len(_REQUEST))
        assert got == _REQUEST
        writer.write(_REPLY)
        await writer.drain()
        answered += 1
        got = await reader.read()
        assert not got

    async def all_answered() -> None:
        while answered < count:
            await asyncio.sleep(0)
    async with StreamServer(serve, BACKLOG) as server:
        await crowd.meet(server.address, all_answered)
        used = meter.memory()
        crowd.part()
    return used if memory else meter.seconds()


async def _raw(count: int, memory: bool) -> float:
    crowd = _Crowd(count)
    meter = _Meter(memory)
    protocols: list[Comparing] = []

    def factory() -> Comparing:
        protocols.append(Comparing(_REQUEST, _REPLY))
        return protocols[-1]

    async def all_answered() -> None:
        while len(protocols) < count or protocols[-1].offset < len(_REQUEST):
            await asyncio.sleep(0)
    server, address = await listen_raw(factory)
    await crowd.meet(address, all_answered)
    used = meter.memory()
    crowd.part()
    for protocol in protocols:
        await protocol.ended
    server.close()
    return used if memory else meter.seconds()


def connections(count: int, *, memory: bool) -> Scenario:
    """So many connections at once; the figure is for each."""
    def runner(function: Callable[[int, bool], Coroutine[Any, Any, float]]) -> Callable[[], float]:
        return lambda: asyncio.run(function(count, memory)) / count
    contestants = {OURS: runner(connections_cost), STREAMS: runner(_streams), RAW: runner(_raw)}
    if memory:
        return Scenario("connections-memory", f"{count:,} connections at once, memory of each", "KiB", Goal(8.0),
                        contestants, once=True)
    return Scenario("connections", f"{count:,} connections at once, each", "us", Goal(1.5, RAW), contestants)
