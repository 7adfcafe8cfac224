"""GGUF checkpoints: one file, or a set of `NAME-00001-of-0000N.gguf` opened together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from ftllm.engine.checkpoints.gguf_config import config_from_metadata, generation_from_metadata
from ftllm.engine.checkpoints.gguf_metadata import GgufHeader, read_header
from ftllm.engine.checkpoints.mapped_checkpoint import MappedCheckpoint
from ftllm.engine.checkpoints.mapped_file import MappedFile
from ftllm.errors import CheckpointError

_SPLIT_NAME = re.compile(r"(?P<stem>.+)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.gguf")


def split_parts(path: Path) -> list[Path]:
    """All files of the split set that `path` belongs to, in order; `[path]` when it is no part."""
    match = _SPLIT_NAME.fullmatch(path.name)
    if match is None:
        return [path]
    count = int(match["count"])
    if not 1 <= int(match["number"]) <= count:
        raise CheckpointError(f"{path}: part {int(match['number'])} of {count} does not exist")
    return [
        path.with_name(f"{match['stem']}-{number:05}-of-{count:05}.gguf")
        for number in range(1, count + 1)
    ]


class GgufCheckpoint(MappedCheckpoint):
    """An open GGUF file (or split set); see `Checkpoint`. Raises `CheckpointError`."""

    format = "gguf"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            metadata = self._open_parts(split_parts(path))
            self.metadata: Mapping[str, object] = MappingProxyType(metadata)
            tied = "output.weight" not in self._entries
            self.config: Mapping[str, object] = MappingProxyType(
                config_from_metadata(metadata, tie_word_embeddings=tied, where=str(path))
            )
            self.generation_config: Mapping[str, object] = MappingProxyType(
                generation_from_metadata(metadata)
            )
        except BaseException:
            self.close()
            raise

    def _open_parts(self, parts: list[Path]) -> dict[str, object]:
        """Map every part, collect the tensors; returns the first part's metadata."""
        for part in parts:
            if not part.is_file():
                raise CheckpointError(
                    f"{part}: no such file" + (f"; a set of {len(parts)}" * (len(parts) > 1))
                )
        first: GgufHeader | None = None
        for number, part in enumerate(parts):
            file = MappedFile(part)
            self._files.append(file)
            header = read_header(file)
            _check_split(part, header.metadata, number, len(parts))
            for name, entry in header.tensors.items():
                if name in self._entries:
                    raise CheckpointError(
                        f"tensor {name!r} is in both {self._entries[name][0].path} and {part}"
                    )
                self._entries[name] = (file, entry)
            first = first or header
        assert first is not None
        total = first.metadata.get("split.tensors.count", len(self._entries))
        if total != len(self._entries):
            raise CheckpointError(
                f"{self._where}: split.tensors.count is {total!r}, but the files hold "
                f"{len(self._entries)} tensors"
            )
        return first.metadata


def _check_split(path: Path, metadata: Mapping[str, object], number: int, count: int) -> None:
    """A part's own words about the split must agree with its name and place."""
    said_count = metadata.get("split.count", 1)
    if said_count != count and (said_count, count) != (0, 1):
        raise CheckpointError(
            f"{path}: split.count is {said_count!r}, but the name says {count} file(s); keep the "
            f"names NAME-00001-of-0000N.gguf of all parts"
        )
    said_number = metadata.get("split.no", 0 if count == 1 else None)
    if said_number != number:
        raise CheckpointError(
            f"{path}: split.no is {said_number!r}; by its name it must be {number}"
        )
