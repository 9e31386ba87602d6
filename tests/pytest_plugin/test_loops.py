"""The fixtures in each asynchronous plugin's loops: `python -m pytest tests/pytest_plugin/test_loops.py`."""

from __future__ import annotations

import importlib.metadata
import textwrap
import unittest

from tests.support.pytest_runs import FAREWELL, GREETING, PYTESTER, PluginTestCase, needs

pytest_plugins = PYTESTER


class LoopTests(PluginTestCase):
    """The loops in which tests run."""

    @needs("pytest_asyncio")
    def test_strict_mode_of_pytest_asyncio(self) -> None:
        """A test marked for pytest-asyncio talks to the server."""
        self.run_tests(GREETING.format(mark="@pytest.mark.asyncio")).assert_outcomes(passed=1)

    @needs("pytest_asyncio")
    def test_auto_mode_of_pytest_asyncio(self) -> None:
        """In automatic mode no mark is needed; a test that is marked for anyio is pytest-asyncio's, too."""
        # In a process of its own: early versions leave their mark on the fixtures of plugins.
        source = GREETING.format(mark="") + textwrap.dedent("""
            @pytest.fixture
            def anyio_backend():
                return "asyncio"

            async def test_both_plugins(tcpserver, anyio_backend):
                tcpserver.expect_connect()
                await talk(tcpserver, b"")
        """)
        self.run_tests(source, mode="auto", subprocess=True).assert_outcomes(passed=2)

    @needs("anyio")
    def test_anyio_plugin_on_asyncio(self) -> None:
        """A test marked for anyio talks to the server, and its failure is its own."""
        source = """
            @pytest.fixture
            def anyio_backend():
                return "asyncio"
        """
        wrong = GREETING.replace("hello", "hullo", 1).replace("test_greeting", "test_wrong")
        result = self.run_tests(textwrap.dedent(source) + (GREETING + wrong).format(mark="@pytest.mark.anyio"))
        result.assert_outcomes(passed=1, failed=1)
        self.assertIn("expected b'hullo', got b'hello'", self.text(result))

    @needs("anyio")
    @needs("trio")
    def test_anyio_plugin_on_trio(self) -> None:
        """On trio's backend tcpserver skips the test, and threaded_tcpserver serves it."""
        result = self.run_tests("""
            @pytest.fixture(params=["asyncio", "trio"])
            def anyio_backend(request):
                return request.param

            @pytest.mark.anyio
            async def test_loop(tcpserver):
                tcpserver.expect_connect()
                await talk(tcpserver, b"")

            @pytest.mark.anyio
            async def test_thread(threaded_tcpserver):
                import anyio
                threaded_tcpserver.expect_connect()
                threaded_tcpserver.expect_bytes(b"hello")
                async with await anyio.connect_tcp(*threaded_tcpserver.address) as stream:
                    await stream.send(b"hello")
        """, "-rs", subprocess=True)  # trio's worker lives on for ten seconds
        result.assert_outcomes(passed=3, skipped=1)
        self.assertIn("threaded_tcpserver serves both", self.text(result))

    @needs("anyio")
    def test_fixture_of_anyio_closes_the_client(self) -> None:
        """anyio keeps its loop until the server was judged, after the fixture that closes the client."""
        backend = """
            @pytest.fixture
            def anyio_backend():
                return "asyncio"
        """
        result = self.run_tests(textwrap.dedent(backend)
                                + FAREWELL.format(fixture="@pytest.fixture", mark="@pytest.mark.anyio"))
        result.assert_outcomes(passed=2, errors=1)
        self.assertIn("expected b'EXIT', got b'QUIT'", self.text(result))

    @needs("pytest_asyncio")
    def test_loops_of_wider_scope(self) -> None:
        """Each test has a server of its own where they share the loop of a module or session."""
        if importlib.metadata.version("pytest-asyncio") < "0.24":
            argument = "scope"
        else:
            argument = "loop_scope"
        for scope in ("module", "session"):
            with self.subTest(scope=scope):
                mark = f'@pytest.mark.asyncio({argument}="{scope}")'
                first = GREETING.format(mark=mark)
                result = self.run_tests(first + first.replace("_greeting", "_again")
                                        + first.replace("_greeting", "_wrong").replace("hello", "hullo", 1))
                result.assert_outcomes(passed=2, failed=1)

    @needs("pytest_asyncio")
    def test_fixture_of_another_loop_comes_first(self) -> None:
        """A fixture that lives in the session's loop says nothing of the loop that the test itself runs in."""
        if importlib.metadata.version("pytest-asyncio") < "0.24":
            self.skipTest("fixtures have no loop of their own before pytest-asyncio 0.24")
        self.run_tests("""
            @pytest_asyncio.fixture(loop_scope="session", scope="session")
            async def engine():
                yield 1

            @pytest.mark.asyncio
            async def test_it(engine, tcpserver):
                tcpserver.expect_connect()
                tcpserver.expect_line(b"hello")
                await talk(tcpserver, b"hello\\r\\n")
        """, ignored="ignore").assert_outcomes(passed=1)

    @needs("pytest_asyncio")
    def test_address_before_the_loop_runs(self) -> None:
        """Synchronous fixtures have the address, and may write a script; a client that connects early waits."""
        self.run_tests("""
            @pytest.fixture
            def port(tcpserver):
                return tcpserver.service_port

            @pytest.fixture
            def scripted(tcpserver):
                tcpserver.expect_connect(timeout=0.5)
                tcpserver.send_bytes(b"welcome")
                return tcpserver

            @pytest_asyncio.fixture
            async def client(port, scripted):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                assert await reader.readexactly(7) == b"welcome"
                yield reader, writer
                writer.close()
                await writer.wait_closed()

            @pytest.mark.asyncio
            async def test_client(client, tcpserver):
                tcpserver.expect_bytes(b"hello")
                client[1].write(b"hello")
                await tcpserver.join()
        """).assert_outcomes(passed=1)


if __name__ == "__main__":
    unittest.main()
