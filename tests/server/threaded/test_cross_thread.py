"""Tests of waiting for the server in a thread: it blocks, or is awaited in another loop."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
import time
import unittest
from typing import Any, cast
from unittest import mock

from tcpclient_testing import ExpectationError, ScriptError
from tcpclient_testing.harness import interruption
from tcpclient_testing.server import leaving
from tcpclient_testing.server.threaded.server import ThreadedMockTCPServer
from tests.support.blocking import Worker, connect, eventually
from tests.support.collecting import collect
from tests.support.greetings import greet, script_greeting


class WaitingTests(unittest.TestCase):
    """What blocks: join, result, exception."""

    def test_result_when_the_step_comes_later(self) -> None:
        """result() waits for the step, and gives what it received; exception() then is None."""
        with ThreadedMockTCPServer() as server:
            server.expect_connect()
            line = server.expect_line()
            server.expect_disconnect()
            asked = Worker(line.result)
            with connect(server.address) as client:
                client.sendall(b"hello\r\n")
                self.assertTrue(asked.ended())
            self.assertEqual((asked.value, line.result(), line.done(), line.exception()),
                             (b"hello", b"hello", True, None))

    def test_waiting_when_the_time_is_over(self) -> None:
        """After `timeout` seconds there is a TimeoutError, and the script goes on."""
        with ThreadedMockTCPServer() as server:
            step = server.expect_connect()
            for wait in (step.result, step.exception, server.join):
                with self.assertRaisesRegex(TimeoutError, r"1 of connection 1, expect_connect\(\) \(test_cross_thread"):
                    wait(0.01)
            with self.assertRaises(ValueError):
                server.join(-1)
            connect(server.address).close()
            self.assertIs(step.result(30), server.connections[0])
            server.expect_disconnect()

    def test_waiting_when_the_script_fails(self) -> None:
        """Whoever waits when the script fails gets the verdict: each thread an exception of its own."""
        with self.assertRaises(ExpectationError), ThreadedMockTCPServer() as server:
            server.expect_connect()
            step = server.expect_bytes(b"hello")
            waiters = [Worker(step.result), Worker(server.join), Worker(server.connections.copy)]
            asked = Worker(step.exception)
            with connect(server.address) as client:
                client.sendall(b"help!")
                for worker in (*waiters, asked):
                    self.assertTrue(worker.ended())
                with self.assertRaises(ConnectionResetError):
                    client.recv(1)
            self.assertIsInstance(asked.value, ExpectationError)
            errors = [worker.error for worker in waiters[:2]]
            self.assertEqual([type(error) for error in errors], [ExpectationError] * 2)
            self.assertIsNot(errors[0], errors[1])
            with self.assertRaises(ExpectationError):
                server.send_bytes(b"too late")
            server.join()

    @unittest.skipUnless(hasattr(signal, "pthread_kill"), "needs signals for threads")
    def test_join_when_the_user_interrupts(self) -> None:
        """A KeyboardInterrupt ends a blocked join at once, and passes untouched."""
        def interrupt() -> None:
            eventually(lambda: bool(server.connections and server._thread._owed))  # the main thread waits
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        previous = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, previous)
        server = ThreadedMockTCPServer(timeout=20).start()
        server.expect_connect()
        server.expect_line()
        worker, started = Worker(interrupt), time.monotonic()
        with self.assertRaises(KeyboardInterrupt), server, connect(server.address):
            server.join()
        self.assertTrue(worker.ended())
        self.assertLess(time.monotonic() - started, 10)

    def test_thread_when_it_ends(self) -> None:
        """When something ends the server's thread, clients are let go, and whoever waits is told."""
        with self.assertRaisesRegex(ScriptError, "thread has ended: SystemExit: enough") as caught, \
                ThreadedMockTCPServer() as server:
            server.expect_connect()
            server.send_bytes(lambda _: sys.exit("enough"))
            joined = Worker(server.join)
            with connect(server.address) as client:
                self.assertIn(client.recv(1), [b""])
                self.assertTrue(joined.ended())
            self.assertIsInstance(joined.error, ScriptError)
            with self.assertRaisesRegex(ScriptError, "SystemExit"):
                server.expect_disconnect()
        self.assertIsInstance(caught.exception.__cause__, SystemExit)

    def test_server_when_the_thread_that_made_it_has_ended(self) -> None:
        """A server outlives the thread that made and scripted it."""
        def make() -> ThreadedMockTCPServer:
            server = ThreadedMockTCPServer().start()
            script_greeting(server)
            return server

        maker = Worker(make)
        self.assertTrue(maker.ended())
        self.assertEqual(greet(maker.value.address), b"welcome")
        maker.value.stop()


class AsynchronousTests(unittest.IsolatedAsyncioTestCase):
    """The threaded server in an asynchronous test: nothing blocks the test's loop."""

    async def test_await_when_the_client_is_asynchronous(self) -> None:
        """Steps and joins of a server in another thread can be awaited in the test's loop."""
        async with ThreadedMockTCPServer() as server:
            connected = server.expect_connect()
            line = server.expect_line()
            server.send_line(b"world")
            server.expect_disconnect()
            reader, writer = await asyncio.open_connection(*server.address)
            connection = await connected
            writer.write(b"hello\r\n")
            self.assertEqual((await line, await reader.readline(), await line), (b"hello", b"world\r\n", b"hello"))
            with self.assertRaises(TimeoutError):
                await server.join(0.01)
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(server.join(), 0.01)
            writer.close()
            await writer.wait_closed()
            await connection.join()
            await server.join()

    async def test_await_when_the_script_fails(self) -> None:
        """Who awaits gets the verdict."""
        with self.assertRaises(ExpectationError):
            async with ThreadedMockTCPServer() as server:
                server.expect_connect()
                step = server.expect_line(b"HELO")
                client = connect(server.address)
                self.addCleanup(client.close)
                client.sendall(b"EHLO\r\n")
                with self.assertRaises(ExpectationError):
                    await step
                with self.assertRaises(ExpectationError):
                    await server.join()

    async def test_waiting_that_is_cancelled(self) -> None:
        """Nobody asks for the answer any more, and none is missed when it comes."""
        complaints: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        with ThreadedMockTCPServer() as server:
            server.expect_connect()
            for awaited in (server.join(), server.join(30)):
                with self.assertRaises(asyncio.TimeoutError):
                    await asyncio.wait_for(awaited, 0.01)
            server._judgement.excuse()
        await asyncio.sleep(0.01)
        collect(cycles=True)
        self.assertEqual(complaints, [])

    async def test_body_that_waits_for_something_else_is_interrupted(self) -> None:
        """It is when the script has failed, and the verdict comes out; nothing of the cancellation stays behind."""
        started = time.monotonic()
        with mock.patch.multiple(interruption, _PATIENCE=0.01, _INSISTENCE=0.01), \
                self.assertRaisesRegex(ExpectationError, "got b'EHLO"):
            async with ThreadedMockTCPServer() as server:
                server.expect_connect()
                server.expect_line(b"HELO")
                with connect(server.address) as client:
                    client.sendall(b"EHLO\r\n")
                    await asyncio.sleep(60)
        self.assertLess(time.monotonic() - started, 30)
        task: Any = asyncio.current_task()
        self.assertEqual(getattr(task, "cancelling", lambda: 0)(), 0)
        await asyncio.sleep(0.02)  # longer than the time after which it would be interrupted again

    async def test_body_that_begins_after_the_failure_is_interrupted(self) -> None:
        """It need not have been there when the script failed."""
        with mock.patch.object(interruption, "_PATIENCE", 0.01), ThreadedMockTCPServer() as server, \
                connect(server.address) as client:
            server.expect_connect()
            step = server.expect_line(b"HELO")
            client.sendall(b"EHLO\r\n")
            with self.assertRaises(ExpectationError):
                await step
            task = asyncio.current_task()
            assert task is not None
            server._judgement.set_body(task)
            with self.assertRaises(asyncio.CancelledError):
                await asyncio.sleep(60)
            self.assertTrue(await server._judgement.release_body())
            server._judgement.excuse()

    async def test_body_that_waits_for_the_server_is_not_interrupted(self) -> None:
        """It gets the verdict where it waits, and may go on for a moment."""
        with mock.patch.object(interruption, "_PATIENCE", 0.0), self.assertRaises(ExpectationError):
            async with ThreadedMockTCPServer() as server:
                server.expect_connect()
                step = server.expect_line(b"HELO", timeout=0.02)
                with connect(server.address):
                    for awaited in (step, server.join()):
                        with self.assertRaises(ExpectationError):
                            await awaited
                        self.assertFalse(server._runtime.host.awaiting.includes(cast(Any, asyncio.current_task())))

    async def test_body_is_left_alone_if_that_is_asked_for(self) -> None:
        """With cancel_body=False nothing is interrupted."""
        with mock.patch.object(interruption, "_PATIENCE", 0.01), self.assertRaises(ExpectationError):
            async with ThreadedMockTCPServer(cancel_body=False) as server:
                server.expect_connect()
                server.expect_line(b"HELO")
                with connect(server.address) as client:
                    client.sendall(b"EHLO\r\n")
                    await asyncio.sleep(0.04)

    async def test_streams_when_the_client_is_careless(self) -> None:
        """A client of this process that does not await wait_closed() is told so, though its loop is another one."""
        with mock.patch.object(leaving, "_LOOKS", 5), \
                self.assertRaisesRegex(ExpectationError, r"without awaiting wait_closed\(\)"):
            async with ThreadedMockTCPServer() as server:
                server.expect_connect()
                server.expect_disconnect()
                _, writer = await asyncio.open_connection(*server.address)
                writer.close()

    async def test_blocking_client_beside_an_asynchronous_one(self) -> None:
        """A blocking client in a thread of an executor, beside the test's own loop."""
        async with ThreadedMockTCPServer() as server:
            script_greeting(server)
            loop = asyncio.get_running_loop()
            self.assertEqual(await loop.run_in_executor(None, greet, server.address), b"welcome")
            await server.join()

    async def test_leaving_when_it_was_stopped_before(self) -> None:
        """A server that was stopped in the block is not judged again."""
        async with ThreadedMockTCPServer() as server:
            server.stop()
