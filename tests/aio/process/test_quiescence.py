"""Tests of what can still happen by itself: threads, child processes, data that the kernel holds back."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import unittest
from unittest import mock

from tcpclient_testing.aio.process import quiescence, watchdog
from tcpclient_testing.aio.process.quiescence import child_lives, held_back, living_thread, own_thread
from tests.support.blocking import eventually
from tests.support.long import LONG

FOREVER = [sys.executable, "-S", "-E", "-c", "import time; time.sleep(60)"]


class LivingThreadTests(unittest.TestCase):
    """Which threads keep time real."""

    def setUp(self):
        # Before Python 3.13 the dummy object of a thread that threading didn't start outlives it, and lends its name to
        # the next thread with its number, until that one has got to its own.
        for number, thread in list(threading._active.items()):
            if isinstance(thread, threading._DummyThread) and number not in sys._current_frames():
                del threading._active[number]
        self.assertIsNone(living_thread(), "another test has left a thread behind")
        self.over = threading.Event()
        self.addCleanup(self.over.set)

    def start(self, thread):
        """Start a thread that lives until the test is over."""
        self.addCleanup(thread.join)
        self.addCleanup(self.over.set)
        thread.start()
        return thread

    def test_thread_is_named_while_it_lives(self):
        """A thread is named until it has ended."""
        thread = self.start(threading.Thread(target=self.over.wait, name="poller", daemon=True))
        self.assertEqual(living_thread(), "thread 'poller' lives")
        self.over.set()
        thread.join()
        self.assertIsNone(living_thread())

    def test_calling_thread_is_not_counted_but_the_main_thread_is(self):
        """Seen from another thread it is the main thread that lives."""
        answers = []
        thread = threading.Thread(target=lambda: answers.append(living_thread()))
        thread.start()
        thread.join()
        self.assertEqual(answers, ["thread 'MainThread' lives"])

    def test_thread_set_aside_is_not_counted(self):
        """A thread of the library's own does not keep time real; another beside it does."""
        mine = own_thread(threading.Thread(target=self.over.wait, name="watchdog"))
        self.assertIsInstance(mine, threading.Thread)
        self.start(mine)
        self.assertIsNone(living_thread())
        self.start(threading.Thread(target=self.over.wait, name="other"))
        self.assertEqual(living_thread(), "thread 'other' lives")

    def forgotten(self, thread):
        """Start a thread that `threading` has forgotten already, and that ends as soon as somebody waits for that."""
        def join(timeout=None):
            self.over.set()
            threading.Thread.join(thread, timeout)

        self.start(thread)
        thread.join = join
        everybody = threading.enumerate
        patch = mock.patch.object(threading, "enumerate", lambda: [each for each in everybody() if each is not thread])
        patch.start()
        self.addCleanup(patch.stop)

    def test_forgotten_thread_is_waited_for(self):
        """In its last instructions a thread is seen out, whoever has started it: it does nothing any more."""
        self.forgotten(threading.Thread(target=self.over.wait))
        self.assertIsNone(living_thread())

    def test_forgotten_thread_does_not_hide_another(self):
        """While one is seen out, another that lives is counted."""
        self.start(threading.Thread(target=self.over.wait, name="other"))
        self.forgotten(threading.Thread(target=int))
        self.assertEqual(living_thread(), "thread 'other' lives")

    def test_thread_set_aside_is_not_counted_while_it_ends(self):
        """In its last instructions `threading` has forgotten a thread already, and the interpreter still counts it."""
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-6)
        for _ in range(2000 if LONG else 50):
            mine = own_thread(threading.Thread(target=int))
            mine.start()
            self.assertEqual([living_thread() for _ in range(20)], [None] * 20)
            mine.join()

    def test_watchdog_is_not_counted_while_it_ends(self):
        """The watchdog's thread, which nobody joins, is never taken for somebody else's."""
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1e-6)
        watchdog._end()  # one that an earlier test has left lingers for a second
        with mock.patch.object(watchdog, "LINGER", 0.0005):
            for _ in range(2000 if LONG else 50):
                watchdog.watch(loop, threading.get_ident(), 5.0, bool, print).stop()
                while watchdog._thread is not None:
                    self.assertIsNone(living_thread())
                self.assertEqual([living_thread() for _ in range(20)], [None] * 20)

    def test_idle_worker_is_not_counted(self):
        """A worker that is known to be idle does not keep time real."""
        worker = self.start(threading.Thread(target=self.over.wait))
        self.assertIsNotNone(living_thread())
        self.assertIsNone(living_thread({worker}))

    def test_debuggers_thread_is_not_counted(self):
        """A thread that carries pydevd's mark does not keep time real."""
        thread = threading.Thread(target=self.over.wait)
        thread.is_pydev_daemon_thread = True
        self.start(thread)
        self.assertIsNone(living_thread())

    def test_thread_without_a_thread_object_is_counted(self):
        """A thread made by `_thread` is counted, and no longer when it has ended."""
        ended = self.start_raw(lambda: None)
        # Before Python 3.13 it may have inherited the dummy object of another, with its number.
        self.assertRegex(
            living_thread(), r"^(a thread that was not started through threading|thread 'Dummy-.*') lives$"
        )
        self.let_end(ended)

    def test_thread_with_a_dummy_object_is_counted_while_it_lives(self):
        """A foreign thread that asked for its Thread object is counted while it lives, not as long as that object."""
        ended = self.start_raw(threading.current_thread)
        self.assertRegex(living_thread(), r"thread 'Dummy-\d+.*' lives")
        self.let_end(ended)

    def start_raw(self, first):
        began, ended = threading.Event(), _thread.allocate_lock()
        ended.acquire()

        def run():
            first()
            began.set()
            self.over.wait()
            ended.release()

        _thread.start_new_thread(run, ())
        began.wait()
        return ended

    def let_end(self, ended):
        self.over.set()
        ended.acquire()
        for _ in range(100_000):  # the last instructions of a thread come after whatever it can tell us
            if living_thread() is None:
                break
        self.assertIsNone(living_thread())


def wait_for_state(child, state, option):
    """Wait until the state of a child process is `state` (proc_pid_stat(5)), and leave its status alone."""
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, child.pid, getattr(os, option) | os.WNOWAIT)
        return

    def has_it():
        with open(f"/proc/{child.pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == state
    assert eventually(has_it)


@unittest.skipUnless(hasattr(os, "waitid") or sys.platform == "linux", "children can't be asked for here")
class ChildLivesTests(unittest.TestCase):
    """Which child processes keep time real."""

    def setUp(self):
        self.assertFalse(child_lives(), "another test has left a child process behind")

    def start(self):
        """Start a child that lives until it is killed."""
        child = subprocess.Popen(FOREVER, stdout=subprocess.DEVNULL)
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        return child

    def test_child_is_seen_until_it_ends(self):
        """A child of subprocess.Popen lives until it has ended, reaped or not, and its status is left alone."""
        child = self.start()
        self.assertTrue(child_lives())
        child.kill()
        wait_for_state(child, b"Z", "WEXITED")
        if sys.platform == "linux":
            self.assertFalse(child_lives())
        self.assertEqual(child.wait(), -signal.SIGKILL)
        self.assertFalse(child_lives())

    def test_living_child_is_seen_beside_one_that_waits_to_be_reaped(self):
        """A child that has ended does not hide another that lives."""
        first, second = self.start(), self.start()
        first.kill()
        wait_for_state(first, b"Z", "WEXITED")
        self.assertTrue(child_lives())
        second.kill()
        second.wait()

    def test_stopped_child_is_seen(self):
        """A stopped child lives: somebody may let it go on."""
        child = self.start()
        os.kill(child.pid, signal.SIGSTOP)
        wait_for_state(child, b"T", "WSTOPPED")
        self.assertTrue(child_lives())

    def test_child_of_another_thread_is_seen(self):
        """It is the process that has children, not the thread."""
        thread = threading.Thread(target=self.start)
        thread.start()
        thread.join()
        self.assertTrue(child_lives())

    @unittest.skipUnless(sys.platform == "linux", "the options' numbers are Linux's")
    def test_answer_of_libc_is_the_same(self):
        """Asking the C library, where os.waitid is missing, gives the same answers."""
        asked = quiescence._child_lives_through_libc(2, 1, 0x01000000)
        self.assertFalse(asked())
        child = self.start()
        self.assertTrue(asked())
        child.kill()
        child.wait()
        self.assertFalse(asked())


@unittest.skipUnless(sys.platform == "linux", "asks the Linux kernel")
class HeldBackTests(unittest.TestCase):
    """Which sockets have data that the kernel will deliver by itself a little later."""

    def setUp(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.client = stack.enter_context(socket.create_connection(listener.getsockname()))
        self.server = stack.enter_context(listener.accept()[0])
        self.listener = listener

    def test_write_that_waits_for_a_delayed_acknowledgement_is_held_back(self):
        """The second small write of a socket with Nagle's algorithm is under way, though nobody can read it yet."""
        for _ in range(30):  # talking to and fro, the kernel begins to delay acknowledgements
            self.client.sendall(b"ping")
            self.server.recv(4)
            self.server.sendall(b"pong")
            self.client.recv(4)
        self.client.sendall(b"a")
        self.client.sendall(b"bc")
        self.assertEqual(held_back([self.client.fileno()]), ((self.client.fileno(), 2, 3),))
        self.assertEqual(self.server.recv(1) + self.server.recv(2), b"abc")
        self.assertEqual(held_back([self.client.fileno()]), ())

    def test_write_that_waits_for_the_reader_is_not_held_back(self):
        """A full buffer of a peer that does not read is no reason to wait: nothing moves there by itself."""
        self.client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.client.send(bytes(100_000))
        descriptors = [self.client.fileno()]
        give_up = threading.Event()
        timer = threading.Timer(10, give_up.set)
        timer.start()
        while held_back(descriptors) and not give_up.is_set():  # one last probe of the window may be under way
            pass
        timer.cancel()
        timer.join()
        self.assertEqual(held_back(descriptors), ())

    def test_whatever_is_not_a_connection_is_passed_over(self):
        """Listeners, pipes, Unix sockets and closed descriptors hold nothing back."""
        pipe = os.pipe()
        for end in pipe:
            self.addCleanup(os.close, end)
        pair = socket.socketpair()
        with pair[0], pair[1]:
            pair[0].send(b"unread")
            closed = pair[0].fileno()
            self.assertEqual(held_back([*pipe, closed, self.listener.fileno()]), ())
        self.assertEqual(held_back([closed]), ())
