"""The package works from a zip archive, as zipapps and some build systems use it; the shipped certificates do, too."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
import unittest
import zipfile

from tests.support.long import lasting
from tests.support.readme import ROOT

# A module in the archive, with two tests: one passes, and one fails.
_MODULE = '''
    import asyncio
    import atexit
    import os
    import unittest

    from tcpclient_testing import MockTCPServerMixin, tls

    class Test(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):

        async def ask(self, word, **options):
            self.start_tcpserver(tls="expired")
            server = self.start_tcpserver(tls=True)
            server.expect_connect()
            server.expect_line(b"PING")
            server.send_line(b"PONG")
            server.expect_disconnect()
            reader, writer = await asyncio.open_connection("localhost", server.port, ssl=tls.client_context())
            writer.write(word)
            await reader.readline()
            writer.close()
            await writer.wait_closed()

        async def test_passes(self):
            await self.ask(b"PING\\r\\n")

        async def test_fails(self):
            await self.ask(b"PUNG\\r\\n")

        def test_paths(self):
            for path in (tls.authority_path, tls.certificate_path("expired")):
                self.assertTrue(path.is_file())
            if os.fork() == 0:
                atexit._run_exitfuncs()  # a child that exits removes nothing
                os._exit(0)
            os.wait()
            self.assertTrue(tls.authority_path.is_file())
            print(tls.authority_path.parent)
'''

_MAIN = '''
    import sys
    sys.path.insert(0, sys.argv.pop(1))
    import tcpclient_testing, unittest
    assert ".zip" in tcpclient_testing.__file__
    unittest.main("zipped_tests")
'''


class ZippedTests(unittest.TestCase):
    """The package in a zip archive."""

    @unittest.skipUnless(hasattr(os, "fork"), "needs fork")
    @lasting
    def test_tests_run(self) -> None:
        """A test passes over TLS, one fails with its lines, and copies of the certificates are removed at the end."""
        with tempfile.TemporaryDirectory() as folder:
            archive = os.path.join(folder, "library.zip")
            with zipfile.ZipFile(archive, "w") as made:
                for path in sorted((ROOT / "tcpclient_testing").rglob("*")):
                    if path.suffix in (".py", ".pem"):
                        made.write(path, path.relative_to(ROOT))
                made.writestr("zipped_tests.py", textwrap.dedent(_MODULE))
            ran = subprocess.run([sys.executable, "-c", textwrap.dedent(_MAIN), archive], cwd=folder, text=True,
                                 capture_output=True, timeout=60, check=False)
            copies = ran.stdout.splitlines()
            self.assertRegex(ran.stderr, r"Ran 3 tests .*\n\nFAILED \(failures=1\)")
            self.assertRegex(ran.stderr, r"ExpectationError: expected b'PING', got b'PUNG' at byte 1 \(connection 1, "
                                         r"step 2 of 4, zipped_tests\.py:15 from zipped_tests\.py:28\)\n")
            self.assertNotRegex(ran.stderr, r"File .*library\.zip/tcpclient_testing")
            self.assertEqual(len(copies), 1)
            self.assertFalse(os.path.exists(copies[0]))


if __name__ == "__main__":
    unittest.main()
