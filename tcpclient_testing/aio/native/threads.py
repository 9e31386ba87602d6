"""A thread of the system where `threading` has only greenlets."""

from __future__ import annotations

import sys
import threading
from typing import Any, Callable, Optional, cast

from . import originals

__all__ = ["NativeThread", "made_thread"]

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


def made_thread(target: Callable[..., None], args: tuple[Any, ...], name: str) -> threading.Thread:
    """Make a daemon thread of the system, to be started: by `threading` if it has such."""
    if originals.patched():
        return cast(threading.Thread, NativeThread(target, args, name=name))  # whoever gets it uses no more of it
    return threading.Thread(target=target, args=args, name=name, daemon=True)
