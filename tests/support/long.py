"""Whether there is time to try often what must never go wrong, and for tests that last.

With ``TCPCLIENT_TESTING_LONG=1`` in the environment such tests try it a thousand times, else a few. Tests that wait for
longer than a fifth of a second run with ``TCPCLIENT_TESTING_TESTS=all``, as they do in one stage of ``.ci/run``.
"""

from __future__ import annotations

import os
import unittest

__all__ = ["ALL", "LONG", "lasting"]

LONG = os.environ.get("TCPCLIENT_TESTING_LONG", "") not in ("", "0")

#: Whether all tests run, those that last among them.
ALL = LONG or os.environ.get("TCPCLIENT_TESTING_TESTS") == "all"

#: Decorates a test that lasts.
lasting = unittest.skipUnless(ALL, "lasts: TCPCLIENT_TESTING_TESTS=all")
