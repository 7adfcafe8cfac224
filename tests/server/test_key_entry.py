from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from ftllm.errors import OptionError
from ftllm.server.api_key import NO_LIMITS, ApiKey, KeyLimits
from ftllm.server.key_entry import KeyEntry, append_entry, make_key
from ftllm.server.key_file import read_key_file


def entry(key: str, name: str) -> KeyEntry:
    return KeyEntry.of(key, name=name, limits=NO_LIMITS)


def test_keys_are_random_and_long() -> None:
    keys = {make_key() for _ in range(100)}
    assert len(keys) == 100
    for key in keys:
        assert key.startswith("sk-ftllm-")
        assert len(key) == len("sk-ftllm-") + 43  # 256 bits in base64
        assert len(key.split()) == 1


def test_an_entry_says_what_it_was_made_of(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    limits = KeyLimits(requests_per_minute=1, tokens_per_minute=2, max_concurrency=3)
    full = KeyEntry.of("sk-1", name="1.5", limits=limits, priority=-4, models=("a", "b"))
    append_entry(path, full)
    (key,) = read_key_file(path)
    digest = ApiKey.of("sk-1").digest
    assert key == ApiKey(digest, "1.5", limits, -4, frozenset({"a", "b"}))
    assert "sk-1" not in path.read_text()


@pytest.mark.parametrize(
    "old",
    [
        "# staff\n- sk-0 # the first\n",
        "- {name: first, key: sk-0}",
        "first: sk-0 # a mapping\n",
        "first: {key: sk-0}\n",
        "---\n- sk-0\n",
        "  - sk-0\n",
    ],
)
def test_what_is_there_stays_as_it_is(tmp_path: Path, old: str) -> None:
    path = tmp_path / "keys.yml"
    path.write_text(old)
    path.chmod(0o640)
    if old.startswith(" "):
        with pytest.raises(OptionError, match=r"add this by hand:\n- name: second\n  hash: sha"):
            append_entry(path, entry("sk-1", "second"))
        assert path.read_text() == old
        return
    append_entry(path, entry("sk-1", "second"))
    append_entry(path, entry("sk-2", "third"))
    assert path.read_text().startswith(old)
    digests = [key.digest for key in read_key_file(path)]
    assert digests == [ApiKey.of(f"sk-{number}").digest for number in range(3)]
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["keys.yml"]


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    append_entry(tmp_path / "keys.yaml", entry("sk-1", "a"))
    assert (tmp_path / "keys.yaml").stat().st_mode & 0o777 == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "keys.yaml").symlink_to("real.yaml")
    append_entry(tmp_path / "keys.yaml", entry("sk-1", "a"))
    assert (tmp_path / "keys.yaml").is_symlink()
    assert len(read_key_file(tmp_path / "real.yaml")) == 1


@pytest.mark.parametrize(
    ("name", "old", "complaint"),
    [
        ("keys.yaml", "a: sk-0\n", "has a key of the name 'a' already"),
        ("keys.yaml", "[sk-0]\n", "by hand"),
        ("keys.yaml", "- {key: a b}\n", "no usable key"),
        ("keys.yaml", "[\n", "not valid YAML"),
        ("keys", "sk-0\n", "no YAML file"),
        ("keys.yaml", None, "could not be added"),
    ],
)
def test_a_file_that_cannot_take_it_is_left_alone(
    tmp_path: Path, name: str, old: str | None, complaint: str
) -> None:
    path = tmp_path / name if old is not None else tmp_path / "nowhere" / name
    if old is not None:
        path.write_text(old)
    with pytest.raises(OptionError, match=complaint):
        append_entry(path, entry("sk-1", "a"))
    if old is not None:
        assert path.read_text() == old
        assert os.listdir(tmp_path) == [name]


def test_writers_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    writers = [
        threading.Thread(target=append_entry, args=(path, entry(f"sk-{number}", f"n{number}")))
        for number in range(20)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=20)
    assert {key.name for key in read_key_file(path)} == {f"n{number}" for number in range(20)}


def test_a_name_that_no_log_line_can_have() -> None:
    with pytest.raises(OptionError, match="unusable name"):
        entry("sk-1", "a b")
