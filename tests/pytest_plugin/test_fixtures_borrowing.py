"""Servers that outlive a test under pytest: `python -m pytest tests/pytest_plugin/test_fixtures_borrowing.py`."""

from __future__ import annotations

import textwrap
import unittest

from tests.support.pytest_runs import PYTESTER, PluginTestCase, needs_loop_scopes

pytest_plugins = PYTESTER

CLIENT = """
def go(server, data=b"PING"):
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PONG")
    server.expect_disconnect()
    with socket.create_connection(server.address, 20) as client:
        client.sendall(data + b"\\r\\n")
        assert client.recv(10) == b"PONG\\r\\n"
"""

# A test that is sound, guilty ones, each followed by a sound one.
TESTS = CLIENT + """
def test_sound(server):
    go(server)

def test_wrong_byte(server):
    go(server, b"PUNG")

def test_after_wrong_byte(server):
    assert server.connections == [] and list(server.transcript) == []
    go(server)

def test_of_its_own(server):
    go(server)
    assert False, "of its own"

def test_after_its_own(server):
    go(server)

def test_unknown_client(server):
    socket.create_connection(server.address, 20).close()

def test_after_unknown_client(server):
    assert server.connections == []
    go(server)

KEPT = []

def test_client_stays(server):
    server.expect_connect(); server.expect_line(b"PING")
    KEPT.append(socket.create_connection(server.address, 20))
    KEPT[0].sendall(b"PING\\r\\n")

def test_after_client_that_stays(server):
    try:
        KEPT[0].sendall(b"MORE\\r\\n")
    except ConnectionError:
        pass
    KEPT.pop().close()
    go(server)

def test_clears_by_itself(server):
    go(server)
    server.clear()
    go(server)

def test_fails_after_clearing(server):
    go(server)
    server.clear()
    go(server, b"PUNG")

def test_last(server):
    go(server)
"""

GUILTY = ["test_wrong_byte", "test_of_its_own", "test_unknown_client", "test_client_stays", "test_fails_after_clearing"]


class BorrowingTests(PluginTestCase):
    """Each test has its own verdict, which is its one report."""

    def assert_guilty_fail(self, source: str, *, guilty: list[str] = GUILTY, total: int = 12) -> str:
        """Run the tests: the guilty ones fail, the others pass, and there is no other report. Return the output."""
        result = self.run_tests(source)
        text = result.stdout.str()
        failed = [line.partition("::")[2].partition(" ")[0] for line in text.splitlines() if line.startswith("FAILED")]
        self.assertEqual(failed, guilty, text)
        result.assert_outcomes(failed=len(guilty), passed=total - len(guilty))
        return text

    def test_shared_threaded_tcpserver(self) -> None:
        """The ready fixture, which has one address in the whole session."""
        text = self.assert_guilty_fail(TESTS + textwrap.dedent("""
            ADDRESSES = set()

            @pytest.fixture
            def server(shared_threaded_tcpserver):
                ADDRESSES.add(shared_threaded_tcpserver.address)
                assert len(ADDRESSES) == 1
                return shared_threaded_tcpserver
            """))
        self.assertEqual(text.count("expected b'PING', got b'PUNG' at byte 1 (connection 1, "), 2, text)
        self.assertIn("tcpserver transcript", text)

    def test_server_of_a_module(self) -> None:
        """A server of the test suite's own, with its own scope and options."""
        self.assert_guilty_fail(TESTS + textwrap.dedent("""
            from tcpclient_testing import ThreadedMockTCPServer

            @pytest.fixture(scope="module")
            def module_server():
                with ThreadedMockTCPServer(timeout=2) as server:
                    yield server

            @pytest.fixture
            def server(module_server, borrow_tcpserver):
                return borrow_tcpserver(module_server)
            """))

    def test_clearing_in_a_fixture(self) -> None:
        """With clear() in a fixture of the suite's own, what only that can show is an error of the guilty test."""
        result = self.run_tests(TESTS + textwrap.dedent("""
            from tcpclient_testing import ThreadedMockTCPServer

            @pytest.fixture(scope="module")
            def module_server():
                with ThreadedMockTCPServer(timeout=2) as server:
                    yield server

            @pytest.fixture
            def server(module_server):
                yield module_server
                module_server.clear()
            """))
        text = result.stdout.str()
        blamed = {line.partition("::")[2].partition(" ")[0] for line in text.splitlines()
                  if line.startswith(("FAILED", "ERROR "))}
        self.assertEqual(blamed, set(GUILTY), text)

    def test_verdict_that_was_reported(self) -> None:
        """It is not raised again by the fixture that clears or leaves the server."""
        for end in ("clear", "stop"):
            with self.subTest(end=end):
                result = self.run_tests(CLIENT + textwrap.dedent(f"""
                    from tcpclient_testing import ThreadedMockTCPServer

                    @pytest.fixture
                    def server():
                        server = ThreadedMockTCPServer().start()
                        yield server
                        server.{end}()
                        server.stop()

                    def test_joins(server):
                        try:
                            go(server, b"PUNG")
                        except ConnectionError:
                            pass
                        server.join()

                    @pytest.mark.xfail(strict=True)
                    def test_expected(server):
                        test_joins(server)
                    """))
                result.assert_outcomes(failed=1, xfailed=1)

    def test_fixture_that_closes_the_client(self) -> None:
        """A client that a fixture closes is judged after that."""
        self.assert_guilty_fail(CLIENT + textwrap.dedent("""
            @pytest.fixture
            def client(shared_threaded_tcpserver):
                with socket.create_connection(shared_threaded_tcpserver.address, 20) as client:
                    yield client

            @pytest.mark.parametrize("number", range(3))
            def test(client, shared_threaded_tcpserver, number):
                server = shared_threaded_tcpserver
                server.expect_connect()
                server.expect_line(b"PING")
                server.send_line(b"PONG")
                server.expect_disconnect()
                client.sendall(b"PING\\r\\n")
                assert client.recv(10) == b"PONG\\r\\n"
            """), guilty=[], total=3)

    def test_misuse(self) -> None:
        """What can't be borrowed: options of a marker, two kinds of servers, a server that does not run."""
        result = self.run_tests("""
            from tcpclient_testing import MockTCPServer, ThreadedMockTCPServer

            @pytest.mark.tcpserver(timeout=2)
            def test_options(shared_threaded_tcpserver):
                pass

            def test_not_started(borrow_tcpserver):
                borrow_tcpserver(ThreadedMockTCPServer())

            def test_stopped(borrow_tcpserver):
                server = ThreadedMockTCPServer().start()
                server.stop()
                borrow_tcpserver(server)

            def test_not_asynchronous(borrow_tcpserver):
                borrow_tcpserver(MockTCPServer())

            def test_both(borrow_tcpserver, threaded_tcpserver):
                borrow_tcpserver(MockTCPServer())
            """)
        result.assert_outcomes(errors=1, failed=4)
        result.stdout.fnmatch_lines_random([
            "*test_options is marked with options of its own, and shared_threaded_tcpserver was made before it: *",
            "*ScriptError: the server was not started*", "*ScriptError: this server was stopped*",
            "*test_not_asynchronous is not `async def`*", "*test_both takes both tcpserver and threaded_tcpserver*"])

    @needs_loop_scopes
    def test_asynchronous_server(self) -> None:
        """A server of a module's loop."""
        self.assert_guilty_fail("""
            from tcpclient_testing import MockTCPServer
            pytestmark = pytest.mark.asyncio(loop_scope="module")

            @pytest_asyncio.fixture(scope="module", loop_scope="module")
            async def module_server():
                async with MockTCPServer() as server:
                    yield server

            @pytest.fixture
            def server(module_server, borrow_tcpserver):
                return borrow_tcpserver(module_server)

            async def go(server, data=b"PING"):
                server.expect_connect()
                server.expect_line(b"PING")
                server.send_line(b"PONG")
                server.expect_disconnect()
                assert await talk(server, data + b"\\r\\n", b"PONG\\r\\n") == b"PONG\\r\\n"

            async def test_sound(server):
                await go(server)

            async def test_wrong_byte(server):
                await go(server, b"PUNG")

            async def test_after_wrong_byte(server):
                assert server.connections == []
                await go(server)

            async def test_hangs(server):
                try:
                    await go(server, b"PUNG")
                except Exception:
                    await asyncio.sleep(60)

            async def test_after_hanging(server):
                await go(server)

            async def test_unknown_client(server):
                await talk(server, b"")

            async def test_clears_by_itself(server):
                await go(server)
                await server.clear()
                await go(server)
            """, guilty=["test_wrong_byte", "test_hangs", "test_unknown_client"], total=7)

    @needs_loop_scopes
    def test_asynchronous_server_of_another_loop(self) -> None:
        """It is told that fixture and test need the same loop."""
        result = self.run_tests("""
            from tcpclient_testing import MockTCPServer

            @pytest_asyncio.fixture(scope="module", loop_scope="module")
            async def module_server():
                async with MockTCPServer() as server:
                    yield server

            @pytest.mark.asyncio
            async def test_elsewhere(module_server, borrow_tcpserver):
                borrow_tcpserver(module_server)
            """)
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*ScriptError: this server lives in another event loop*"])


if __name__ == "__main__":
    unittest.main()
