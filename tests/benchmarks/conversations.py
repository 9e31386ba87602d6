"""One conversation after another, each with a server of its own: over sockets, and in memory."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Optional

from tcpclient_testing import MockTCPServer, Network

from .measuring import OURS, Goal, Scenario

__all__ = ["conversation_in_memory", "split_conversation_in_memory"]

SOCKETS = "sockets"

_REPLY = b"19 bytes of a reply"


async def _converse(network: Optional[Network], options: dict[str, Any]) -> None:
    async with MockTCPServer(network=network, **options) as server:
        server.expect_connect()
        server.expect_line(b"GET")
        server.send_bytes(_REPLY)
        server.expect_disconnect()
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(b"GET\r\n")
        got = await reader.readexactly(len(_REPLY))
        assert got == _REPLY
        writer.close()
        await writer.wait_closed()


def _cost(count: int, network: Optional[Network], **options: Any) -> float:
    """Seconds of CPU time for one of so many conversations, the client included."""
    async def run() -> float:
        await _converse(network, options)
        started = time.process_time()
        for _ in range(count):
            await _converse(network, options)
        return (time.process_time() - started) / count
    return asyncio.run(run())


def _scenario(name: str, title: str, count: int, network: Optional[Network], limit: float) -> Scenario:
    return Scenario(name, title, "us", Goal(limit, SOCKETS), {
        OURS: lambda: _cost(count, network, in_memory=True), SOCKETS: lambda: _cost(count, network)})


def conversation_in_memory(count: int) -> Scenario:
    """A server made anew, a client of asyncio's streams, and a verdict."""
    return _scenario("in-memory", "a conversation with a server made anew, in memory", count, None, 0.61)


def split_conversation_in_memory(count: int) -> Scenario:
    """The same, and each byte of the reply comes apart."""
    return _scenario("in-memory-split", "the same, each byte of 19 apart", count, Network(chunk=1), 0.1)
