"""Make the certificates that the package ships; run by hand, when they have to change.

    python tests/make_certificates.py [FOLDER]

It needs the ``openssl`` command, 1.1.1 or later, and nothing else; without FOLDER it replaces the files in
``tcpclient_testing/certificates``.

All of them are made in one go because **the authority's private key is thrown away** at the end: it only ever exists in
a temporary folder that nobody else can read. Whoever has told a client to trust ``authority.pem`` has trusted the
certificates made here and no others, for nobody can sign another one. Should the key have been copied all the same, the
authority is constrained (critical, RFC 5280 section 4.2.1.10) to ``localhost`` and to loopback addresses.

The leaves' private keys are published with the package. They are worth nothing: they speak for names which only ever
mean one's own machine.

The choices:

* P-256 keys: the quickest handshake among those that nearly every TLS client can do.
* Valid from 2000 to the end of 2099, for tests that run with a faked clock, and so that nobody's suite breaks on a
  birthday. Dates after 2049 are in GeneralizedTime, as RFC 5280 section 4.1.2.5 has it.
* Key identifiers, critical key usage, an extended key usage and random serial numbers throughout: Python 3.13 verifies
  with VERIFY_X509_STRICT, and other TLS libraries always did.
* Certificates are issued with ``openssl ca``: before OpenSSL 3.4 it is the only subcommand that takes both dates.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile

SHIPPED = pathlib.Path(__file__).resolve().parent.parent / "tcpclient_testing" / "certificates"

#: Every name by which this machine calls itself.
LOOPBACK = "DNS:localhost, IP:127.0.0.1, IP:::1"

ALWAYS = ("20000101000000Z", "20991231235959Z")
EXPIRED = ("20000101000000Z", "20001231235959Z")
NOT_YET = ("20990101000000Z", "20991231235959Z")

#: file name: (signed by, common name, purpose, names, validity)
LEAVES = {
    "localhost": ("authority", "localhost", "serverAuth", LOOPBACK, ALWAYS),
    "client": ("authority", "client", "clientAuth", "DNS:client.localhost", ALWAYS),
    "expired": ("authority", "localhost", "serverAuth", LOOPBACK, EXPIRED),
    "not-yet-valid": ("authority", "localhost", "serverAuth", LOOPBACK, NOT_YET),
    # Within the authority's constraint (a subdomain of localhost), so that its name is all that is wrong with it.
    "wrong-name": ("authority", "wrong.localhost", "serverAuth", "DNS:wrong.localhost", ALWAYS),
    # A name that the authority may not vouch for; RFC 2606 reserves .invalid, so that it is nobody's.
    "outside-constraints": ("authority", "localhost", "serverAuth", LOOPBACK + ", DNS:outside.invalid", ALWAYS),
    "unknown-authority": ("unknown", "localhost", "serverAuth", LOOPBACK, ALWAYS),
    "self-signed": (None, "localhost", "serverAuth", LOOPBACK, ALWAYS),
}

AUTHORITIES = {
    "authority": "tcpclient_testing authority, for loopback only",
    "unknown": "an authority that nobody trusts",
}

CONFIGURATION = """
[ca]
default_ca = issuing

[issuing]
database = index.txt
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any_subject
email_in_dn = no

[any_subject]
organizationName = supplied
commonName = supplied

[req]
distinguished_name = asked_for
[asked_for]

[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
nameConstraints = critical, permitted;DNS:localhost, permitted;IP:127.0.0.0/255.0.0.0, \
permitted;IP:::1/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
"""

LEAF_SECTION = """
[leaf {name}]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = {purpose}
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
subjectAltName = {names}
"""


class Workshop:
    """A temporary folder with everything that ``openssl ca`` wants, and the keys and certificates made so far.

    The commands run in that folder, and name its files without it: ``openssl ca`` takes no path of 256 bytes or more.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        (folder / "index.txt").touch()
        configuration = CONFIGURATION
        for name, (_, _, purpose, names, _) in LEAVES.items():
            configuration += LEAF_SECTION.format(name=name, purpose=purpose, names=names)
        self.configuration = folder / "openssl.cnf"
        self.configuration.write_text(configuration, encoding="ascii")

    def key(self, name: str) -> pathlib.Path:
        return self.folder / f"{name}.key"

    def certificate(self, name: str) -> pathlib.Path:
        return self.folder / f"{name}.crt"

    def make(self, name: str, common_name: str, section: str, signer: str | None, validity: tuple[str, str]) -> None:
        """Make a new key and its certificate, signed by `signer` or, without one, by itself."""
        request = self.folder / f"{name}.csr"
        self.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", self.key(name))
        subject = f"/O=tcpclient_testing/CN={common_name}"
        self.openssl("req", "-new", "-config", self.configuration, "-key", self.key(name), "-subj", subject,
                     "-out", request)
        issue: list[str | pathlib.Path] = ["ca", "-batch", "-notext", "-config", self.configuration]
        if signer is None:
            issue += ["-selfsign", "-keyfile", self.key(name)]
        else:
            issue += ["-cert", self.certificate(signer), "-keyfile", self.key(signer)]
        start, end = validity
        issue += ["-extensions", section, "-startdate", start, "-enddate", end]
        self.openssl(*issue, "-in", request, "-out", self.certificate(name))

    def openssl(self, *arguments: str | pathlib.Path) -> None:
        """Run an openssl command, silently unless it goes wrong."""
        command = ["openssl", *(each.name if isinstance(each, pathlib.Path) else each for each in arguments)]
        done = subprocess.run(command, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, errors="replace", check=False)
        if done.returncode:
            raise SystemExit(f"openssl {arguments[0]} ended with {done.returncode}:\n{done.stderr}")


def make_certificates(target: pathlib.Path) -> None:
    """Write ``authority.pem`` (a certificate), and for each leaf its certificate and private key in one file."""
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(pathlib.Path(folder))
        for name, common_name in AUTHORITIES.items():
            workshop.make(name, common_name, "authority", None, ALWAYS)
        for name, (signer, common_name, _, _, validity) in LEAVES.items():
            workshop.make(name, common_name, f"leaf {name}", signer, validity)
        target.mkdir(exist_ok=True)
        (target / "authority.pem").write_bytes(workshop.certificate("authority").read_bytes())
        for name in LEAVES:
            together = workshop.certificate(name).read_bytes() + workshop.key(name).read_bytes()
            (target / f"{name}.pem").write_bytes(together)


if __name__ == "__main__":
    make_certificates(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED)
