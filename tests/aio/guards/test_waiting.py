"""Tests of what a thread waits for: a client of the server, or something else."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import pathlib
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
from collections.abc import Iterator
from typing import Any, Callable, Optional
from unittest import mock

from tcpclient_testing.aio.guards import waiting
from tcpclient_testing.aio.guards.waiting import waits_for_client
from tcpclient_testing.aio.process import system_calls
from tests.support.blocking import eventually
from tests.support.folders import socket_folder
from tests.support.long import lasting
from tests.support.platforms import needs_threads

A_WHILE = 0.02
LONG = 0.3

# Clients in other processes. Each says when it is connected.
CONNECTS = ("import socket, sys, time; c = socket.create_connection(('127.0.0.1', int(sys.argv[1])));"
            "print('connected', flush=True);")
READS = CONNECTS + "c.recv(1)"
SLEEPS = CONNECTS + "time.sleep(30)"
POLLS = CONNECTS + "c.setblocking(False)\nwhile True: time.sleep(0.002)"


def sleeps_in_the_kernel(pid: int) -> bool:
    """Whether a process sleeps, rather than runs or stands still."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "S"


def setUpModule() -> None:
    """Skip where the system doesn't say."""
    if not system_calls.known():
        raise unittest.SkipTest("asks the kernel")


@needs_threads
class Case(unittest.TestCase):
    """A listening socket, and threads that wait for something."""

    def setUp(self) -> None:
        patch = mock.patch.object(waiting, "_A_WHILE", A_WHILE)
        patch.start()
        self.addCleanup(patch.stop)
        self.listener = self.enterContext_(socket.create_server(("127.0.0.1", 0)))
        self.over: list[Callable[[], object]] = []
        self.done = threading.Event()

    def enterContext_(self, context: Any) -> Any:
        """Enter a context until the end of the test."""
        value = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return value

    def client(self, timeout: Optional[float] = None) -> socket.socket:
        """Connect a client, which nobody accepts. It is ended at the end."""
        client = socket.create_connection(self.listener.getsockname()[:2], timeout)
        self.addCleanup(client.close)
        self.over.append(lambda: client.shutdown(socket.SHUT_RDWR))
        return client

    def child(self, program: str) -> subprocess.Popen[bytes]:
        """Start a client in a process of its own."""
        port = str(self.listener.getsockname()[1])
        child = subprocess.Popen([sys.executable, "-c", program, port], stdout=subprocess.PIPE)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        assert child.stdout is not None
        self.addCleanup(child.stdout.close)
        self.over.append(child.kill)
        self.assertEqual(child.stdout.readline(), b"connected\n")
        return child

    @contextlib.contextmanager
    def waiter(self, function: Callable[..., object], *args: Any) -> Iterator[threading.Thread]:
        """Run a thread that waits, until the end of this block."""
        def run() -> None:
            with contextlib.suppress(OSError):
                function(*args)
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield thread
        finally:
            self.done.set()
            for end in self.over:
                with contextlib.suppress(OSError):
                    end()
            thread.join(20)

    def asks(self, thread: threading.Thread, unless_known: bool = False) -> bool:
        """Ask what the thread waits for."""
        assert thread.native_id is not None and thread.ident is not None
        answer = waits_for_client(thread.native_id, thread.ident, [self.listener])
        return unless_known if answer is None else answer

    def assertWaits(self, function: Callable[..., object], *args: Any) -> None:
        """It is found that such a thread waits for the client."""
        with self.waiter(function, *args) as thread:
            self.assertTrue(eventually(lambda: self.asks(thread), 10))

    def assertDoesNot(self, function: Callable[..., object], *args: Any) -> None:
        """A thread that waits for something else is not taken for one that waits for the client."""
        with self.waiter(function, *args) as thread:
            time.sleep(0.01)  # let it get there
            self.assertFalse(any(self.asks(thread, True) for _ in range(2)))


class SocketTests(Case):
    """Calls on sockets."""

    def test_calls_on_a_client(self) -> None:
        """Each way of waiting for a client's socket is one."""
        def epoll(client: socket.socket) -> None:
            with selectors.DefaultSelector() as selector:
                selector.register(client, selectors.EVENT_READ)
                selector.select()

        def poll(client: socket.socket) -> None:
            poller = select.poll()
            poller.register(client)
            poller.modify(client, select.POLLIN)
            poller.poll()

        def timed(client: socket.socket) -> None:
            client.settimeout(30)
            client.recv(1)

        def in_a_loop(client: socket.socket) -> None:
            async def read() -> None:
                reader, writer = await asyncio.open_connection(sock=client)
                await reader.read()
                writer.close()
            asyncio.run(read())

        ways: dict[str, Callable[[socket.socket], object]] = {
            "recv": lambda client: client.recv(1), "recv with a time-out": timed, "poll": poll, "epoll": epoll,
            "send": lambda client: client.sendall(bytes(30_000_000)),
            "select": lambda client: select.select([client], [], [], 30), "an event loop": in_a_loop}
        for name, way in ways.items():
            with self.subTest(name):
                self.assertWaits(way, self.client())

    @lasting
    def test_calls_that_go_on_after_a_stop(self) -> None:
        """A process that was stopped goes on with what it did, in another system call; that is understood as well."""
        waits = {"poll": READS.replace("c.recv", "c.settimeout(60); c.recv"), "recv": READS}
        others = {"sleep": SLEEPS, "lock": CONNECTS + "import threading; threading.Event().wait(60)"}
        for expected, programs in (True, waits), (False, others):
            for name, program in programs.items():
                with self.subTest(name):
                    child = self.child(program)
                    self.assertTrue(eventually(lambda child=child: sleeps_in_the_kernel(child.pid)))
                    child.send_signal(signal.SIGSTOP)
                    self.assertTrue(eventually(lambda child=child: not sleeps_in_the_kernel(child.pid)))
                    child.send_signal(signal.SIGCONT)
                    self.assertTrue(eventually(lambda child=child: sleeps_in_the_kernel(child.pid)))
                    with self.waiter(child.wait) as thread:
                        if expected:
                            self.assertTrue(eventually(lambda thread=thread: self.asks(thread)))
                        else:
                            self.assertFalse(self.asks(thread))

    def test_calls_where_sockets_have_a_default_time_out(self) -> None:
        """To look at the socket does not make it a non-blocking one."""
        client = self.client()
        socket.setdefaulttimeout(5.0)
        self.addCleanup(socket.setdefaulttimeout, None)
        self.assertWaits(client.recv, 1)
        self.assertTrue(os.get_blocking(client.fileno()))

    def test_calls_on_other_sockets(self) -> None:
        """A socket that is connected to something else is none of ours, though there is a client."""
        self.client()
        ours, theirs = self.enterContext_(socket.create_server(("127.0.0.1", 0))), socket.socketpair()
        other = self.enterContext_(socket.create_connection(ours.getsockname()))
        self.over += [lambda: other.shutdown(socket.SHUT_RDWR), lambda: theirs[0].shutdown(socket.SHUT_RDWR)]
        for each in theirs:
            self.enterContext_(each)
        self.assertDoesNot(other.recv, 1)
        self.assertDoesNot(theirs[0].recv, 1)

    def test_clients_of_a_unix_socket(self) -> None:
        """A client of a Unix-domain socket is known by the path that it is connected to."""
        with socket_folder() as folder, socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.join(folder, "socket"))
            listener.listen()
            self.listener = listener
            client = self.enterContext_(socket.socket(socket.AF_UNIX))
            client.connect(listener.getsockname())
            ours, theirs = socket.socketpair()
            self.enterContext_(ours)
            self.enterContext_(theirs)
            self.over += [lambda: client.shutdown(socket.SHUT_RDWR), lambda: ours.shutdown(socket.SHUT_RDWR)]
            self.assertWaits(client.recv, 1)
            self.assertDoesNot(ours.recv, 1)

    @unittest.skipUnless(socket.has_ipv6, "needs IPv6")
    def test_clients_over_ipv6(self) -> None:
        """A client over IPv6 is found as well."""
        with contextlib.suppress(OSError):
            self.listener = self.enterContext_(socket.create_server(("::1", 0), family=socket.AF_INET6))
        self.assertWaits(self.client().recv, 1)


class PollingTests(Case):
    """Threads that sleep."""

    def test_short_sleeps(self) -> None:
        """A thread that polls may poll a client's socket, if there is one that no loop watches."""
        def naps() -> None:
            while not self.done.is_set():
                time.sleep(0.002)
        self.client()
        self.assertWaits(naps)

    def test_short_sleeps_beside_a_client_in_a_loop(self) -> None:
        """It polls something else if a loop watches the client's socket."""
        def naps() -> None:
            while not self.done.is_set():
                time.sleep(0.002)
        with selectors.DefaultSelector() as selector:
            selector.register(self.client(), selectors.EVENT_READ)
            self.assertDoesNot(naps)

    @lasting
    def test_one_sleep(self) -> None:
        """A thread in one long sleep waits for nobody."""
        self.client()
        self.assertDoesNot(time.sleep, LONG)

    @lasting
    def test_computing(self) -> None:
        """A thread that computes waits for nobody."""
        def compute() -> None:
            while not self.done.is_set():
                sum(range(1000))
        self.client()
        self.assertDoesNot(compute)


class ThreadTests(Case):
    """Threads that wait for others."""

    @lasting
    def test_join(self) -> None:
        """A thread that joins one that waits for a client waits for it, too; but not if it joins another."""
        with self.waiter(self.client().recv, 1), self.waiter(time.sleep, LONG) as other:
            self.assertDoesNot(other.join)
        with self.waiter(self.client().recv, 1) as worker:
            self.assertWaits(worker.join)

    def test_other_waits(self) -> None:
        """It may wait for any thread if it waits for an event; if none is a client's, it waits for something else."""
        self.assertDoesNot(self.done.wait)
        self.done.clear()
        with self.waiter(self.client().recv, 1):
            self.assertWaits(self.done.wait)


class ProcessTests(Case):
    """Threads that wait for child processes."""

    def test_children_that_are_clients(self) -> None:
        """A child that waits for the server is waited for, whether by wait(), or by what it writes."""
        child = self.child(READS)
        assert child.stdout is not None
        with self.waiter(child.wait) as waiter, self.waiter(child.stdout.read) as reader:
            self.assertTrue(eventually(lambda: self.asks(waiter), 10))
            self.assertTrue(eventually(lambda: self.asks(reader), 10))

    def test_children_that_poll(self) -> None:
        """A child that polls may poll its client's socket."""
        self.assertWaits(self.child(POLLS).wait)

    def test_children_that_sleep(self) -> None:
        """A child that sleeps is a client, but doesn't wait for the server."""
        self.assertDoesNot(self.child(SLEEPS).wait)

    def test_children_beside_a_client(self) -> None:
        """A thread that waits for one child doesn't wait for another, nor for a client of this process."""
        self.child(READS)
        with self.waiter(self.client().recv, 1):
            child = subprocess.Popen(["sleep", "30"])
            self.addCleanup(child.wait)
            self.over.append(child.kill)
            self.assertDoesNot(child.wait)

    def test_children_that_inherit(self) -> None:
        """A forked child that has inherited a client's socket is not a client."""
        if "fork" not in multiprocessing.get_all_start_methods():
            self.skipTest("needs fork")
        client = self.client()
        client.set_inheritable(True)
        child = subprocess.Popen([sys.executable, "-c", "import time\nwhile True: time.sleep(0.002)"],
                                 pass_fds=[client.fileno()])
        self.addCleanup(child.wait)
        self.over.append(child.kill)
        self.assertDoesNot(child.wait)

    def test_clients_that_are_nobodys_children(self) -> None:
        """If a client is a process that is no descendant, nobody knows who waits for it."""
        program = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', *sys.argv[1:]]).pid)"
        port = str(self.listener.getsockname()[1])
        with subprocess.Popen([sys.executable, "-c", program, READS, port], stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None
            lines = {parent.stdout.readline() for _ in range(2)}
            (pid,) = lines - {b"connected\n"}
            self.addCleanup(os.kill, int(pid), 9)
            parent.wait()
        self.listener.settimeout(20)
        self.enterContext_(self.listener.accept()[0])
        with self.waiter(self.done.wait) as thread:
            self.assertTrue(eventually(lambda: self.asks(thread, True) and not self.asks(thread, False), 10))


class UnknownTests(Case):
    """Where the system doesn't say."""

    def test_answer_of_an_unknown_system(self) -> None:
        """There is no answer then."""
        me = threading.get_native_id(), threading.get_ident()
        with mock.patch.object(waiting, "known", lambda: False):
            self.assertIsNone(waits_for_client(*me, [self.listener]))
        with mock.patch.object(waiting, "call_of", side_effect=PermissionError):
            self.assertIsNone(waits_for_client(*me, [self.listener]))

    def test_answer_about_a_thread_that_has_ended(self) -> None:
        """A thread that is no more waits for nobody."""
        self.client()
        self.assertIs(waits_for_client(2 ** 22 + 1, 0, [self.listener]), False)


if __name__ == "__main__":
    unittest.main()
