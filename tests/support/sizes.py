"""Clients of every kind that write down how many bytes each read gave them, until the stream ends."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys

__all__ = ["KINDS", "with_a_process", "with_a_protocol", "with_a_thread", "with_streams", "with_wait_for"]


async def with_streams(address):
    """A client with asyncio's streams."""
    return await _streams(address, lambda reader: reader.read(65536))


async def with_wait_for(address):
    """The same, each read under a time-out, which takes some more turns of the loop."""
    return await _streams(address, lambda reader: asyncio.wait_for(reader.read(65536), 60))


async def _streams(address, read):
    reader, writer = await asyncio.open_connection(*address)
    sizes = []
    while True:
        data = await read(reader)
        if not data:
            break
        sizes.append(len(data))
    writer.close()
    await writer.wait_closed()
    return sizes


class _Recorder(asyncio.Protocol):
    def __init__(self):
        self.sizes = []
        self.ended = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        self.sizes.append(len(data))

    def connection_lost(self, exc):
        self.ended.set_result(exc)


async def with_a_protocol(address):
    """A client with a protocol of asyncio's."""
    _, protocol = await asyncio.get_running_loop().create_connection(_Recorder, *address)
    await protocol.ended
    return protocol.sizes


def _blocking(address):
    sizes = []
    with socket.create_connection(address, timeout=60) as client:
        while True:
            data = client.recv(65536)
            if not data:
                return sizes
            sizes.append(len(data))


async def with_a_thread(address):
    """A blocking client in another thread."""
    return await asyncio.get_running_loop().run_in_executor(None, _blocking, address)


_PROGRAM = """
import socket, sys
for line in sys.stdin:
    sizes = []
    with socket.create_connection(("127.0.0.1", int(line)), timeout=60) as client:
        while True:
            data = client.recv(65536)
            if not data:
                break
            sizes.append(len(data))
    print(*sizes, flush=True)
"""


async def with_a_process(address, _child=[]):  # noqa: B006 - one process for all calls, which ends with this one
    """A blocking client in another process."""
    if not _child:
        _child.append(subprocess.Popen([sys.executable, "-S", "-c", _PROGRAM], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True))
    child = _child[0]

    def ask():
        child.stdin.write(f"{address[1]}\n")
        child.stdin.flush()
        return [int(size) for size in child.stdout.readline().split()]

    return await asyncio.get_running_loop().run_in_executor(None, ask)


def end_the_process():
    """End the process that `with_a_process` has started, if there is one."""
    children = with_a_process.__defaults__[0]
    while children:
        child = children.pop()
        child.stdin.close()
        child.stdout.close()
        child.wait()


#: Each kind of client by its name.
KINDS = {"streams": with_streams, "wait_for": with_wait_for, "protocol": with_a_protocol, "thread": with_a_thread,
         "process": with_a_process}
