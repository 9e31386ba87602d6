"""How clients of a loop get to its servers in memory, and what of the loop is overridden for that."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import unittest
import warnings
import weakref
from typing import Any
from unittest import mock

from tcpclient_testing import MockTCPServer, ScriptError
from tcpclient_testing.aio.in_memory.network import network_of
from tests.support.collecting import collect


class OverrideTests(unittest.IsolatedAsyncioTestCase):
    """The methods of the loop while servers run, and afterwards."""

    NAMES = frozenset(("_connect_sock", "_create_connection_transport", "sock_connect"))

    def overridden(self) -> set[str]:
        """Return the names of the loop's methods that are overridden, and its selector, if that is."""
        loop: Any = asyncio.get_running_loop()
        names = {name for name in dir(loop) if name in vars(loop) and hasattr(type(loop), name)
                 and callable(getattr(loop, name))}
        return names | ({"selector"} if hasattr(loop._selector, "inner") else set())

    async def test_overrides_are_counted(self) -> None:
        """The last server undoes them."""
        self.assertEqual(self.overridden(), set())
        async with MockTCPServer(in_memory=True):
            async with MockTCPServer(in_memory=True):
                self.assertEqual(self.overridden(), {*self.NAMES, "selector"})
            self.assertEqual(self.overridden(), {*self.NAMES, "selector"})
        self.assertEqual(self.overridden(), set())

    async def test_other_servers_override_nothing(self) -> None:
        """A server with sockets leaves the loop as it was."""
        async with MockTCPServer():
            self.assertEqual(self.overridden(), set())

    async def talk(self, server: MockTCPServer) -> None:
        """Connect a client, and close it."""
        server.expect_connect()
        server.expect_disconnect()
        _, writer = await asyncio.open_connection(*server.address)
        writer.close()
        await writer.wait_closed()
        await server.join()

    async def test_methods_that_somebody_wraps(self) -> None:
        """A wrapper is called as ever, whether it came before the server or after it, and stays."""
        loop: Any = asyncio.get_running_loop()
        for name in ("create_connection", "sock_connect"):
            for early in (True, False):
                with self.subTest(name=name, early=early), contextlib.ExitStack() as stack:
                    called = mock.Mock()

                    def wrap(name: str = name, called: mock.Mock = called) -> None:
                        wrapped = getattr(loop, name)

                        async def wrapper(*arguments: Any, **options: Any) -> Any:
                            called()
                            return await wrapped(*arguments, **options)
                        setattr(loop, name, wrapper)
                        stack.callback(delattr, loop, name)
                    if early:
                        wrap()
                    async with MockTCPServer(in_memory=True) as server, MockTCPServer() as real:
                        if not early:
                            wrap()
                        await self.talk(real)
                        await self.talk(server)
                    self.assertTrue(called.called)
                    self.assertIn(name, vars(loop))
                    called.reset_mock()
                    async with MockTCPServer(in_memory=True), MockTCPServer() as real:
                        await self.talk(real)
                    self.assertTrue(called.called)
        self.assertEqual(self.overridden(), set())

    async def test_server_is_forgotten(self) -> None:
        """Nothing of it stays alive with its loop."""
        async with MockTCPServer(in_memory=True) as server:
            kept = weakref.ref(server._runtime)
        del server
        collect(cycles=True)
        self.assertIsNone(kept())


    async def test_connection_that_comes_to_nothing(self) -> None:
        """The client's end is closed, as a socket would be: cancelled, or without a protocol."""
        def fail() -> asyncio.BaseProtocol:
            raise LookupError("no protocol")
        loop = asyncio.get_running_loop()
        async with MockTCPServer(in_memory=True) as server:
            for _ in range(2):
                server.expect_connect()
                server.expect_disconnect()
            with self.assertRaises(LookupError):
                await loop.create_connection(fail, *server.address)
            connecting = asyncio.ensure_future(loop.create_connection(asyncio.Protocol, *server.address))
            await asyncio.sleep(0)
            connecting.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await connecting
            await server.join()

    def test_loop_that_is_closed_before_its_server(self) -> None:
        """The server can be closed afterwards, and nothing keeps the loop."""
        loop = asyncio.new_event_loop()

        async def leave_open() -> MockTCPServer:
            server = await MockTCPServer(in_memory=True).start()
            server.expect_connect()
            await asyncio.open_connection(*server.address)
            return server
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            server = loop.run_until_complete(leave_open())
            loop.close()
            server.close()
            kept = weakref.ref(loop)
            del loop, server
            collect(cycles=True)
        self.assertIsNone(kept())

    def test_forgotten_server(self) -> None:
        """It goes with its loop, and says so."""
        async def forget() -> None:
            await MockTCPServer(in_memory=True).start()
        loop = asyncio.new_event_loop()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loop.run_until_complete(forget())
            loop.close()
            del loop
            collect(cycles=True)
        self.assertIn("never stopped", " ".join(str(each.message) for each in caught))


class AddressTests(unittest.IsolatedAsyncioTestCase):
    """Whom the overridden methods connect."""

    async def test_names_of_the_address(self) -> None:
        """Whatever a socket would be connected by."""
        async with MockTCPServer(in_memory=True) as server:
            port: Any
            for host, port, options in (
                ("127.0.0.1", server.port, {"family": socket.AF_INET}), ("localhost", server.port, {}),
                ("127.0.0.1", str(server.port), {}), ("LOCALHOST", server.port, {}), (b"127.0.0.1", server.port, {}),
                ("::1", server.port, {}), ("127.1", server.port, {}), (None, server.port, {}),
                ("localhost", server.port, {"happy_eyeballs_delay": 0.25}),
            ):
                with self.subTest(host=host, port=port, options=options):
                    server.expect_connect()
                    server.expect_disconnect()
                    _, writer = await asyncio.open_connection(host, port, **options)  # type: ignore[arg-type]
                    self.assertGreater(writer.get_extra_info("socket").fileno(), 1 << 20)
                    writer.close()
                    await writer.wait_closed()
                    await server.join()

    async def test_address_of_the_client(self) -> None:
        """It can choose its own, as far as there is one of the server's family."""
        loop = asyncio.get_running_loop()
        async with MockTCPServer(in_memory=True) as server:
            for number, port in enumerate((0, 45000)):
                server.expect_connect()
                server.expect_disconnect()
                transport, _ = await loop.create_connection(asyncio.Protocol, *server.address,
                                                            local_addr=("127.0.0.9", port))
                name = transport.get_extra_info("sockname")
                self.assertEqual((name[0], name[1] == 45000), ("127.0.0.9", bool(port)))
                transport.close()
                await server.join()
                self.assertEqual(server.connections[number].peername, name)
            with self.assertRaises(OSError):
                await loop.create_connection(asyncio.Protocol, *server.address, family=socket.AF_INET6)

    async def test_wrong_arguments(self) -> None:
        """They are refused before the server sees a connection."""
        loop: Any = asyncio.get_running_loop()
        async with MockTCPServer(in_memory=True) as server:
            for options in ({"nonsense": 1}, {"server_hostname": "localhost"}):
                with self.subTest(options=options), self.assertRaises((TypeError, ValueError)):
                    await loop.create_connection(asyncio.Protocol, *server.address, **options)

    async def test_any_other_address(self) -> None:
        """It is connected as ever, beside the server in memory."""
        async with MockTCPServer(in_memory=True), MockTCPServer() as real:
            real.expect_connect()
            real.expect_disconnect()
            _, writer = await asyncio.open_connection(*real.address)
            self.assertLess(writer.get_extra_info("socket").fileno(), 1 << 30)
            writer.close()
            await writer.wait_closed()

    async def test_socket_of_the_operating_system(self) -> None:
        """`create_connection(sock=...)` takes it as ever; `sock_connect` refuses the address by name."""
        loop = asyncio.get_running_loop()
        async with MockTCPServer(in_memory=True, allow_extra=True) as server, MockTCPServer(allow_extra=True) as real:
            with socket.socket() as sock:
                sock.setblocking(False)
                with self.assertRaisesRegex(ScriptError, r"loop.sock_connect\(\) can't reach .*in_memory=True"):
                    await loop.sock_connect(sock, server.address)
                await loop.sock_connect(sock, real.address)
                transport, _ = await loop.create_connection(asyncio.Protocol, sock=sock)
                transport.close()
                await asyncio.sleep(0)

    async def test_client_of_the_operating_system(self) -> None:
        """Nobody listens at the port, and nobody else can get it."""
        async with MockTCPServer(in_memory=True) as server:
            with self.assertRaises(ConnectionRefusedError):
                await asyncio.to_thread(socket.create_connection, server.address)
            for in_memory in (True, False):
                with self.assertRaisesRegex(OSError, f"can't listen on port {server.port} of 127.0.0.1"):
                    await MockTCPServer("127.0.0.1", server.port, in_memory=in_memory).start()

    async def test_port_of_the_tests_choice(self) -> None:
        """It is taken, and free again afterwards."""
        async with MockTCPServer(in_memory=True) as server:
            port = server.port
        async with MockTCPServer(port=port, in_memory=True) as server:
            self.assertEqual(server.address, ("127.0.0.1", port))
        with self.assertRaises(TypeError):
            await MockTCPServer(port="5000", in_memory=True).start()  # type: ignore[arg-type]


class LoopTests(unittest.TestCase):
    """Loops that can't have a server in memory."""

    def test_loop_of_another_kind(self) -> None:
        """It is refused by name."""
        class Other:
            """Not one of asyncio's."""
        with self.assertRaisesRegex(ScriptError, "needs one of asyncio's own event loops, and this one is .*Other"):
            network_of(Other())  # type: ignore[arg-type]

    def test_loop_without_servers(self) -> None:
        """It has its network, which goes with it."""
        loop = asyncio.new_event_loop()
        self.assertIs(network_of(loop), network_of(loop))
        kept = weakref.ref(network_of(loop))
        loop.close()
        del loop
        collect(cycles=True)
        self.assertIsNone(kept())


if __name__ == "__main__":
    unittest.main()
