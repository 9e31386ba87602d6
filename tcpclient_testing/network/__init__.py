"""Network conditions: how the stream that a client receives is split, delayed and throttled.

`Network` is what tests give to a server, to a connection, or to `set_network`; the rest is arithmetic on bytes and
times, without a socket or a clock.
"""

from .conditions import Network

__all__ = ["Network"]
