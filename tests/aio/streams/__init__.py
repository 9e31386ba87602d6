"""Tests of the client's own asyncio streams."""
