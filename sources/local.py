"""Models that are already on disk."""

from __future__ import annotations

from pathlib import Path

from ftllm.errors import ModelSourceError
from ftllm.sources import gguf_names
from ftllm.sources.model_files import ModelFiles


def is_path_like(model: str) -> bool:
    """Whether MODEL can only mean a path, so that a missing one is not looked up elsewhere."""
    return model.startswith(("/", "./", "../", "~")) or (
        ":" not in model and model.endswith((".gguf", ".safetensors"))
    )


def find_local(model: str) -> ModelFiles | None:
    """The model at the path `model`; None when nothing is there, and for the empty string.

    Raises `ModelSourceError` when something is there that is not a model.
    """
    if not model:  # to pathlib it is the working folder
        return None
    try:
        path = Path(model).expanduser()
        if not path.exists():
            return None
    except (OSError, ValueError, RuntimeError):  # too long a name, a NUL, an unknown ~user
        return None
    return _folder(path) if path.is_dir() else _file(path)


def _file(path: Path) -> ModelFiles:
    if path.suffix == ".safetensors":
        raise ModelSourceError(f"{path}: give the folder {path.parent}, not one of its files")
    if path.suffix != ".gguf":
        raise ModelSourceError(f"{path}: not a model; a .gguf file or a folder is expected")
    first = path.with_name(gguf_names.first_part(path.name))
    if not first.is_file():
        raise ModelSourceError(f"{path}: is one part of a model, but {first.name} is not beside it")
    return ModelFiles(gguf_names.model_name(path.name), first)


def _folder(folder: Path) -> ModelFiles:
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise ModelSourceError(f"{folder}: cannot be read: {error.strerror or error}") from error
    name = folder.resolve().name
    if any(entry.endswith(".safetensors") for entry in names):
        return ModelFiles(name, folder)
    models = gguf_names.models(names)
    if len(models) == 1:
        return ModelFiles(gguf_names.model_name(models[0]), folder / models[0])
    if models:
        raise ModelSourceError(f"{folder}: several GGUF models, name one: {', '.join(models)}")
    if "config.json" in names:  # the loader says which weights are missing
        return ModelFiles(name, folder)
    raise ModelSourceError(
        f"{folder}: the folder is there but holds no model (config.json with *.safetensors, or a "
        f".gguf file); a local path goes before every other meaning of MODEL"
    )
