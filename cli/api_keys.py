"""Where a server's API keys come from: flags, files and the environment."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ftllm.errors import OptionError

if TYPE_CHECKING:
    from ftllm.server.api_key import ApiKey

ENVIRONMENT_VARIABLE = "FTLLM_API_KEYS"  # comma separated
ADMIN_ENVIRONMENT_VARIABLE = "FTLLM_ADMIN_API_KEYS"
METRICS_ENVIRONMENT_VARIABLE = "FTLLM_METRICS_KEYS"


@dataclass(frozen=True)
class KeySources:
    """Keys that were given as such, and files that hold more."""

    keys: tuple[str, ...]
    files: tuple[Path, ...]


def collect_api_keys(
    given: Sequence[str], key_files: Sequence[Path], environment: Mapping[str, str]
) -> KeySources:
    """All keys and files, without repetitions. `given` holds keys or @FILE.

    Raises `OptionError` when a key is empty or a file cannot be read or holds none, so that a
    mistake never leaves a server open.
    """
    from ftllm.server.key_file import read_key_file  # here, so that --help loads no server

    keys = [*_flag_keys(given, "--api_key"), *_environment_keys(environment, ENVIRONMENT_VARIABLE)]
    files = [*(Path(key[1:]) for key in given if key.startswith("@")), *key_files]
    for path in files:
        read_key_file(path)
    return KeySources(tuple(dict.fromkeys(keys)), tuple(dict.fromkeys(files)))


def collect_admin_keys(
    given: Sequence[str], environment: Mapping[str, str]
) -> tuple["str | ApiKey", ...]:
    """Of `given`, keys or @FILE, and the environment. Raises `OptionError` as above, and for a file
    that sets limits: they would have no effect."""
    return _collect(given, "--admin_api_key", environment, ADMIN_ENVIRONMENT_VARIABLE)


def collect_metrics_keys(
    given: Sequence[str], environment: Mapping[str, str]
) -> tuple["str | ApiKey", ...]:
    """The same for the keys of /metrics."""
    return _collect(given, "--metrics_key", environment, METRICS_ENVIRONMENT_VARIABLE)


def _collect(
    given: Sequence[str], flag: str, environment: Mapping[str, str], variable: str
) -> tuple["str | ApiKey", ...]:
    from ftllm.server.key_file import read_key_file

    keys: list[str | ApiKey] = [
        *_flag_keys(given, flag),
        *_environment_keys(environment, variable),
    ]
    for key in given:
        if not key.startswith("@"):
            continue
        from_file = read_key_file(Path(key[1:]))
        if not all(each.plain for each in from_file):
            raise OptionError(
                f"{flag}: {key[1:]} sets limits, a priority or models, which only keys of"
                " --api_key_file have. Leave them out."
            )
        keys += from_file
    return tuple(dict.fromkeys(keys))


def _flag_keys(given: Sequence[str], flag: str) -> Iterator[str]:
    for key in given:
        if not key.strip():
            raise OptionError(f"{flag} is empty; give a key, or leave the flag out.")
        if not key.startswith("@"):
            yield key.strip()


def _environment_keys(environment: Mapping[str, str], name: str) -> Iterator[str]:
    for key in environment.get(name, "").split(","):
        if key.strip():
            yield key.strip()
