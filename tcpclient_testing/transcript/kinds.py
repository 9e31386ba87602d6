"""The kinds of entries of a transcript, and the logger that gets each entry as it is made."""

from __future__ import annotations

import logging
from typing import Final

__all__ = ["CONNECTED", "NOTED", "RECEIVED", "SENT", "logger"]

CONNECTED: Final = "connected"

RECEIVED: Final = "received"

SENT: Final = "sent"

NOTED: Final = "noted"

#: Gets each entry, at the level DEBUG.
logger: Final = logging.getLogger("tcpclient_testing")
