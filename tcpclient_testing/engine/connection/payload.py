"""The bytes that the server sends: given in the script, or computed by a callable when their turn comes."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Callable, Optional, Union

from tcpclient_testing.engine.mismatches import CallableRaised, Mismatch
from tcpclient_testing.engine.wording import shorten_repr

__all__ = ["Payload"]

__unittest = True


class Payload:
    """Base class of what is sent: a step, or a message that belongs to no step.

    - `source`: bytes, or a callable (or coroutine function) that returns bytes
    - `encode`: turns them into the bytes on the wire; None sends them as they are
    - `data`: the bytes on the wire, None until they are known

    A coroutine has to be run by the adapter (`RunCoroutine`), which then calls `computed` or `failed`.
    """

    __slots__ = ()

    source: Any
    encode: Optional[Callable[[bytes], bytes]]
    data: Optional[bytes]

    def sender(self) -> str:
        """Return what sends it, as reports name it: ``send_bytes()``, ``every() at test_x.py:12``."""
        raise NotImplementedError

    def compute(self, argument: Any) -> Union[Mismatch, Awaitable[Any], None]:
        """Compute `data` from the source; `argument` is what a callable is called with.

        Returns None if that was all, and a coroutine if the callable is a coroutine function: have it run.
        """
        payload: Any = self.source
        if callable(payload):
            try:
                payload = payload(argument)
            except Exception as error:  # noqa: BLE001 - the test's own callable: the report shows whatever it raises
                return self.failed(error)
            if hasattr(payload, "__await__"):
                return payload  # type: ignore[no-any-return]
        return self.computed(payload)

    def computed(self, payload: Any) -> Optional[Mismatch]:
        """Take the payload that the callable returned."""
        if not isinstance(payload, (bytes, bytearray, memoryview)):
            return Mismatch(f"the callable of {self.sender()} returned {shorten_repr(payload)}, which is not bytes")
        data = bytes(payload)
        try:
            encoded = data if self.encode is None else self.encode(data)
        except ValueError as error:
            what = f"what the callable of {self.sender()} returned" if callable(self.source) \
                else f"the data of {self.sender()}"
            return Mismatch(f"{what} can't be sent: {error}")
        except Exception as error:  # noqa: BLE001 - the user's own framing
            return CallableRaised(f"the framing of {self.sender()}", error)
        self.data = encoded  # type: ignore[misc] # each subclass has a slot for it
        return None

    def failed(self, error: BaseException) -> Mismatch:
        """Describe the failure: the callable, or its coroutine, raised `error`."""
        return CallableRaised(f"the callable of {self.sender()}", error)
