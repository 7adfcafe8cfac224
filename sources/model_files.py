"""The answer of this package: a model's name and where its files lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """`path` is a Hugging Face style folder or the first .gguf file; `name` is for people."""

    name: str
    path: Path
