"""TLS for tests: certificates that come with the package, and contexts that use them.

A server with ``tls=True`` shows a certificate for ``localhost``, ``127.0.0.1`` and ``::1``. The client under test has
to trust the authority that signed it, and should verify it exactly as it does in production:

    from tcpclient_testing import tls

    self.start_tcpserver(tls=True)
    reader, writer = await asyncio.open_connection("localhost", port, ssl=tls.client_context())

For clients that need files instead of an `ssl.SSLContext` there are paths:

    redis.Redis(host="localhost", port=port, ssl=True, ssl_ca_certs=tls.authority_path)
    subprocess.run(["curl", "--cacert", tls.authority_path, f"https://localhost:{port}/"])

A client must refuse each of `BAD_CERTIFICATES`. ``tls="expired"`` makes a server show the expired one.

Why it is safe to trust the authority:

- It can vouch only for loopback names (a critical name constraint, RFC 5280 section 4.2.1.10).
- Its private key was thrown away when the certificates were made, so nobody can sign another one.

The certificates' own private keys are public: use them only for tests on one machine.

From a package in a zip archive, the paths are those of copies, which exist until the process exits.

Two limits:

- Client libraries that don't support name constraints (Mbed TLS) refuse the authority, as RFC 5280 requires.
- Libraries that allow a server certificate only 825 days (Apple's) refuse the shipped ones, which are valid until the
  end of 2099.

For such clients, use a certificate of your own: ``tls="path/to/certificate-and-key.pem"``.
"""

from __future__ import annotations

import os
import pathlib
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Literal, Union

    Certificate = Union[str, os.PathLike[str]]

__all__ = [
    "BAD_CERTIFICATES",
    "as_server_context",
    "authority_path",
    "certificate_path",
    "client_certificate_path",
    "client_context",
    "server_context",
]

__unittest = True


def _find_folder() -> pathlib.Path:
    """The folder with the shipped certificates.

    OpenSSL and other processes need files. If the package is in a zip archive, copies are put into a temporary folder,
    which is removed when the process exits.
    """
    folder = pathlib.Path(__file__).resolve().parent / "certificates"
    return folder if folder.is_dir() else _copied()


def _copied() -> pathlib.Path:
    import atexit
    import importlib.resources
    import shutil
    import tempfile

    copies, made_by = pathlib.Path(tempfile.mkdtemp(prefix="tcpclient_testing-")), os.getpid()

    def remove() -> None:
        if os.getpid() == made_by:  # not in a forked child, which uses the copies of its parent
            shutil.rmtree(copies, ignore_errors=True)

    atexit.register(remove)
    for file in importlib.resources.files(__package__ or "tcpclient_testing").joinpath("certificates").iterdir():
        (copies / file.name).write_bytes(file.read_bytes())
    return copies


_FOLDER = _find_folder()

#: The authority's certificate (PEM), which a client must trust. Its private key no longer exists.
authority_path = _FOLDER / "authority.pem"

#: A certificate for clients and its private key, in one file (PEM), for servers that ask for a client certificate.
client_certificate_path = _FOLDER / "client.pem"

#: The certificates that a client must refuse. Each has exactly one fault:
#:
#: * ``"expired"``: valid until the end of the year 2000,
#: * ``"not-yet-valid"``: valid from the year 2099 on,
#: * ``"wrong-name"``: for ``wrong.localhost``, and for no address,
#: * ``"self-signed"``: signed by itself instead of the authority,
#: * ``"unknown-authority"``: signed by an authority that is not sent, and that nobody trusts,
#: * ``"outside-constraints"``: also for ``outside.invalid``, for which the authority may not vouch.
BAD_CERTIFICATES = ("expired", "not-yet-valid", "wrong-name", "self-signed", "unknown-authority", "outside-constraints")

#: The context for ``tls=True``, made on first use and kept: making one takes as long as a handshake (0.8 ms).
_shared: ssl.SSLContext | None = None

_SHIPPED = ("localhost", "client", *BAD_CERTIFICATES)


def certificate_path(name: str = "localhost") -> pathlib.Path:
    """The file of a shipped certificate, with its private key in the same file (PEM).

    `name` is ``"localhost"`` (the one that servers show), ``"client"`` (`client_certificate_path`), or one of
    `BAD_CERTIFICATES`. Raises ValueError for another name.
    """
    if name not in _SHIPPED:
        names = ", ".join(map(repr, _SHIPPED))
        raise ValueError(f"no certificate is called {name!r}; there are {names}, and paths to PEM files")
    return _FOLDER / f"{name}.pem"


def server_context(
    certificate: Certificate = "localhost",
    *,
    key: Certificate | None = None,
    client_certificates: Literal["required", "optional"] | None = None,
    minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    maximum_version: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
) -> ssl.SSLContext:
    """Make a context for a server; ``tls=True`` uses one with all defaults.

    `certificate` is the name of a shipped certificate (see `certificate_path`), or the path of a PEM file. The file
    holds the certificate, the chain above it if there is one, and its private key, unless `key` is the path of the key.

    With `client_certificates` the server asks for a client certificate, and accepts only those signed by the shipped
    authority (``client_context(certificate="client")`` has one). For a client that has none:

    * ``"required"``: the handshake fails. Over TLS 1.3 the client learns that only when it reads.
    * ``"optional"``: the handshake succeeds.

    By default the server does not ask.

    No session tickets are sent over TLS 1.3 (``num_tickets`` is 0). They would follow the handshake unasked, and the
    kernel of a client that never reads them would close the connection with a reset. Set ``num_tickets`` to test a
    client that resumes sessions.

    Raises ValueError for an unknown name, for a file with the wrong contents, and for an encrypted private key (decrypt
    it, or make the context yourself). Raises FileNotFoundError, or another OSError, if a file can't be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = minimum_version
    context.maximum_version = maximum_version
    if ssl.HAS_TLSv1_3:
        context.num_tickets = 0
    _load(context, certificate, key)
    if client_certificates is not None:
        if client_certificates not in ("required", "optional"):
            raise ValueError(f"client_certificates={client_certificates!r}: expected 'required', 'optional' or None")
        context.verify_mode = ssl.CERT_REQUIRED if client_certificates == "required" else ssl.CERT_OPTIONAL
        context.load_verify_locations(os.fspath(authority_path))
    return context


def client_context(
    *,
    certificate: Certificate | None = None,
    key: Certificate | None = None,
    minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    maximum_version: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED,
) -> ssl.SSLContext:
    """Make a context for a client: `ssl.create_default_context`, but it trusts only the shipped authority.

    Names are checked: connect to ``localhost``, ``127.0.0.1`` or ``::1``. `certificate` is the certificate for servers
    that ask for one: ``"client"``, or another name or path, as in `server_context`. `key` is as there, too.

    Raises what `server_context` raises, and ValueError for `key` without `certificate`.
    """
    context = ssl.create_default_context(cafile=str(authority_path))
    context.minimum_version = minimum_version
    context.maximum_version = maximum_version
    if certificate is not None:
        _load(context, certificate, key)
    elif key is not None:
        raise ValueError("key= without certificate=: a client shows both or none")
    return context


def as_server_context(tls: Literal[True] | ssl.SSLContext | Certificate) -> ssl.SSLContext:
    """Return the context for a server's argument `tls`.

    * True: the result of `server_context()`, made once and shared. Don't change it.
    * A string or a path: the result of ``server_context(tls)``.
    * An `ssl.SSLContext`: the same object.

    Raises ValueError for a context made for clients, TypeError for anything else, and what `server_context` raises.
    """
    global _shared
    if isinstance(tls, ssl.SSLContext):
        # On Python 3.9, create_default_context() makes client contexts with PROTOCOL_TLS, which serves both sides. But
        # only a client checks host names.
        if tls.protocol == ssl.PROTOCOL_TLS_CLIENT or tls.check_hostname:
            raise ValueError(
                "tls: this ssl.SSLContext is for clients (PROTOCOL_TLS_CLIENT, or check_hostname is on); a server needs"
                " tcpclient_testing.tls.server_context() or ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) with a certificate"
            )
        return tls
    if tls is True:
        if _shared is None:
            _shared = server_context()
        return _shared
    if isinstance(tls, (str, os.PathLike)):
        return server_context(tls)
    raise TypeError(f"tls: expected True, an ssl.SSLContext, a certificate's name or a PEM file's path, got {tls!r}")


def _load(context: ssl.SSLContext, certificate: Certificate, key: Certificate | None) -> None:
    """Load the certificate of `context`. Unlike ``load_cert_chain``, name the file in error messages."""
    path = _find(certificate)
    for file in (path,) if key is None else (path, key):
        with open(file, "rb"):
            pass

    def refuse() -> str:
        # Without this function, OpenSSL would ask for the password on the terminal, and the test would hang.
        raise ValueError(f"the key in {os.fspath(key or path)!r} is encrypted; decrypt it, or pass an ssl.SSLContext")

    try:
        # As strings: PyPy's ssl takes no paths.
        context.load_cert_chain(os.fspath(path), None if key is None else os.fspath(key), password=refuse)
    except ssl.SSLError as error:
        if key is None:
            wanted = "a certificate and its private key, in PEM form (or key= the path of the key)"
        else:
            wanted = f"the certificate, in PEM form, that {os.fspath(key)!r} is the private key to"
        raise ValueError(f"{os.fspath(path)!r} must hold {wanted}: {error.reason or error}") from error


def _find(certificate: Certificate) -> pathlib.Path:
    """The file for a name or a path. A bare word that is no known name counts as a misspelt name, not as a path."""
    if not isinstance(certificate, (str, os.PathLike)):
        raise TypeError(f"certificate: expected a name or a path, got {certificate!r}")
    path = pathlib.Path(certificate)
    if isinstance(certificate, str) and (certificate in _SHIPPED or not (path.suffix or path.name != certificate)):
        return certificate_path(certificate)
    return path
