"""Tests of the asyncio adapter, with real sockets on the loopback interface."""
