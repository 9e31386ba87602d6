"""The mixin: one test, one report, the cause first, whatever the client and the test do."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
import unittest
from typing import Any

from tests.support.outcomes import outcome_of
from tests.support.reports import MISSPELT, ReportsTestCase, greeting, misspell
from tests.support.streams import close, connect

NOTES = sys.version_info >= (3, 11)


class WrongBytesTests(ReportsTestCase):
    def test_client_raises(self) -> None:
        """A client that raises because the server gave up: the failure, with the client's exception in it."""
        async def test(self: Any) -> None:
            reader, _writer = await misspell(self.tcpserver)
            await reader.readexactly(7)
        self.assertOneFailure(outcome_of(test=test), MISSPELT, "then the client raised",
                              "ConnectionResetError")

    def test_client_raises_its_own_exception(self) -> None:
        """A client that wraps the reset in an exception of its own is no different."""
        async def test(self: Any) -> None:
            reader, _writer = await misspell(self.tcpserver)
            try:
                await reader.readexactly(7)
            except OSError:
                raise LookupError("no device") from None
        self.assertOneFailure(outcome_of(test=test), MISSPELT, "LookupError: no device")

    def test_client_hangs(self) -> None:
        """A client that hangs is interrupted."""
        ended = []

        async def test(self: Any) -> None:
            _client = await misspell(self.tcpserver)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ended.append("interrupted")
                raise
        self.assertOneFailure(outcome_of(test=test, patience=0.02, timeless=True), MISSPELT)
        self.assertEqual(ended, ["interrupted"])

    def test_client_hangs_in_another_part_of_the_test(self) -> None:
        """It is interrupted in asyncSetUp, asyncTearDown, and asynchronous clean-ups of either kind, too."""
        async def hang(self: Any) -> None:
            _client = await misspell(self.tcpserver)
            await asyncio.sleep(60)

        async def swallow(self: Any) -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await hang(self)

        async def nothing(self: Any) -> None:
            pass

        async def clean_up(self: Any) -> None:
            greeting(self.tcpserver)
            self.addAsyncCleanup(later, self)

        async def clean_up_by_the_other_method(self: Any) -> None:
            greeting(self.tcpserver)
            self.addCleanup(later, self)

        async def later(self: Any) -> None:
            _, self.writer = await connect(self.tcpserver)
            self.writer.write(b"hullo")
            await asyncio.sleep(60)

        async def raising(self: Any) -> None:
            try:
                await later(self)
            finally:
                raise LookupError("no device")
        started = time.monotonic()
        parts: list[dict[str, Any]] = [
            {"asyncSetUp": hang}, {"asyncSetUp": swallow}, {"asyncTearDown": hang}, {"test": clean_up},
            {"test": clean_up_by_the_other_method},
            {"asyncSetUp": self._script, "asyncTearDown": raising}]
        for part in parts:
            with self.subTest(part=part):
                outcome = outcome_of(patience=0.02, timeless=True, **{"test": nothing, **part})
                self.assertOneFailure(outcome, MISSPELT)
                self.assertNotIn("CancelledError", outcome.text)
                self.assertEqual("then the client raised" in outcome.text, "LookupError" in outcome.text)
        self.assertIn("LookupError", outcome.text)
        self.assertLess(time.monotonic() - started, 20.0)

    @staticmethod
    async def _script(test: Any) -> None:
        greeting(test.tcpserver)

    def test_part_that_others_cancel(self) -> None:
        """A clean-up that somebody else cancels is reported as that."""
        async def test(self: Any) -> None:
            greeting(self.tcpserver)
            self.addAsyncCleanup(cancelled)

        async def cancelled() -> None:
            raise asyncio.CancelledError
        self.assertIn("CancelledError", outcome_of(test=test, timeless=True).text)

    def test_client_swallows(self) -> None:
        """A client that swallows the reset changes nothing."""
        async def test(self: Any) -> None:
            reader, _writer = await misspell(self.tcpserver)
            try:
                await reader.readexactly(7)
            except OSError:
                pass
        self.assertOneFailure(outcome_of(test=test), MISSPELT)

    def test_client_swallows_cancellation_a_while(self) -> None:
        """A body that catches CancelledError is cancelled again, until it gives in."""
        async def test(self: Any) -> None:
            _client = await misspell(self.tcpserver)
            for _ in range(3):
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass
        self.assertOneFailure(outcome_of(test=test, patience=0.02, timeless=True), MISSPELT)

    def test_body_hangs_in_nested_wait_for(self) -> None:
        """wait_for in wait_for, with time-outs of their own, is interrupted like anything else."""
        async def test(self: Any) -> None:
            _client = await misspell(self.tcpserver)
            try:
                await asyncio.wait_for(asyncio.wait_for(asyncio.sleep(60), 50), 55)
            except asyncio.TimeoutError:
                self.fail("the wrong end")
        self.assertOneFailure(outcome_of(test=test, patience=0.02, timeless=True), MISSPELT)

    def test_body_waits_for_a_step(self) -> None:
        """A body that awaits a step gets the failure there, and no cancellation."""
        async def test(self: Any) -> None:
            _client = await misspell(self.tcpserver)
            try:
                await self.tcpserver.expect_connect()
            except asyncio.CancelledError:
                self.fail("cancelled")
        self.assertOneFailure(outcome_of(test=test), MISSPELT)

    def test_body_waits_in_join(self) -> None:
        """So does a body that awaits join()."""
        async def test(self: Any) -> None:
            _client = await misspell(self.tcpserver)
            await self.tcpserver.join()
        self.assertOneFailure(outcome_of(test=test), MISSPELT)

    def test_body_gathers(self) -> None:
        """Client and join() side by side in gather()."""
        async def test(self: Any) -> None:
            greeting(self.tcpserver)

            async def client() -> None:
                _, writer = await connect(self.tcpserver)
                writer.write(b"hullo")
                await asyncio.sleep(60)
            task = asyncio.ensure_future(client())
            try:
                await asyncio.gather(task, self.tcpserver.join())
            finally:
                task.cancel()
        self.assertOneFailure(outcome_of(test=test), MISSPELT)

    @unittest.skipUnless(hasattr(asyncio, "TaskGroup"), "TaskGroup needs Python 3.11")
    def test_body_in_a_task_group(self) -> None:
        """A TaskGroup in the body raises a group of exceptions; the report is the failure all the same."""
        async def hanging(self: Any) -> None:
            greeting(self.tcpserver)

            async def client() -> None:
                _, writer = await connect(self.tcpserver)
                writer.write(b"hullo")
                await asyncio.sleep(60)
            async with asyncio.TaskGroup() as group:
                group.create_task(client())

        async def raising(self: Any) -> None:
            greeting(self.tcpserver)

            async def client() -> None:
                reader, writer = await connect(self.tcpserver)
                writer.write(b"hullo")
                await reader.readexactly(7)
            async with asyncio.TaskGroup() as group:
                group.create_task(client())
                group.create_task(self.tcpserver.join())
        for test, patience in ((hanging, 0.02), (raising, 10.0)):
            with self.subTest(test.__name__):
                outcome = outcome_of(test=test, patience=patience, timeless=True)
                self.assertOneFailure(outcome, MISSPELT)

    @unittest.skipUnless(hasattr(asyncio, "TaskGroup"), "TaskGroup needs Python 3.11")
    def test_truncated_line_in_a_task_group(self) -> None:
        """That a half-closed client meets the reset there makes it no less a consequence; its own fault stands."""
        def in_a_group(*errors: Exception) -> Any:
            async def test(self: Any) -> None:
                self.tcpserver.expect_connect()
                self.tcpserver.expect_line()
                reader, writer = await connect(self.tcpserver)
                self.addAsyncCleanup(close, writer)

                async def client() -> None:
                    writer.write(b"hal")
                    writer.write_eof()
                    await reader.read()

                async def fails(error: Exception) -> None:
                    try:
                        await asyncio.sleep(60)
                    finally:
                        raise error
                async with asyncio.TaskGroup() as group:
                    for error in errors:
                        group.create_task(fails(error))
                    group.create_task(client())
            return test
        self.assertOneFailure(outcome_of(test=in_a_group()),
                              r"got b'hal' without its ending b'\r\n' before the client half-closed (connection 1, ",
                              "then the client raised", "    ConnectionResetError: ")
        self.assertOneError(outcome_of(test=in_a_group(LookupError("its own"))), "LookupError: its own",
                            "the conversation with")

    def test_assertion_that_follows_is_a_consequence(self) -> None:
        """An assertion that fails because the client got nothing stands in the report's last section."""
        async def test(self: Any) -> None:
            reader, _writer = await misspell(self.tcpserver)
            reply = None
            try:
                reply = await reader.readexactly(7)
            except OSError:
                pass
            self.assertEqual(reply, b"welcome")
        self.assertOneFailure(outcome_of(test=test), MISSPELT, "None != b'welcome'")


class ClientsOwnExceptionTests(ReportsTestCase):
    def test_exception_is_reported_once_with_the_conversation(self) -> None:
        """A client that fails by itself: its exception, once, and what passed until then."""
        async def test(self: Any) -> None:
            greeting(self.tcpserver)
            _, writer = await connect(self.tcpserver)
            self.addAsyncCleanup(close, writer)
            writer.write(b"hel")
            await asyncio.sleep(0.02)
            raise RuntimeError("the client is broken")
        outcome = outcome_of(test=test, timeless=True)
        self.assertOneError(outcome, "RuntimeError: the client is broken", "the conversation with 127.0.0.1",
                            "received 3 bytes  b'hel'")
        self.assertLess(outcome.text.count("received 3 bytes"), 2)

    def test_conversation_is_shown_when_the_exception_has_a_chain(self) -> None:
        """A client that gives up by itself raises a TimeoutError with a cause; nothing of that chain is lost."""
        async def waits(self: Any) -> None:
            self.tcpserver.expect_connect()
            reader, writer = await connect(self.tcpserver)
            self.addAsyncCleanup(close, writer)
            await asyncio.wait_for(reader.readline(), 0.02)

        async def translates(self: Any) -> None:
            self.tcpserver.expect_connect()
            _, writer = await connect(self.tcpserver)
            self.addAsyncCleanup(close, writer)
            try:
                raise LookupError("no such key")
            except LookupError:
                raise RuntimeError("the client is broken") from None
        for test, words in ((waits, "CancelledError"), (translates, "the client is broken")):
            with self.subTest(test=test.__name__):
                outcome = outcome_of(test=test, timeless=True)
                self.assertOneError(outcome, words, "the conversation with 127.0.0.1", "client connected from")
                self.assertNotIn("no such key", outcome.text)

    def test_assertion_of_the_test_is_reported_once(self) -> None:
        """An assertion that fails while the script is unfinished is the one report."""
        async def test(self: Any) -> None:
            greeting(self.tcpserver)
            self.assertEqual(1, 2)
        outcome = outcome_of(test=test)
        self.assertEqual(outcome.kinds, ["failure"])
        self.assertIn("1 != 2", outcome.text)
        self.assertNotIn("ExpectationError", outcome.text)

    def test_set_up_that_raises_is_reported_once(self) -> None:
        """A server that was first used in a set-up that raises afterwards gives no verdict."""
        async def set_up(self: Any) -> None:
            greeting(self.tcpserver)
            raise RuntimeError("no database")

        async def test(self: Any) -> None:
            raise AssertionError("not run")
        started = time.monotonic()
        self.assertOneError(outcome_of(asyncSetUp=set_up, test=test, tcpserver_options={"timeout": 60}), "no database")
        self.assertLess(time.monotonic() - started, 30)

    def test_tear_down_that_raises_by_itself_is_the_report(self) -> None:
        """An exception in asyncTearDown or a clean-up, while nothing was wrong with the script, is reported once."""
        async def test(self: Any) -> None:
            self.tcpserver.expect_connect()

        async def tear_down(self: Any) -> None:
            raise RuntimeError("can't close")

        async def test_with_cleanup(self: Any) -> None:
            self.tcpserver.expect_connect()
            self.addAsyncCleanup(tear_down, self)

        def raising() -> None:
            raise RuntimeError("can't close")

        async def test_with_sync_cleanup(self: Any) -> None:
            self.tcpserver.expect_connect()
            self.addCleanup(raising)
        for attributes in ({"test": test, "asyncTearDown": tear_down}, {"test": test_with_cleanup},
                           {"test": test_with_sync_cleanup}):
            with self.subTest(attributes=str(attributes)):
                self.assertOneError(outcome_of(**attributes), "can't close")


class CleanUpTests(ReportsTestCase):
    def test_failure_found_in_clean_up(self) -> None:
        """What only the end shows is a failure, not an error, and reported once."""
        async def test(self: Any) -> None:
            greeting(self.tcpserver)
            reader, writer = await connect(self.tcpserver)
            self.addAsyncCleanup(close, writer)
            writer.write(b"hello")
            await reader.readexactly(7)
            writer.write(b"QUIT")
        self.assertOneFailure(outcome_of(test=test), "expected the client to disconnect, got 4 bytes: b'QUIT'")

    def test_client_that_never_connects(self) -> None:
        """A body that does nothing leaves the script waiting; the time-out is the failure."""
        async def test(self: Any) -> None:
            greeting(self.tcpserver)
        self.assertOneFailure(outcome_of(test=test, timeless=True, tcpserver_options={"timeout": 0.02}),
                              "no client connected to 127.0.0.1")

    def test_closing_raises_because_the_server_gave_up(self) -> None:
        """What asyncTearDown and clean-ups raise once the script has failed is a consequence."""
        async def test(self: Any) -> None:
            greeting(self.tcpserver)
            self.reader, self.writer = await connect(self.tcpserver)
            self.writer.write(b"hullo")
            await asyncio.sleep(0.02)

        async def tear_down(self: Any) -> None:
            await self.reader.readexactly(7)

        async def test_cleaned(self: Any) -> None:
            self.addAsyncCleanup(tear_down, self)
            await test(self)

        def sync_tear_down() -> None:
            raise ConnectionResetError("gone")

        async def test_sync_cleaned(self: Any) -> None:
            await test(self)
            self.addCleanup(sync_tear_down)
        for attributes in ({"test": test, "asyncTearDown": tear_down}, {"test": test_cleaned},
                           {"test": test_sync_cleaned}):
            with self.subTest(attributes=str(attributes)):
                self.assertOneFailure(outcome_of(timeless=True, **attributes), MISSPELT)

    def test_two_servers_give_one_report(self) -> None:
        """Of two servers whose scripts are not met, the first to fail is the report."""
        async def test(self: Any) -> None:
            self.tcpserver.expect_connect()
            self.start_tcpserver().expect_connect()

        async def failing(self: Any) -> None:
            self.tcpserver.expect_connect()
            second = self.start_tcpserver()
            greeting(second)
            _, writer = await connect(second)
            writer.write(b"hullo")
            try:
                await asyncio.sleep(0.05)
            finally:
                writer.close()
        outcome = outcome_of(test=test, timeless=True, tcpserver_options={"timeout": 0.02})
        self.assertOneFailure(outcome, "no client connected")
        self.assertOneFailure(outcome_of(test=failing, timeless=True), MISSPELT)

    def test_second_server_fails_while_the_body_hangs(self) -> None:
        """The failure of any of the servers interrupts the body."""
        async def test(self: Any) -> None:
            self.tcpserver.expect_connect(timeout=None)
            second = self.start_tcpserver()
            greeting(second)
            _, writer = await connect(second)
            writer.write(b"hullo")
            await asyncio.sleep(60)
        self.assertOneFailure(outcome_of(test=test, patience=0.02, timeless=True), MISSPELT)
