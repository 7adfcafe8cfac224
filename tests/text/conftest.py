from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest

from ftllm.engine.checkpoints import open_checkpoint
from ftllm.text.gguf_tokenizer import tokenizer_from_gguf
from ftllm.text.tokenizer import Tokenizer
from tests.text.tiny_vocabularies import byte_level_keys, sentencepiece_keys


@pytest.fixture(scope="session")
def byte_level() -> Tokenizer:
    return tokenizer_from_gguf(byte_level_keys())


@pytest.fixture(scope="session")
def sentencepiece() -> Tokenizer:
    return tokenizer_from_gguf(sentencepiece_keys())


@pytest.fixture(scope="session")
def real_metadata(model_file: Callable[[str], Path]) -> Callable[[str], Mapping[str, object]]:
    """The GGUF metadata of a real model by its short name."""

    @cache
    def read(name: str) -> Mapping[str, object]:
        checkpoint = open_checkpoint(model_file(name))
        try:
            return dict(checkpoint.metadata)
        finally:
            checkpoint.close()

    return read


@pytest.fixture(scope="session")
def real_tokenizer(
    real_metadata: Callable[[str], Mapping[str, object]],
) -> Callable[..., Tokenizer]:
    """The tokenizer of a real model by its short name."""

    @cache
    def build(name: str) -> Tokenizer:
        return tokenizer_from_gguf(real_metadata(name))

    return build
