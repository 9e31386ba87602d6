"""Tests of one accepted connection in asyncio."""
