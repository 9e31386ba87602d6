"""The server with real sockets: waiting, leaving, closing, slow readers, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
import unittest
import unittest.mock
import warnings
from typing import Any

from tcpclient_testing import ExpectationError, MockTCPServer, ScriptError, VirtualClockEventLoop
from tests.support.collecting import collect
from tests.support.long import LONG, lasting
from tests.support.loops import AsyncTestCase, new_event_loop, timeless
from tests.support.streams import close, connect


class WaitingTests(AsyncTestCase):
    async def test_join_waits_for_the_steps_that_were_there(self) -> None:
        """A step that is added while a join waits is not the join's business."""
        async with MockTCPServer() as server:
            server.expect_connect()
            joining = asyncio.ensure_future(server.join())
            await asyncio.sleep(0)
            server.expect_bytes(b"later")
            _, writer = await connect(server)
            await asyncio.wait_for(joining, 2)
            writer.write(b"later")
            server.expect_disconnect()
            await close(writer)

    async def test_join_raises_when_the_failure_comes_between_two_steps(self) -> None:
        """One read that satisfies a step of one connection and fails another's leaves no join waiting."""
        async with MockTCPServer(timeout=30, allow_open=True) as server:
            one, two = server.expect_connect().connection, server.expect_connect().connection
            pair = [await connect(server), await connect(server)]
            await server.join()
            one.expect_bytes(b"a")
            two.expect_bytes(b"b")
            joining = asyncio.ensure_future(server.join())
            await asyncio.sleep(0)
            pair[0][1].write(b"a")
            pair[1][1].write(b"x")
            with self.assertRaises(ExpectationError):
                await asyncio.wait_for(joining, 2)
            for _, writer in pair:
                await close(writer)
            with self.assertRaises(ExpectationError):
                server.expect_connect()
            server._judgement.excuse()

    @timeless
    async def test_client_that_waits_within_any_order(self) -> None:
        """It is freed when the time-out is over, whichever block it is; the report says what to do."""
        for of_connection in (False, True):
            with self.subTest(of_connection=of_connection):
                with self.assertRaises(ExpectationError) as caught:
                    async with MockTCPServer(timeout=0.5) as server:
                        scripted: Any = server.expect_connect().connection if of_connection else server
                        with scripted.any_order():
                            if not of_connection:
                                server.expect_connect()
                            scripted.expect_line(b"a")
                            scripted.send_line(b"A")
                            reader, writer = await connect(server)
                            writer.write(b"a\r\n")
                            with contextlib.closing(writer):
                                await reader.readline()
                self.assertIn("no step of any_order() counts before its `with` block has ended", str(caught.exception))
                self.assertIn("run the client after it", str(caught.exception))

    async def test_step_awaited_by_two_tasks(self) -> None:
        """Both get the result; one that was cancelled meanwhile takes nothing away from the other."""
        async with MockTCPServer() as server:
            server.expect_connect()
            step = server.expect_line()

            async def wait() -> bytes:
                return await step
            tasks = [asyncio.ensure_future(wait()) for _ in range(3)]
            _, writer = await connect(server)
            tasks[1].cancel()
            await asyncio.sleep(0)
            writer.write(b"x\r\n")
            self.assertEqual(await asyncio.gather(tasks[0], tasks[2]), [b"x", b"x"])
            self.assertTrue(tasks[1].cancelled())
            self.assertEqual((step.done(), step.result(), step.exception()), (True, b"x", None))
            server.expect_disconnect()
            await close(writer)

    async def test_waiters_are_told_when_the_server_is_stopped(self) -> None:
        """Whoever awaits a step when the server is left by an exception gets an ExpectationError."""
        with self.assertRaises(LookupError):
            async with MockTCPServer() as server:
                step = server.expect_connect()

                async def wait() -> Any:
                    return await step
                task = asyncio.ensure_future(wait())
                await asyncio.sleep(0)
                raise LookupError
        with self.assertRaisesRegex(ExpectationError, "the server was left before this step was satisfied"):
            await asyncio.wait_for(task, 2)
        with self.assertRaises(ScriptError):
            server.expect_connect()

    async def test_step_of_a_server_that_never_had_a_loop(self) -> None:
        """A fixture may ask for the address before there is one; the error is that of any server."""
        server = MockTCPServer()
        server._lifetime.bind()
        self.assertEqual(server._runtime.host.advice(), [])
        self.assertFalse(server._runtime.context.in_memory)
        error = server._runtime.host.error()
        server.close()
        self.assertRegex(str(error), "^the server was left before")

    @timeless
    async def test_stop_in_finally(self) -> None:
        """stop() waits and judges; in a finally, with an exception on its way, it only closes. Twice is once."""
        server = await MockTCPServer(timeout=30).start()
        server.expect_connect()
        loop = asyncio.get_running_loop()
        started = loop.time()
        with self.assertRaises(LookupError):
            try:
                raise LookupError("of the test")
            finally:
                await server.stop()
        self.assertLess(loop.time() - started, 15)
        await server.stop()
        other = await MockTCPServer(timeout=0.05).start()
        other.expect_connect()
        with self.assertRaises(ExpectationError):
            await other.stop()

    async def test_stop_in_except(self) -> None:
        """An exception that the test expects, and that ends there, excuses no script; one that goes on does."""
        server = await MockTCPServer(timeout=0.02).start()
        server.expect_connect()
        with self.assertRaisesRegex(ExpectationError, "no client connected") as caught:
            try:
                raise ConnectionError("expected by the test")
            except ConnectionError:
                await server.stop()
        self.assertIsInstance(caught.exception.__context__, ConnectionError)
        self.assertNotIn("then the client raised", str(caught.exception))
        other = await MockTCPServer(timeout=30).start()
        other.expect_connect()
        with self.assertRaises(ConnectionError):
            try:
                raise ConnectionError("of the client")
            except BaseException:
                await other.stop()
                raise

    async def test_stop_in_except_after_a_failure(self) -> None:
        """What the test catches there came of the failure: the report speaks of it."""
        server = await MockTCPServer().start()
        server.expect_connect()
        server.expect_bytes(b"A")
        reader, writer = await connect(server)
        writer.write(b"B")
        with self.assertRaisesRegex(ExpectationError, r"then the client raised\n +ConnectionResetError: "):
            try:
                await reader.read()
            except ConnectionError:
                await server.stop()
        writer.close()

    @timeless
    async def test_start_makes_no_body(self) -> None:
        """Who calls start() is not cancelled, since it need not be who runs the test; stop() has the verdict."""
        with unittest.mock.patch("tcpclient_testing.harness.interruption._PATIENCE", 0.01):
            server = await MockTCPServer(timeout=0.02).start()
            step = server.expect_connect()
            await asyncio.sleep(0.1)
            with self.assertRaises(ExpectationError):
                await step
            with self.assertRaises(ExpectationError):
                await server.stop()

    @timeless
    async def test_hold_until_a_step_of_another_connection_or_server(self) -> None:
        """hold_until(step) holds a connection until the step is satisfied, wherever that belongs."""
        async with MockTCPServer() as server, MockTCPServer() as other:
            one, two = server.expect_connect().connection, server.expect_connect().connection
            far = other.expect_connect()
            line = one.expect_line()
            two.hold_until(line)
            two.hold_until(far)
            two.send_bytes(b"go")
            clients = [await connect(server), await connect(server)]
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(clients[1][0].readexactly(2), 0.03)
            clients[0][1].write(b"x\r\n")
            clients.append(await connect(other))
            self.assertEqual(await asyncio.wait_for(clients[1][0].readexactly(2), 2), b"go")
            for each in (one, two, other):
                each.expect_disconnect()
            for _, writer in clients:
                await close(writer)


class ClosingTests(AsyncTestCase):
    async def test_leaving_after_disconnect_lets_the_client_read_everything(self) -> None:
        """A client that sends before it reads gets all that was sent before disconnect(), though the server is left."""
        data = bytes(range(256)) * 2000
        got: list[Any] = []

        def client(address: Any) -> None:
            with socket.create_connection(address) as mine:
                time.sleep(0.04)
                try:
                    mine.sendall(b"QUIT")
                    received = b""
                    while len(received) < len(data):
                        received += mine.recv(65536)
                    got.append(received)
                except OSError as error:
                    got.append(error)
        async with MockTCPServer() as server:
            server.expect_connect()
            server.send_bytes(data)
            server.disconnect()
            thread = threading.Thread(target=client, args=(server.address,))
            thread.start()
        await asyncio.get_running_loop().run_in_executor(None, thread.join)
        self.assertEqual(got, [data])

    async def test_client_in_a_thread_that_closes_a_moment_later(self) -> None:
        """A client elsewhere that has closed 50 ms after the body's end was not left open."""
        def client(address: Any) -> None:
            with socket.create_connection(address):
                time.sleep(0.05)
        async with MockTCPServer() as server:
            server.expect_connect()
            thread = threading.Thread(target=client, args=(server.address,))
            thread.start()
        thread.join()

    async def test_extra_bytes_are_seen_though_clients_may_stay(self) -> None:
        """With allow_open, bytes sent just before leaving are judged all the same."""
        for _ in range(20):
            with self.assertRaisesRegex(ExpectationError, "sent 1 more byte: b'x'"):
                async with MockTCPServer(allow_open=True) as server:
                    server.expect_connect()
                    _, writer = await connect(server)
                    await server.join()
                    writer.write(b"x")
            await close(writer)

    async def test_every_loopback_address(self) -> None:
        """127.0.0.1, localhost and, where there is IPv6, ::1 are this server."""
        hosts = ["127.0.0.1", "localhost"] + (["::1"] if len(loopback()) > 1 else [])
        async with MockTCPServer() as server:
            for host in hosts:
                server.expect_connect()
                server.expect_disconnect()
                _, writer = await asyncio.open_connection(host, server.port)
                await close(writer)


def loopback() -> tuple[str, ...]:
    """The loopback addresses here."""
    from tcpclient_testing.aio.sockets.listening import loopback_addresses
    return loopback_addresses()


class SlowReaderTests(AsyncTestCase):
    async def test_large_send_to_a_slow_reader(self) -> None:
        """64 MiB to a client that pauses takes longer than the time-out, and progress restarts that."""
        size = 64 * 1024 * 1024

        def client(address: Any) -> int:
            buffer, count = bytearray(1024 * 1024), 0
            with socket.create_connection(address) as mine:
                for number in range(size):
                    if number % 16 == 0 and count < size // 2:
                        time.sleep(0.02)
                    got = mine.recv_into(buffer)
                    if not got:
                        break
                    count += got
                    if count == size:
                        break
            return count
        async with MockTCPServer(timeout=0.3) as server:
            server.expect_connect(timeout=20)
            send = server.send_bytes(bytes(size))
            server.expect_disconnect()
            count = await asyncio.get_running_loop().run_in_executor(None, client, server.address)
            self.assertEqual(count, size)
            await send

    async def test_small_send_that_does_not_fit(self) -> None:
        """A send that is less than one slice, and still has to wait for the client, is satisfied in the end."""
        async with MockTCPServer() as server:
            connecting = server.expect_connect()
            mine = socket.socket()
            mine.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            mine.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(mine, server.address)
            connection = await connecting
            first = connection.send_bytes(bytes(4 * 1024 * 1024))
            second = connection.send_bytes(b"x" * 200_000)
            third = connection.send_bytes(b"end")
            count = 0
            while count < 4 * 1024 * 1024 + 200_003:
                count += len(await loop.sock_recv(mine, 65536))
            for step in (first, second, third):
                await asyncio.wait_for(step, 2)
            server.expect_disconnect()
            mine.close()

    @lasting
    async def test_early_flood_is_held_back_and_comes_through(self) -> None:
        """Much that comes early makes the client wait, takes bounded memory, and arrives when a step claims it."""
        size = 40 * 1024 * 1024
        with unittest.mock.patch("tcpclient_testing.aio.connection.reading.MOST_KEPT", 1024 * 1024):
            async with MockTCPServer() as server:
                server.expect_connect()
                _, writer = await connect(server)
                writer.write(bytes(size))
                await asyncio.sleep(0.05)
                self.assertLess(len(server.connections[0]._conversation.inbox.unclaimed()), 4 * 1024 * 1024)
                self.assertEqual(await server.expect_exactly(size, keep=False), size)
                server.expect_disconnect()
                await close(writer)


class StandstillTests(AsyncTestCase):
    async def test_time_during_which_the_loop_stood_still_is_nobodys_time_out(self) -> None:
        """A test that sleeps, and so keeps the client from running, does not make the client late."""
        patch = unittest.mock.patch("tcpclient_testing.aio.commands._STANDSTILL", 0.02)
        patch.start()
        self.addCleanup(patch.stop)
        async with MockTCPServer(timeout=0.05, idle_timeout=None) as server:
            server.expect_connect()
            asyncio.get_running_loop().slow_callback_duration = 5.0
            time.sleep(0.08)  # that is the point
            _, writer = await connect(server)
            server.expect_disconnect()
            await close(writer)

    @timeless
    async def test_time_outs_stand_still_while_a_debugger_is_at_work(self) -> None:
        """While a debugger is active nothing is overdue; afterwards time-outs begin anew."""
        with unittest.mock.patch("tcpclient_testing.aio.commands.debugger_active", return_value=True) as active:
            server = await MockTCPServer(timeout=0.03).start()
            server.expect_connect()
            await asyncio.sleep(0.1)
            self.assertIsNone(server._runtime.session.failure)
            active.return_value = False
            with self.assertRaises(ExpectationError):
                await server.stop()


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


@unittest.skipUnless(os.path.isdir("/proc/self/fd"), "needs /proc")
class ScaleTests(unittest.TestCase):
    """Time-outs on slow machines: TCPCLIENT_TESTING_TIMEOUT_SCALE."""

    def failure(self, **step: Any) -> str:
        """The report of a server that nobody connects to, on virtual time, whose seconds are exact."""
        async def nobody_connects() -> None:
            with unittest.mock.patch.dict(os.environ, TCPCLIENT_TESTING_TIMEOUT_SCALE="4"):
                server = MockTCPServer(timeout=2, outside_clients=True)
            async with server:
                server.expect_connect(**step)
        loop = VirtualClockEventLoop()
        try:
            with self.assertRaises(ExpectationError) as caught:
                loop.run_until_complete(nobody_connects())
        finally:
            loop.close()
        return str(caught.exception)

    def test_time_outs_are_multiplied(self) -> None:
        """That of the server and those of steps, and the report says why they are so long."""
        for step, words in (({}, "for 8.0 s"), ({"timeout": 5}, "for 20.0 s"), ({"within": 5}, "within 20.0 s")):
            with self.subTest(step):
                report = self.failure(**step)
                self.assertIn(words, report.splitlines()[0])
                self.assertIn("    are 4 times as long as written: TCPCLIENT_TESTING_TIMEOUT_SCALE", report)


class LeakTests(unittest.TestCase):
    async def one(self, kind: int) -> None:
        """One server: passing, failing, left by an exception, cancelled while it waits or before it has accepted."""
        try:
            async with MockTCPServer(timeout=30) as server:
                server.expect_connect()
                if kind == 3:
                    task = asyncio.current_task()
                    assert task is not None
                    asyncio.get_running_loop().call_soon(task.cancel)
                    await server.join()
                if kind == 4:
                    with socket.create_connection(server.address):
                        server._runtime.reception.accept()
                        raise LookupError
                reader, writer = await connect(server)
                try:
                    if kind == 1:
                        server.expect_bytes(b"x")
                        writer.write(b"y")
                        await server.join()
                    if kind == 2:
                        raise LookupError
                    server.send_bytes(lambda _: coroutine())
                    server.expect_disconnect()
                    await reader.readexactly(1)
                finally:
                    await close(writer)
        except (ExpectationError, LookupError, asyncio.CancelledError):
            self.assertNotEqual(kind, 0)

    @lasting
    def test_servers_leave_nothing_behind(self) -> None:
        """Hundreds of servers, ended in every way: as many descriptors, tasks and threads as before, and no warning."""
        async def many() -> None:
            await asyncio.gather(*(self.one(kind) for kind in range(5)))
            collect(cycles=True)
            await asyncio.sleep(0)
            before = descriptors(), len(asyncio.all_tasks())
            for _ in range(500 if LONG else 20):
                for kind in range(5):
                    await self.one(kind)
            collect(cycles=True)
            for _ in range(3):
                await asyncio.sleep(0)
            self.assertEqual((descriptors(), len(asyncio.all_tasks())), before)
        threads = set(threading.enumerate())
        outside = descriptors()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loop = new_event_loop()
            try:
                loop.run_until_complete(many())
            finally:
                loop.close()
            collect(cycles=True)
        self.assertEqual([str(warning.message) for warning in caught], [])
        self.assertLessEqual(descriptors(), outside)
        left = {thread for thread in threading.enumerate() if "tcpclient" not in thread.name} - threads
        self.assertEqual(left, set())


async def coroutine() -> bytes:
    """A reply."""
    return b"r"


if __name__ == "__main__":
    unittest.main()

