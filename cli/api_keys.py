"""Where a server's API keys come from: flags, files and the environment."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ftllm.errors import OptionError

ENVIRONMENT_VARIABLE = "FTLLM_API_KEYS"  # comma separated


def collect_api_keys(
    given: Sequence[str], key_file: Path | None, environment: Mapping[str, str]
) -> tuple[str, ...]:
    """All keys, without repetitions. `given` holds keys or @FILE; a file has one key a line, and
    its empty lines and lines that start with # do not count.

    Raises `OptionError` when a key is empty or a file cannot be read or holds none, so that a
    mistake never leaves a server open.
    """
    return tuple(dict.fromkeys(_all_keys(given, key_file, environment)))


def _all_keys(
    given: Sequence[str], key_file: Path | None, environment: Mapping[str, str]
) -> Iterator[str]:
    for key in given:
        if key.startswith("@"):
            yield from _read_keys(Path(key[1:]))
        elif not key.strip():
            raise OptionError("--api_key is empty; give a key, or leave the flag out.")
        else:
            yield key.strip()
    if key_file is not None:
        yield from _read_keys(key_file)
    for key in environment.get(ENVIRONMENT_VARIABLE, "").split(","):
        if key.strip():
            yield key.strip()


def _read_keys(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"The API key file {path} cannot be read: {error}") from error
    keys = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not keys:
        raise OptionError(f"The API key file {path} holds no key; write one key a line.")
    return keys
