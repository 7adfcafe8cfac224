"""A model of 200 KB with a long context: a server of it starts fast, and a stream of it lasts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.golden.gguf_files import write_gguf
from tests.golden.rows import load_row

CONTEXT = 65_536  # tokens


def write_tiny_model(path: Path) -> Path:
    """One token is one byte; there is no chat template."""
    row = load_row("llama_gqa")
    config = {**row.config, "max_position_embeddings": CONTEXT}
    return write_gguf(replace(row, config=config), path)
