"""What gevent and eventlet would replace. tests/examples/test_greenlets.py runs servers beside the real ones."""

from __future__ import annotations

import selectors
import socket
import threading
import unittest
from unittest import mock

from tcpclient_testing.aio.native import originals
from tcpclient_testing.server.threaded.reply import Reply


class OriginalsTests(unittest.TestCase):
    """The names stand for what the system has."""

    def test_nothing_is_replaced(self) -> None:
        """Without patching they are those of the standard library, and threads are threads."""
        self.assertFalse(originals.patched())
        self.assertIs(originals.Socket, socket.socket)
        self.assertIs(originals.Selector, selectors.DefaultSelector)
        self.assertEqual(originals.get_ident(), threading.get_ident())

    def test_sockets_beside_a_patched_class(self) -> None:
        """Where the name `socket.socket` has another class, pairs and accepted clients are still of the original."""
        class Patched(socket.socket):
            pass
        with mock.patch.object(socket, "socket", Patched), originals.Socket() as listener, Patched() as client:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            client.connect(listener.getsockname())
            accepted, address = originals.accept(listener)
            one, other = originals.socketpair()
            with accepted, one, other:
                self.assertEqual(address, client.getsockname())
                self.assertEqual([type(each) for each in (accepted, one, other)], [originals.Socket] * 3)
                one.sendall(b"x")
                self.assertEqual(other.recv(1), b"x")

    def test_thread_without_greenlets(self) -> None:
        """There is nobody to let run meanwhile."""
        self.assertIsNone(originals.greenlets_pause())

    def test_answer_that_comes_while_greenlets_run(self) -> None:
        """Who waits for an answer pauses by their sleep, again and again, until it is there, or the time is over."""
        reply: Reply[str] = Reply()
        pauses: list[float] = []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 3:
                reply.give("answer")
        with mock.patch.object(originals, "greenlets_pause", return_value=pause):
            self.assertTrue(reply.wait(30))
            self.assertEqual((reply.result(), len(pauses)), ("answer", 3))
            self.assertTrue(all(0 < seconds < 0.1 for seconds in pauses))
            self.assertFalse(Reply[str]().wait(0.01))


if __name__ == "__main__":
    unittest.main()
