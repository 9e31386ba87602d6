"""What leaves a block, and what is only handled there."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import unittest
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any
from unittest import mock

from tcpclient_testing.harness import in_flight
from tcpclient_testing.harness.in_flight import is_over, is_propagating, led_to


class LeavingTests(unittest.TestCase):
    """`is_propagating`, asked in a function that the block calls."""

    def setUp(self) -> None:
        self.told: list[bool] = []

    def ask(self, *_: Any) -> None:
        """Be a `stop()`."""
        self.told.append(is_propagating(sys.exc_info()[1]))

    def test_nothing_was_raised(self) -> None:
        """Then nothing leaves."""
        self.ask()
        self.assertEqual(self.told, [False])

    def test_exception_in_finally(self) -> None:
        """It leaves, be it raised in the body, in an `except`, in an `else`, or raised again."""
        def body() -> None:
            try:
                raise KeyError
            finally:
                self.ask()

        def handler() -> None:
            try:
                raise KeyError
            except KeyError as error:
                raise ValueError from error
            finally:
                self.ask()

        def otherwise() -> None:
            try:
                pass
            except OSError:
                pass
            else:
                raise KeyError
            finally:
                self.ask()

        def again() -> None:
            try:
                try:
                    raise KeyError
                except LookupError:
                    raise
            finally:
                self.ask()

        for function in (body, handler, otherwise, again):
            with self.subTest(function=function.__name__):
                self.told.clear()
                with self.assertRaises((KeyError, ValueError)):
                    function()
                self.assertEqual(self.told, [True])

    def test_exception_in_except(self) -> None:
        """It ends there, also where a `finally` or a `with` inside is left without an exception."""
        try:
            raise KeyError
        except OSError:
            raise
        except KeyError:
            self.ask()
            try:
                pass
            finally:
                self.ask()
            with contextlib.ExitStack() as stack:
                stack.callback(self.ask)
        try:
            try:
                raise KeyError
            except LookupError:
                raise
        except KeyError: self.ask()  # noqa: E701 - one line
        self.assertEqual(self.told, [False] * 4)

    def test_exception_in_except_that_raises(self) -> None:
        """What is raised again, or another exception instead, leaves."""
        with self.assertRaises(KeyError):
            try:
                raise KeyError
            except BaseException:
                self.ask()
                raise
        with self.assertRaises(LookupError):
            try:
                raise KeyError
            except BaseException as error:
                self.ask()
                raise LookupError from error
        self.assertEqual(self.told, [True, True])

    def test_exception_in_except_while_another_is_handled(self) -> None:
        """It is the inner one that is asked about."""
        with self.assertRaises(ValueError):
            try:
                raise KeyError
            except KeyError:
                try:
                    raise ValueError
                finally:
                    self.ask()
        self.assertEqual(self.told, [True])

    def test_exception_on_the_way_out_of_with(self) -> None:
        """It leaves: by an exit stack, or a context manager that is a generator."""
        @contextlib.contextmanager
        def manager() -> Iterator[None]:
            try:
                yield
            finally:
                self.ask()

        with self.assertRaises(KeyError), contextlib.ExitStack() as stack:
            stack.callback(self.ask)
            raise KeyError
        with self.assertRaises(KeyError), manager():
            raise KeyError
        self.assertEqual(self.told, [True, True])

    def test_exception_in_except_that_fails_the_test(self) -> None:
        """It leaves where the handler raises further down, or calls what does; not where it may do so."""
        def failing() -> None:
            try:
                raise KeyError
            except KeyError:
                self.ask()
                self.fail("no key")

        def raising_midway() -> None:
            try:
                raise KeyError
            except KeyError as error:
                self.ask()
                raise ValueError from error
                self.ask()

        def perhaps(again: bool) -> None:
            try:
                raise KeyError
            except KeyError:
                self.ask()
                if again:
                    raise

        for body in failing, raising_midway:
            with self.assertRaises((AssertionError, ValueError)):
                body()
        perhaps(False)
        self.assertEqual(self.told, [True, True, False])

    def test_exception_without_source(self) -> None:
        """It is taken for handled, since a verdict too many is seen, and one too few isn't."""
        with self.assertRaises(KeyError):
            exec("try:\n    raise KeyError\nfinally:\n    ask()", {"ask": self.ask})
        self.assertEqual(self.told, [False])

    def test_generator(self) -> None:
        """It leaves a context manager's ``finally``; if the context manager has handled it, it doesn't, any more."""
        @contextlib.contextmanager
        def passing() -> Iterator[None]:
            try:
                yield
            finally:
                self.ask()

        @contextlib.contextmanager
        def handling() -> Iterator[None]:
            try:
                yield
            except KeyError:
                pass
            finally:
                self.ask()

        @contextlib.contextmanager
        def handling_before() -> Iterator[None]:
            with contextlib.suppress(KeyError):
                yield
            self.ask()
        for block in passing, handling, handling_before:
            with contextlib.suppress(KeyError), block():
                raise KeyError
        self.assertEqual(self.told, [True, False, False])

    def test_coroutines(self) -> None:
        """It is the same in asynchronous context managers, and in helpers that they await."""
        async def helper() -> None:
            self.ask()

        @contextlib.asynccontextmanager
        async def passing() -> AsyncIterator[None]:
            try:
                yield
            finally:
                await helper()

        @contextlib.asynccontextmanager
        async def handling() -> AsyncIterator[None]:
            try:
                yield
            except KeyError:
                pass
            finally:
                await helper()

        async def main() -> None:
            for block in passing, handling:
                with contextlib.suppress(KeyError):
                    async with block():
                        raise KeyError
            try:
                raise KeyError
            except KeyError:
                pass
            finally:
                await helper()
            with contextlib.suppress(KeyError):
                try:
                    raise KeyError
                finally:
                    await helper()
        asyncio.run(main())
        self.assertEqual(self.told, [True, False, False, True])


class LeavingBySourceTests(LeavingTests):
    """The same, where the garbage collector doesn't tell what a generator handles."""

    def setUp(self) -> None:
        super().setUp()
        patch = mock.patch.object(in_flight, "_collector_tells", bool)
        patch.start()
        self.addCleanup(patch.stop)

    def test_generator_that_may_have_handled(self) -> None:
        """What an ``except`` doesn't take goes on; what can't be told of it was taken."""
        names = {"mine": KeyError}

        @contextlib.contextmanager
        def other(kind: Any = OSError) -> Iterator[None]:
            try:
                yield
            except (kind, asyncio.TimeoutError):
                pass
            finally:
                self.ask()

        @contextlib.contextmanager
        def unknown() -> Iterator[None]:
            try:
                yield
            except names["mine"]:
                pass
            finally:
                self.ask()

        @contextlib.contextmanager
        def again() -> Iterator[None]:
            try:
                try:
                    yield
                except KeyError:
                    raise
            finally:
                self.ask()
        for block in other, unknown, again:
            with contextlib.suppress(KeyError), block():
                raise KeyError
        self.assertEqual(self.told, [True, False, True])

    def test_generator_that_is_left(self) -> None:
        """An exception leaves a ``with`` in it; one that the ``with`` has suppressed doesn't, whatever is left next."""
        @contextlib.contextmanager
        def leaving() -> Iterator[None]:
            with contextlib.ExitStack() as stack:
                stack.callback(self.ask)
                yield

        @contextlib.contextmanager
        def suppressing() -> Iterator[None]:
            with contextlib.suppress(KeyError):
                yield
            with contextlib.ExitStack() as stack:
                stack.callback(self.ask)
        for block in leaving, suppressing:
            with contextlib.suppress(KeyError), block():
                raise KeyError
        self.assertEqual(self.told, [True, False])


class TaskInPythonTests(unittest.TestCase):
    """A task that is written in Python, as PyPy's are: it handles what its coroutine has caught already."""

    by_source = False

    def setUp(self) -> None:
        for target, name, value in ((in_flight, "_collector_tells", bool), (asyncio, "Task", asyncio.tasks._PyTask)):
            if self.by_source or target is asyncio:
                patch = mock.patch.object(target, name, value)
                patch.start()
                self.addCleanup(patch.stop)

    def run_in_task(self, main: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in such a task."""
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(asyncio.tasks._PyTask(main, loop=loop))
        finally:
            loop.close()

    @staticmethod
    async def fail() -> None:
        """Raise, at the end of a task of its own: whoever awaits it is given the exception by his own task."""
        raise KeyError("old")

    async def failing(self) -> None:
        """Await the exception."""
        await asyncio.ensure_future(self.fail())

    def test_exception_that_was_caught(self) -> None:
        """It is over, be it caught here or in what was awaited; in the ``except`` it is not."""
        told: list[bool] = []

        def ask() -> None:
            exc = sys.exc_info()[1]
            assert exc is not None
            self.assertEqual(str(exc), "'old'")
            told.append(is_over(exc))
            self.assertFalse(is_propagating(exc))

        async def catching() -> None:
            with contextlib.suppress(KeyError):
                await self.failing()

        async def elsewhere() -> None:
            await catching()
            ask()

        async def here() -> None:
            try:
                await self.failing()
            except KeyError:
                ask()
            ask()
        self.run_in_task(elsewhere())
        self.run_in_task(here())
        self.assertEqual(told, [True, False, True])

    def test_exception_that_leaves(self) -> None:
        """It is neither over nor handled."""
        async def main() -> None:
            with self.assertRaises(KeyError):
                try:
                    await self.failing()
                finally:
                    exc = sys.exc_info()[1]
                    assert exc is not None
                    self.assertEqual((is_over(exc), is_propagating(exc)), (False, True))
        self.run_in_task(main())

    def test_context(self) -> None:
        """What is raised later has it for a context, although it has nothing to do with it."""
        async def later() -> None:
            with contextlib.suppress(KeyError):
                await self.failing()
            raise ValueError("later")

        async def handling() -> None:
            try:
                await self.failing()
            except KeyError:
                raise ValueError("instead") from None

        async def main(raising: Any, real: bool) -> None:
            try:
                await raising()
            except ValueError as exc:  # assertRaises() would drop its traceback
                assert exc.__context__ is not None
                self.assertEqual(led_to(exc.__context__, exc), real)
            else:
                self.fail("nothing was raised")
        self.run_in_task(main(later, False))
        self.run_in_task(main(handling, True))


class TaskInPythonBySourceTests(TaskInPythonTests):
    """The same, where the garbage collector doesn't tell."""

    by_source = True


if __name__ == "__main__":
    unittest.main()
