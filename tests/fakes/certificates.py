"""Certificates for this machine, made by the openssl command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ftllm.server.tls_files import TlsFiles


def self_signed(folder: Path, name: str, *, password: str | None = None) -> TlsFiles:
    """A key and its own certificate, which is good for localhost and 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    files = TlsFiles(
        certfile=folder / f"{name}.pem", keyfile=folder / f"{name}.key", password=password
    )
    guard = ["-nodes"] if password is None else ["-passout", f"pass:{password}"]
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-keyout", str(files.keyfile), "-out", str(files.certfile), "-days", "2", *guard),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return files
