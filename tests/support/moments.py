"""Shortens the moments that the library gives to clients, for cases in which one passes."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from unittest import mock

from tcpclient_testing.aio.guards import thread_guard
from tcpclient_testing.aio.process import watchdog
from tcpclient_testing.harness import interruption
from tcpclient_testing.server import leaving

__all__ = ["SHORT", "shortened"]

#: Seconds, in place of 0.1.
SHORT = 0.02


@contextlib.contextmanager
def shortened() -> Generator[None, None, None]:
    """Shorten how long a body may go on after the failure, how long clients have to close, and what goes unnoticed."""
    with mock.patch.multiple(interruption, _PATIENCE=SHORT, _INSISTENCE=SHORT), \
            mock.patch.object(leaving, "_MOMENT", SHORT), mock.patch.object(watchdog, "_NOTICE", SHORT), \
            mock.patch.object(thread_guard, "_MORE", 0.0):
        yield
