"""Connections in any order beside a handler: what is for none of the scripts is the handler's."""

from __future__ import annotations

import asyncio
import itertools
import unittest

from tcpclient_testing import Connection, ExpectationError, MockTCPServer
from tests.support import streams


async def echo(connection: Connection) -> None:
    """Send each line back."""
    async for line in connection.lines():
        connection.send_line(line)


class DisplacingTests(unittest.IsolatedAsyncioTestCase):
    async def talk(self, *order: bytes, at_once: bool, later: bool = True) -> dict[bytes, bytes]:
        """Let a client for each of these speak, in order, one after the other or all connected before; the answers."""
        answers = {}
        async with MockTCPServer(handler=echo) as server:
            with server.any_order():
                for name in (b"A", b"B"):
                    server.expect_connect()
                    server.expect_line(name)
                    server.send_line(b"script " + name)
                    server.expect_disconnect()
            if later:
                server.expect_connect()
                server.expect_line(b"later")
                server.send_line(b"script later")
                server.expect_disconnect()
            clients = [await streams.connect(server) for _ in order] if at_once else []
            for name in order:
                reader, writer = clients.pop(0) if at_once else await streams.connect(server)
                writer.write(name + b"\r\n")
                answers[name] = await reader.readline()
                await streams.close(writer)
            await server.join(final=True)
        return answers

    async def test_connection_that_no_script_claims_when_there_is_a_handler(self) -> None:
        """Whichever it is, and whether or not all have connected before: it gets the handler, the others theirs."""
        for order in itertools.permutations((b"A", b"B", b"other")):
            for at_once in (False, True):
                with self.subTest(order=order, at_once=at_once):
                    answers = await self.talk(*order, at_once=at_once, later=False)
                    self.assertEqual(answers, {b"A": b"script A\r\n", b"B": b"script B\r\n", b"other": b"other\r\n"})

    async def test_script_after_the_block_when_the_handler_had_one_before(self) -> None:
        """It is for the next connection, as ever."""
        for order in ((b"other", b"A", b"B"), (b"A", b"other", b"B")):
            for at_once in (False, True):
                with self.subTest(order=order, at_once=at_once):
                    answers = await self.talk(*order, b"later", at_once=at_once)
                    self.assertEqual(answers[b"other"] + answers[b"later"], b"other\r\nscript later\r\n")

    async def test_allowed_message_when_the_connection_is_the_handlers(self) -> None:
        """It is let through, and answered once, before it is known whose connection it is, and afterwards."""
        async with MockTCPServer(handler=echo) as server:
            allowed = server.allow(b"PING\r\n", reply=b"PONG\r\n")
            with server.any_order():
                for name in (b"A", b"B"):
                    server.expect_connect()
                    server.expect_line(name)
                    server.send_line(b"script " + name)
                    server.expect_disconnect()
            for name, answer in ((b"other", b"other"), (b"B", b"script B"), (b"A", b"script A")):
                reader, writer = await streams.connect(server)
                writer.write(b"PING\r\n")
                self.assertEqual(await reader.readline(), b"PONG\r\n")
                writer.write(name + b"\r\n")
                self.assertEqual(await reader.readline(), answer + b"\r\n")
                writer.write(b"PING\r\n")
                self.assertEqual(await reader.readline(), b"PONG\r\n")
                await streams.close(writer)
            await server.join(final=True)
        self.assertEqual(allowed.count, 6)

    async def test_several_connections_for_the_handler_when_they_come_first(self) -> None:
        """The scripts wait behind them, in their order."""
        answers = await self.talk(b"x", b"y", b"z", b"B", b"A", b"later", b"last", at_once=True)
        self.assertEqual([answers[name] for name in (b"x", b"z", b"B", b"later", b"last")],
                         [b"x\r\n", b"z\r\n", b"script B\r\n", b"script later\r\n", b"last\r\n"])

    async def test_handle_of_a_script_that_moved(self) -> None:
        """It is the handle of the connection that the script is for in the end, and writes that one's script."""
        async with MockTCPServer(handler=echo) as server:
            with server.any_order():
                handle = server.expect_connect().connection
                handle.expect_line(b"A")
            for name in (b"other", b"A"):
                reader, writer = await streams.connect(server)
                writer.write(name + b"\r\n")
                if name == b"A":
                    handle.send_line(b"by its handle")
                    handle.expect_disconnect()
                answer = await reader.readline()
                await streams.close(writer)
            self.assertEqual(answer, b"by its handle\r\n")
            await server.join(final=True)
            self.assertEqual((handle.index, handle.received), (server.connections[1].index, b"A\r\n"))
            self.assertEqual(server.connections[0].received, b"other\r\n")

    async def test_connection_that_ends_before_it_is_told_when_there_is_a_handler(self) -> None:
        """Nothing is wrong with it: the handler's loop ends."""
        async with MockTCPServer(handler=echo) as server:
            with server.any_order():
                server.expect_connect()
                server.expect_line(b"A")
            _, writer = await streams.connect(server)
            await streams.close(writer)
            _, writer = await streams.connect(server)
            writer.write(b"A\r\n")
            await server.join()
            await streams.close(writer)

    async def test_script_without_a_connection_when_the_handler_had_all(self) -> None:
        """That it is missing is the failure, and not that another client came."""
        with self.assertRaisesRegex(ExpectationError, "1 of 1 script in any_order"):
            async with MockTCPServer(handler=echo, timeout=0.1) as server:
                with server.any_order():
                    server.expect_connect()
                    server.expect_line(b"A")
                reader, writer = await streams.connect(server)
                writer.write(b"other\r\n")
                self.assertEqual(await reader.readline(), b"other\r\n")
                await streams.close(writer)
                await asyncio.wait_for(server.join(), 5)


if __name__ == "__main__":
    unittest.main()
