"""Servers at Unix-domain sockets: scripts, the socket's file, and what is refused."""

from __future__ import annotations

import asyncio
import os
import pathlib
import socket
import threading
import unittest
from unittest import mock

from tcpclient_testing import ExpectationError, MockTCPServer, MockTCPServerMixin, ScriptError, tls
from tcpclient_testing.aio.sockets import unix
from tests.support.exhaustion import descriptor_limit
from tests.support.folders import socket_folder
from tests.support.loops import AsyncTestCase, timeless
from tests.support.tls_client import TLSClient


@unittest.skipUnless(hasattr(socket, "AF_UNIX"), "needs Unix-domain sockets")
class UnixTestCase(MockTCPServerMixin, AsyncTestCase):
    def setUp(self) -> None:
        folder = socket_folder()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "server.sock")
        self.addCleanup(TLSClient.close_all)


class ConversationTests(UnixTestCase):
    async def test_script_is_held_against_a_client(self) -> None:
        """Streams over a Unix-domain socket talk and close."""
        server = self.start_tcpserver(unix_path=self.path)
        server.expect_connect()
        server.expect_line(b"hello")
        server.send_line(b"world")
        server.expect_disconnect()
        reader, writer = await asyncio.open_unix_connection(server.unix_path)
        writer.write(b"hello\r\n")
        self.assertEqual(await reader.readline(), b"world\r\n")
        writer.close()
        await writer.wait_closed()
        await server.join()
        self.assertEqual(server.connections[0].peername, "")
        self.assertEqual(next(iter(server.transcript)).content, "client connected from (unnamed)")

    async def test_tls_works_as_over_tcp(self) -> None:
        """``tls=`` is independent of where the server listens."""
        server = self.start_tcpserver(unix_path=pathlib.Path(self.path), tls=True)
        server.expect_connect()
        server.expect_line(b"hello")
        server.expect_disconnect()
        client = await TLSClient.connect(server, tls.client_context())
        await client.send(b"hello\r\n")
        await client.leave()

    @timeless
    async def test_report_names_the_path(self) -> None:
        """A client that never connects is missed at the path."""
        with self.assertRaisesRegex(ExpectationError, f"no client connected to {self.path} for"):
            async with MockTCPServer(unix_path=self.path, timeout=0.05) as server:
                server.expect_connect()

    @mock.patch("tcpclient_testing.server.leaving._MOMENT", 0.02)
    @timeless
    async def test_client_still_connected(self) -> None:
        """A client that has no address can still be named in a report."""
        with self.assertRaisesRegex(ExpectationError, r"the client \(unnamed\) is still connected"):
            async with MockTCPServer(unix_path=self.path) as server:
                server.expect_connect()
                _, writer = await asyncio.open_unix_connection(self.path)
                self.addCleanup(writer.close)

    async def test_failure_ends_the_connection(self) -> None:
        """A client that waits for an answer gets an end when the script has failed."""
        with self.assertRaisesRegex(ExpectationError, "expected b'hello'"):
            async with MockTCPServer(unix_path=self.path) as server:
                server.expect_connect()
                server.expect_line(b"hello")
                reader, writer = await asyncio.open_unix_connection(self.path)
                self.addCleanup(writer.close)
                writer.write(b"hallo\r\n")
                try:
                    self.assertEqual(await reader.read(), b"")
                except ConnectionError:
                    pass


class AddressTests(UnixTestCase):
    async def test_address_is_the_path(self) -> None:
        """`address` is what a client's socket connects to; there is no host and no port."""
        async with MockTCPServer(unix_path=self.path) as server:
            self.assertEqual((server.address, server.unix_path), (self.path, self.path))
            self.assertIn(self.path, repr(server))
            for name in ("host", "port", "service_port"):
                with self.assertRaisesRegex(ScriptError, "on no port: use unix_path"):
                    getattr(server, name)

    async def test_server_on_a_port_has_no_path(self) -> None:
        """`unix_path` is None there."""
        async with MockTCPServer() as server:
            self.assertIsNone(server.unix_path)

    async def test_reset_is_refused(self) -> None:
        """Unix-domain sockets know no reset."""
        async with MockTCPServer(unix_path=self.path) as server:
            server.expect_connect()
            for misuse, instead in ((server.reset, r"disconnect\(\)"),
                                    (lambda: server.reset_after(3), r"disconnect_after\(\)"),
                                    (lambda: server.fail_connections(1), r"refuse_connections\(\)")):
                with self.assertRaisesRegex(ScriptError, f"has no reset, only a close; use {instead}"):
                    misuse()
            _, writer = await asyncio.open_unix_connection(self.path)
            writer.close()

    async def test_setting_that_resets_is_refused_before_the_first_connection(self) -> None:
        """Settings may come first, but not those that nothing can be made of."""
        async with MockTCPServer(unix_path=self.path) as server:
            with self.assertRaisesRegex(ScriptError, "has no reset"):
                server.fail_connections(1)

    async def test_file_is_removed_and_can_be_made_again(self) -> None:
        """The socket's file goes away with the server, and a further server may listen there."""
        for _ in range(2):
            async with MockTCPServer(unix_path=self.path):
                self.assertTrue(os.path.exists(self.path))
            self.assertFalse(os.path.exists(self.path))

    async def test_file_is_left_where_it_is_another_one(self) -> None:
        """A file that somebody else has put in its place is not touched."""
        async with MockTCPServer(unix_path=self.path):
            os.unlink(self.path)
            pathlib.Path(self.path).write_text("mine")
        self.assertTrue(os.path.exists(self.path))

    async def test_file_may_be_gone(self) -> None:
        """Who removes the file does no harm."""
        async with MockTCPServer(unix_path=self.path):
            os.unlink(self.path)


class RefusalTests(UnixTestCase):
    async def test_connections_are_refused_and_accepted_again(self) -> None:
        """ECONNREFUSED until connections are accepted again, at the same path; nothing is left behind."""
        async with MockTCPServer(unix_path=self.path) as server:
            for _ in range(2):
                await server.refuse_connections()
                self.assertEqual(os.listdir(os.path.dirname(self.path)), [os.path.basename(self.path)])
                with self.assertRaises(ConnectionRefusedError):
                    await asyncio.open_unix_connection(self.path)
                self.assertEqual(server.address, self.path)
                await server.accept_connections()
                server.expect_connect()
                server.send_line(b"hello")
                server.expect_disconnect()
                reader, writer = await asyncio.open_unix_connection(self.path)
                self.assertEqual(await reader.readline(), b"hello\r\n")
                writer.close()
                await writer.wait_closed()
                await server.join()
        self.assertEqual(os.listdir(os.path.dirname(self.path)), [])

    async def test_server_is_left_while_it_refuses(self) -> None:
        """The file goes away all the same."""
        async with MockTCPServer(unix_path=self.path + "~") as server:
            server.refuse_connections()
        self.assertEqual(os.listdir(os.path.dirname(self.path)), [])

    async def test_client_never_misses_the_file(self) -> None:
        """From listening to refusing, and back, there is no moment at which the file is not there."""
        outcomes = set()

        def client() -> None:
            for _ in range(min(200, descriptor_limit() // 4)):  # each takes up a descriptor of the server's
                with socket.socket(socket.AF_UNIX) as connected:
                    try:
                        connected.connect(self.path)
                    except OSError as error:
                        outcomes.add(type(error))

        async with MockTCPServer(unix_path=self.path, allow_extra=True, allow_open=True) as server:
            thread = threading.Thread(target=client)
            thread.start()
            while thread.is_alive():
                server.refuse_connections()
                await asyncio.sleep(0)
                server.accept_connections()
                await asyncio.sleep(0)
            thread.join()
        self.assertLessEqual(outcomes, {ConnectionRefusedError, ConnectionResetError})

    async def test_file_that_is_another_one_is_left_alone(self) -> None:
        """It can't be made to refuse, and is not touched."""
        with self.assertRaisesRegex(ExpectationError, "the path can't be kept .* another file is there"):
            async with MockTCPServer(unix_path=self.path) as server:
                os.unlink(self.path)
                pathlib.Path(self.path).write_text("mine")
                server.refuse_connections()
        self.assertEqual(pathlib.Path(self.path).read_text(), "mine")

    async def test_name_beside_it_is_taken(self) -> None:
        """A file that stands where the next socket is made is not touched either: there are other names."""
        names = [pathlib.Path(self.path[:-1] + last) for last in unix._LAST]
        for name in names[:-1]:
            name.write_text("mine")
        async with MockTCPServer(unix_path=self.path) as server:
            server.refuse_connections()
        names[-1].write_text("mine")
        with self.assertRaisesRegex(ExpectationError, "the path can't be kept .* a file that is not a socket is there"):
            async with MockTCPServer(unix_path=self.path) as server:
                server.refuse_connections()
        self.assertEqual({name.read_text() for name in names}, {"mine"})


class MisuseTests(UnixTestCase):
    async def test_what_is_in_the_way_is_said(self) -> None:
        """A stale socket, a server that listens, another file and a missing folder are told apart."""
        async with MockTCPServer(unix_path=self.path):
            with self.assertRaisesRegex(OSError, "another server listens there"):
                MockTCPServer(unix_path=self.path).open()
            self.assertTrue(os.path.exists(self.path))
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(self.path)
        with self.assertRaisesRegex(OSError, "left behind by a server that is gone; remove it"):
            MockTCPServer(unix_path=self.path).open()
        os.unlink(self.path)
        pathlib.Path(self.path).write_text("not a socket")
        with self.assertRaisesRegex(OSError, "a file that is not a socket is there"):
            MockTCPServer(unix_path=self.path).open()
        with self.assertRaisesRegex(FileNotFoundError, "(?i)can't listen at .*no such file or directory"):
            MockTCPServer(unix_path=self.path + ".d/x").open()

    async def test_path_is_checked(self) -> None:
        """What is no path, too long a path, and a path beside a port are refused."""
        for options, error, words in (
            ({"unix_path": 5}, TypeError, "unix_path is a str or a path, not int"),
            ({"unix_path": b"/tmp/x"}, TypeError, "not bytes"),
            ({"unix_path": ""}, ValueError, "not ''"),
            ({"unix_path": "\0x"}, ValueError, "unix_path is the path"),
            ({"unix_path": "/tmp/x", "port": 80}, ValueError, "and port=80 exclude each other"),
            ({"unix_path": "/tmp/x", "host": "::1"}, ValueError, "and host='::1' exclude each other"),
        ):
            with self.subTest(options), self.assertRaisesRegex(error, words):
                MockTCPServer(**options)
        with self.assertRaisesRegex(ValueError, "bytes long, and the system allows about 100"):
            MockTCPServer(unix_path="/tmp/" + "x" * 200).open()
