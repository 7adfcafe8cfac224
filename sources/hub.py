"""Models from a Hugging Face repository, through huggingface_hub.

The endpoint, the token, proxies and offline mode are huggingface_hub's own settings (HF_ENDPOINT,
HF_TOKEN, HF_HUB_OFFLINE …). Without a cache folder of the user's its cache is shared as well.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ftllm.errors import ModelSourceError
from ftllm.sources.hub_files import Selection, select
from ftllm.sources.hub_model import HubModel, RepositoryMissingError
from ftllm.sources.hub_progress import watch_growth
from ftllm.sources.progress import Progress

_TIMEOUT = 20.0  # seconds for an answer about a repository
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class _Listing:
    """The files of a repository with their sizes in bytes (0 when the endpoint does not say)."""

    sizes: dict[str, int]


def fetch_hub(
    model: HubModel,
    *,
    cache: Path,
    revision: str | None,
    progress: Progress,
    local_dir: Path | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Path:
    """The model's folder or its first .gguf, downloaded where needed.

    `include` and `exclude` are glob patterns: the first replaces the choice of files, the second
    takes away from it. When the endpoint cannot be reached, files already on disk are used. Raises
    `RepositoryMissingError`, or `ModelSourceError` for everything else.
    """
    try:
        listing = _list(model, revision)
    except ModelSourceError:
        raise
    except Exception as error:  # each release of huggingface_hub has another HTTP library's errors
        return _from_disk(model, cache=cache, revision=revision, reason=error)
    selection = _narrow(model, listing, include, exclude)
    target = local_dir or cache / f"models--{model.repository.replace('/', '--')}"
    total = sum(listing.sizes[name] for name in selection.files)
    label = f"downloading {model.repository}"
    try:
        with watch_growth(target, label=label, total=total, progress=progress):
            folder = snapshot_download(
                model.repository,
                revision=revision,
                cache_dir=cache,
                local_dir=local_dir,
                allow_patterns=[glob.escape(name) for name in selection.files],
            )
    except Exception as error:
        raise ModelSourceError(
            f"{model.repository}: the download failed: {_first_line(error)}; what is complete "
            f"stays, try again"
        ) from error
    return Path(folder, selection.entry) if selection.entry else Path(folder)


def _list(model: HubModel, revision: str | None) -> _Listing:
    try:
        info = HfApi().model_info(
            model.repository, revision=revision, files_metadata=True, timeout=_TIMEOUT
        )
    except GatedRepoError as error:
        raise ModelSourceError(
            f"{model.repository}: the repository asks you to accept its terms; do so on its page "
            f"and log in with `hf auth login` or set HF_TOKEN"
        ) from error
    except RepositoryNotFoundError as error:
        raise RepositoryMissingError(
            f"{model.repository}: no such repository at {constants.ENDPOINT} (or a private one; "
            f"for those log in with `hf auth login` or set HF_TOKEN)"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelSourceError(f"{model.repository}: no revision {revision!r}") from error
    except HFValidationError as error:
        raise ModelSourceError(f"{model.repository}: not a repository id: {error}") from error
    return _Listing({file.rfilename: file.size or 0 for file in info.siblings or ()})


def _narrow(
    model: HubModel, listing: _Listing, include: Sequence[str], exclude: Sequence[str]
) -> Selection:
    names = listing.sizes.keys()
    if include:
        chosen = Selection(tuple(name for name in names if _matches(name, include)), None)
    else:
        chosen = select(model.repository, names, model.choice)
    files = tuple(name for name in chosen.files if not _matches(name, exclude))
    if not files:
        raise ModelSourceError(
            f"{model.repository}: no file is left; it has: {', '.join(sorted(names))}"
        )
    return Selection(files, chosen.entry if chosen.entry in files else None)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _from_disk(model: HubModel, *, cache: Path, revision: str | None, reason: Exception) -> Path:
    """The same from what is on disk; the layout is huggingface_hub's documented one."""
    folder = cache / f"models--{model.repository.replace('/', '--')}"
    wanted = revision or constants.DEFAULT_REVISION
    reference = folder / "refs" / wanted
    commit = wanted if _COMMIT.fullmatch(wanted) else None
    if reference.is_file():
        commit = reference.read_text("utf-8").strip()
    why = (
        "offline mode is on"
        if isinstance(reason, OfflineModeIsEnabled)
        else f"{constants.ENDPOINT} cannot be reached: {_first_line(reason)}"
    )
    snapshot = folder / "snapshots" / (commit or "none")
    if not folder.is_dir():
        raise RepositoryMissingError(
            f"{model.repository}: is not on disk in {cache}, and {why}"
        ) from reason
    if commit is None or not snapshot.is_dir():
        raise ModelSourceError(
            f"{model.repository}: revision {wanted} is not on disk in {cache}, and {why}"
        ) from reason
    files = [
        path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()
    ]
    try:
        selection = select(model.repository, files, model.choice)
    except ModelSourceError as error:
        raise ModelSourceError(f"{error}\n(only files on disk count, since {why})") from reason
    return snapshot / selection.entry if selection.entry else snapshot


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
