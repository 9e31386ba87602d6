"""The connections of a server: their numbers, the rules for all of them, and scripts that move between them."""

from __future__ import annotations

import asyncio
import itertools
import unittest

from tcpclient_testing import Connection, ExpectationError, MockTCPServer
from tcpclient_testing.engine.steps.base import Script
from tcpclient_testing.memory.host import MemoryServer
from tests.support import streams
from tests.support.loops import TimelessTestCase, timeless


async def echo(connection: Connection) -> None:
    """Send each line back."""
    async for line in connection.lines():
        connection.send_line(line)


class ConnectionsTests(unittest.TestCase):
    def setUp(self) -> None:
        self.server = MemoryServer(at_once=True)
        self.connections = self.server.session.connections

    def write_block(self, *names: bytes) -> None:
        """Write an any_order() block with a script for each name."""
        with self.server.any_order():
            for name in names:
                self.server.expect_connect()
                self.server.expect_line(name)
                self.server.send_line(b"script " + name)

    def sent(self, number: int) -> bytes:
        """What a connection was sent."""
        return self.server.connection(number).sent

    def test_of_a_number(self) -> None:
        """It is the conversation with that number; one that was never mentioned is not made."""
        second = self.connections.reserve(1)
        self.assertIs(self.connections.of(2), second)
        self.assertEqual(self.connections.of(1).number, 1)
        with self.assertRaises(IndexError):
            self.connections.of(3)

    def test_numbers_when_a_connection_is_mentioned_early(self) -> None:
        """Those before it are made as well, each with its number and a handle of its own, and none is expected."""
        third = self.connections.reserve(2)
        self.assertEqual([conversation.number for conversation in self.connections.all], [1, 2, 3])
        self.assertIs(self.connections.reserve(2), third)
        self.assertEqual(len({id(conversation.handle) for conversation in self.connections.all}), 3)
        self.assertEqual(self.connections.expected, 0)

    def test_next_expected_when_a_client_came_before_its_script(self) -> None:
        """The script is that of the client which is there, then those of clients to come."""
        self.server.connect()
        self.assertEqual([self.connections.next_expected().number for _ in range(3)], [1, 2, 3])
        self.assertEqual((self.connections.expected, len(self.connections.all)), (3, 3))

    def test_rule_for_all_when_some_connections_are_there(self) -> None:
        """It applies to those, and to later ones."""
        self.server.connect()
        allowed = self.server.allow(b"PING")
        self.server.connect()
        for number in (1, 2):
            self.server.expect_connect()
            self.server.receive(b"PING", number)
        self.assertEqual((allowed.count, self.server.verdict), (2, None))

    def test_handler_when_no_script_expects_the_connection(self) -> None:
        """It serves those beyond the scripts, and no others."""
        self.connections.serve_with(echo)
        self.server.expect_connect()
        for _ in range(3):
            self.server.connect()
        self.assertEqual((self.server.handed_over, self.connections.expected), ([2, 3], 3))

    def test_scripts_when_two_connections_exchange_them(self) -> None:
        """Each script is of the other connection, as its steps and its handle say; what came and was sent stays."""
        scripts: list[Script] = []
        for name in (b"a", b"b"):
            self.server.expect_connect()
            scripts.append(self.server.conversation(len(scripts) + 1).script)
            self.server.connection(len(scripts)).allow(name)
        one, two = self.connections.all
        handles = [one.handle, two.handle]
        self.connections.exchange_scripts(one, two)
        self.assertEqual([one.script, two.script], scripts[::-1])
        self.assertEqual([script.cursor.number for script in scripts], [2, 1])
        self.assertEqual([one.handle, two.handle], handles[::-1])
        self.assertEqual([handle.conversation for handle in handles], [two, one])
        self.assertEqual([[str(permit) for permit in conversation.select().permits] for conversation in (one, two)],
                         [["allow(b'b')"], ["allow(b'a')"]])

    def test_script_after_a_block_when_the_block_moves_behind_it(self) -> None:
        """It waits for the block, wherever that and itself have moved, and begins then."""
        for early in (True, False):
            for order in ((b"other", b"A", b"B"), (b"A", b"other", b"B"), (b"x", b"y", b"B", b"z", b"A")):
                with self.subTest(early=early, order=order):
                    self.setUp()
                    self.connections.serve_with(echo)
                    self.write_block(b"A", b"B")
                    self.server.expect_connect()
                    self.server.expect_line(b"later")
                    self.server.send_line(b"script later")
                    names = [*order, b"later"]
                    clients = [self.server.connect() for _ in names] if early else []
                    for number, name in enumerate(names, 1):
                        if not early:
                            clients.append(self.server.connect())
                        self.server.receive(name + b"\r\n", number)
                    self.assertIsNone(self.server.verdict)
                    self.assertEqual([self.sent(number) for number in clients],
                                     [b"script " + name + b"\r\n" if name in (b"A", b"B", b"later") else b""
                                      for name in names])
                    self.assertTrue(self.server.session.complete)


class DisplacingTests(TimelessTestCase):
    """Connections in any order beside a handler: what is for none of the scripts is the handler's."""

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

    @timeless
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
