"""The kernel's word about a client's socket, asked about real connections."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import unittest
import warnings
from collections.abc import Callable
from typing import Optional
from unittest import mock

from tcpclient_testing.aio.sockets import inet_diag
from tcpclient_testing.aio.sockets.inet_diag import PeerProbe, PeerState, available, unacknowledged
from tests.support.platforms import needs_proc

needs_inet_diag = unittest.skipUnless(available(), "the kernel answers no questions about sockets here")


def open_descriptors() -> int:
    """Return how many file descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


class ConnectionCase(unittest.TestCase):
    """Makes connections, and looks at the client's end of the last one."""

    host = "127.0.0.1"

    def setUp(self) -> None:
        self.probe = PeerProbe()
        self.addCleanup(self.probe.close)

    def listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            listener = socket.create_server((self.host, 0), family=family)
        except OSError as error:
            self.skipTest(f"no {self.host} here: {error}")
        self.addCleanup(listener.close)
        listener.settimeout(10)
        return listener

    def accept(self, listener: socket.socket) -> socket.socket:
        server, _ = listener.accept()
        self.addCleanup(server.close)
        server.settimeout(10)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.local, self.peer = server.getsockname(), server.getpeername()
        return server

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """Return the server's and the client's end of a new connection."""
        listener = self.listen()
        client = socket.create_connection(listener.getsockname()[:2], timeout=10)
        self.addCleanup(client.close)
        return self.accept(listener), client

    def look(self) -> Optional[PeerState]:
        return self.probe.look(self.local, self.peer)

    def look_until(self, condition: Callable[..., bool]) -> None:
        """Look again and again, for ten seconds at most, until the condition holds."""
        deadline = time.monotonic() + 10
        while not condition(state := self.look()):
            self.assertLess(time.monotonic(), deadline, state)
            os.sched_yield()

    def assertState(self, *, unread: int = 0, received: Optional[int] = None, closed: bool, state: str) -> None:
        """Assert what a look says now; a FIN of the client may or may not have been acknowledged already.

        When it is acknowledged, the kernel puts a smaller object in the place of a closed socket. A look at that very
        moment (one in 100,000) finds the old object in the state CLOSE, with everything else as before.
        """
        seen = self.look()
        assert seen is not None
        self.assertEqual((seen.unread, seen.closed), (unread, closed), seen)
        passing = ("FIN_WAIT1", "CLOSE") if closed else ("FIN_WAIT1",)
        self.assertEqual("FIN_WAIT2" if seen.state in passing else seen.state, state)
        if received is not None:
            self.assertEqual(seen.bytes_received, received)


@needs_inet_diag
class PeerProbeTests(ConnectionCase):
    """The states of a client's socket, and the probe's own life."""

    def test_unread_when_the_client_reads(self) -> None:
        """The count of unread bytes goes up when data arrives and down as the client reads it."""
        server, client = self.connect()
        self.assertState(unread=0, received=0, closed=False, state="ESTABLISHED")
        server.sendall(b"hello")
        self.assertState(unread=5, received=5, closed=False, state="ESTABLISHED")
        client.recv(2)
        self.assertState(unread=3, received=5, closed=False, state="ESTABLISHED")
        server.sendall(b"again")
        self.assertState(unread=8, received=10, closed=False, state="ESTABLISHED")
        client.recv(100)
        self.assertState(unread=0, received=10, closed=False, state="ESTABLISHED")

    def test_unread_when_our_side_ends_the_stream(self) -> None:
        """A FIN of ours counts as a byte that is unread until the client has seen the end."""
        server, client = self.connect()
        server.shutdown(socket.SHUT_WR)
        self.assertState(unread=1, received=1, closed=False, state="CLOSE_WAIT")
        self.assertEqual(client.recv(1), b"")
        self.assertState(unread=0, received=1, closed=False, state="CLOSE_WAIT")

    def test_closed_when_the_client_closes(self) -> None:
        """A client that has closed its socket is told apart."""
        server, client = self.connect()
        client.close()
        self.assertEqual(server.recv(1), b"")
        self.assertState(closed=True, state="FIN_WAIT2")

    def test_closed_when_the_client_shuts_down_both_directions(self) -> None:
        """A client that has shut down both directions can't read again, whether or not it holds the socket."""
        server, client = self.connect()
        client.shutdown(socket.SHUT_RDWR)
        self.assertEqual(server.recv(1), b"")
        self.assertState(closed=True, state="FIN_WAIT2")

    def test_closed_when_the_client_half_closes(self) -> None:
        """A client that has half-closed isn't closed, and what it has still to read is counted."""
        server, client = self.connect()
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(server.recv(1), b"")
        server.sendall(b"more")
        self.assertState(unread=4, received=4, closed=False, state="FIN_WAIT2")
        client.recv(4)
        client.close()
        self.assertState(closed=True, state="FIN_WAIT2")

    def test_closed_in_time_wait(self) -> None:
        """Once both sides have ended their streams the kernel has forgotten, and nothing is claimed."""
        server, client = self.connect()
        client.shutdown(socket.SHUT_WR)
        server.close()
        self.assertEqual(client.recv(1), b"")
        self.assertState(received=None, closed=False, state="TIME_WAIT")

    def test_look_when_the_client_is_gone(self) -> None:
        """A socket that closed with unread data has been destroyed: there is nothing to see."""
        server, client = self.connect()
        server.sendall(b"unread")
        client.close()
        self.assertIsNone(self.look())

    def test_look_when_another_socket_listens_on_the_port(self) -> None:
        """The kernel offers a listening socket in place of a vanished one; it isn't taken for the client's."""
        for _ in range(100):  # the port that comes free may be another connection's, too
            server, client = self.connect()
            server.sendall(b"unread")
            client.close()
            with socket.socket(client.family) as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    listener.bind(self.peer)
                    listener.listen()
                except OSError:
                    continue
                self.assertIsNone(self.look())
                return
        self.skipTest("no port comes free")

    def test_look_when_an_old_answer_is_left(self) -> None:
        """The answer to a request that was interrupted isn't taken for the answer to the next one."""
        server, _ = self.connect()
        self.look()
        with mock.patch.object(inet_diag, "_HEADER") as header:
            header.unpack_from.side_effect = KeyboardInterrupt
            with self.assertRaises(KeyboardInterrupt):
                self.look()
        netlink = self.probe._socket
        assert netlink is not None
        netlink.send(inet_diag._REQUEST.pack(72, 20, 1, 0xFFFFFFFF, 0, 2, 6, 0, 0, 0, 0, b"", b"", 0, 0))
        server.sendall(b"hello")
        self.assertState(unread=5, received=5, closed=False, state="ESTABLISHED")

    def test_look_when_the_kernel_refuses(self) -> None:
        """Any answer but "no such socket" is an OSError, so that nobody takes it for a client that is gone."""
        with mock.patch.object(inet_diag, "_SOCK_DIAG_BY_FAMILY", 999), self.assertRaises(OSError):
            self.probe.look(("127.0.0.1", 1), ("127.0.0.1", 2))

    def test_look_when_the_answer_is_malformed(self) -> None:
        """An attribute that can't be right ends the answer there; an unknown state has a name, too."""
        message = inet_diag._ANSWER.pack(2, 99, 0, 0, 1, 7, b"", b"", 0, 0, 0, 3, 0, 0, 12345)
        for attribute in b"", b"\0", b"\0\0\2\0", b"\4\0\2\0", b"\4\0\x08\0":
            state = inet_diag._parsed(message + attribute, 7)
            self.assertEqual(repr(state), "<PeerState UNKNOWN: None bytes received, 3 unread>")

    def test_look_when_nobody_is_there(self) -> None:
        """A connection that never was is not there."""
        self.assertIsNone(self.probe.look(("127.0.0.1", 1), ("127.0.0.1", 2)))
        self.assertIsNone(self.probe.look(("::1", 1, 0, 0), ("::1", 2, 0, 0)))

    def test_look_when_the_sequence_number_wraps(self) -> None:
        """The sequence number is 32 bits wide and starts again."""
        self.connect()
        self.probe._sequence = 0xFFFFFFFE
        for _ in range(3):
            self.assertState(closed=False, state="ESTABLISHED")

    def test_look_after_close(self) -> None:
        """A probe that was closed can be used again."""
        self.connect()
        for _ in range(3):
            self.assertState(closed=False, state="ESTABLISHED")
            self.probe.close()
        self.probe.close()

    @needs_proc
    def test_descriptors_after_a_thousand_looks(self) -> None:
        """A probe holds one descriptor however often it looks, and none after it was closed."""
        self.connect()
        before = open_descriptors()
        for _ in range(1000):
            self.look()
        self.assertEqual(open_descriptors(), before + 1)
        self.probe.close()
        for _ in range(100):
            with PeerProbe() as probe:
                probe.look(self.local, self.peer)
        self.assertEqual(open_descriptors(), before)

    def test_look_in_a_forked_child(self) -> None:
        """A forked child gets a netlink socket of its own, and the parent's goes on working."""
        server, _ = self.connect()
        server.sendall(b"hello")
        self.look()
        theirs = self.probe._socket
        with warnings.catch_warnings():
            # 3.12 warns of fork() while any thread lives, and the suite may have left one that lingers.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            status = 1
            with contextlib.suppress(BaseException):
                state = self.look()
                status = int(state is None or state.unread != 5 or self.probe._socket is theirs)
            os._exit(status)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertState(unread=5, closed=False, state="ESTABLISHED")
        self.assertIs(self.probe._socket, theirs)

    def test_repr(self) -> None:
        """The repr says it all, for notes in a transcript."""
        state = PeerState(3, 5, False, "ESTABLISHED")
        self.assertEqual(repr(state), "<PeerState ESTABLISHED: 5 bytes received, 3 unread>")
        self.assertIn("FIN_WAIT2, closed", repr(PeerState(0, 5, True, "FIN_WAIT2")))


class IPv6Tests(PeerProbeTests):
    """The same over IPv6."""

    host = "::1"


@needs_inet_diag
class DualStackTests(ConnectionCase):
    """Connections whose two ends are of different families."""

    def check(self, server: socket.socket) -> None:
        server.sendall(b"hello")
        self.assertState(unread=5, received=5, closed=False, state="ESTABLISHED")

    def test_look_when_a_dual_stack_server_is_reached_over_ipv4(self) -> None:
        """IPv4 addresses that are mapped into IPv6 are found."""
        if not socket.has_dualstack_ipv6():
            self.skipTest("no dual-stack sockets here")
        listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        self.addCleanup(listener.close)
        with socket.create_connection(("127.0.0.1", listener.getsockname()[1])):
            self.check(self.accept(listener))
            self.assertTrue(self.local[0].startswith("::ffff:"))

    def test_look_when_an_ipv6_client_reaches_an_ipv4_server(self) -> None:
        """A client's IPv6 socket that speaks IPv4 is found by its IPv4 addresses."""
        listener = self.listen()
        try:
            client = socket.socket(socket.AF_INET6)
            self.addCleanup(client.close)
            client.connect(("::ffff:127.0.0.1", listener.getsockname()[1]))
        except OSError as error:
            self.skipTest(str(error))
        self.check(self.accept(listener))


_CLIENT = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20) as client:
    sizes = []
    while data := client.recv(65536):
        sizes.append(len(data))
    print(set(sizes), len(sizes))
"""


@needs_inet_diag
class SeparateReadsTests(ConnectionCase):
    """What the probe is for: the next chunk goes when the client has taken the one before."""

    def send_chunks(self, server: socket.socket, count: int) -> None:
        for number in range(1, count + 1):
            server.sendall(b"abc")
            self.look_until(lambda state, sent=3 * number: state.bytes_received >= sent)
            self.look_until(lambda state: state.unread == 0)
        server.close()

    def test_reads_of_a_client_in_a_thread(self) -> None:
        """A blocking client in another thread reads the chunks one by one."""
        sizes: list[int] = []

        def read(client: socket.socket) -> None:
            while data := client.recv(65536):
                sizes.append(len(data))

        server, client = self.connect()
        thread = threading.Thread(target=read, args=(client,))
        thread.start()
        self.send_chunks(server, 200)
        thread.join()
        self.assertEqual(sizes, [3] * 200)

    def test_reads_of_a_client_in_a_subprocess(self) -> None:
        """A client in another process reads the chunks one by one."""
        listener = self.listen()
        command = [sys.executable, "-c", _CLIENT, str(listener.getsockname()[1])]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            self.send_chunks(self.accept(listener), 500)
            output, _ = process.communicate(timeout=20)
        self.assertEqual(output.split(), ["{3}", "500"])


class AvailableTests(unittest.TestCase):
    """Whether the kernel answers at all."""

    def available(self) -> bool:
        with mock.patch.object(inet_diag, "_available", None):
            return available()

    def test_available_is_remembered(self) -> None:
        """The kernel is asked once."""
        answer = available()
        with mock.patch.object(inet_diag, "_answers", side_effect=AssertionError):
            self.assertEqual(available(), answer)

    def test_available_off_linux(self) -> None:
        """Other systems are not asked, and a probe says so."""
        with mock.patch.object(sys, "platform", "darwin"):
            self.assertFalse(self.available())
            with PeerProbe() as probe, self.assertRaises(OSError):
                probe.look(("127.0.0.1", 1), ("127.0.0.1", 2))

    @needs_inet_diag
    def test_available_when_the_socket_is_refused(self) -> None:
        """A sandbox that refuses the netlink socket doesn't have it."""
        with mock.patch.object(PeerProbe, "_open", side_effect=PermissionError):
            self.assertFalse(self.available())

    @needs_inet_diag
    def test_available_when_nothing_is_found(self) -> None:
        """A kernel that doesn't find the connection that is there, or doesn't count its bytes, doesn't have it."""
        for answer in None, PeerState(0, None, False, "ESTABLISHED"):
            with mock.patch.object(PeerProbe, "look", return_value=answer):
                self.assertFalse(self.available())
        with mock.patch.object(PeerProbe, "look", return_value=PeerState(0, 0, False, "ESTABLISHED")):
            self.assertTrue(self.available())


class UnacknowledgedTests(ConnectionCase):
    """What our own side knows."""

    @unittest.skipUnless(sys.platform == "linux", "needs Linux")
    def test_unacknowledged_when_the_client_does_not_read(self) -> None:
        """Data that fits into the client's kernel gets acknowledged, the rest doesn't."""
        server, _ = self.connect()
        self.assertEqual(unacknowledged(server), 0)
        server.sendall(b"hello")
        deadline = time.monotonic() + 10
        while unacknowledged(server) and time.monotonic() < deadline:
            os.sched_yield()
        self.assertEqual(unacknowledged(server), 0)
        server.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while server.send(bytes(1 << 20)):
                pass
        self.assertGreater(unacknowledged(server) or 0, 0)

    def test_unacknowledged_of_a_closed_socket(self) -> None:
        """A closed socket has no answer."""
        server, _ = self.connect()
        server.close()
        self.assertIsNone(unacknowledged(server))

    def test_unacknowledged_elsewhere(self) -> None:
        """On macOS there is a socket option for it, on other systems nothing."""
        sock = mock.Mock()
        sock.getsockopt.return_value = 7
        with mock.patch.object(sys, "platform", "darwin"):
            self.assertEqual(unacknowledged(sock), 7)
        with mock.patch.object(sys, "platform", "win32"):
            self.assertIsNone(unacknowledged(sock))


if __name__ == "__main__":
    unittest.main()
