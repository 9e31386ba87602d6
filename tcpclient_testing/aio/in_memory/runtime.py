"""Runs a server in memory: as any other, but for its listening sockets, and for what watches the operating system."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any, ClassVar, Optional, Union, cast

from tcpclient_testing.aio.accepting import Reception
from tcpclient_testing.aio.runtime import Runtime
from tcpclient_testing.aio.sockets.layer import SocketLayer

from .listening import MemoryListener, listen_in_memory
from .network import HOSTS, MemoryNetwork, network_of

if TYPE_CHECKING:
    from .hang import HangWatch

__all__ = ["MemoryRuntime"]

__unittest = True


class MemoryReception(Reception):
    """Accepts clients for one server, from the loop's network in memory."""

    _network: Optional[MemoryNetwork] = None

    def join(self, network: MemoryNetwork) -> None:
        """Accept clients of this network."""
        self._network = network

    def listens_at(self, address: Union[tuple[str, int], str]) -> bool:
        return address in [(host, listener.address[1]) for listener in self._in_memory([*self.listeners, *self._kept])
                           for host in HOSTS]

    def _listen(self) -> None:
        assert self._network is not None
        for listener in self._in_memory(self.listeners):
            self._network.open(listener)
        super()._listen()

    def _ignore(self) -> None:
        super()._ignore()
        if self._network is not None:
            for listener in self._in_memory(self.listeners):
                self._network.close(listener)

    def _refuse(self, listeners: list[socket.socket]) -> None:
        for listener in self._in_memory(listeners):
            listener.refuse()

    @staticmethod
    def _in_memory(listeners: list[socket.socket]) -> list[MemoryListener]:
        return cast("list[MemoryListener]", listeners)


class MemoryRuntime(Runtime):
    """The inner part of one server in memory."""

    reception_type: ClassVar[type[Reception]] = MemoryReception
    reception: MemoryReception
    _hang_watch: Optional[HangWatch] = None

    def listen(self, host: Optional[str], port: int, *, allow_remote: bool) -> None:
        self.bind(lambda listeners: listeners.append(cast(Any, listen_in_memory(host, port))))

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        super().attach(loop)
        if self.context.virtual:
            from .hang import HangWatch
            self._hang_watch = HangWatch(self.context)
            self._hang_watch.start()

    def close(self) -> None:
        if self._hang_watch is not None:
            self._hang_watch.stop()
        super().close()

    def _make_sockets(self, loop: asyncio.AbstractEventLoop) -> SocketLayer:
        network = network_of(loop)
        self.reception.join(network)
        return network.layer

    def _make_guard(self) -> None:
        return None  # a client that blocks the loop has no socket by which to free it
