"""Connections in any order: each is bound to a script by what it sends first."""

from __future__ import annotations

import itertools
import unittest
from typing import Any

from tcpclient_testing.engine.connection.tls_failure import TLSFailure
from tcpclient_testing.engine.framing.delimited import Delimited
from tcpclient_testing.errors import ScriptError
from tcpclient_testing.memory.host import MemoryServer
from tcpclient_testing.report import conversation_text
from tcpclient_testing.transcript.entries import Transcript


def greetings(server: MemoryServer, *names: bytes) -> list[Any]:
    """Write a block with a script for each name; return the handles."""
    handles = []
    with server.any_order():
        for name in names:
            handle = server.expect_connect().connection
            handles.append(handle)
            handle.expect_line(name)
            handle.send_line(b"hello " + name)
            handle.expect_disconnect()
    return handles


class PoolTests(unittest.TestCase):
    def setUp(self) -> None:
        self.server = MemoryServer(at_once=True)
        self.handles: list[Any] = []

    def write(self, *names: bytes) -> None:
        """Write a block with a script for each name."""
        self.handles += greetings(self.server, *names)

    def test_connections_when_they_come_in_any_order(self) -> None:
        """Whatever the order, in pieces or whole, before the script or after it: each gets its own answers."""
        names = (b"a", b"ab", b"c")
        for order, early, whole in itertools.product(itertools.permutations(names), (True, False), (True, False)):
            with self.subTest(order=order, early=early, whole=whole):
                self.server, self.handles = MemoryServer(at_once=True), []
                if not early:
                    self.write(*names)
                clients = [self.server.connect() for _ in order]
                for client, name in zip(clients, order):
                    data = name + b"\r\n"
                    for piece in ([data] if whole else (bytes([byte]) for byte in data)):
                        self.server.receive(piece, client)
                if early:
                    self.write(*names)
                for client in clients:
                    self.server.half_close(client)
                self.assertIsNone(self.server.verdict)
                self.assertTrue(self.server.session.complete)
                for number, name in enumerate(order, 1):
                    self.assertEqual(self.server.connection(number).sent, b"hello " + name + b"\r\n")
                for handle, name in zip(self.handles, names):
                    self.assertEqual(handle.conversation.number, order.index(name) + 1)

    def test_connection_after_the_block_when_one_of_it_is_open(self) -> None:
        """What is written after the block waits for all server-level steps of it."""
        server = self.server
        with server.any_order():
            for name in (b"a", b"b"):
                server.expect_connect()
                server.expect_bytes(name)
                server.expect_disconnect()
        later = server.expect_connect().connection
        later.expect_bytes(b"z")
        one, two, three = server.connect(), server.connect(), server.connect()
        server.receive(b"z", three)
        server.receive(b"a", two)
        server.half_close(two)
        self.assertFalse(later.conversation.script.steps[0].satisfied)
        server.receive(b"b", one)
        server.half_close(one)
        self.assertTrue(server.session.complete)

    def test_block_waits_for_the_steps_before_it(self) -> None:
        """A block is written in its turn: the connection before it has to be done."""
        server = self.server
        server.expect_connect()
        server.expect_disconnect()
        self.write(b"a", b"b")
        first = server.connect()
        second = server.connect()
        server.receive(b"b\r\n", second)
        self.assertEqual(server.connection(2).sent, b"")
        server.half_close(first)
        self.assertEqual(server.connection(2).sent, b"hello b\r\n")

    def test_end_of_stream_in_a_script_when_it_moves(self) -> None:
        """A script that ends a stream forbids what comes after it wherever it is moved, and nothing in the others."""
        handles = []
        with self.server.any_order():
            for name in (b"a", b"b"):
                handles.append(self.server.expect_connect().connection)
                handles[-1].expect_line(name)
            handles[0].expect_eof()
            handles[0].send_eof()
        for name in (b"b", b"a"):
            self.server.receive(name + b"\r\n", self.server.connect())
        handles[1].send_line(b"x")
        handles[1].expect_line()
        with self.assertRaisesRegex(ScriptError, r"comes after send_eof\(\) on connection 2"):
            handles[0].send_line(b"x")
        with self.assertRaisesRegex(ScriptError, r"comes after expect_eof\(\) on connection 2"):
            handles[0].expect_line()

    def test_mismatch_when_no_script_fits(self) -> None:
        """The connection is named, and every script's first message."""
        self.write(b"a", b"b")
        client = self.server.connect()
        self.server.receive(b"x", client)
        failure = self.server.session.failure
        assert failure is not None
        self.assertEqual(failure.number, client)
        one, two = (f"expect_line({name!r}) at {handle.conversation.script.steps[1].lines()[0]}"
                    for name, handle in zip((b"a", b"b"), self.handles))
        self.assertEqual(self.server.verdict[2],
                         f"got b'x', with which none of 2 messages in any order begins: {one}, {two}")
        self.assertEqual([line[0:10] for line in self.marked()], ["  > 2 expe", "  > 2 expe"])

    def marked(self) -> list[str]:
        """The lines that the report marks."""
        text = conversation_text(self.server.session, Transcript(0.0, 0))
        return [line for line in text if line.startswith("  >")]

    def test_mismatch_when_one_script_is_left(self) -> None:
        """That one was meant for the connection: its step has failed, and the scripts that are taken are named."""
        self.write(b"a", b"b")
        self.server.receive(b"b\r\n", self.server.connect())
        last = self.server.connect()
        self.server.receive(b"other\r\n", last)
        failure = self.server.session.failure
        assert failure is not None
        self.assertEqual(failure.number, last)
        self.assertEqual(failure.step, self.handles[0].conversation.script.steps[1])
        self.assertEqual(self.server.verdict[2], "expected b'a', got b'other' at byte 0")
        self.assertEqual(len(self.marked()), 1)
        self.assertIn(f"  connection 1: expect_line(b'b') at {self.handles[1].conversation.script.steps[1].lines()[0]}",
                      failure.mismatch.details)

    def test_mismatch_when_the_script_is_taken(self) -> None:
        """A second connection that begins as the first did is told which one that was."""
        self.write(b"a", b"b")
        for _ in range(2):
            self.server.receive(b"b\r\n", self.server.connect())
        place = self.handles[1].conversation.script.steps[1].lines()[0]
        self.assertEqual(self.server.verdict[2],
                         "expected b'a', got b'b' at byte 0; connection 1 has the "
                         f"script of expect_line(b'b') at {place}")

    def test_many_scripts_when_none_fits(self) -> None:
        """The first line names a few of them."""
        self.write(b"a", b"b", b"c", b"d", b"e")
        self.server.receive(b"x", self.server.connect())
        self.assertRegex(self.server.verdict[2],
                         r"^got b'x', with which none of 5 messages in any order begins: "
                         r".*b'a'.*, .*b'b'.*, .*b'c'.*, 2 more$")

    def test_steps_after_the_block_when_scripts_have_moved(self) -> None:
        """The newest expected connection is the one whose script was written last, whatever its number."""
        self.write(b"a", b"b")
        self.server.receive(b"b\r\n", self.server.connect())
        self.assertIs(self.server.session.newest, self.handles[1].conversation.script)
        self.assertEqual(self.handles[1].conversation.number, 1)

    def test_end_of_stream_when_nothing_was_sent(self) -> None:
        """A client that goes away before it can be told is a failure at once."""
        self.write(b"a", b"b")
        self.server.ending = "ended its stream"
        self.server.half_close(self.server.connect())
        self.assertIn("ended its stream before it had sent anything that shows", self.server.verdict[2])

    def test_timeout_when_a_client_is_silent_or_missing(self) -> None:
        """The two are told from each other."""
        self.write(b"a", b"b")
        client = self.server.connect()
        self.server.sleep(6)
        self.assertEqual(self.server.verdict[2],
                         "the client has sent nothing for 5.0 s that shows to which of 2 scripts in "
                         "any_order() it belongs; these begin with expect_line(b'a') and expect_line(b'b')")
        self.assertEqual(client, 1)
        self.server, self.handles = MemoryServer(at_once=True), []
        self.write(b"a", b"b")
        client = self.server.connect()
        self.server.receive(b"b\r\n", client)
        self.server.half_close(client)
        self.server.sleep(6)
        self.assertIn("no further client connected to 127.0.0.1:4711 for 5.0 s; 1 of 2 scripts in any_order() has no "
                      "connection: expect_line(b'a')", self.server.verdict[2])
        self.server, self.handles = MemoryServer(at_once=True), []
        self.write(b"a", b"b")
        self.server.sleep(6)
        self.assertIn("no client connected to 127.0.0.1:4711 for 5.0 s; 2 of 2 scripts in any_order() have no "
                      "connection: expect_line(b'a') and expect_line(b'b')", self.server.verdict[2])

    def test_inner_block_when_the_first_messages_may_come_in_any_order(self) -> None:
        """A script may begin with a block of its own: each of its messages tells the connection."""
        server = self.server
        with server.any_order():
            for names in ((b"a", b"b"), (b"c", b"d")):
                handle = server.expect_connect().connection
                with handle.any_order():
                    for name in names:
                        handle.expect_line(name)
        server.receive(b"d\r\nc\r\n", server.connect())
        server.receive(b"b\r\na\r\n", server.connect())
        self.assertEqual((server.verdict, server.session.complete), (None, True))

    def test_misuse_when_it_is_written(self) -> None:
        """A script that does not begin with a message can't be told from the others."""
        def greeting(server: MemoryServer) -> None:
            server.expect_connect().connection.send_bytes(b"hello")

        def nothing(server: MemoryServer) -> None:
            server.expect_connect()

        def nested(server: MemoryServer) -> None:
            with server.any_order():
                pass

        for write, pattern in ((greeting, "not with send_bytes"), (nothing, "not with nothing"),
                               (nested, "within any_order")):
            server = MemoryServer(at_once=True)
            with self.subTest(pattern=pattern), self.assertRaisesRegex(ScriptError, pattern), server.any_order():
                write(server)


class TLSTests(unittest.TestCase):
    """Connections of a server that speaks TLS, whose handshake comes first."""

    def setUp(self) -> None:
        self.server = MemoryServer(at_once=True)
        self.server.session.environment.configure(tls_context=object())

    def break_off(self, client: int) -> None:
        """A client refuses the server's certificate."""
        failure = TLSFailure.of_alert("unknown CA", certificate=True, done=False)
        self.server.tell(client, "tls_failed", failure)

    def broken(self, client: int) -> Any:
        """How the TLS of a client's connection has failed."""
        handshake = self.server.conversation(client).handshake
        assert handshake is not None
        return handshake.failure

    def test_broken_handshake_when_it_breaks(self) -> None:
        """It is the verdict at once, without any time-out: the only script's, or that of no script of several."""
        for names, step in (((b"a",), 0), ((b"a", b"b"), None)):
            for early in (True, False):
                with self.subTest(names=names, early=early):
                    self.setUp()
                    self.server.session.environment.configure(timeout=None)
                    if not early:
                        greetings(self.server, *names)
                    client = self.server.connect()
                    self.break_off(client)
                    self.assertEqual(self.server.verdict is None, early)
                    if early:
                        greetings(self.server, *names)
                    failure = self.server.session.failure
                    assert failure is not None
                    self.assertEqual(failure.number, client)
                    self.assertIs(failure.mismatch, self.broken(client))
                    self.assertEqual(failure.step and failure.step.index, step)

    def test_broken_tls_when_the_script_was_told_before(self) -> None:
        """What came before it tells the script, which is judged by its next step."""
        greetings(self.server, b"a", b"b")
        client = self.server.connect()
        self.server.upgraded()
        self.server.receive(b"b\r\n", client)
        self.break_off(client)
        failure = self.server.session.failure
        assert failure is not None and failure.step is not None
        self.assertEqual((failure.step.method, failure.mismatch), ("expect_disconnect", self.broken(client)))

    def test_timeout_when_a_handshake_is_not_done(self) -> None:
        """The verdict is on the handshake, before which nothing could be sent."""
        for names in ((b"a",), (b"a", b"b")):
            with self.subTest(names=names):
                self.setUp()
                greetings(self.server, *names)
                self.server.connect()
                self.server.sleep(6)
                self.assertEqual(self.server.verdict[2], "the client did not begin its TLS handshake for 5.0 s")


class AllowedTests(unittest.TestCase):
    """What the server allows on all connections, on one that has no script yet."""

    def setUp(self) -> None:
        self.server = MemoryServer(at_once=True)

    def test_allowed_message_when_the_connection_has_no_script(self) -> None:
        """It is answered and counted, and binds nothing, however the stream is split and whoever speaks first."""
        streams = {b"a": b"PING\r\nPING\r\na\r\nPING\r\n", b"b": b"PING\r\nb\r\n", b"P": b"P\r\n"}
        for order in itertools.permutations(streams):
            for size, early in itertools.product((1, 3, 100), (True, False)):
                with self.subTest(order=order, size=size, early=early):
                    server = MemoryServer(at_once=True)
                    allowed = server.allow(b"PING\r\n", reply=b"PONG\r\n")
                    if not early:
                        handles = greetings(server, *streams)
                    clients = {name: server.connect() for name in order}
                    for start in range(0, 30, size):
                        for name, client in clients.items():
                            chunk = streams[name][start:start + size]
                            if chunk:
                                server.receive(chunk, client)
                    if early:
                        handles = greetings(server, *streams)
                    self.assertEqual((server.verdict, allowed.count), (None, 4))
                    for handle, name in zip(handles, streams):
                        self.assertEqual(handle.conversation.number, clients[name])
                        expected = streams[name].replace(b"PING", b"PONG").replace(name + b"\r", b"hello %b\r" % name)
                        self.assertEqual(server.connection(clients[name]).sent, expected)
                        server.half_close(clients[name])
                    self.assertTrue(server.session.complete)

    def test_message_that_is_allowed_and_expected(self) -> None:
        """As on any connection: the one that is complete first counts, and of two at the same byte the allowed one."""
        for message, name, count in ((b"PING\r\n", b"PING", 1), (b"PING\r\n\r\n", b"PING", 0), (b"PI", b"PING", 1)):
            with self.subTest(message=message, name=name):
                server = MemoryServer(at_once=True)
                allowed = server.allow(message)
                handles = greetings(server, b"a", name)
                client = server.connect()
                for byte in b"PING\r\n"[:len(message)]:
                    server.receive(bytes([byte]), client)
                self.assertEqual((allowed.count, server.verdict), (count, None))
                self.assertEqual(handles[1].conversation.script.steps[1].satisfied, not count)

    def test_reply_when_nobody_knows_yet_whose_connection_it_is(self) -> None:
        """It goes out at once, and what the connection's script sends waits for it, wherever that came from."""
        server = MemoryServer(taking=False, at_once=True)
        server.allow(b"PING", reply=b"pong ")
        greetings(server, b"a", b"b")
        client = server.connect()
        server.receive(b"PING", client)
        server.receive(b"PING", client)
        server.receive(b"b\r\n", client)
        self.assertEqual(server.connection().wire, [b"pong "])
        for _ in range(3):
            server.flush()
        self.assertEqual(server.connection().wire, [b"pong ", b"pong ", b"hello b\r\n"])
        self.assertIsNone(server.verdict)

    def test_reply_when_a_coroutine_computes_it(self) -> None:
        """It is sent when the coroutine has ended, whether or not the connection has its script by then."""
        async def pong(message: bytes) -> bytes:
            return message.replace(b"PING", b"late")
        for later in (b"", b"b\r\n"):
            with self.subTest(later=later):
                server = MemoryServer(at_once=True)
                server.allow(b"PING", reply=pong)
                greetings(server, b"a", b"b")
                server.receive(b"PING" + later, server.connect())
                sent = server.connection().sent
                server.compute()
                self.assertEqual((server.connection().sent, server.verdict), (sent + b"late", None))

    def test_times_when_the_script_moves(self) -> None:
        """How often the message may still come is the connection's affair."""
        self.server.allow(b"!", times=2)
        greetings(self.server, b"a", b"b")
        one, two = self.server.connect(), self.server.connect()
        self.server.receive(b"!!b\r\n", one)
        self.server.receive(b"!", two)
        self.server.receive(b"!", two)
        self.server.receive(b"a\r\n", two)
        self.assertIsNone(self.server.verdict)
        self.server.receive(b"!", two)
        self.assertIn("got 1 byte: b'!'; allow(b'!', times=2) at test_any_order.py:", self.server.verdict[2])

    def test_times_when_they_are_used_up(self) -> None:
        """Then the message is one with which no script begins, or not the one that is left; both say why."""
        for names in ((b"a", b"b"), (b"a",)):
            with self.subTest(names=names):
                server = MemoryServer(at_once=True)
                server.allow(b"PING\r\n", times=1)
                greetings(server, *names)
                client = server.connect()
                server.receive(b"PING\r\nP", client)
                server.receive(b"ING\r\n", client)
                self.assertRegex(server.verdict[2], r"got b'P'.*; allow\(b'PING.r.n', times=1\) at .*:\d+ is used up$")

    def test_mismatch_when_nothing_fits(self) -> None:
        """The scripts are named as ever; that it is no allowed message stands below."""
        self.server.allow(b"PING\r\n")
        greetings(self.server, b"a", b"b")
        self.server.receive(b"PING\r\nPINX", self.server.connect())
        failure = self.server.session.failure
        assert failure is not None
        self.assertRegex(failure.mismatch.summary, r"^got b'PINX', with which none of 2 messages in any order begins: "
                                                   r"expect_line\(b'a'\) at .*, expect_line\(b'b'\) at .*$")
        self.assertIn("nor is it what allow(b'PING\\r\\n')", "\n".join(failure.mismatch.details))

    def test_mismatch_when_one_script_is_left(self) -> None:
        """That one was meant, as without the allow()."""
        self.server.allow(b"PING\r\n")
        last = greetings(self.server, b"a", b"b")[0]
        self.server.receive(b"PING\r\nb\r\n", self.server.connect())
        self.server.receive(b"PING\r\nother\r\n", self.server.connect())
        failure = self.server.session.failure
        assert failure is not None
        self.assertIs(failure.step, last.conversation.script.steps[1])
        self.assertEqual(self.server.verdict[2], "expected b'a', got b'other' at byte 0")

    def test_timeout_when_only_allowed_messages_come(self) -> None:
        """They are no progress: the client is overdue as if it had sent nothing."""
        self.server.allow(b"PING")
        greetings(self.server, b"a", b"b")
        client = self.server.connect()
        for _ in range(5):
            self.server.sleep(1.5)
            self.server.receive(b"PING", client)
        self.assertRegex(self.server.verdict[2],
                         r"^the client has sent nothing for 5.0 s that shows .* begin "
                         r"with .* and .*; 3 allowed messages \(b'PING'\) came meanwhile$")

    def test_end_of_stream_when_only_allowed_messages_have_come(self) -> None:
        """They have not told where the connection belongs."""
        self.server.allow(b"PING")
        greetings(self.server, b"a", b"b")
        client = self.server.connect()
        self.server.receive(b"PING", client)
        self.server.ending = "ended its stream"
        self.server.half_close(client)
        self.assertIn("ended its stream before it had sent anything that shows", self.server.verdict[2])

    def test_allow_of_one_script(self) -> None:
        """It holds when the script has its connection, not before."""
        for sent, good in ((b"a\r\nPING", True), (b"PINGa\r\n", False)):
            with self.subTest(sent=sent):
                server = MemoryServer(at_once=True)
                with server.any_order():
                    for name in (b"a", b"b"):
                        handle = server.expect_connect().connection
                        handle.allow(b"PING")
                        handle.expect_line(name)
                server.receive(sent, server.connect())
                self.assertEqual(server.verdict is None, good)

    def test_callable_or_framing_raises(self) -> None:
        """It is the script's failure, with its exception, and never one in the callback that brought the bytes."""
        class Broken(Delimited):
            def reader(self) -> Any:
                if allowed:
                    raise RuntimeError("nothing to read with")
                return super().reader()
        allowed: list[Any] = []
        for reply, framing, text in ((lambda message: message.nothing, None,
                                      "callable of allow() at test_any_order.py:"),
                                     (None, Broken(b"\n"), "raised RuntimeError: nothing to read with, while")):
            with self.subTest(text=text):
                server = MemoryServer(at_once=True)
                allowed.clear()
                allowed.append(server.allow(b"PING", reply=reply, framing=framing))
                greetings(server, b"a", b"b")
                server.receive(b"PING\n", server.connect())
                self.assertIn(text, server.verdict[2])
                assert server.session.failure is not None
                self.assertIsInstance(getattr(server.session.failure.mismatch, "exception", None), Exception)
