"""Tests of the matcher for bulk data."""

from __future__ import annotations

import hashlib
from typing import Any

from tcpclient_testing.engine.matching.base import Match
from tcpclient_testing.engine.matching.digest import Digest
from tcpclient_testing.engine.mismatches import DigestDiffers, LengthDiffers, Mismatch
from tests.engine.feeding import FeedingTestCase

DATA = b"some bulk data"
HEX = hashlib.sha256(DATA).hexdigest()


class DigestTests(FeedingTestCase):
    """Data is known by its digest."""

    def test_digest_of_the_data(self) -> None:
        """The result is the length; the digest is given as text or bytes, of any algorithm."""
        self.assertMatches(Digest(HEX), DATA, len(DATA))
        self.assertMatches(Digest(HEX.upper(), size=len(DATA)), DATA, len(DATA))
        self.assertMatches(Digest(bytes.fromhex(HEX)), DATA, len(DATA))
        self.assertMatches(Digest(hashlib.md5(DATA).hexdigest(), algorithm="md5"), DATA, len(DATA))
        self.assertMatches(Digest(hashlib.shake_128(DATA).digest(20), algorithm="shake_128"), DATA, len(DATA))
        self.assertMatches(Digest(hashlib.sha256().digest(), size=0), b"", 0)

    def test_digest_of_other_data(self) -> None:
        """Both digests are told."""
        got = hashlib.sha256(b"other").hexdigest()
        summary = f"expected data with the sha256 digest {HEX}, got {got} of 5 bytes"
        self.assertDiffers(Digest(HEX), b"other", DigestDiffers, summary)

    def test_digest_with_a_size(self) -> None:
        """Data of another size is refused at the header, at the first byte too many, or at the end."""
        matcher = Digest(HEX, size=4)
        what = f"expected 4 bytes with the sha256 digest {HEX}, got"
        self.assertDiffers(matcher, b"abcdef", LengthDiffers, f"{what} more (b'abcdef'); too long from byte 4", 4)
        self.assertDiffers(matcher, b"abc", LengthDiffers, f"{what} 3 (b'abc')", 3)
        self.assertIsNone(matcher.judge().announce(4))
        self.assertIsNone(Digest(HEX).judge().announce(5))
        announced = matcher.judge().announce(5)
        assert isinstance(announced, Mismatch)
        self.assertEqual(announced.summary, f"{what} a header that announces 5")

    def test_digest_when_too_long_by_much(self) -> None:
        """The text shows the end of the data, the rest isn't kept."""
        judge = Digest(HEX, size=1000).judge()
        self.assertIsNone(judge.feed(b"x" * 1000))
        mismatch = judge.feed(b"y")
        assert mismatch is not None
        self.assertIn(f", got more (the last of them ...b'{'x' * 12}y'); too long", mismatch.summary)

    def test_memory_when_bulky(self) -> None:
        """32 MiB pass in pieces of 1 MiB, and no piece is copied."""
        piece = memoryview(bytearray(1 << 20))
        reference = hashlib.sha256()
        for _ in range(32):
            reference.update(piece)
        judge = Digest(reference.hexdigest(), size=32 << 20).judge()
        with self.assertAllocatesLess(64 * 1024):
            for _ in range(32):
                judge.feed(piece)
            verdict = judge.finish()
        assert isinstance(verdict, Match), verdict
        self.assertEqual(verdict.result, 32 << 20)
        self.assertEqual(judge.partial(), bytes(64))

    def test_arguments_that_are_wrong(self) -> None:
        """What can't be a digest of the algorithm is refused where it is written."""
        wrong: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
            (None, {}, TypeError, r"Digest\(digest\) takes hexadecimal digits or bytes, got None"),
            ("xyz", {}, ValueError, r"Digest\(digest\) takes hexadecimal digits, got 'xyz'"),
            ("00", {}, ValueError, r"needs 32 bytes, 64 hexadecimal digits, for sha256; got 1 byte$"),
            (b"", {"algorithm": "shake_128"}, ValueError, "needs at least 1 byte for shake_128; got 0 bytes"),
            (HEX, {"algorithm": "sha0"}, ValueError, "sha0"),
            (HEX, {"algorithm": hashlib.sha256}, TypeError, "takes a name such as 'sha256', got <"),
            (HEX, {"size": -1}, ValueError, r"Digest\(size=...\) must be 0 or more, got -1"),
            (HEX, {"size": "1"}, TypeError, r"Digest\(size=...\) takes a number of bytes, got '1'"),
        ]
        for digest, options, kind, text in wrong:
            with self.subTest(digest=digest, **options), self.assertRaisesRegex(kind, text):
                Digest(digest, **options)

    def test_repr(self) -> None:
        """The repr is the call, without defaults."""
        self.assertEqual(repr(Digest(HEX)), f"Digest('{HEX}')")
        self.assertEqual(
            repr(Digest(b"0" * 16, algorithm="md5", size=3)), f"Digest('{'30' * 16}', algorithm='md5', size=3)"
        )
