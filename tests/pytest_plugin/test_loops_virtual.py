"""Virtual time under pytest: `python -m pytest tests/pytest_plugin/test_loops_virtual.py`."""

from __future__ import annotations

import importlib.metadata
import textwrap
import unittest

from tests.support.pytest_runs import PYTESTER, PluginTestCase, needs

pytest_plugins = PYTESTER

BACK_OFF = """
import time
from tcpclient_testing.virtual_time.loop import is_virtual

async def back_off(server):
    server.expect_connect()
    server.disconnect()
    server.expect_disconnect()
    server.expect_connect(after=3600)
    server.expect_disconnect()
    reader, writer = await asyncio.open_connection(*server.address)
    await reader.read()
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(3600)
    await talk(server, b"")
    await server.join()

{mark}
@pytest.mark.tcpserver(virtual_time=True)
async def test_hour(tcpserver):
    loop, began = asyncio.get_running_loop(), time.monotonic()
    await back_off(tcpserver)
    assert 3600 <= loop.virtual_time_elapsed < 3660
    assert time.monotonic() - began < 60

{mark}
async def test_real():
    assert not is_virtual(asyncio.get_running_loop())
"""


class VirtualTimeTests(PluginTestCase):
    """Tests that are marked with `virtual_time=True`."""

    ANYIO = """
        @pytest.fixture
        def anyio_backend():
            return "asyncio"
    """

    @needs("pytest_asyncio")
    def test_hour_under_pytest_asyncio(self) -> None:
        """A client that backs off for an hour passes in no time, and only the marked test has virtual time."""
        self.run_tests(BACK_OFF.format(mark="@pytest.mark.asyncio")).assert_outcomes(passed=2)

    @needs("xdist")
    @needs("pytest_asyncio")
    def test_hour_under_xdist(self) -> None:
        """The thread by which a worker of pytest-xdist hears of its tests does not make time real."""
        run = self.run_tests(BACK_OFF.format(mark="@pytest.mark.asyncio"), "-n1", subprocess=True)
        run.assert_outcomes(passed=2)

    @needs("pytest_asyncio")
    def test_hour_in_automatic_mode(self) -> None:
        """In automatic mode the marker for virtual time is the only one."""
        self.run_tests(BACK_OFF.format(mark=""), mode="auto", subprocess=True).assert_outcomes(passed=2)

    @needs("anyio")
    def test_hour_under_anyio(self) -> None:
        """A client that backs off for an hour passes in no time under anyio's plugin."""
        source = textwrap.dedent(self.ANYIO) + BACK_OFF.format(mark="@pytest.mark.anyio")
        self.run_tests(source).assert_outcomes(passed=2)

    @needs("anyio")
    def test_server_of_ones_own_under_anyio(self) -> None:
        """A marked test that takes no fixture of ours has virtual time, too."""
        self.run_tests(textwrap.dedent(self.ANYIO) + textwrap.dedent("""
            @pytest.mark.anyio
            @pytest.mark.tcpserver(virtual_time=True)
            async def test_it():
                await asyncio.sleep(3600)
                assert asyncio.get_running_loop().virtual_time_elapsed >= 3600
        """)).assert_outcomes(passed=1)

    @needs("pytest_asyncio")
    def test_fixture_that_connects(self) -> None:
        """Asynchronous fixtures run in the same virtual loop, whether they come before the server or after it."""
        self.run_tests("""
            @pytest_asyncio.fixture
            async def early():
                await asyncio.sleep(3600)
                yield

            @pytest_asyncio.fixture
            async def late(tcpserver):
                await asyncio.sleep(3600)
                yield
                await asyncio.sleep(3600)

            @pytest.mark.asyncio
            @pytest.mark.tcpserver(virtual_time=True)
            async def test_it(early, tcpserver, late):
                tcpserver.expect_connect()
                await talk(tcpserver, b"")
                assert asyncio.get_running_loop().virtual_time_elapsed >= 7200
        """).assert_outcomes(passed=1)

    @needs("pytest_asyncio")
    def test_loop_that_tests_share(self) -> None:
        """A mark for the whole module makes the module's loop virtual; a mark for one of its tests is refused."""
        argument = "scope" if importlib.metadata.version("pytest-asyncio") < "0.24" else "loop_scope"
        source = """
            @pytest.mark.asyncio({argument}="module")
            {mark}
            async def test_it(tcpserver):
                tcpserver.expect_connect()
                await talk(tcpserver, b"")
                await asyncio.sleep(3600)
        """
        mark = "pytest.mark.tcpserver(virtual_time=True)"
        shared = textwrap.dedent(source).format(argument=argument, mark="")
        self.run_tests(f"pytestmark = {mark}\n{shared}").assert_outcomes(passed=1)
        result = self.run_tests(source.format(argument=argument, mark=f"@{mark}"))
        result.assert_outcomes(errors=1)
        self.assertIn("asks for virtual_time=True, but runs in a", self.text(result))
        self.assertIn("mark all that share it", self.text(result))

    @needs("anyio")
    def test_loop_that_the_suite_has_chosen(self) -> None:
        """A loop factory of another kind is refused; ours is welcome."""
        for factory, outcome in (("asyncio.SelectorEventLoop", "errors"), ("VirtualClockEventLoop", "passed")):
            with self.subTest(factory):
                result = self.run_tests(f"""
                    from tcpclient_testing import VirtualClockEventLoop

                    @pytest.fixture
                    def anyio_backend():
                        return "asyncio", {{"loop_factory": {factory}}}

                    @pytest.mark.anyio
                    @pytest.mark.tcpserver(virtual_time=True)
                    async def test_it(tcpserver):
                        tcpserver.expect_connect()
                        await talk(tcpserver, b"")
                """)
                result.assert_outcomes(**{outcome: 1})

    @needs("pytest_asyncio")
    def test_closest_marker(self) -> None:
        """The marker of the test goes before that of its class."""
        self.run_tests("""
            @pytest.mark.tcpserver(virtual_time=True)
            class TestIt:
                @pytest.mark.tcpserver(virtual_time=False)
                @pytest.mark.asyncio
                async def test_it(self, tcpserver):
                    tcpserver.expect_connect()
                    await talk(tcpserver, b"")
                    assert not hasattr(asyncio.get_running_loop(), "virtual_time_elapsed")
        """).assert_outcomes(passed=1)

    @needs("pytest_asyncio")
    def test_mistakes(self) -> None:
        """A value that is no truth value, and a server in a thread, are refused."""
        for value, fixture, message in (
            ("'yes'", "tcpserver", "virtual_time is True or False, not 'yes'"),
            ("True", "threaded_tcpserver", "take the fixture tcpserver"),
        ):
            with self.subTest(fixture):
                result = self.run_tests(f"""
                    @pytest.mark.asyncio
                    @pytest.mark.tcpserver(virtual_time={value})
                    async def test_it({fixture}):
                        pass
                """)
                result.assert_outcomes(errors=1)
                self.assertIn(message, self.text(result))


if __name__ == "__main__":
    unittest.main()
