"""The server for clients that block or run in other processes: the asynchronous server, on a loop in a thread."""

from .inner import ThreadedConnection
from .server import ThreadedMockTCPServer

__all__ = ["ThreadedConnection", "ThreadedMockTCPServer"]
