"""The fixtures of pytest, and what they give: `python -m pytest tests/pytest_plugin/test_fixtures.py`."""

from __future__ import annotations

import textwrap
import unittest

from tests.support.pytest_runs import PYTESTER, PluginTestCase, needs

pytest_plugins = PYTESTER

# Conversations as suites for pytest-tcpclient 0.7 have them, and their verdicts.
COMPATIBLE = (
    ("positional time-outs, join as a barrier, and the automatic end", "passed", """
        tcpserver.expect_connect(1)
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        tcpserver.expect_bytes(b"one", 1)
        writer.write(b"one")
        await tcpserver.join()
        tcpserver.send_bytes(b"two")
        await tcpserver.join()
        assert await reader.readexactly(3) == b"two"
        writer.close()
        await writer.wait_closed()
    """),
    ("arguments by name", "passed", """
        tcpserver.expect_connect(timeout=1)
        tcpserver.expect_bytes(expected_bytes=b"one", timeout=1)
        tcpserver.expect_frame(expected_payload=b"two", timeout=1)
        tcpserver.send_frame(payload=b"three")
        tcpserver.send_bytes(data=b"four")
        tcpserver.expect_disconnect(timeout=1)
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        writer.write(b"one\\x00\\x00\\x00\\x03two")
        assert await reader.readexactly(13) == b"\\x00\\x00\\x00\\x05threefour"
        writer.close()
        await writer.wait_closed()
        await tcpserver.join()
    """),
    ("the server disconnects", "passed", """
        tcpserver.expect_connect()
        tcpserver.disconnect()
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        await tcpserver.join()
    """),
    ("the client connects before it is expected", "passed", """
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        writer.close()
        await writer.wait_closed()
        tcpserver.expect_connect()
        tcpserver.expect_disconnect()
        await tcpserver.join()
    """),
    ("no client connects", "failed", """
        tcpserver.expect_connect(0.05)
        await tcpserver.join()
    """),
    ("no expect_connect", "failed", """
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        tcpserver.expect_bytes(b"one")
        writer.write(b"one")
        await tcpserver.join()
    """),
    ("a client that does not close", "failed", """
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        tcpserver.expect_connect()
        tcpserver.expect_disconnect(0.05)
        await tcpserver.join()
    """),
    ("a client that does not close, at the automatic end", "failed", """
        tcpserver.expect_connect()
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        asyncio.current_task().kept = writer
    """),
    ("a client that does not close after the server did", "failed", """
        tcpserver.expect_connect()
        tcpserver.disconnect()
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        assert await reader.read() == b""
        asyncio.current_task().kept = writer
    """),
    ("no wait_closed", "failed", """
        tcpserver.expect_connect()
        tcpserver.expect_disconnect()
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        writer.close()
        await tcpserver.join()
    """),
    ("no wait_closed, at the automatic end", "failed", """
        tcpserver.expect_connect()
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        writer.close()
    """),
    ("a reply that is not read", "failed", """
        tcpserver.expect_connect()
        tcpserver.send_bytes(b"onetwo")
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        assert await reader.readexactly(3) == b"one"
        writer.close()
        await writer.wait_closed()
    """),
    ("a second connection", "failed", """
        tcpserver.expect_connect()
        for _ in range(2):
            reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
            writer.close()
            await writer.wait_closed()
    """),
    ("another frame", "failed", """
        tcpserver.expect_connect()
        tcpserver.expect_frame(b"one", 1)
        reader, writer = await asyncio.open_connection(None, tcpserver.service_port)
        writer.write(b"\\x00\\x00\\x00\\x03two")
        await tcpserver.join()
    """),
)


@needs("pytest_asyncio")
class CompatibilityTests(PluginTestCase):
    """Suites that were written for pytest-tcpclient 0.7."""

    def test_conversations(self) -> None:
        """Names, positional arguments and verdicts are those of pytest-tcpclient."""
        source, outcomes = "", {"passed": 0, "failed": 0}
        for number, (what, outcome, body) in enumerate(COMPATIBLE):
            source += f"\n@pytest.mark.asyncio()\nasync def test_{number}_{outcome}(tcpserver):\n    # {what}"
            source += textwrap.indent(textwrap.dedent(body), "    ")
            outcomes[outcome] += 1
        result = self.run_tests(source, "-rA", ignored="ignore:unclosed:ResourceWarning\n    "
                                "ignore::pytest.PytestUnraisableExceptionWarning", subprocess=True)
        wrong = [line for line in result.stdout.lines
                 if line.startswith(("PASSED", "FAILED")) and ("PASSED" in line) != ("_passed" in line)]
        self.assertEqual(wrong, [])
        result.assert_outcomes(**outcomes)

    def test_factory(self) -> None:
        """`await tcpserver_factory()` makes a server; `await tcpserver_factory.stop()` judges them."""
        result = self.run_tests("""
            @pytest.mark.asyncio
            async def test_good(tcpserver_factory):
                servers = [await tcpserver_factory(), await tcpserver_factory()]
                for server in servers:
                    server.expect_connect()
                    server.expect_bytes(b"one")
                    await talk(server, b"one")
                await tcpserver_factory.stop()

            @pytest.mark.asyncio
            async def test_bad(tcpserver_factory):
                server = await tcpserver_factory()
                server.expect_connect(timeout=0.05)
                with pytest.raises(AssertionError, match="no client connected"):
                    await tcpserver_factory.stop()
        """)
        result.assert_outcomes(passed=2)


class ThreadedTests(PluginTestCase):
    """The fixtures for clients that block."""

    def test_conversation(self) -> None:
        """A blocking client talks to the server, in a test that is no coroutine."""
        self.run_tests("""
            def test_it(threaded_tcpserver):
                threaded_tcpserver.expect_connect()
                threaded_tcpserver.expect_bytes(b"hello")
                threaded_tcpserver.send_bytes(b"hi")
                with socket.create_connection(threaded_tcpserver.address) as client:
                    client.sendall(b"hello")
                    assert client.recv(2) == b"hi"
        """).assert_outcomes(passed=1)

    def test_mismatch(self) -> None:
        """The test fails in its call at the line of the script, whether its client has raised or not."""
        for reply in ("", "assert client.recv(2) == b'hi'"):
            with self.subTest(reply):
                self.fails_once(f"""
                    def test_it(threaded_tcpserver):
                        threaded_tcpserver.expect_connect()
                        threaded_tcpserver.expect_bytes(b"hello")
                        with socket.create_connection(threaded_tcpserver.address) as client:
                            client.sendall(b"hullo")
                            {reply}
                """, "expected b'hello', got b'hullo'", ">       threaded_tcpserver.expect_bytes(b\"hello\")",
                                "- tcpserver transcript -")

    @needs("pytest_asyncio")
    def test_asynchronous_test_is_interrupted(self) -> None:
        """An asynchronous test that waits for something of its own is interrupted when the script has failed."""
        self.fails_once("""
            @pytest.mark.asyncio
            async def test_it(threaded_tcpserver):
                threaded_tcpserver.expect_connect()
                threaded_tcpserver.expect_bytes(b"hello")
                with socket.create_connection(threaded_tcpserver.address) as client:
                    client.sendall(b"hullo")
                    await asyncio.sleep(60)
        """, "expected b'hello', got b'hullo'", ">       threaded_tcpserver.expect_bytes(b\"hello\")")

    def test_one_of_two_servers_fails(self) -> None:
        """A test that waits at the other one is freed, and reports the first failure."""
        text = self.fails_once("""
            def test_it(threaded_tcpserver, threaded_tcpserver_factory):
                other = threaded_tcpserver_factory(timeout=60)
                for server in (threaded_tcpserver, other):
                    server.expect_connect()
                    server.expect_bytes(b"hello")
                with socket.create_connection(threaded_tcpserver.address) as client:
                    client.sendall(b"hullo")
                    with socket.create_connection(other.address) as client:
                        client.recv(1)
        """, "expected b'hello', got b'hullo'", "then the client raised", "the script of another server failed")
        self.assertNotIn("1 error", text)

    def test_client_that_is_stuck_since_it_misbehaved(self) -> None:
        """The server that waits in vain is not reported, but the one that got what no step explains."""
        self.fails_once("""
            def test_it(threaded_tcpserver, threaded_tcpserver_factory):
                other = threaded_tcpserver_factory(allow_open=True)
                for server, more in ((other, {}), (threaded_tcpserver, {"timeout": 0.05})):
                    server.expect_connect()
                    server.expect_bytes(b"hello", **more)
                with socket.create_connection(other.address) as client:
                    client.sendall(b"hello, server")
                    with socket.create_connection(threaded_tcpserver.address) as client:
                        client.recv(1)
        """, "the script is complete, but the client sent 8 more bytes: b', server'")

    @needs("pytest_asyncio")
    def test_asynchronous_client_that_is_stuck_since_it_misbehaved(self) -> None:
        """The same with a client that has to be interrupted."""
        self.fails_once("""
            @pytest.mark.asyncio
            async def test_it(tcpserver, tcpserver_factory):
                other = tcpserver_factory(allow_open=True)
                for server, more in ((other, {}), (tcpserver, {"timeout": 0.05})):
                    server.expect_connect()
                    server.expect_bytes(b"hello", **more)
                reader, writer = await asyncio.open_connection(*other.address)
                writer.write(b"hello, server")
                _, another = await asyncio.open_connection(*tcpserver.address)
                try:
                    await asyncio.sleep(60)
                finally:
                    writer.close()
                    another.close()
        """, "the script is complete, but the client sent 8 more bytes: b', server'")

    def test_fixture_closes_the_client(self) -> None:
        """What only the tear-down of a fixture does is judged after it."""
        self.run_tests("""
            @pytest.fixture
            def client(threaded_tcpserver):
                with socket.create_connection(threaded_tcpserver.address) as client:
                    yield client
                    client.sendall(b"QUIT")

            @pytest.mark.parametrize("expected", [b"QUIT", b"EXIT"])
            def test_it(threaded_tcpserver, client, expected):
                threaded_tcpserver.expect_connect()
                threaded_tcpserver.expect_bytes(expected)
        """).assert_outcomes(passed=2, errors=1)

    def test_factory(self) -> None:
        """The factory makes servers, and judges them."""
        self.run_tests("""
            def test_it(threaded_tcpserver_factory):
                servers = [threaded_tcpserver_factory(), threaded_tcpserver_factory(timeout=0.05)]
                for server in servers:
                    server.expect_connect()
                socket.create_connection(servers[0].address).close()
                with pytest.raises(AssertionError, match="no client connected"):
                    threaded_tcpserver_factory.stop()
        """).assert_outcomes(passed=1)


@needs("pytest_asyncio")
class MisuseTests(PluginTestCase):
    """Clear errors for what can't work."""

    def fails_at_setup(self, source: str, *expected: str) -> None:
        """Assert that the one test can't be set up, for this reason."""
        result = self.run_tests(source)
        result.assert_outcomes(errors=1)
        for each in expected:
            self.assertIn(each, self.text(result))

    def test_blocking_test(self) -> None:
        """A test that is no coroutine function is told of threaded_tcpserver."""
        self.fails_at_setup("def test_it(tcpserver): pass", "test_it is not `async def`", "threaded_tcpserver")

    def test_both_fixtures(self) -> None:
        """A test takes one kind of server."""
        for names in ("tcpserver, threaded_tcpserver", "threaded_tcpserver, tcpserver_factory"):
            with self.subTest(names):
                self.fails_at_setup(f"@pytest.mark.asyncio\nasync def test_it({names}): pass", "test_it takes both")

    def test_fixture_of_wider_scope(self) -> None:
        """A fixture of a module can't have the server of a test."""
        self.fails_at_setup("""
            @pytest.fixture(scope="module")
            def client(tcpserver): pass

            def test_it(client): pass
        """, "ScopeMismatch", "tcpserver")

    def test_loop_that_the_test_stops(self) -> None:
        """One failure says so, and nothing else; a RuntimeError of the test's own stands."""
        result = self.run_tests("""
            @pytest.mark.asyncio
            async def test_it(tcpserver):
                tcpserver.expect_connect()
                asyncio.get_running_loop().call_soon(asyncio.get_running_loop().stop)
                await asyncio.sleep(0.05)
        """, subprocess=True)
        result.assert_outcomes(failed=1)
        text = self.text(result)
        self.assertIn("the event loop was stopped or closed while the test ran in it", text)
        self.assertNotIn("Traceback", text + "\n".join(result.stderr.lines))
        self.assertNotIn("no client connected", text)
        self.fails_once("""
            @pytest.mark.asyncio
            async def test_it(tcpserver):
                raise RuntimeError("of the test's own")
        """, "of the test's own")

    def test_loop_that_is_closed_too_early(self) -> None:
        """The server can't be judged in a loop that was closed, and says so."""
        result = self.run_tests("""
            import functools

            def in_own_loop(function):
                @functools.wraps(function)
                def test(**fixtures):
                    asyncio.run(function(**fixtures))
                return test

            @in_own_loop
            async def test_it(tcpserver):
                tcpserver.expect_connect()
        """, subprocess=True)
        result.assert_outcomes(passed=1, errors=1)
        self.assertIn("was closed before the server could be judged", self.text(result))


if __name__ == "__main__":
    unittest.main()
