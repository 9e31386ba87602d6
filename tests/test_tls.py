"""Real handshakes in memory, without sockets: what the shipped certificates and the contexts are good for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import shutil
import ssl
import subprocess
import sys
import tempfile
import unittest
from typing import NamedTuple

from tcpclient_testing import tls
from tests import make_certificates
from tests.support.tls_cases import default_context, only

# The X509_V_ERR_... that OpenSSL gives for each of them: openssl-verification-options(1), include/openssl/x509_vfy.h.
VERIFY_CODES = {
    "expired": 10,
    "not-yet-valid": 9,
    "wrong-name": 62,
    "self-signed": 18,
    "unknown-authority": 20,
    "outside-constraints": 47,
}
WRONG_PURPOSE = 26
WRONG_ADDRESS = 64

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


class Peer:
    """One side of a TLS connection whose wire is memory."""

    def __init__(self, context: ssl.SSLContext, *, server_hostname: str | None = None) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server_hostname is None, server_hostname=server_hostname
        )
        self.done = False
        self.error: ssl.SSLError | None = None

    def turn(self, other: Peer) -> None:
        """Go on with the handshake, unless it has ended, and hand the other side what comes of it."""
        if not self.done and self.error is None:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                self.error = error
            else:
                self.done = True
        other.incoming.write(self.outgoing.read())


class Handshake(NamedTuple):
    client: Peer
    server: Peer


def shake_hands(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext, server_hostname: str = "localhost"
) -> Handshake:
    """Let the two sides take turns until neither has anything to say."""
    client, server = Peer(client_context, server_hostname=server_hostname), Peer(server_context)
    for _ in range(4):
        client.turn(server)
        server.turn(client)
    return Handshake(client, server)


class ShippedCertificateTests(unittest.TestCase):
    def assert_refused(self, handshake: Handshake, verify_code: int) -> None:
        error = handshake.client.error
        self.assertIsInstance(error, ssl.SSLCertVerificationError)
        self.assertEqual(getattr(error, "verify_code", None), verify_code, error)
        self.assertFalse(handshake.server.done)

    def test_handshake_succeeds_for_each_loopback_name_and_version(self) -> None:
        """A client that trusts the authority accepts the server under each of its names, over TLS 1.2 and 1.3."""
        for version in VERSIONS:
            for name in ("localhost", "127.0.0.1", "::1"):
                with self.subTest(name=name, version=version.name):
                    client, server = shake_hands(tls.server_context(), only(version), name)
                    self.assertEqual((client.error, server.error), (None, None))
                    self.assertTrue(client.done and server.done)
                    self.assertEqual(client.tls.version(), version.name.replace("_", "."))

    def test_handshake_succeeds_when_client_verifies_strictly(self) -> None:
        """The certificates are good under VERIFY_X509_STRICT, which is the default from Python 3.13 on."""
        client_context, server_context = (
            tls.client_context(certificate="client"),
            tls.server_context(client_certificates="required"),
        )
        for context in (client_context, server_context):
            context.verify_flags |= ssl.VERIFY_X509_STRICT
        client, server = shake_hands(server_context, client_context)
        self.assertEqual((client.error, server.error), (None, None))

    def test_bad_certificate_is_refused_for_its_own_reason(self) -> None:
        """Each of the bad certificates is refused, for the very thing that is wrong with it."""
        self.assertEqual(set(VERIFY_CODES), set(tls.BAD_CERTIFICATES))
        for version in VERSIONS:
            for name in tls.BAD_CERTIFICATES:
                with self.subTest(name, version=version.name):
                    self.assert_refused(shake_hands(tls.server_context(name), only(version)), VERIFY_CODES[name])

    def test_server_learns_of_refusal_by_an_alert(self) -> None:
        """A refusing client sends an alert, which is the server's error."""
        for name, reason in (("expired", "CERTIFICATE_EXPIRED"), ("unknown-authority", "UNKNOWN_CA")):
            with self.subTest(name):
                error = shake_hands(tls.server_context(name), tls.client_context()).server.error
                self.assertIn(reason, error.reason if error else "no error")

    def test_wrong_name_is_refused_for_addresses(self) -> None:
        """The certificate with the wrong name is for no address either."""
        for address in ("127.0.0.1", "::1"):
            with self.subTest(address):
                handshake = shake_hands(tls.server_context("wrong-name"), tls.client_context(), address)
                self.assert_refused(handshake, WRONG_ADDRESS)

    def test_client_certificate_is_refused_when_a_server_shows_it(self) -> None:
        """A client's certificate does not make a server, even under its own name."""
        handshake = shake_hands(tls.server_context("client"), tls.client_context(), "client.localhost")
        self.assert_refused(handshake, WRONG_PURPOSE)

    def test_bad_certificates_have_one_fault_only(self) -> None:
        """A client that overlooks just that fault accepts the certificate."""
        no_names = tls.client_context()
        no_names.check_hostname = False
        trusting = tls.client_context()
        trusting.load_verify_locations(str(tls.certificate_path("self-signed")))
        for name, client_context, hostname in (
            ("wrong-name", no_names, "localhost"),
            ("wrong-name", tls.client_context(), "wrong.localhost"),
            ("self-signed", trusting, "localhost"),
        ):
            with self.subTest(name, hostname=hostname):
                client, _ = shake_hands(tls.server_context(name), client_context, hostname)
                self.assertIsNone(client.error)

    def test_default_client_refuses_the_authority(self) -> None:
        """Nobody trusts the authority who was not told to."""
        for name in ("localhost", "outside-constraints"):
            with self.subTest(name):
                handshake = shake_hands(tls.server_context(name), default_context())
                self.assert_refused(handshake, VERIFY_CODES["unknown-authority"])

    def test_authority_comes_without_a_private_key(self) -> None:
        """The key is in none of the files: no file but a leaf's has one, and none of those fits the authority."""
        pem = tls.authority_path.read_text("ascii")
        self.assertNotIn("PRIVATE KEY", pem)
        self.assertEqual(pem.count("BEGIN CERTIFICATE"), 1)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for file in sorted(tls.authority_path.parent.glob("*.pem")):
            if file != tls.authority_path:
                with self.subTest(file.name), self.assertRaisesRegex(ssl.SSLError, "KEY_VALUES_MISMATCH"):
                    context.load_cert_chain(str(tls.authority_path), str(file))

    def test_certificates_are_valid_for_decades(self) -> None:
        """Nobody's test-suite breaks on a birthday before the end of the century, or under a faked clock."""
        decoded = ssl._ssl._test_decode_cert  # type: ignore[attr-defined]  # the standard library has no public one
        for path in (tls.authority_path, tls.certificate_path(), tls.client_certificate_path):
            with self.subTest(path.name):
                certificate = decoded(str(path))
                self.assertEqual(certificate["notBefore"], "Jan  1 00:00:00 2000 GMT")
                self.assertEqual(certificate["notAfter"], "Dec 31 23:59:59 2099 GMT")

    @unittest.skipUnless(shutil.which("openssl"), "needs the openssl command")
    def test_authority_is_constrained_to_loopback(self) -> None:
        """The constraint is there, critical, and names loopback only."""
        command = ["openssl", "x509", "-in", str(tls.authority_path), "-noout", "-text"]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        constraints = text.partition("X509v3 Name Constraints: critical")[2].partition("Signature Algorithm")[0]
        self.assertEqual(
            {line.strip() for line in constraints.splitlines() if line.strip()},
            {
                "Permitted:",
                "DNS:localhost",
                "IP:127.0.0.0/255.0.0.0",
                "IP:0:0:0:0:0:0:0:1/FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF:FFFF",
            },
        )


class ClientCertificateTests(unittest.TestCase):
    def test_required_certificate_is_accepted(self) -> None:
        """A client with the shipped certificate passes, and the server knows who it is."""
        for version in VERSIONS:
            for demand in ("required", "optional"):
                with self.subTest(demand, version=version.name):
                    server_context = tls.server_context(client_certificates=demand)
                    client, server = shake_hands(server_context, only(version, certificate="client"))
                    self.assertEqual((client.error, server.error), (None, None))
                    certificate = server.tls.getpeercert() or {}
                    self.assertIn((("commonName", "client"),), certificate["subject"])

    def test_handshake_fails_when_required_certificate_is_absent(self) -> None:
        """A client without one is turned away."""
        for version in VERSIONS:
            with self.subTest(version=version.name):
                handshake = shake_hands(tls.server_context(client_certificates="required"), only(version))
                self.assertFalse(handshake.server.done)
                error = handshake.server.error
                self.assertEqual(error.reason if error else None, "PEER_DID_NOT_RETURN_A_CERTIFICATE")

    def test_client_learns_of_it_when_it_reads(self) -> None:
        """Over TLS 1.3 the client's handshake has succeeded by then: the alert is what it reads."""
        client, _ = shake_hands(tls.server_context(client_certificates="required"), only(ssl.TLSVersion.TLSv1_3))
        self.assertTrue(client.done)
        with self.assertRaisesRegex(ssl.SSLError, "CERTIFICATE_REQUIRED"):
            client.tls.read(1)

    def test_optional_certificate_may_be_absent(self) -> None:
        """A client without one passes if none is required."""
        client, server = shake_hands(tls.server_context(client_certificates="optional"), tls.client_context())
        self.assertTrue(client.done and server.done)
        self.assertIsNone(server.tls.getpeercert())

    def test_server_refuses_bad_client_certificate(self) -> None:
        """A certificate by an unknown authority is no good, and neither is one that is for servers."""
        for name, code in (
            ("unknown-authority", VERIFY_CODES["unknown-authority"]),
            ("localhost", WRONG_PURPOSE),
        ):
            with self.subTest(name):
                server_context = tls.server_context(client_certificates="required")
                error = shake_hands(server_context, tls.client_context(certificate=name)).server.error
                self.assertEqual(getattr(error, "verify_code", error), code)

    def test_other_demand_is_refused(self) -> None:
        """What else is asked for is named, with what could have been."""
        with self.assertRaisesRegex(ValueError, "client_certificates='yes': expected 'required', 'optional' or None"):
            tls.server_context(client_certificates="yes")  # type: ignore[arg-type]


class ContextTests(unittest.TestCase):
    def test_client_trusts_the_shipped_authority_only(self) -> None:
        """Not one authority of the system is trusted, and names are checked."""
        context = tls.client_context()
        authority = ssl.PEM_cert_to_DER_cert(tls.authority_path.read_text("ascii"))
        self.assertEqual(context.get_ca_certs(binary_form=True), [authority])
        self.assertTrue(context.check_hostname)
        self.assertEqual(context.verify_mode, ssl.CERT_REQUIRED)

    def test_client_verifies_as_a_default_context_does(self) -> None:
        """The verification flags are those of this interpreter's create_default_context()."""
        self.assertEqual(tls.client_context().verify_flags, default_context().verify_flags)

    def test_versions_start_at_1_2(self) -> None:
        """Both sides refuse what RFC 8996 deprecates, whatever the interpreter's default is."""
        for context in (tls.server_context(), tls.client_context()):
            self.assertEqual(context.minimum_version, ssl.TLSVersion.TLSv1_2)

    def test_handshake_fails_when_versions_have_none_in_common(self) -> None:
        """A server for 1.3 only turns a client for 1.2 only away."""
        server_context = tls.server_context(minimum_version=ssl.TLSVersion.TLSv1_3)
        handshake = shake_hands(server_context, only(ssl.TLSVersion.TLSv1_2))
        self.assertEqual(getattr(handshake.server.error, "reason", None), "UNSUPPORTED_PROTOCOL")

    def test_server_sends_nothing_unasked_after_the_handshake(self) -> None:
        """No session tickets: what a client doesn't read would turn its close into a reset."""
        client, server = shake_hands(tls.server_context(), only(ssl.TLSVersion.TLSv1_3))
        self.assertTrue(server.done)
        self.assertEqual((server.outgoing.pending, client.incoming.pending), (0, 0))
        with self.assertRaises(ssl.SSLWantReadError):
            client.tls.read(1)

    def test_contexts_are_new_each_time(self) -> None:
        """What one test does to a context, another doesn't see."""
        self.assertIsNot(tls.server_context(), tls.server_context())
        self.assertIsNot(tls.client_context(), tls.client_context())

    def test_asyncio_streams_speak_over_loopback_sockets(self) -> None:
        """The same over real sockets, as users have it: a line there and a line back."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.readline()).upper())
            await writer.drain()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

        async def converse() -> bytes:
            server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls.server_context())
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=tls.client_context(), server_hostname="localhost"
            )
            writer.write(b"hello\n")
            line = await reader.readline()
            await reader.read()
            writer.close()
            await writer.wait_closed()
            server.close()
            await server.wait_closed()
            return line

        self.assertEqual(asyncio.run(asyncio.wait_for(converse(), 10)), b"HELLO\n")


class OwnFileTests(unittest.TestCase):
    """Certificates that the user names, instead of shipped ones."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        pem = tls.certificate_path().read_text("ascii")
        start = pem.index("-----BEGIN PRIVATE KEY-----")
        self.certificate, self.key = self.write("server.crt", pem[:start]), self.write("server.key", pem[start:])

    def write(self, name: str, text: str) -> pathlib.Path:
        path = self.folder / name
        path.write_text(text, "ascii")
        return path

    def assert_good(self, context: ssl.SSLContext) -> None:
        self.assertTrue(shake_hands(context, tls.client_context()).client.done)

    def test_file_with_both_is_taken_as_path_and_as_string(self) -> None:
        """One file for the certificate and its key, named by a path or a string."""
        both = self.write("both.pem", self.certificate.read_text("ascii") + self.key.read_text("ascii"))
        self.assert_good(tls.server_context(both))
        self.assert_good(tls.server_context(str(both)))
        self.assert_good(tls.as_server_context(both))
        self.assert_good(tls.as_server_context(str(both)))

    def test_key_is_taken_from_its_own_file(self) -> None:
        """Two files, as most programs want them."""
        self.assert_good(tls.server_context(self.certificate, key=self.key))
        self.assert_good(tls.server_context(str(self.certificate), key=str(self.key)))
        tls.client_context(certificate=self.certificate, key=self.key)

    def test_key_without_certificate_is_refused(self) -> None:
        """A client's key is of no use without its certificate, so the call can't be meant."""
        with self.assertRaisesRegex(ValueError, "key= without certificate="):
            tls.client_context(key=self.key)

    def test_missing_file_is_named(self) -> None:
        """Unlike OpenSSL, the error says which file isn't there."""
        for arguments in (
            {"certificate": self.folder / "none.pem"},
            {"certificate": os.fspath(self.folder / "none")},
            {"certificate": "none.pem"},
            {"certificate": self.certificate, "key": self.folder / "none.key"},
        ):
            with self.subTest(**arguments), self.assertRaises(FileNotFoundError) as caught:
                tls.server_context(**arguments)
            self.assertIn("none", os.path.basename(caught.exception.filename))

    def test_file_without_key_is_refused(self) -> None:
        """A certificate alone is not enough, and the error says where a key could come from."""
        with self.assertRaisesRegex(ValueError, r"server\.crt' must hold a certificate and its private key.*key="):
            tls.server_context(self.certificate)

    def test_file_without_pem_is_refused(self) -> None:
        """Neither is a file with something else in it."""
        with self.assertRaisesRegex(ValueError, r"notes\.txt' must hold a certificate and its private key"):
            tls.server_context(self.write("notes.txt", "nothing of the kind"))

    def test_key_of_another_certificate_is_refused(self) -> None:
        """A key and a certificate that don't belong together are both named."""
        with self.assertRaisesRegex(ValueError, r"server\.crt' must hold.*that .*client\.pem' is the private key to"):
            tls.server_context(self.certificate, key=tls.client_certificate_path)

    @unittest.skipUnless(shutil.which("openssl"), "needs the openssl command")
    def test_encrypted_key_is_refused_without_asking_for_a_password(self) -> None:
        """OpenSSL would ask on the terminal, and the test would hang there."""
        secret = self.folder / "secret.key"
        subprocess.run(
            ["openssl", "pkcs8", "-topk8", "-in", self.key, "-passout", "pass:secret", "-out", secret],
            check=True,
            capture_output=True,
        )
        with self.assertRaisesRegex(ValueError, r"secret\.key' is encrypted; decrypt it"):
            tls.server_context(self.certificate, key=secret)


class NameTests(unittest.TestCase):
    def test_paths_are_files_that_exist(self) -> None:
        """Each name has a file, and each file has a name."""
        names = ("localhost", "client", *tls.BAD_CERTIFICATES)
        files = {tls.certificate_path(name) for name in names} | {tls.authority_path}
        self.assertEqual(files, set(tls.authority_path.parent.glob("*.pem")))
        self.assertEqual(tls.certificate_path("client"), tls.client_certificate_path)
        self.assertEqual(tls.certificate_path(), tls.certificate_path("localhost"))

    def test_unknown_name_is_refused_with_the_names_there_are(self) -> None:
        """A misspelt name is no path that doesn't exist."""
        for misspelt in (tls.certificate_path, tls.server_context, tls.as_server_context):
            with self.subTest(misspelt.__name__), self.assertRaises(ValueError) as caught:
                misspelt("outdated")
            message = str(caught.exception)
            self.assertTrue(message.startswith("no certificate is called 'outdated'; there are 'localhost', 'client'"))
            for name in tls.BAD_CERTIFICATES:
                self.assertIn(repr(name), message)

    def test_other_type_is_refused(self) -> None:
        """A certificate is a string or a path."""
        for other in (b"localhost", None, 1):
            with self.subTest(other), self.assertRaisesRegex(TypeError, "certificate: expected a name or a path"):
                tls.server_context(other)  # type: ignore[arg-type]


class ServerArgumentTests(unittest.TestCase):
    """`as_server_context`: what a server's argument `tls` may be."""

    def test_true_is_the_certificate_for_localhost(self) -> None:
        """tls=True just works, and costs its making once only."""
        context = tls.as_server_context(True)
        self.assertTrue(shake_hands(context, tls.client_context()).client.done)
        self.assertIs(tls.as_server_context(True), context)

    def test_name_is_a_shipped_certificate(self) -> None:
        """tls="expired" shows the expired one."""
        error = shake_hands(tls.as_server_context("expired"), tls.client_context()).client.error
        self.assertEqual(getattr(error, "verify_code", error), VERIFY_CODES["expired"])

    def test_context_is_taken_as_it_is(self) -> None:
        """A user's own context is neither copied nor changed."""
        for context in (tls.server_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)):
            self.assertIs(tls.as_server_context(context), context)

    def test_context_for_clients_is_refused(self) -> None:
        """With a client's context the handshake could only fail, later and obscurely."""
        for context in (default_context(), tls.client_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)):
            with self.assertRaisesRegex(ValueError, r"is for clients.*a server needs .*tls\.server_context\(\)"):
                tls.as_server_context(context)

    def test_anything_else_is_refused(self) -> None:
        """The error says what it may be, and what it was."""
        for other in (False, None, 1, b"localhost", ("a", "b"), ssl):
            with self.subTest(other), self.assertRaisesRegex(TypeError, "tls: expected True, an ssl.SSLC.*, got "):
                tls.as_server_context(other)  # type: ignore[arg-type]


class ImportTests(unittest.TestCase):
    def test_module_is_not_imported_with_the_package(self) -> None:
        """Tests that don't use TLS don't pay for it."""
        code = "import sys, tcpclient_testing; sys.exit('tcpclient_testing.tls' in sys.modules)"
        root = pathlib.Path(__file__).resolve().parent.parent
        self.assertEqual(subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode, 0)


@unittest.skipUnless(shutil.which("openssl"), "needs the openssl command")
class MakeCertificatesTests(unittest.TestCase):
    def test_script_makes_the_files_that_are_shipped(self) -> None:
        """The script still works: it makes a file for each one shipped, and no others; the new ones are as good."""
        with tempfile.TemporaryDirectory() as folder:
            made = pathlib.Path(folder)
            make_certificates.make_certificates(made)
            shipped = {path.name for path in tls.authority_path.parent.glob("*.pem")}
            self.assertEqual({path.name for path in made.iterdir()}, shipped)
            client_context = ssl.create_default_context(cafile=str(made / "authority.pem"))
            client, _ = shake_hands(tls.server_context(made / "localhost.pem"), client_context)
            self.assertIsNone(client.error)


if __name__ == "__main__":
    unittest.main()
