"""What tests look for in a transcript."""

from __future__ import annotations

from typing import Any

from tcpclient_testing.transcript.entries import NOTED

__all__ = ["notes"]


def notes(server: Any) -> list[str]:
    """What the transcript says beside the bytes."""
    return [entry.content for entry in server.transcript if entry.what == NOTED]
