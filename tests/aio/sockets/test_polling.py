"""Tests of looks that are repeated."""

from __future__ import annotations

import asyncio
import unittest

from tcpclient_testing import VirtualClockEventLoop
from tcpclient_testing.aio.sockets.polling import TICK, Poller
from tests.support.platforms import needs_fine_clock


class LooksTests(unittest.TestCase):
    """On virtual time, so that what costs time is seen."""

    def run_looks(self, vain: int, *, cancelled_after: int = 1000, again: bool = False) -> list[float]:
        """When each look was, in virtual seconds, of which so many are in vain; `again` begins a second series."""
        async def main() -> list[float]:
            loop, times = asyncio.get_running_loop(), []

            def look() -> None:
                times.append(round(loop.time() - began, 6))
                self.assertFalse(looks.waiting)
                if looks.count < vain:
                    looks.again()
                if len(times) == cancelled_after:
                    looks.cancel()

            looks = Poller(loop, look, eager=3, longest=0.01)
            for _ in range(1 + again):
                began = loop.time()
                looks.begin()
                self.assertTrue(looks.waiting)
                await asyncio.sleep(60)
            self.assertFalse(looks.waiting)
            self.assertGreaterEqual(looks.lasted, 60 - TICK)
            return times
        loop = VirtualClockEventLoop()
        try:
            return loop.run_until_complete(main())
        finally:
            loop.close()

    @needs_fine_clock
    def test_first_looks_take_no_time_and_those_after_them_are_further_and_further_apart(self) -> None:
        """Up to a bound."""
        times = self.run_looks(60)
        self.assertEqual((times[:4], len(times)), ([0.0] * 4, 61))
        gaps = [later - earlier for earlier, later in zip(times[3:], times[4:])]
        self.assertGreater(min(gaps), 0)
        self.assertEqual([round(gap, 6) for gap in gaps], sorted(round(gap, 6) for gap in gaps))
        self.assertAlmostEqual(gaps[-1], 0.01, places=5)

    def test_cancelled_looks_are_over(self) -> None:
        """Whether the next one is a turn or a timer away."""
        for count in 2, 6:
            self.assertEqual(len(self.run_looks(60, cancelled_after=count)), count)

    def test_second_series_begins_anew(self) -> None:
        """It has as many looks that take no time."""
        times = self.run_looks(5, again=True)
        self.assertEqual((times[6:], len(times)), (times[:6], 12))


if __name__ == "__main__":
    unittest.main()
