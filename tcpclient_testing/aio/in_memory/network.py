"""The servers in memory of one event loop, and how clients of that loop get to them.

asyncio's clients connect by ``loop.create_connection()``, and `asyncio.open_connection()` does, too. It looks up the
host, and then has two methods of the loop connect a socket to one address, and give the socket a transport. As long as
a server in memory runs in the loop, these two are overridden: for the address of such a server they connect in memory,
for any other they do what they ever did. The overrides go with the last server.

    no server --first server--> overridden --last server closed--> no server
"""

from __future__ import annotations

import asyncio
import socket
import weakref
from collections.abc import Mapping
from typing import Any, Optional

from tcpclient_testing.aio.sockets.inet_diag import PeerState
from tcpclient_testing.aio.sockets.layer import SocketLayer
from tcpclient_testing.errors import ScriptError

from .listening import HOST, HOST_6, MemoryListener
from .loop_view import LoopView
from .sockets import MemorySocket

__all__ = ["HOSTS", "MemoryNetwork", "network_of"]

__unittest = True

#: Where clients find a server. To connect to an unspecified address is to connect to this machine (Linux).
HOSTS = (HOST, "0.0.0.0", HOST_6, "::")

# How many turns of its loop a client's connect(2) takes on the loopback interface. By then the server has accepted.
_TURNS = 2

# The attribute of a loop that has its network, from the first server on. A table of loops would keep them alive.
_ATTRIBUTE = "_tcpclient_testing_network"


class MemoryNetwork:
    """Connects the clients of one loop to its servers in memory. The transports of both ends see `socket_loop`."""

    def __init__(self, loop: asyncio.BaseEventLoop) -> None:
        self.socket_loop = LoopView(loop)
        self._loop: Any = loop
        self._listeners: dict[int, MemoryListener] = {}
        self._clients: weakref.WeakValueDictionary[tuple[str, int], MemorySocket] = weakref.WeakValueDictionary()
        self.layer = MemoryLayer(loop, self.socket_loop, MemoryProbe(self._clients))
        self._overrides = {"_connect_sock": self._connect, "_create_connection_transport": self._make_transport,
                           "sock_connect": self._refuse_socket}

    def open(self, listener: MemoryListener) -> None:
        """Clients of the loop can connect to this listener from now on."""
        if not self._listeners:
            for name, override in self._overrides.items():
                vars(self._loop).setdefault(name, override)  # who has wrapped one of them has his reasons
            self.socket_loop.hook()
        self.socket_loop.add(listener)
        self._listeners[listener.address[1]] = listener

    def close(self, listener: MemoryListener) -> None:
        """Clients can't connect to it any more."""
        if self._listeners.pop(listener.address[1], None) is not None and not self._listeners:
            self.socket_loop.unhook()
            attributes = vars(self._loop)
            for name, override in self._overrides.items():
                if attributes.get(name) == override:
                    del attributes[name]

    def _find(self, address: Any) -> Optional[MemoryListener]:
        if not isinstance(address, tuple) or len(address) < 2 or address[0] not in HOSTS:
            return None
        return self._listeners.get(address[1])

    async def _connect(self, exceptions: list[Any], info: tuple[Any, ...], local_infos: Any = None) -> Any:
        """Connect a socket, as the loop's method does; in memory, if a server in memory is at this address."""
        family, _, _, _, address = info
        listener = self._find(address)
        if listener is None:
            return await type(self._loop)._connect_sock(self._loop, exceptions, info, local_infos)
        mine: list[OSError] = []
        exceptions.append(mine)
        try:
            return await self._connected(listener, address, family, local_infos)
        except OSError as error:
            mine.append(error)
            raise

    async def _connected(self, listener: MemoryListener, address: tuple[Any, ...], family: int,
                         local_infos: Any) -> MemorySocket:
        local = None
        if local_infos is not None:
            local = next((info[4] for info in local_infos if info[0] == family), None)
            if local is None:
                raise OSError(f"no matching local address with {family=} found")
        client = listener.connect((HOST if len(address) == 2 else HOST_6, *address[1:]), local)
        self._clients[client.getsockname()[:2]] = client
        try:
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            error = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, f"Connect call failed {address}")
        except BaseException:
            client.close()
            raise
        return client

    async def _make_transport(self, sock: Any, *arguments: Any, **options: Any) -> Any:
        """Give a connected socket its transport, as the loop's method does."""
        if isinstance(sock, MemorySocket):
            return await self.socket_loop.connect_transport(sock, *arguments, **options)
        return await type(self._loop)._create_connection_transport(self._loop, sock, *arguments, **options)

    async def _refuse_socket(self, sock: Any, address: Any) -> Any:
        """Connect a socket of the operating system, which can't be done to a server in memory."""
        if self._find(address) is not None:
            raise ScriptError(f"loop.sock_connect() can't reach {address[0]}:{address[1]}: that server was made with "
                              "in_memory=True, for clients that use asyncio's streams or loop.create_connection(); for "
                              "this client, make the server without that")
        return await type(self._loop).sock_connect(self._loop, sock, address)


class MemoryProbe:
    """Says of clients' ends what the operating system would be asked, see `PeerProbe`. `clients`: by address."""

    def __init__(self, clients: Mapping[tuple[str, int], MemorySocket]) -> None:
        self._clients = clients

    def look(self, local: tuple[Any, ...], peer: tuple[Any, ...]) -> Optional[PeerState]:
        """Return the state of the client's end of a connection, which has the address `peer`; None if it is gone."""
        client = self._clients.get(peer[:2])
        return None if client is None else client.state()

    def close(self) -> None:
        """Do nothing: there is no socket behind it."""


class MemoryLayer(SocketLayer):
    """The sockets of a loop's network in memory: in the place of those of the operating system."""

    reached_by = ("the server was made with in_memory=True: only clients in its own event loop get to it, by asyncio's "
                  "streams or loop.create_connection()")

    def __init__(self, loop: asyncio.AbstractEventLoop, socket_loop: LoopView, probe: MemoryProbe) -> None:
        super().__init__(loop)
        self.loop = socket_loop
        self._probe = probe


def network_of(loop: asyncio.AbstractEventLoop) -> MemoryNetwork:
    """Return the network of a loop. Raises `ScriptError` if the loop is none of asyncio's own."""
    network: Optional[MemoryNetwork] = getattr(loop, _ATTRIBUTE, None)
    if network is None:
        if not isinstance(loop, asyncio.BaseEventLoop):
            raise ScriptError(f"in_memory=True needs one of asyncio's own event loops, and this one is "
                              f"{type(loop).__module__}.{type(loop).__qualname__}: use one of those, or make the "
                              "server without that")
        network = vars(loop)[_ATTRIBUTE] = MemoryNetwork(loop)
    return network
