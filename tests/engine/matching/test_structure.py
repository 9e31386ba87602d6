"""Tests of the matcher for binary structures."""

from __future__ import annotations

import math
import struct
from typing import Any

from tcpclient_testing.engine.matching.patterns import Predicate, Regex, anything
from tcpclient_testing.engine.matching.structure import Struct
from tcpclient_testing.engine.mismatches import FieldDiffers, LengthDiffers, Mismatch
from tests.engine.feeding import FeedingTestCase, judged


class StructTests(FeedingTestCase):
    """Fields, and where they differ."""

    def test_struct_that_matches(self) -> None:
        """The result is the tuple of all fields."""
        rows: list[tuple[Struct, bytes, tuple[Any, ...]]] = [
            (Struct(">HHI", 1, anything, 3), b"\0\1\0\2\0\0\0\3", (1, 2, 3)),
            (Struct(">HHI", 1, kind=2, size=anything), b"\0\1\0\2\0\0\0\3", (1, 2, 3)),
            (Struct("<H2xb", 1, -1), b"\1\0\xaa\xbb\xff", (1, -1)),
            (Struct("<4s3p", b"ab", b"x"), b"ab\0\0\1xy", (b"ab\0\0", b"x")),
            (Struct("<2H ?c", 1, 2, True, b"x"), b"\1\0\2\0\7x", (1, 2, True, b"x")),
            (Struct("<f", 0.1), struct.pack("<f", 0.1), struct.unpack("<f", struct.pack("<f", 0.1))),
            (Struct("<d", -0.0), struct.pack("<d", 0.0), (0.0,)),
            (Struct("bi", 1, 2), struct.pack("bi", 1, 2), (1, 2)),
            (Struct("b0i", 1), struct.pack("b0i", 1), (1,)),
            (Struct(">HH"), b"\0\1\0\2", (1, 2)),
            (Struct(">BB", Predicate(lambda value: value > 3), Predicate(bool)), b"\4\1", (4, 1)),
            (Struct(">3s", Regex(b"[a-z]+")), b"abc", (b"abc",)),
            (Struct(""), b"", ()),
            (Struct("<0sB", b"", 1), b"\1", (b"", 1)),
        ]
        for matcher, message, result in rows:
            with self.subTest(matcher=repr(matcher)):
                self.assertMatches(matcher, message, result)

    def test_struct_with_nan(self) -> None:
        """NaN equals itself."""
        self.assertNotIsInstance(judged(Struct(">d", math.nan), [struct.pack(">d", math.nan)]), Mismatch)

    def test_struct_that_differs(self) -> None:
        """The field, its bytes and both values are told."""
        rows: list[tuple[Struct, bytes, str, int]] = [
            (Struct(">HHI", 1, 2, 3), b"\0\1\0\2\0\0\0\4", "expected 3 in field 2 (bytes 4 to 7), got 4", 4),
            (
                Struct(">HHI", 1, kind=2, size=3),
                b"\0\1\0\7\0\0\0\4",
                "expected 2 in field kind (bytes 2 to 3), got 7",
                2,
            ),
            (Struct(">BB", 1, 2), b"\1\3", "expected 2 in field 1 (byte 1), got 3", 1),
            (Struct(">HH", 1, 2), b"\1", "expected 1 in field 0 (bytes 0 to 1), got b'\\x01' so far", 0),
            (Struct(">4s", b"ab"), b"abcd", "expected b'ab\\x00\\x00' in field 0 (bytes 0 to 3), got b'abcd'", 0),
            (Struct("bi", 1, 2), struct.pack("bi", 1, 3), "expected 2 in field 1 (bytes 4 to 7), got 3", 4),
            (Struct(">f", 1.5), struct.pack(">f", 2.5), "expected 1.5 in field 0 (bytes 0 to 3), got 2.5", 0),
            (Struct(">?", True), b"\0", "expected True in field 0 (byte 0), got False", 0),
            (
                Struct(">B", Predicate(bool)),
                b"\0",
                "expected Predicate(bool) in field 0 (byte 0), got 0; the function returned False",
                0,
            ),
            (Struct(">1s", Regex(b"a")), b"b", "expected Regex(b'a') in field 0 (byte 0), got b'b'", 0),
            (
                Struct(">B", Regex(b"a")),
                b"b",
                "expected Regex(b'a') in field 0 (byte 0), got 98; expected text for Regex(b'a'), got 98",
                0,
            ),
        ]
        for matcher, message, summary, offset in rows:
            with self.subTest(matcher=repr(matcher)):
                self.assertDiffers(matcher, message, FieldDiffers, summary, offset)

    def test_struct_details(self) -> None:
        """The fields up to the wrong one are a table."""
        mismatch = judged(Struct(">HHI", 1, kind=anything, size=3), [b"\0\1\0\2\0\0\0\4"])
        self.assertEqual(
            mismatch.details,
            (
                "field  byte  expected  received",
                "0         0  1         1",
                "kind      2  anything  2",
                "size      4  3         4",
            ),
        )

    def test_struct_at_the_earliest_byte(self) -> None:
        """A byte that can't begin the expected value is a mismatch when it comes; an open field waits for its end."""
        judge = Struct(">HI", anything, 3).judge()
        for piece in (b"\xff", b"\xff", b"\0", b"\0"):
            self.assertIsNone(judge.feed(piece))
        mismatch = judge.feed(b"\1")
        assert mismatch is not None
        self.assertEqual(mismatch.summary, r"expected 3 in field 1 (bytes 2 to 5), got b'\x00\x00\x01' so far")

    def test_struct_of_another_size(self) -> None:
        """Another size is a mismatch at the header, at the first byte too many, or at the end."""
        matcher = Struct("<HH", 1, anything)
        what = "expected 4 bytes for Struct('<HH', 1, anything), got"
        summary = f"{what} more (b'\\x01\\x00\\x02\\x00xx'); too long from byte 4"
        self.assertDiffers(matcher, b"\1\0\2\0xx", LengthDiffers, summary, 4)
        self.assertDiffers(matcher, b"\1\0\2", LengthDiffers, f"{what} 3 (b'\\x01\\x00\\x02')", 3)
        self.assertIsNone(matcher.judge().announce(4))
        self.assertEqual(judged(matcher, [], announce=5).summary, f"{what} a header that announces 5")

    def test_struct_when_much_too_long(self) -> None:
        """What is too much is not kept."""
        judge = Struct("<H").judge()
        judge.feed(bytes(100_000))
        self.assertEqual((judge.received, len(judge.partial())), (100_000, 66))

    def test_struct_arguments_that_are_wrong(self) -> None:
        """What can never match is refused where it is written."""
        wrong: list[tuple[Any, tuple[Any, ...], type[Exception], str]] = [
            (b">H", (), TypeError, r"Struct\(layout\) takes a str such as '>HHI', got b'>H'"),
            (">Z", (), ValueError, r"Struct\(layout\) takes a format of the module struct, got '>Z': bad char"),
            (">é", (), ValueError, r"Struct\(layout\) takes a format of the module struct"),
            (">HH", (1,), ValueError, r"Struct\('>HH'\) has 2 fields, got 1 to expect"),
            (">H", (1, 2), ValueError, r"Struct\('>H'\) has 1 field, got 2 to expect"),
            (">H", (70000,), ValueError, "Struct field 0 of the format '>H' can't be 70000: "),
            (">H", (None,), ValueError, "Struct field 0 of the format '>H' can't be None: "),
            (">f", (1e300,), ValueError, "Struct field 0 of the format '>f' can't be 1e[+]300: "),
            (">4s", ("ab",), TypeError, "Struct field 0 takes no str, got 'ab'; write b'ab'"),
            (">2s", (b"abc",), ValueError, "Struct field 0 of the format '>2s' is too short for b'abc'"),
        ]
        for layout, fields, kind, text in wrong:
            with self.subTest(layout=layout, fields=fields), self.assertRaisesRegex(kind, text):
                Struct(layout, *fields)
        with self.assertRaisesRegex(ValueError, "Struct field size of the format '>B' can't be -1"):
            Struct(">BB", 1, size=-1)

    def test_struct_repr(self) -> None:
        """The repr is the call."""
        self.assertEqual(repr(Struct(">HH", 1, size=anything)), "Struct('>HH', 1, size=anything)")
        self.assertEqual(repr(Struct(">HH")), "Struct('>HH')")
