"""What an iterator gives to send: chunk after chunk, as the client takes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable, Optional, Union

from tcpclient_testing.engine.mismatches import CallableRaised, Mismatch
from tcpclient_testing.engine.wording import shorten_repr

__all__ = ["Chunks"]

__unittest = True

# One write takes chunks until it has so many bytes, but never more chunks than that: an iterator may give empty ones.
_ENOUGH = 64 * 1024
_MOST = 1024


class Chunks:
    """The chunks of an iterator, which may have no end. `sender` names the step, `given` counts its bytes so far.

    `call` is called with the function that gives the next chunk, and calls it.
    """

    __slots__ = ("given", "_iterator", "_sender", "_call")

    def __init__(self, iterator: Iterator[Any], sender: str, call: Callable[[Callable[[], Any]], Any]) -> None:
        self.given = 0
        self._iterator = iterator
        self._sender = sender
        self._call = call

    def take(self) -> Union[bytes, Mismatch, None]:
        """Return the bytes of the next write; None if there are no more."""
        taken: list[bytes] = []
        size = 0
        while size < _ENOUGH and len(taken) < _MOST:
            chunk = self._next()
            if chunk is None:
                break
            if isinstance(chunk, Mismatch):
                return chunk
            taken.append(chunk)
            size += len(chunk)
        self.given += size
        return b"".join(taken) if taken else None

    def _next(self) -> Union[bytes, Mismatch, None]:
        try:
            chunk: Optional[Any] = self._call(self._iterator.__next__)
        except StopIteration:
            return None
        except Exception as error:  # noqa: BLE001 - the test's own iterator: the report shows whatever it raises
            return CallableRaised(f"the iterator of {self._sender}", error)
        if not isinstance(chunk, (bytes, bytearray, memoryview)):
            return Mismatch(f"the iterator of {self._sender} gave {shorten_repr(chunk)}, which is not bytes")
        return bytes(chunk)
