"""The options for serving over TLS."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ftllm.errors import OptionError

if TYPE_CHECKING:
    from ftllm.server.tls_files import TlsFiles

TLS_PANEL = "TLS"


def tls_options(
    ssl_certfile: Annotated[
        Path | None,
        typer.Option(
            "--ssl_certfile",
            metavar="FILE",
            help="Serve HTTPS with this certificate (PEM, with those between it and its root).",
            show_default=False,
            rich_help_panel=TLS_PANEL,
        ),
    ] = None,
    ssl_keyfile: Annotated[
        Path | None,
        typer.Option(
            "--ssl_keyfile",
            metavar="FILE",
            help="Its private key. Default: in the certificate's file.",
            show_default=False,
            rich_help_panel=TLS_PANEL,
        ),
    ] = None,
    ssl_keyfile_password: Annotated[
        str | None,
        typer.Option(
            "--ssl_keyfile_password",
            metavar="PASSWORD|@FILE",
            hide_input=True,
            help="Of an encrypted key; FTLLM_SSL_KEYFILE_PASSWORD hides it from the process list.",
            show_default=False,
            rich_help_panel=TLS_PANEL,
        ),
    ] = None,
    ssl_ca_certs: Annotated[
        Path | None,
        typer.Option(
            "--ssl_ca_certs",
            metavar="FILE",
            help="Clients must show a certificate that one of these has signed.",
            show_default=False,
            rich_help_panel=TLS_PANEL,
        ),
    ] = None,
) -> "TlsFiles | None":
    """Checks the files, so that a mistake is told before a model is loaded. Without a certificate
    None."""
    from ftllm.server.tls_files import TlsFiles  # here, so that --help loads no server

    if ssl_certfile is None:
        for name, value in (
            ("--ssl_keyfile", ssl_keyfile),
            ("--ssl_keyfile_password", ssl_keyfile_password),
            ("--ssl_ca_certs", ssl_ca_certs),
        ):
            if value is not None:
                raise OptionError(f"{name} needs --ssl_certfile, the certificate to serve with.")
        return None
    files = TlsFiles(
        certfile=ssl_certfile,
        keyfile=ssl_keyfile,
        password=_password(ssl_keyfile_password),
        client_ca=ssl_ca_certs,
    )
    files.check()
    return files


def _password(given: str | None) -> str | None:
    if given is None or not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"--ssl_keyfile_password: {given[1:]} cannot be read: {error}") from error
