"""The matcher for bulk data: it compares digests, so neither the expected nor the received bytes are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Union

from tcpclient_testing.engine.arguments import BytesLike, as_count
from tcpclient_testing.engine.mismatches import DigestDiffers, LengthDiffers, Mismatch
from tcpclient_testing.engine.wording import counted, shorten, shorten_repr

from .base import Judge, Match, Matcher

if TYPE_CHECKING:
    import hashlib

__all__ = ["Digest"]

__unittest = True

_TAIL = 64  # bytes kept for reports


class Digest(Matcher[int]):
    """A message with this digest; the result is its length in bytes. It is digested as it arrives and not kept.

    - `digest` is hexadecimal text, or the digest's own bytes.
    - `algorithm` is a name that `hashlib.new` knows.
    - `size` is the message's length in bytes, if you know it. Then a message that is too long is a mismatch at its
      first byte too many.

    Raises `TypeError` for an argument of the wrong type; `ValueError` for an unknown algorithm, for a digest that isn't
    hexadecimal or hasn't the algorithm's length, and for a negative size.
    """

    __slots__ = ("digest", "algorithm", "size")

    def __init__(self, digest: Union[str, BytesLike], *, algorithm: str = "sha256", size: Optional[int] = None) -> None:
        if not isinstance(algorithm, str):
            raise TypeError(f"Digest(algorithm=...) takes a name such as 'sha256', got {shorten_repr(algorithm)}")
        self.digest = _as_digest(digest)
        self.algorithm = algorithm
        self.size = None if size is None else as_count(size, "Digest(size=...)", 0)
        needed = _new_hash(algorithm).digest_size  # 0: digests of any length (shake_128)
        if len(self.digest) != (needed or len(self.digest) or 1):
            size_text = f"{needed} bytes, {2 * needed} hexadecimal digits," if needed else "at least 1 byte"
            got = counted(len(self.digest), "byte")
            raise ValueError(f"Digest(digest) needs {size_text} for {algorithm}; got {got}")

    def __repr__(self) -> str:
        algorithm = "" if self.algorithm == "sha256" else f", algorithm={self.algorithm!r}"
        size = "" if self.size is None else f", size={self.size}"
        return f"Digest({self.digest.hex()!r}{algorithm}{size})"

    def match(self, message: bytes) -> Union[Match[int], Mismatch]:
        """Judge a whole message."""
        judge = self.judge()
        return judge.feed(message) or judge.finish()

    def judge(self) -> Judge[int]:
        """Return a judge whose memory use is bounded."""
        return _DigestJudge(self)


class _DigestJudge(Judge[int]):
    __slots__ = ("_matcher", "_hash", "_tail")

    def __init__(self, matcher: Digest) -> None:
        super().__init__()
        self._matcher = matcher
        self._hash = _new_hash(matcher.algorithm)
        self._tail = b""

    def _what(self) -> str:
        return f"with the {self._matcher.algorithm} digest {self._matcher.digest.hex()}"

    def announce(self, length: int) -> Optional[Mismatch]:
        size = self._matcher.size
        if size is None or length == size:
            return None
        return LengthDiffers.announced(size, self._what(), length)

    def feed(self, piece: BytesLike) -> Optional[Mismatch]:
        self.received += len(piece)
        self._hash.update(piece)
        last = bytes(piece[-_TAIL:])
        self._tail = (self._tail + last)[-_TAIL:]
        size = self._matcher.size
        if size is None or self.received <= size:
            return None
        return LengthDiffers.continued(size, self._what(), self.received, self._tail)

    def finish(self) -> Union[Match[int], Mismatch]:
        matcher = self._matcher
        if matcher.size is not None and self.received != matcher.size:
            return LengthDiffers.ended(matcher.size, self._what(), self.received, self._tail)
        got = self._hash.hexdigest() if self._hash.digest_size else _shake(self._hash, len(matcher.digest))
        if got == matcher.digest.hex():
            return Match(self.received)
        return DigestDiffers(matcher.algorithm, matcher.digest.hex(), got, self.received)

    def partial(self) -> bytes:
        """Return the last 64 bytes."""
        return self._tail


def _as_digest(value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return bytes.fromhex(value)
        except ValueError:
            raise ValueError(f"Digest(digest) takes hexadecimal digits, got {shorten(value)}") from None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise TypeError(f"Digest(digest) takes hexadecimal digits or bytes, got {shorten_repr(value)}")


def _new_hash(algorithm: str) -> hashlib._Hash:
    """Return a new hash object; `ValueError` for an unknown algorithm.

    hashlib is imported here because it loads OpenSSL, which most tests don't need.
    """
    import hashlib

    if algorithm in ("shake_128", "shake_256"):
        variable: hashlib._Hash = getattr(hashlib, algorithm)()  # that of PyPy's `new` has digests of one length only
        return variable
    return hashlib.new(algorithm, usedforsecurity=False)  # so that md5 works under FIPS, too


def _shake(hash_object: Any, length: int) -> str:
    """Return the digest, in hexadecimal, of an algorithm whose digests can have any length."""
    text: str = hash_object.hexdigest(length)
    return text
