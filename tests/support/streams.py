"""A client with asyncio's streams that does nothing wrong, for tests that are about something else."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

__all__ = ["close", "connect"]


async def connect(server: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect a client to a server."""
    return await asyncio.open_connection(*server.address)


async def close(writer: asyncio.StreamWriter) -> None:
    """Close as a client should, whatever has happened to the connection."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
