"""The server for clients that block, and for those in other processes: the asynchronous one, on a loop in a thread."""

from .inner import ThreadedConnection
from .server import ThreadedMockTCPServer

__all__ = ["ThreadedConnection", "ThreadedMockTCPServer"]
