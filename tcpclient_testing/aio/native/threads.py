"""A thread of the system where `threading` has only greenlets."""

from __future__ import annotations

import sys
import threading
from typing import Any, Callable, Optional, cast

from . import originals

__all__ = ["Beginning", "NativeThread", "made_thread"]

__unittest = True


class NativeThread:
    """A daemon thread, with those methods and attributes of `threading.Thread` that the package and tools use.

    `threading` knows nothing of it.
    """

    daemon = True

    def __init__(self, target: Optional[Callable[..., None]] = None, args: tuple[Any, ...] = (), *,
                 name: str, daemon: bool = True) -> None:
        self.name = name
        self.ident: Optional[int] = None
        self.native_id: Optional[int] = None
        self._target = target
        self._args = args
        self._begun = originals.allocate_lock()
        self._ended = originals.allocate_lock()  # locked while the thread runs
        self._begun.acquire()

    def __repr__(self) -> str:
        return f"<NativeThread({self.name}, {'started' if self.is_alive() else 'stopped'} {self.ident})>"

    def start(self) -> None:
        """Start the thread. Raises `RuntimeError` if the system permits no more."""
        self._ended.acquire()
        try:
            originals.start_new_thread(self._bootstrap, ())
        except BaseException:
            self._ended.release()
            raise
        self._begun.acquire()

    def run(self) -> None:
        """Do what the thread is for. This is called in the thread."""
        if self._target is not None:
            self._target(*self._args)

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._ended.locked()

    def join(self, timeout: Optional[float] = None) -> None:
        """Wait until the thread has ended, for `timeout` seconds at most. Greenlets wait, too: so only briefly."""
        if self._ended.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            self._ended.release()

    def _bootstrap(self) -> None:
        self.ident, self.native_id = originals.get_ident(), threading.get_native_id()
        self._begun.release()
        try:
            self.run()
        except SystemExit:
            pass
        except BaseException:  # noqa: BLE001 - as threading does
            threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), self)))
        finally:
            self._ended.release()


class Beginning:
    """Calls a function in another thread, where Ctrl-C doesn't strike. Use it to start what lives longer.

    `threading.Thread.start` can be interrupted half-way; then nobody knows whether the thread runs. This can't: `made`
    tells whether the function was or will be called. Call `of` once.
    """

    __slots__ = ("_over", "_threads")

    def __init__(self) -> None:
        self._threads: list[int] = []
        self._over = originals.allocate_lock()

    @property
    def made(self) -> bool:
        """Whether there is a thread that calls the function, or has called it."""
        return bool(self._threads)

    def of(self, function: Callable[..., None], *args: Any) -> None:
        """Begin. Raises `RuntimeError` if the system permits no more threads. The function must not raise."""
        def call() -> None:
            try:
                function(*args)
            finally:
                self._over.release()
        self._over.acquire()
        self._threads.extend(map(originals.start_new_thread, [call], [()]))  # one instruction for the interpreter

    def wait(self) -> None:
        """Wait until the function has returned. Until then, its thread counts as one that lives."""
        self._over.acquire()
        self._over.release()


def made_thread(target: Callable[..., None], args: tuple[Any, ...], name: str) -> threading.Thread:
    """Make a daemon thread of the system, to be started: by `threading` if it has such."""
    if originals.patched():
        return cast(threading.Thread, NativeThread(target, args, name=name))  # whoever gets it uses no more of it
    return threading.Thread(target=target, args=args, name=name, daemon=True)
