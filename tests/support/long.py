"""Whether there is time to try often what must never go wrong.

With ``TCPCLIENT_TESTING_LONG=1`` in the environment such tests try it a thousand times, else a few.
"""

from __future__ import annotations

import os

__all__ = ["LONG"]

LONG = os.environ.get("TCPCLIENT_TESTING_LONG", "") not in ("", "0")
