"""Tests of the server in a thread: its life, its verdict, and clients that would hang."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
import time
import unittest
import warnings
from typing import Any, Callable
from unittest import mock

from tcpclient_testing import ExpectationError, ScriptError
from tcpclient_testing.server import leaving
from tcpclient_testing.server.threaded.runtime import ThreadedConnection
from tcpclient_testing.server.threaded.server import ThreadedMockTCPServer
from tests.support.blocking import Worker, connect, descriptors, eventually, threads
from tests.support.greetings import greet, script_greeting
from tests.support.long import LONG, lasting
from tests.support.platforms import needs_proc
from tests.support.readme import ROOT


class LifeTests(unittest.TestCase):
    """Starting, stopping, and where a server is."""

    def test_with_when_the_client_keeps_to_the_script(self) -> None:
        """A script that is kept to passes, and the server tells what happened."""
        with ThreadedMockTCPServer() as server:
            script_greeting(server)
            self.assertEqual(greet(server.address), b"welcome")
            server.join()
        (connection,) = server.connections
        self.assertIsInstance(connection, ThreadedConnection)
        self.assertEqual((connection.index, connection.received, connection.sent), (0, b"hello", b"welcome"))
        self.assertEqual([entry.number for entry in server.transcript], [1] * 4)

    def test_start_and_stop(self) -> None:
        """Without `with`, start() and stop() do it; a second stop() does nothing."""
        server = ThreadedMockTCPServer("127.0.0.1")
        self.assertIn("not started", repr(server))
        self.assertIs(server.start(), server)
        self.assertEqual((server.host, server.port, server.service_port), (*server.address, server.address[1]))
        self.assertIn("running", repr(server))
        server.stop()
        server.stop()
        self.assertIn("stopped", repr(server))
        self.assertTrue(server.closed)

    def test_use_when_it_does_not_run(self) -> None:
        """Before the start and after the stop, whatever needs a server says so."""
        server = ThreadedMockTCPServer()
        uses: list[Callable[[], Any]] = [lambda: server.port, server.expect_connect, server.join]
        for use in uses:
            with self.assertRaisesRegex(ScriptError, "before it was started|was not started"):
                use()
        server.start()
        server.stop()
        for use in [server.expect_connect, server.join, server.start]:
            with self.assertRaisesRegex(ScriptError, "was stopped; make a new one"):
                use()

    def test_options_when_they_are_wrong(self) -> None:
        """Wrong options are refused where the server is made, and a taken port where it is started; no thread stays."""
        before = threads()
        for options in ({"timeout": "5"}, {"framing": 4}, {"colour": "red"}):
            with self.assertRaises(TypeError):
                ThreadedMockTCPServer(**options)
        with ThreadedMockTCPServer() as server, self.assertRaisesRegex(OSError, f"port {server.port} of"):
            ThreadedMockTCPServer(port=server.port).start()
        self.assertEqual(threads(), before)

    def test_stop_when_an_exception_is_handled(self) -> None:
        """In a `finally`, stop() waits for nothing, and the exception stays what it was."""
        server = ThreadedMockTCPServer(timeout=60).start()
        server.expect_connect()
        started = time.monotonic()
        with self.assertRaises(KeyError):
            try:
                raise KeyError
            finally:
                server.stop()
        self.assertLess(time.monotonic() - started, 30)

    def test_stop_when_an_exception_ends_there(self) -> None:
        """In an `except` that handles what the test expects, stop() gives the verdict."""
        server = ThreadedMockTCPServer(timeout=0.02).start()
        server.expect_connect()
        with self.assertRaisesRegex(ExpectationError, "no client connected"):
            try:
                raise ConnectionError
            except ConnectionError:
                server.stop()

    @lasting
    def test_exit_when_a_server_was_never_stopped(self) -> None:
        """The interpreter ends although a server runs and a client is connected; a client in a thread is let go."""
        program = """
            import socket
            from tcpclient_testing.server.threaded.server import ThreadedMockTCPServer
            server = ThreadedMockTCPServer().start()
            server.expect_connect()
            client = socket.create_connection(server.address)
            server.join()
            print("done")
        """
        # The program's own socket stays open on purpose, which Python's development mode would warn of.
        command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", textwrap.dedent(program)]
        ended = subprocess.run(command, cwd=ROOT, timeout=60, check=False, capture_output=True)
        self.assertEqual((ended.returncode, ended.stdout.split(), ended.stderr), (0, [b"done"], b""))

    def test_many_servers_leave_nothing(self) -> None:
        """Many servers, with and without clients, leave the same number of threads and descriptors."""
        with ThreadedMockTCPServer() as server:
            script_greeting(server)
            greet(server.address)
        before = threads(), descriptors()
        for number in range(600 if LONG else 100):
            with ThreadedMockTCPServer() as server:
                if number % 3 == 0:
                    script_greeting(server)
                    greet(server.address)
        self.assertEqual((threads(), descriptors()), before)

    def test_many_failing_servers_leave_nothing(self) -> None:
        """Servers whose scripts fail leave nothing either."""
        before = threads(), descriptors()
        for _ in range(30):
            with self.assertRaises(ExpectationError), ThreadedMockTCPServer() as server:
                server.expect_connect()
                server.expect_bytes(b"something else")
                greet(server.address)
        self.assertEqual((threads(), descriptors()), before)


class VerdictTests(unittest.TestCase):
    """Whose exception is reported."""

    def failure_of(self, body: Callable[[ThreadedMockTCPServer], object], **options: Any) -> ExpectationError:
        """Return the failure of a server whose `with` block is `body`."""
        with self.assertRaises(ExpectationError) as caught, ThreadedMockTCPServer(**options) as server:
            body(server)
        self.assertTrue(caught.exception.__suppress_context__ or caught.exception.__context__ is None)
        return caught.exception

    def test_client_exception_when_the_script_failed_first(self) -> None:
        """A client that raises because the server gave up stands in the last section of the report."""
        def body(server: ThreadedMockTCPServer) -> None:
            server.expect_connect()
            server.expect_bytes(b"howdy")
            greet(server.address)

        error = self.failure_of(body)
        self.assertRegex(str(error), r"^expected b'howdy', got b'he\w*' at byte 1 \(connection 1, step 2 of 2, "
                                     r"test_server\.py:\d+ from test_server\.py:\d+\)\n")
        self.assertIsInstance(error.client_exception, ConnectionResetError)
        self.assertRegex(str(error).split("then the client raised\n")[1],
                         r"^    ConnectionResetError: .* \(greetings.py:\d+\)$")

    def test_client_exception_when_it_did_not_wait(self) -> None:
        """What a client sent before it raised is judged first, however fast it was."""
        def body(server: ThreadedMockTCPServer) -> None:
            server.expect_connect()
            server.expect_bytes(b"howdy")
            client = connect(server.address)
            self.addCleanup(client.close)
            client.sendall(b"hello")
            raise LookupError

        for _ in range(20):
            self.assertIsInstance(self.failure_of(body).client_exception, LookupError)

    def test_client_exception_when_the_client_failed_by_itself(self) -> None:
        """A client's own exception is the report, though its connection was closed on the way out of it."""
        for _ in range(20):
            with self.assertRaises(ZeroDivisionError) as caught, ThreadedMockTCPServer() as server:
                server.expect_connect()
                server.expect_bytes(b"hello")
                with connect(server.address):
                    1 / 0  # noqa: B018 - it raises
            shown = getattr(caught.exception, "__notes__", None) or [str(caught.exception.__context__)]
            self.assertIn("client connected from", shown[0])

    def test_client_exception_when_the_connection_breaks_after_a_half_close(self) -> None:
        """What comes of our giving up on a client that has half-closed is a consequence."""
        def body(server: ThreadedMockTCPServer) -> None:
            server.expect_connect()
            server.expect_bytes(b"hello")
            with connect(server.address) as client:
                client.shutdown(socket.SHUT_WR)
                if not client.recv(1):
                    raise EOFError

        error = self.failure_of(body)
        self.assertIn("ended its stream", str(error))
        self.assertIsInstance(error.client_exception, (ConnectionResetError, EOFError))

    def test_leaving_when_the_client_never_came(self) -> None:
        """On leaving, the rest of the script is waited for, within its time-outs."""
        error = self.failure_of(lambda server: server.expect_connect(), timeout=0.02)
        self.assertIn("no client connected", str(error))

    def test_leaving_when_something_is_left_over(self) -> None:
        """A client that is still connected, and bytes that nobody expected, are failures, unless they are allowed."""
        def body(server: ThreadedMockTCPServer) -> None:
            server.expect_connect()
            client = connect(server.address)
            self.addCleanup(client.close)
            client.sendall(b"more")
            self.assertTrue(eventually(lambda: server.connections != [] and server.connections[0].received == b"more"))

        with mock.patch.object(leaving, "_MOMENT", 0.02):
            self.assertIn("sent 4 more bytes: b'more'", str(self.failure_of(body)))
            self.assertIn("still connected", str(self.failure_of(body, allow_extra=True)))
        with ThreadedMockTCPServer(allow_extra=True, allow_open=True) as server:
            body(server)

    def test_skip_and_the_like_pass(self) -> None:
        """KeyboardInterrupt, SystemExit and a skip pass untouched, and nothing is waited for."""
        for exception in (KeyboardInterrupt(), SystemExit(3), unittest.SkipTest("later")):
            with self.assertRaises(type(exception)) as caught, ThreadedMockTCPServer() as server:
                server.expect_connect()
                raise exception
            self.assertIs(caught.exception, exception)


class NestedTests(unittest.TestCase):
    """Two servers, each in a `with` of its own."""

    def test_failure_of_the_outer_server_came_first(self) -> None:
        """The one whose script failed first gives the verdict, though the other has given one by then."""
        with self.assertRaisesRegex(ExpectationError, "expected b'hello', got b'hullo'"), \
                ThreadedMockTCPServer() as outer, ThreadedMockTCPServer(timeout=0.02) as inner:
            script_greeting(outer)
            with connect(outer.address) as client:
                client.sendall(b"hullo")
                self.assertRaises(ConnectionResetError, client.recv, 1)
                script_greeting(inner)
                inner.join()

    def test_failure_of_the_inner_server_came_first(self) -> None:
        """Its verdict passes the outer one."""
        with self.assertRaisesRegex(ExpectationError, "no client connected"), \
                ThreadedMockTCPServer() as outer, ThreadedMockTCPServer(timeout=0.02) as inner:
            script_greeting(outer)
            script_greeting(inner)
            inner.join()


class HangingClientsTests(unittest.TestCase):
    """Blocking clients that would hang; each is ended within its bound, and reported as what it is."""

    BOUND = 30.0

    def ended_by(self, body: Callable[[ThreadedMockTCPServer], object], **options: Any) -> str:
        """Run a client in this thread, and return the report."""
        started = time.monotonic()
        made = ThreadedMockTCPServer(**{"timeout": 0.02, **options})
        with self.assertRaises(ExpectationError) as caught, made as server:
            server.expect_connect(timeout=60)
            body(server)
        self.assertLess(time.monotonic() - started, self.BOUND)
        return str(caught.exception)

    def test_client_that_waits_for_an_answer(self) -> None:
        """A client blocked in recv() returns when the script fails."""
        def body(server: ThreadedMockTCPServer) -> None:
            server.expect_line(b"HELO")
            with connect(server.address, None) as client:
                client.sendall(b"EHLO\r\n")
                client.recv(1)
        self.assertIn("expected b'HELO", self.ended_by(body, timeout=30))

    def test_client_that_waits_while_the_script_waits(self) -> None:
        """Where client and script wait for each other, the step's time-out ends it."""
        def body(server: ThreadedMockTCPServer) -> None:
            with connect(server.address, None) as client:
                client.sendall(b"EHLO")
                server.expect_line()
                client.recv(1)
        self.assertRegex(self.ended_by(body), r"^got b'EHLO' without its ending b'\\r\\n', then nothing for 0\.0\d+ s "
                                              r"\(connection 1, step 2 of 2, ")

    def test_client_that_waits_after_the_script(self) -> None:
        """Where the script is complete and the client waits on, idleness ends it."""
        def body(server: ThreadedMockTCPServer) -> None:
            with connect(server.address, None) as client:
                client.recv(1)
        self.assertIn("still connected and waits", self.ended_by(body, idle_timeout=0.02))

    def test_client_that_is_never_read(self) -> None:
        """A client blocked in sendall() because the server has stopped reading returns."""
        def body(server: ThreadedMockTCPServer) -> None:
            server.pause_reading()
            server.expect_disconnect()
            with connect(server.address, None) as client:
                client.sendall(bytes(50_000_000))
        self.assertIn("the server has stopped reading", self.ended_by(body))

    def test_client_that_never_reads(self) -> None:
        """A client that does not read what it is sent is told how much it took."""
        def body(server: ThreadedMockTCPServer) -> None:
            server.send_bytes(bytes(50_000_000))
            with connect(server.address):
                server.join()
        self.assertIn("the client does not read", self.ended_by(body))

    def test_client_that_waits_for_a_connection_in_the_backlog(self) -> None:
        """A client whose connection nobody expects returns when the script fails elsewhere."""
        def body(server: ThreadedMockTCPServer) -> None:
            server.expect_line()
            with connect(server.address, None), connect(server.address, None) as second:
                second.recv(1)
        self.assertIn("nothing received", self.ended_by(body))

    def test_client_that_reconnects_for_ever(self) -> None:
        """A client that always connects anew finds nobody when the script has failed."""
        def body(server: ThreadedMockTCPServer) -> None:
            server.expect_line()
            while True:
                with connect(server.address, None) as client:
                    client.recv(1)
        self.assertIn("expected a line", self.ended_by(body))

    def test_client_that_ignores_errors(self) -> None:
        """A client that swallows what happens to it and returns has failed all the same."""
        def body(server: ThreadedMockTCPServer) -> None:
            server.expect_bytes(b"hello")
            server.send_bytes(b"x")
            try:
                with connect(server.address, None) as client:
                    client.sendall(b"howdy")
                    client.recv(1)
            except OSError:
                pass
        self.assertIn("expected b'hello', got b'howdy' at byte 1 (connection 1, ", self.ended_by(body, timeout=30))

    def test_client_in_a_thread_that_hangs(self) -> None:
        """A test that joins the thread of its client goes on when the script fails."""
        def body(server: ThreadedMockTCPServer) -> None:
            server.expect_bytes(b"hello, server")
            worker = Worker(greet, server.address)
            self.assertTrue(worker.ended())
            self.assertIsInstance(worker.error, ConnectionResetError)
        self.assertIn("expected 13 bytes b'hello, server'", self.ended_by(body))


@needs_proc
class ForkTests(unittest.TestCase):
    """A process that forks while a server runs."""

    def test_fork(self) -> None:
        """In the child the server is stopped and its descriptors are closed; the parent's goes on."""
        before = descriptors()
        with ThreadedMockTCPServer() as server:
            script_greeting(server)
            held = server.expect_connect()
            server.expect_disconnect()
            with connect(server.address) as client:
                client.sendall(b"hello")
                self.assertEqual(client.recv(7), b"welcome")
                # From 3.12 on os.fork warns while another thread lives, and so while a server runs.
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)
                    child = os.fork()
                if not child:
                    os._exit(self.in_child(server, held, descriptors() - before))
                self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
            connect(server.address).close()
            held.result(30)

    @staticmethod
    def in_child(server: ThreadedMockTCPServer, held: Any, left: int) -> int:
        """Return 0 if everything is as it should be."""
        try:
            if left != 1:  # the client's socket
                return 1
            if not server.closed:
                return 2
            for use in (server.expect_connect, server.join):
                try:
                    use()
                except ScriptError as error:
                    if "belongs to the parent process" not in str(error):
                        return 3
                else:
                    return 4
            if not isinstance(held.exception(), ExpectationError):
                return 5
            server.stop()
            with ThreadedMockTCPServer() as own:
                script_greeting(own)
                return 0 if greet(own.address) == b"welcome" else 6
        except BaseException:
            return 7
