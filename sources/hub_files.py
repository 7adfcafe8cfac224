"""Which files of a Hugging Face repository make up a model."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ftllm.errors import ModelSourceError
from ftllm.sources import gguf_names

# At the repository's root: configuration, tokenizer and chat template in all their forms.
_COMPANIONS = ("*.json", "tokenizer*", "*.jinja", "*.model", "vocab.txt", "merges.txt")
_WEIGHTS = "model*.safetensors"


@dataclass(frozen=True, slots=True)
class Selection:
    """The files to have, as paths in the repository; `entry` is the first .gguf of a GGUF model."""

    files: tuple[str, ...]
    entry: str | None


def select(repository: str, files: Collection[str], choice: str | None) -> Selection:
    """The files of the model in `repository`.

    `choice` is None, a file name, or a quantization such as Q4_K_M. Without it safetensors go
    first, then the one GGUF model. Raises `ModelSourceError` listing the files when it is not
    clear which model is meant, or when there is none.
    """
    if choice is None:
        root = [name for name in files if "/" not in name]
        weights = [name for name in root if fnmatchcase(name, _WEIGHTS)]
        if weights:
            companions = [
                name for name in root if any(fnmatchcase(name, pattern) for pattern in _COMPANIONS)
            ]
            return Selection(tuple(sorted({*weights, *companions})), None)
    models = gguf_names.models(files)
    found = models if choice is None else _matching(models, files, choice)
    listing = "".join(f"\n  {repository}:{name}" for name in found or models)
    if not models:
        raise ModelSourceError(
            f"{repository}: the repository has neither {_WEIGHTS} nor .gguf files"
            + (", but PyTorch .bin files, which are not supported" * _has_bin(files))
        )
    if not found:
        raise ModelSourceError(f"{repository}: no GGUF model matches {choice!r}; it has:{listing}")
    if len(found) > 1:
        matching = "" if choice is None else f" match {choice!r}"
        raise ModelSourceError(
            f"{repository}: {len(found)} GGUF models{matching}; choose one of:{listing}"
        )
    parts = gguf_names.parts(found[0])
    missing = [part for part in parts if part not in files]
    if missing:
        raise ModelSourceError(f"{repository}: {found[0]} is split, but {missing[0]} is missing")
    return Selection(tuple(parts), found[0])


def _matching(models: list[str], files: Collection[str], choice: str) -> list[str]:
    """An exact file (any part of a split one), else those whose name has `choice` as a word."""
    if choice in files and choice.endswith(".gguf"):
        return [gguf_names.first_part(choice)]
    # "_" ends no word: Q4_K is not Q4_K_M.
    word = re.compile(rf"(?:^|[-._/]){re.escape(choice)}(?:$|[-./])", re.IGNORECASE)
    return [name for name in models if word.search(gguf_names.model_name(name))]


def _has_bin(files: Collection[str]) -> bool:
    return any(fnmatchcase(name, "pytorch_model*.bin") for name in files)
