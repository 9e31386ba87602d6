"""Where a server listens: which addresses, which port, and what it says where it can't."""

from __future__ import annotations

import errno
import socket
import sys
import unittest

from tcpclient_testing import MockTCPServer
from tcpclient_testing.aio.sockets.listening import BACKLOG, listen, loopback_addresses
from tcpclient_testing.server.threaded.server import ThreadedMockTCPServer
from tests.support.blocking import connect
from tests.support.exhaustion import descriptor_limit
from tests.support.loops import AsyncTestCase

ipv6 = unittest.skipUnless("::1" in loopback_addresses(), "needs IPv6")


class ListeningCase(unittest.TestCase):
    """Closes what it opens."""

    def listen(self, *args: object, **options: object) -> list[socket.socket]:
        """Listen, until the test is over."""
        sockets = listen(*args, **options)  # type: ignore[arg-type]
        for each in sockets:
            self.addCleanup(each.close)
        return sockets

    def assertReaches(self, address: tuple[str, int], listener: socket.socket) -> None:
        """A client that connects to the address is accepted by this very listener."""
        with connect(address) as client:
            accepted, peername = listener.accept()
            accepted.close()
            self.assertEqual(peername[1], client.getsockname()[1])


class HostTests(ListeningCase):
    """Which addresses are bound."""

    @ipv6
    def test_host_by_default(self) -> None:
        """Without a host, or for "localhost", one port is bound on both families."""
        for host in (None, "localhost"):
            sockets = self.listen(host, 0)
            names = [each.getsockname() for each in sockets]
            self.assertEqual([name[0] for name in names], ["127.0.0.1", "::1"])
            self.assertEqual(names[0][1], names[1][1])
            for name, each in zip(names, sockets):
                self.assertReaches(name[:2], each)

    def test_host_when_it_is_an_ipv4_address(self) -> None:
        """An IPv4 address is bound alone."""
        (listener,) = self.listen("127.0.0.1", 0)
        self.assertEqual(listener.family, socket.AF_INET)
        if "::1" in loopback_addresses():
            with self.assertRaises(ConnectionRefusedError):
                connect(("::1", listener.getsockname()[1]))

    @ipv6
    def test_host_when_it_is_an_ipv6_address(self) -> None:
        """An IPv6 address is bound alone, and doesn't take IPv4 clients."""
        (listener,) = self.listen("::1", 0)
        self.assertEqual(listener.family, socket.AF_INET6)
        self.assertReaches(("::1", listener.getsockname()[1]), listener)
        with self.assertRaises(ConnectionRefusedError):
            connect(("127.0.0.1", listener.getsockname()[1]))

    @unittest.skipUnless(sys.platform == "linux", "elsewhere only 127.0.0.1 is there")
    def test_host_when_it_is_another_loopback_address(self) -> None:
        """All of 127.0.0.0/8 is loopback."""
        (listener,) = self.listen("127.1.2.3", 0)
        self.assertReaches(listener.getsockname(), listener)

    def test_host_when_others_could_reach_it(self) -> None:
        """Whatever isn't loopback needs allow_remote=True."""
        for host in ("0.0.0.0", "::", "192.0.2.1"):
            with self.assertRaisesRegex(ValueError, "allow_remote=True permits that"):
                listen(host, 0)
        (listener,) = self.listen("0.0.0.0", 0, allow_remote=True)
        self.assertReaches(("127.0.0.1", listener.getsockname()[1]), listener)

    def test_host_when_it_is_no_address(self) -> None:
        """Names aren't looked up, and what isn't text is refused."""
        with self.assertRaisesRegex(ValueError, "literal address"):
            listen("example.org", 0)
        with self.assertRaisesRegex(TypeError, "host is an address"):
            listen(127, 0)  # type: ignore[arg-type]

    def test_host_when_this_machine_has_not_got_it(self) -> None:
        """An address of somebody else is an OSError that names it."""
        with self.assertRaisesRegex(OSError, "can't listen on port 0 of 192.0.2.1: "):
            listen("192.0.2.1", 0, allow_remote=True)


class PortTests(ListeningCase):
    """Which port is bound."""

    def test_port_when_it_is_given(self) -> None:
        """A port that is free is taken, on both families."""
        (probe,) = listen("127.0.0.1", 0)
        port = probe.getsockname()[1]
        probe.close()
        self.assertEqual({each.getsockname()[1] for each in self.listen(None, port)}, {port})

    def test_port_when_it_is_taken(self) -> None:
        """A port that is taken is an OSError that names it; nothing stays open."""
        (other,) = self.listen("127.0.0.1", 0)
        port = other.getsockname()[1]
        with self.assertRaisesRegex(OSError, f"can't listen on port {port} of 127.0.0.1: ") as caught:
            listen(None, port)
        self.assertEqual(caught.exception.errno, errno.EADDRINUSE)

    @ipv6
    def test_port_when_it_is_taken_on_one_family(self) -> None:
        """A given port that is taken on IPv6 alone is refused, and IPv4 is let go."""
        (other,) = self.listen("::1", 0)
        port = other.getsockname()[1]
        with self.assertRaisesRegex(OSError, f"can't listen on port {port} of ::1: "):
            listen(None, port)
        self.listen("127.0.0.1", port)

    def test_port_when_it_can_be_none(self) -> None:
        """What can't be a port is refused at once."""
        for port, error in ((65536, ValueError), (-1, ValueError), ("80", TypeError), (True, TypeError)):
            with self.assertRaisesRegex(error, "port is a number"):
                listen(None, port)  # type: ignore[arg-type]

    def test_backlog(self) -> None:
        """A burst of clients does not wait for the server to accept."""
        (listener,) = self.listen("127.0.0.1", 0)
        self.assertGreaterEqual(BACKLOG, 1000)
        for _ in range(min(150, descriptor_limit() // 2)):
            self.addCleanup(connect(listener.getsockname(), 2.0).close)


class SmallWritesTests(AsyncTestCase):
    """Writes that follow one another."""

    async def test_small_writes_when_the_client_does_not_acknowledge(self) -> None:
        """They don't wait for an acknowledgement, which a kernel may delay (TCP_NODELAY), as on any asyncio server."""
        async with MockTCPServer() as server:
            for address in loopback_addresses():
                server.expect_connect()
                with connect((address, server.port)):
                    await server.join()
                    *_, protocol = server._runtime.connections.by_number.values()
                    sock = protocol.link.transport.get_extra_info("socket")  # type: ignore[union-attr]
                    self.assertTrue(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
                server.expect_disconnect()
                await server.join()


class SamePortTests(unittest.IsolatedAsyncioTestCase):
    """The same port again, after a stop."""

    async def test_port_again_when_our_side_closed_first(self) -> None:
        """The port can be had again at once, though connections on it are in TIME_WAIT."""
        port = 0
        for _ in range(5):
            async with MockTCPServer(port=port) as server:
                port = server.port
                server.expect_connect()
                server.disconnect()  # who closes first gets the TIME_WAIT
                client = connect(server.address)
                self.addCleanup(client.close)
                await server.join()
                self.assertEqual(client.recv(1), b"")
                client.close()

    async def test_port_again_when_the_script_failed(self) -> None:
        """A server that has failed lets its port go at once."""
        server = MockTCPServer(timeout=0.01)
        await server.start()
        port = server.port
        server.expect_connect()
        with self.assertRaises(AssertionError):
            await server.join()
        async with MockTCPServer(port=port) as again:
            self.assertEqual(again.port, port)
        with self.assertRaises(AssertionError):
            await server.stop()

    async def test_port_again_when_the_server_has_a_thread(self) -> None:
        """The same holds for threaded servers; a second server on the port is refused meanwhile."""
        port = 0
        for _ in range(5):
            with ThreadedMockTCPServer(port=port) as server:
                port = server.port
                with self.assertRaisesRegex(OSError, f"can't listen on port {port}"):
                    ThreadedMockTCPServer(port=port).start()
                server.expect_connect()
                server.disconnect()
                with connect(server.address) as client:
                    self.assertEqual(client.recv(1), b"")
