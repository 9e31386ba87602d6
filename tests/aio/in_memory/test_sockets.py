"""Sockets in memory: they do what those of the operating system do, at random, and what neither leaves to chance."""

from __future__ import annotations

import errno
import random
import socket
import sys
import unittest
from typing import Any, Optional

from tcpclient_testing.aio.in_memory import sockets
from tcpclient_testing.aio.in_memory.sockets import CAPACITY, MemorySocket, connected_pair
from tcpclient_testing.aio.sockets.inet_diag import PeerProbe, PeerState, available
from tcpclient_testing.aio.sockets.listening import LINGER_RESET
from tcpclient_testing.errors import ScriptError
from tests.support.long import LONG

CLIENT, SERVER = ("127.0.0.1", 40000), ("127.0.0.1", 5000)

#: Errors that say the same in a test.
NAMES = {errno.EAGAIN: "nothing yet", errno.ECONNRESET: "reset", errno.EPIPE: "broken", errno.ENOTCONN: "not connected",
         errno.EBADF: "closed"}


def system_pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a connection of the operating system, the client's first; they don't block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    for end in client, server:
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end.setblocking(False)
    return client, server


def do(end: Any, what: str, size: int) -> Any:
    """Do something at one end; return its result, or what went wrong."""
    try:
        if what == "send":
            return end.send(bytes(size))
        if what == "recv":
            return len(end.recv(size))
        if what == "recv_into":
            return end.recv_into(bytearray(size))
        if what == "shutdown":
            return end.shutdown(socket.SHUT_WR)
        if what == "shutdown both":
            return end.shutdown(socket.SHUT_RDWR)
        if what == "error":
            return end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if what == "reset":
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        return end.close()
    except OSError as error:
        return NAMES.get(error.errno or 0, error)


def known(state: Optional[PeerState]) -> Any:
    """Return what is compared of a state.

    Whether Linux reads a FIN with the last bytes is up to its buffers. FIN_WAIT1 becomes FIN_WAIT2 with an
    acknowledgement, which may come later.
    """
    if state is None:
        return None
    ended = state.state in ("CLOSE_WAIT", "LAST_ACK")
    return state.closed, state.bytes_received, max(state.unread, 1) if ended else state.unread


def program(seed: int) -> list[tuple[int, str, int]]:
    """Make up what both ends do, in which order: the end, what it does, with how many bytes."""
    randomly = random.Random(seed)
    doing = ["send"] * 5 + ["recv"] * 3 + ["recv_into", "shutdown", "error"] + ["close", "reset"] * (seed % 2)
    doing += ["shutdown both"] * (seed % 5 == 0)
    return [(randomly.randrange(2), randomly.choice(doing), randomly.choice((1, 7, 100, 1000)))
            for _ in range(randomly.randrange(3, 14))]


@unittest.skipUnless(sys.platform == "linux", "what other systems do at an end of a stream differs in places")
class SystemTests(unittest.TestCase):
    """The same programs with sockets of the operating system."""

    def compare(self, seed: int) -> None:
        """Run the program of this seed in both worlds."""
        system, memory = system_pair(), connected_pair(CLIENT, SERVER)
        local, peer = system[1].getsockname(), system[1].getpeername()
        done = []
        with system[0], system[1], PeerProbe() as probe:
            for number, what, size in program(seed):
                results = [do(pair[number], what, size) for pair in (system, memory)]
                done.append((number, what, size, *results))
                self.assertEqual(results[0], results[1], (seed, done))
                if available() and -1 not in (end.fileno() for end in system):
                    states = probe.look(local, peer), memory[0].state()
                    self.assertEqual(*map(known, states), (seed, done, states))

    def test_random_programs(self) -> None:
        """Each call has the same result, or the same error; and the system knows the same of the client's end."""
        for seed in range(20_000 if LONG else 300):
            self.compare(seed)


class EndTests(unittest.TestCase):
    """The two ends of one connection."""

    def setUp(self) -> None:
        """Connect them."""
        self.client, self.server = connected_pair(CLIENT, SERVER)

    def test_addresses(self) -> None:
        """Each end has its own, and the other's."""
        self.assertEqual((self.client.getsockname(), self.client.getpeername()), (CLIENT, SERVER))
        self.assertEqual((self.server.getsockname(), self.server.getpeername()), (SERVER, CLIENT))

    def test_capacity(self) -> None:
        """A send takes what there is room for; then the end can't be written until the other has read."""
        told: list[str] = []
        self.server.watch(writable=lambda: told.append("writable"))
        self.assertEqual(self.server.send(bytes(CAPACITY + 10)), CAPACITY)
        self.assertFalse(self.server.can_write)
        self.assertEqual(do(self.server, "send", 1), "nothing yet")
        self.assertEqual(told, [])
        self.client.recv(5)
        self.assertEqual((told, self.server.can_write, self.server.send(bytes(10))), (["writable"], True, 5))

    def test_pieces(self) -> None:
        """What was sent in pieces is read as one stream."""
        self.client.sendmsg([b"ab", bytearray(b"c"), memoryview(b"de")])
        self.client.send(b"f")
        self.assertEqual([self.server.recv(4), self.server.recv(4)], [b"abcd", b"ef"])

    def test_many_pieces(self) -> None:
        """No more is copied than there is room for."""
        self.client.send(bytes(CAPACITY - 3))
        piece = bytearray(b"ab")
        self.assertEqual(self.client.sendmsg([piece] * 1000), 3)
        self.assertEqual(do(self.client, "send", 1), "nothing yet")
        with self.assertRaises(BlockingIOError):
            self.client.sendmsg([piece])
        self.server.recv(CAPACITY - 3)
        self.assertEqual(self.server.recv(10), b"aba")

    def test_data_that_the_sender_changes_afterwards(self) -> None:
        """It arrives as it was sent."""
        data = bytearray(b"abc")
        self.client.send(data)
        data[:] = b"xyz"
        self.assertEqual(self.server.recv(10), b"abc")

    def test_refused_bytes(self) -> None:
        """What arrives at a closed end is never acknowledged."""
        self.client.close()
        self.server.send(b"late")
        self.assertEqual((self.server.unacknowledged(), self.client.unacknowledged()), (4, 0))

    def test_readiness(self) -> None:
        """An end is readable when there is something to read, an end, or an error; and its callback is called."""
        told: list[str] = []
        self.assertFalse(self.client.can_read)
        self.client.watch(readable=lambda: told.append("readable"))
        self.server.send(b"x")
        self.assertTrue(self.client.can_read)
        self.client.recv(1)
        self.assertFalse(self.client.can_read)
        self.server.shutdown(socket.SHUT_WR)
        self.assertTrue(self.client.can_read)
        self.server.reset()
        self.assertEqual(told, ["readable"] * 3)

    def test_nothing_more_is_read_after_shut_rd(self) -> None:
        """The end of the stream is there at once."""
        self.client.shutdown(socket.SHUT_RD)
        self.assertEqual(self.client.recv(1), b"")

    def test_both_directions_shut(self) -> None:
        """Nobody can read from such a socket again: for the server it is closed."""
        self.client.shutdown(socket.SHUT_RDWR)
        state = self.client.state()
        self.assertTrue(state is not None and state.closed)
        self.assertEqual(self.server.recv(1), b"")

    def test_options(self) -> None:
        """What is set can be read again."""
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.assertEqual(self.client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 1)
        self.assertEqual(self.client.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 0)
        self.assertEqual(self.client.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8), bytes(8))
        self.client.settimeout(0)
        self.assertEqual(self.client.gettimeout(), 0)

    def test_what_only_the_operating_system_can_do(self) -> None:
        """It is refused, and the message names in_memory."""
        calls: dict[str, tuple[Any, ...]] = {"sendall": (b"x",), "connect": (SERVER,), "accept": (), "dup": (),
                                             "detach": (), "setblocking": (True,), "settimeout": (None,)}
        for name, arguments in calls.items():
            with self.subTest(name=name), self.assertRaisesRegex(ScriptError, "can't .*in_memory=True"):
                getattr(self.client, name)(*arguments)

    def test_closed_end(self) -> None:
        """It has no number, and closing it again does nothing."""
        with self.client:
            number = self.client.fileno()
        self.client.close()
        self.assertGreater(number, 1 << 20)
        self.assertEqual(self.client.fileno(), -1)
        self.assertRegex(repr(self.client), "closed")
        for call in (self.client.getpeername, lambda: self.client.recv(1), lambda: self.client.setsockopt(1, 1, 1)):
            with self.assertRaises(OSError):
                call()


class StateTests(unittest.TestCase):
    """What is known of a client's end."""

    def states(self, *actions: str) -> Optional[tuple[str, bool, int]]:
        """Return the state of the client's end after both ends have done these things, such as "client close"."""
        ends = dict(zip(("client", "server"), connected_pair(CLIENT, SERVER)))
        for action in actions:
            name, _, what = action.partition(" ")
            do(ends[name], what, 10)
        state = ends["client"].state()
        return None if state is None else (state.state, state.closed, state.unread)

    def test_states(self) -> None:
        """Its name is that of the TCP state."""
        self.assertEqual(self.states(), ("ESTABLISHED", False, 0))
        self.assertEqual(self.states("server send"), ("ESTABLISHED", False, 10))
        self.assertEqual(self.states("server send", "server shutdown"), ("CLOSE_WAIT", False, 11))
        self.assertEqual(self.states("client shutdown"), ("FIN_WAIT2", False, 0))
        self.assertEqual(self.states("client close"), ("FIN_WAIT2", True, 0))
        self.assertIsNone(self.states("server send", "client close"))
        self.assertEqual(self.states("client close", "server close"), ("TIME_WAIT", False, 0))
        self.assertIsNone(self.states("server close", "client close"))
        self.assertIsNone(self.states("server reset"))


class NumberTests(unittest.TestCase):
    def test_numbers_differ(self) -> None:
        """Each end has its own."""
        ends: list[MemorySocket] = [end for _ in range(3) for end in sockets.connected_pair(CLIENT, SERVER)]
        self.assertEqual(len({end.fileno() for end in ends}), 6)


if __name__ == "__main__":
    unittest.main()
