"""The certificate that a server shows, and whose certificates it asks its clients for."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from ftllm.errors import OptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files. `check` tells whether they can be used."""

    certfile: Path  # the certificate, then those between it and its root
    keyfile: Path | None = None  # None: the key is in certfile
    password: str | None = field(default=None, repr=False)  # of an encrypted key
    client_ca: Path | None = None  # clients must show a certificate that one of these signed

    def check(self) -> None:
        """Raises `OptionError` naming the option when a file is missing or unusable, or when key
        and certificate do not belong together."""
        for option, path in (
            ("ssl_certfile", self.certfile),
            ("ssl_keyfile", self.keyfile),
            ("ssl_ca_certs", self.client_ca),
        ):
            _check_readable(option, path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Without a password OpenSSL would ask for one on the terminal.
        password = self.password or ""
        try:
            context.load_cert_chain(self.certfile, self.keyfile, lambda: password)
        except (ssl.SSLError, ValueError) as error:
            raise OptionError(self._explain(error)) from error
        if self.client_ca is not None:
            try:
                context.load_verify_locations(self.client_ca)
            except ssl.SSLError as error:
                raise OptionError(
                    f"ssl_ca_certs: {self.client_ca} holds no certificate in PEM form."
                ) from error

    def _explain(self, error: ssl.SSLError | ValueError) -> str:
        key = self.keyfile or self.certfile
        text = key.read_text(encoding="utf-8", errors="replace")
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            return (
                f"ssl_keyfile: {key} is not the key of the certificate in {self.certfile}; give the"
                " two that belong together."
            )
        if "PRIVATE KEY-----" not in text:
            if self.keyfile is None:
                return (
                    f"ssl_certfile: {key} holds no private key; give the file that does as"
                    " ssl_keyfile."
                )
            return f"ssl_keyfile: {key} holds no private key in PEM form."
        if "BEGIN CERTIFICATE" not in self.certfile.read_text(encoding="utf-8", errors="replace"):
            return f"ssl_certfile: {self.certfile} holds no certificate in PEM form."
        if "ENCRYPTED" in text:
            what = "does not open" if self.password else "is needed for"
            return f"ssl_keyfile_password {what} the key in {key}, which is encrypted."
        reason = getattr(error, "reason", None) or error
        return f"ssl_certfile, ssl_keyfile: {self.certfile} and {key} cannot be used: {reason}."


def _check_readable(option: str, path: Path | None) -> None:
    if path is None:
        return
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise OptionError(f"{option}: {path} cannot be read: {error.strerror}.") from error
