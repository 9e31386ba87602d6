"""Network conditions: how the stream that a client receives is split, delayed and throttled.

`Network` is what tests pass to a server, to a connection, or to `set_network`. The rest computes with bytes and times;
it uses no socket and no clock.
"""

from .conditions import Network

__all__ = ["Network"]
