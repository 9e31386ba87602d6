"""A thread of the system that `threading` does not know."""

from __future__ import annotations

import threading
import unittest
from unittest import mock

from tcpclient_testing.aio.native import originals
from tcpclient_testing.aio.native.threads import Beginning, NativeThread, made_thread


class NativeThreadTests(unittest.TestCase):
    """What the package uses of `threading.Thread`, done by the system's primitives alone."""

    def test_lives_from_start_to_end(self) -> None:
        """It has its own numbers, lives until its function returns, and can be joined, with and without a limit."""
        go_on, seen = threading.Event(), []

        def work(word: str) -> None:
            seen.append((word, originals.get_ident(), threading.get_native_id()))
            go_on.wait(30)
        thread = NativeThread(work, ("hello",), name="worker")
        self.assertFalse(thread.is_alive())
        thread.start()
        self.assertTrue(thread.is_alive())
        thread.join(0.01)
        self.assertTrue(thread.is_alive())
        self.assertNotIn("worker", [each.name for each in threading.enumerate()])
        go_on.set()
        thread.join()
        self.assertFalse(thread.is_alive())
        self.assertEqual(seen, [("hello", thread.ident, thread.native_id)])
        self.assertNotEqual(thread.ident, originals.get_ident())
        self.assertIn("worker, stopped", repr(thread))

    def test_exception_is_reported(self) -> None:
        """What it raises goes to `threading.excepthook`, except for SystemExit, which only ends it."""
        for error in (SystemExit(), ZeroDivisionError()):
            with self.subTest(error=error), mock.patch.object(threading, "excepthook") as hook:
                thread = NativeThread(mock.Mock(side_effect=error), name="worker")
                thread.start()
                thread.join()
                reported = [call.args[0].exc_value for call in hook.call_args_list]
                self.assertEqual(reported, [] if isinstance(error, SystemExit) else [error])

    def test_cannot_be_started(self) -> None:
        """If the system permits no more threads, `start` says so, and the thread does not live."""
        thread = NativeThread(print, name="worker")
        refusing = mock.patch.object(originals, "start_new_thread", side_effect=RuntimeError("can't start new thread"))
        with refusing, self.assertRaises(RuntimeError):
            thread.start()
        self.assertFalse(thread.is_alive())

    def test_made_where_threads_are_greenlets(self) -> None:
        """It takes the place of `threading.Thread` only there."""
        self.assertIsInstance(made_thread(print, (), "worker"), threading.Thread)
        with mock.patch.object(originals, "patched", return_value=True):
            self.assertIsInstance(made_thread(print, (), "worker"), NativeThread)


if __name__ == "__main__":
    unittest.main()


class BeginningTests(unittest.TestCase):
    """A function that is called where Ctrl-C doesn't strike."""

    def test_is_called_in_another_thread(self) -> None:
        """It is waited for, as often as somebody wants."""
        seen: list[object] = []
        beginning = Beginning()
        self.assertFalse(beginning.made)
        beginning.of(lambda *args: seen.extend([args, originals.get_ident()]), 1, 2)
        self.assertTrue(beginning.made)
        beginning.wait()
        beginning.wait()
        self.assertEqual(seen[0], (1, 2))
        self.assertNotEqual(seen[1], originals.get_ident())

    def test_cannot_be_called(self) -> None:
        """If the system permits no more threads, there is none."""
        beginning = Beginning()
        refusing = mock.patch.object(originals, "start_new_thread", side_effect=RuntimeError("can't start new thread"))
        with refusing, self.assertRaises(RuntimeError):
            beginning.of(print)
        self.assertFalse(beginning.made)
