"""File names of GGUF models: `NAME.gguf`, or split in parts `NAME-00001-of-0000N.gguf`."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SPLIT = re.compile(r"(?P<stem>.+)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.gguf")


def parts(name: str) -> list[str]:
    """The names of all parts in order; `[name]` for a file that is not split."""
    match = _SPLIT.fullmatch(name)
    if match is None:
        return [name]
    count = int(match["count"])
    return [f"{match['stem']}-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]


def first_part(name: str) -> str:
    """The name of the first part; `name` itself for a file that is not split."""
    match = _SPLIT.fullmatch(name)
    return name if match is None else f"{match['stem']}-00001-of-{match['count']}.gguf"


def model_name(name: str) -> str:
    """The file name without its part number and suffix."""
    match = _SPLIT.fullmatch(name)
    return match["stem"] if match else name.removesuffix(".gguf")


def models(names: Iterable[str]) -> list[str]:
    """The models among file names: each by its first part, sorted, without vision projectors."""
    return sorted(
        {
            first_part(name)
            for name in names
            if name.endswith(".gguf") and not name.rsplit("/", 1)[-1].startswith("mmproj")
        }
    )
