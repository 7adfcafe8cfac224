"""Reads a configuration file: YAML whose keys are flags, each value with the line it stands on."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from ftllm.errors import OptionError

_NULL = "tag:yaml.org,2002:null"
_PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "timestamp")
)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """`values` as they are spelled, for the flag to convert: `pin: on` is the text "on"."""

    key: str  # with "_"
    values: tuple[str, ...]
    is_list: bool
    place: str  # file:line


def read_config_file(path: Path) -> tuple[FileEntry, ...]:
    """Raises `OptionError` with the place of what is wrong. It never quotes a value: that may be a
    secret."""
    try:
        root = yaml.compose(path.read_text("utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise OptionError(
            f"{path}: cannot read the configuration: {error.strerror or error}."
        ) from error
    except UnicodeDecodeError:
        raise OptionError(f"{path}: the configuration is not UTF-8 text.") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise OptionError(f"{path}{_place_in(error)}: not valid YAML.") from None
    if root is None:
        return ()
    if not isinstance(root, yaml.MappingNode):
        raise OptionError(
            f"{path}: the configuration must be a mapping of flags to values, such as port: 8080."
        )
    return _unique(list(_entries(root, path)))


def _entries(root: yaml.MappingNode, path: Path) -> Iterator[FileEntry]:
    for key, value in root.value:
        place = f"{path}:{key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode):
            raise OptionError(f"{place}: a key must be the name of a flag.")
        name = key.value.replace("-", "_")
        if isinstance(value, yaml.SequenceNode):
            texts = tuple(_text(item, name, place) for item in value.value)
            yield FileEntry(name, texts, True, place)
        else:
            yield FileEntry(name, (_text(value, name, place),), False, place)


def _text(node: yaml.Node, key: str, place: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        kind = "a mapping" if isinstance(node, yaml.MappingNode) else "a list"
        raise OptionError(f"{place}: {key} has {kind} where one value is expected.")
    if node.tag == _NULL or not node.value.strip():
        raise OptionError(f"{place}: {key} is empty; give it a value, or leave it out.")
    if node.tag not in _PLAIN_TAGS:
        raise OptionError(f"{place}: {key} has the tag {node.tag}; only plain values are taken.")
    return str(node.value)


def _unique(entries: list[FileEntry]) -> tuple[FileEntry, ...]:
    first: dict[str, FileEntry] = {}
    for entry in entries:
        if entry.key in first:
            raise OptionError(
                f"{entry.place}: {entry.key} is given twice; the first is at"
                f" {first[entry.key].place}."
            )
        first[entry.key] = entry
    return tuple(entries)


def _place_in(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return "" if mark is None else f":{mark.line + 1}"
