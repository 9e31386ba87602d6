"""The exceptions that have ended threads, while servers run."""

from __future__ import annotations

import os
import sys
import threading
import unittest
from typing import Any

from tcpclient_testing.aio.process import thread_errors


def fail() -> None:
    """End a thread with an exception."""
    raise LookupError("the client's own")


def run_failing_thread() -> None:
    """Run a thread that fails, to its end."""
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()


class ThreadErrorsTests(unittest.TestCase):
    def setUp(self) -> None:
        """There is a hook that notes what it is called with; it is taken for one that only tells."""
        self.told: list[Any] = []
        self.addCleanup(setattr, threading, "excepthook", threading.excepthook)
        threading.excepthook = self.hook = self.make_hook("_pytest.threadexception")

    def make_hook(self, module: str) -> Any:
        """Return a hook that seems to come from this module."""
        def hook(args: Any) -> None:
            self.told.append(args.exc_value)
        hook.__module__ = module
        return hook

    def test_exception_is_passed_on_when_the_last_server_is_closed(self) -> None:
        """The hook that was there before gets it then, and is there again."""
        thread_errors.acquire(1)
        thread_errors.acquire(2)
        run_failing_thread()
        self.assertEqual([str(exc) for exc in thread_errors.kept()], ["the client's own"])
        thread_errors.release(1)
        self.assertEqual(self.told, [])
        thread_errors.release(2)
        self.assertEqual([str(exc) for exc in self.told], ["the client's own"])
        self.assertIs(threading.excepthook, self.hook)

    def test_exception_that_a_report_names_is_dropped(self) -> None:
        """Nobody tells of it again."""
        thread_errors.acquire(1)
        run_failing_thread()
        thread_errors.forget(thread_errors.kept())
        thread_errors.release(1)
        self.assertEqual(self.told, [])

    def test_hook_of_the_test_is_called_at_once(self) -> None:
        """A hook of the test's own stays where it is."""
        threading.excepthook = own = self.make_hook("test_of_a_client")
        thread_errors.acquire(1)
        self.addCleanup(thread_errors.release, 1)
        self.assertIs(threading.excepthook, own)
        run_failing_thread()
        self.assertEqual([str(exc) for exc in self.told], ["the client's own"])
        self.assertEqual(thread_errors.kept(), [])

    def test_hook_that_pytest_sets_again_is_wrapped_again(self) -> None:
        """pytest sets its own in each phase of a test; the next part of the test wraps that."""
        thread_errors.acquire(1)
        threading.excepthook = second = self.make_hook("_pytest.threadexception")
        thread_errors.hear()
        run_failing_thread()
        self.assertEqual((self.told, len(thread_errors.kept())), ([], 1))
        thread_errors.release(1)
        self.assertEqual(len(self.told), 1)
        self.assertIs(threading.excepthook, second)

    @unittest.skipUnless(hasattr(os, "fork") and sys.version_info < (3, 12), "needs fork without a warning")
    def test_forked_child_keeps_nothing(self) -> None:
        """In the child the hook is as before: the servers are the parent's."""
        thread_errors.acquire(1)
        self.addCleanup(thread_errors.release, 1)
        child = os.fork()
        if not child:
            os._exit(0 if threading.excepthook is self.hook else 1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)


if __name__ == "__main__":
    unittest.main()
