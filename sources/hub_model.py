"""What names a Hugging Face repository, and where fetched ones lie: known without huggingface_hub's
client, whose import takes longer than many a model's loading."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants

from ftllm.errors import ModelSourceError

_REPOSITORY = re.compile(
    r"(?P<id>[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*)(:(?P<choice>.+))?"
)


class RepositoryMissingError(ModelSourceError):
    """There is no such repository, here or at the endpoint: the caller may know what was meant."""


@dataclass(frozen=True, slots=True)
class HubModel:
    """`owner/name`, or `owner/name:FILE.gguf`, or `owner/name:Q4_K_M`."""

    repository: str
    choice: str | None


def parse_hub(model: str) -> HubModel | None:
    """The repository that MODEL names; None when it has not that form."""
    match = _REPOSITORY.fullmatch(model)
    return None if match is None else HubModel(match["id"], match["choice"])


def hub_cache(cache: Path | None) -> Path:
    """Where repositories are kept: `hub` in our own cache folder, else huggingface_hub's cache."""
    return Path(constants.HF_HUB_CACHE) if cache is None else cache / "hub"


def cached_repositories(cache: Path) -> list[str]:
    """The ids of the repositories in the hub cache folder `cache`."""
    if not cache.is_dir():
        return []
    folders = [folder.name for folder in cache.glob("models--*") if folder.is_dir()]
    return sorted("/".join(name.split("--")[1:]) for name in folders)
