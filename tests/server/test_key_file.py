from __future__ import annotations

from pathlib import Path

import pytest

from ftllm.errors import OptionError
from ftllm.server.key_file import ApiKey, read_key_file


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("keys", "# staff\n\n sk-1  alice\nsk-2\n"),
        ("keys.txt", "sk-1\talice\r\n   # more\r\nsk-2"),
        ("keys.yaml", "- {key: sk-1, name: alice}\n- sk-2\n"),
        ("keys.yml", "- key: sk-1\n  name: alice\n- key: sk-2\n"),
    ],
)
def test_forms(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert read_key_file(path) == (ApiKey("sk-1", "alice"), ApiKey("sk-2"))


def test_a_mapping_names_its_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text("alice: sk-1\n'team-b': sk-2\n")
    assert read_key_file(path) == (ApiKey("sk-1", "alice"), ApiKey("sk-2", "team-b"))


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("keys", "", "holds no key"),
        ("keys", "# nothing\n", "holds no key"),
        ("keys", "hush-1\nhush-2 two words\n", "line 2 has 3 words"),
        ("keys", "hush a/b", "line 1 has an unusable name"),
        ("keys.yaml", "", "holds no key"),
        ("keys.yaml", "hush", "it must hold a list"),
        ("keys.yaml", "- 12345\n", "entry 1 has no usable key"),
        ("keys.yaml", "- hush\n- hush hush\n", "entry 2 has no usable key"),
        ("keys.yaml", "- ''\n", "entry 1 has no usable key"),
        ("keys.yaml", "- {key: hush, nam: x}\n", "entry 1 has other fields"),
        ("keys.yaml", "- {name: x}\n", "entry 1 has no usable key"),
        ("keys.yaml", "1: hush\n", "entry 1 has an unusable name"),
        ("keys.yaml", "a: [hush\n", "not valid YAML"),
    ],
)
def test_a_bad_file_is_refused_without_quoting_it(
    tmp_path: Path, name: str, text: str, complaint: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(OptionError, match=complaint) as caught:
        read_key_file(path)
    assert str(path) in str(caught.value)
    assert "hush" not in str(caught.value)


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot be read"):
        read_key_file(tmp_path / "none")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(OptionError, match="cannot be read"):
        read_key_file(tmp_path / "bytes")


def test_a_key_is_not_printed() -> None:
    assert "sk-1" not in repr(ApiKey("sk-1", "alice"))
