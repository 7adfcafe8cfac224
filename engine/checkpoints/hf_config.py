"""The JSON files beside a Hugging Face model's weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from ftllm.engine.checkpoints.json_object import read_json_object


def read_config(folder: Path) -> Mapping[str, object]:
    """The content of config.json. Raises `CheckpointError`, also when there is none."""
    return MappingProxyType(read_json_object(folder / "config.json"))


def read_generation_config(folder: Path) -> Mapping[str, object]:
    """The content of generation_config.json; empty when there is none."""
    path = folder / "generation_config.json"
    return MappingProxyType(read_json_object(path) if path.exists() else {})
