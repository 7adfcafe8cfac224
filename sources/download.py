"""Fetch a model without running it, into the cache or into a folder of the user's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ftllm.errors import ModelSourceError, OptionError
from ftllm.sources import gguf_names
from ftllm.sources.cache import own_cache
from ftllm.sources.catalog import DEFAULT_MODEL, load_catalog
from ftllm.sources.hub import fetch_hub
from ftllm.sources.hub_model import HubModel, hub_cache
from ftllm.sources.location import hints, locate
from ftllm.sources.model_files import ModelFiles
from ftllm.sources.progress import Progress
from ftllm.sources.resolve import resolve


def download(
    model: str | None,
    *,
    local_dir: Path | None,
    include: Sequence[str],
    exclude: Sequence[str],
    cache_dir: Path | None,
    revision: str | None,
    models_file: Path | None,
    progress: Progress,
) -> Path:
    """Fetch MODEL and return where it is: a folder, or its first .gguf file.

    `include` and `exclude` are glob patterns over the files of a repository; by default it is what
    ftllm needs to run. With `local_dir` the files are there: a repository's under their own names,
    other files as hard links or copies. Raises `ModelSourceError`, and `OptionError` for an option
    that the model's source does not have.
    """
    name = DEFAULT_MODEL if model is None else model
    catalog = load_catalog(models_file)
    repositories = hub_cache(own_cache(cache_dir))
    location = locate(name, catalog=catalog, hub_cache=repositories)
    if isinstance(location.place, HubModel) and (local_dir or include or exclude):
        with hints(location.place.repository, catalog=catalog, hub_cache=repositories):
            return fetch_hub(
                location.place,
                cache=repositories,
                revision=revision,
                progress=progress,
                local_dir=local_dir.expanduser() if local_dir else None,
                include=include,
                exclude=exclude,
            )
    if include or exclude:
        raise OptionError(f"--include and --exclude: {name} is not a Hugging Face repository")
    files = resolve(
        name, cache_dir=cache_dir, revision=revision, models_file=models_file, progress=progress
    )
    return files.path if local_dir is None else _place(files, local_dir.expanduser())


def _place(files: ModelFiles, folder: Path) -> Path:
    """Link or copy a GGUF model into `folder`, under the model's name when it has none itself."""
    if files.path.is_dir():
        raise OptionError(f"--local-dir: {files.path} is a local folder already")
    names = gguf_names.parts(files.path.name)
    targets = names if len(names) > 1 else [f"{files.name}.gguf"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for source, target in zip(names, targets, strict=True):
            _link_or_copy(files.path.with_name(source), folder / target)
    except OSError as error:
        raise ModelSourceError(
            f"{folder}: cannot store {files.name}: {error.strerror or error}"
        ) from error
    return folder / targets[0]


def _link_or_copy(source: Path, target: Path) -> None:
    if target.exists() and target.samefile(source):
        return
    temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        try:
            os.link(source, temporary)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
