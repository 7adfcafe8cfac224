from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from certificates import self_signed

from ftllm.errors import OptionError
from ftllm.server.tls_files import TlsFiles


def complaint(files: TlsFiles) -> str:
    with pytest.raises(OptionError) as caught:
        files.check()
    return str(caught.value)


def test_a_key_and_its_certificate(certificate: TlsFiles, tmp_path: Path) -> None:
    certificate.check()
    replace(certificate, client_ca=certificate.certfile).check()
    assert certificate.keyfile is not None
    both = tmp_path / "both.pem"
    both.write_text(certificate.keyfile.read_text() + certificate.certfile.read_text())
    TlsFiles(certfile=both).check()


def test_files_that_are_not_there(certificate: TlsFiles, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.pem"
    assert f"ssl_certfile: {nowhere} cannot" in complaint(replace(certificate, certfile=nowhere))
    assert f"ssl_keyfile: {nowhere} cannot" in complaint(replace(certificate, keyfile=nowhere))
    assert f"ssl_ca_certs: {nowhere} cannot" in complaint(replace(certificate, client_ca=nowhere))


def test_files_that_hold_something_else(certificate: TlsFiles, tmp_path: Path) -> None:
    text = tmp_path / "text.pem"
    text.write_text("hello\n")
    assert "holds no certificate in PEM" in complaint(replace(certificate, certfile=text))
    assert "holds no private key in PEM" in complaint(replace(certificate, keyfile=text))
    assert "holds no certificate in PEM" in complaint(replace(certificate, client_ca=text))
    assert "holds no private key; give" in complaint(replace(certificate, keyfile=None))


def test_a_key_of_another_certificate(certificate: TlsFiles, tmp_path: Path) -> None:
    other = self_signed(tmp_path, "other")
    text = complaint(replace(certificate, keyfile=other.keyfile))
    assert "is not the key of the certificate" in text
    assert str(other.keyfile) in text


def test_an_encrypted_key(tmp_path: Path) -> None:
    files = self_signed(tmp_path, "locked", password="open sesame")
    files.check()
    assert "password is needed for the key" in complaint(replace(files, password=None))
    assert "password does not open the key" in complaint(replace(files, password="wrong"))
    assert "sesame" not in repr(files)
