from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ftllm.errors import OptionError
from ftllm.server.api_key import ApiKey, KeyLimits, written_hash
from ftllm.server.key_file import read_key_file


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
    assert read_key_file(path) == (ApiKey.of("sk-1", "alice"), ApiKey.of("sk-2"))


def test_a_mapping_names_its_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text("alice: sk-1\n'team-b': sk-2\n")
    assert read_key_file(path) == (ApiKey.of("sk-1", "alice"), ApiKey.of("sk-2", "team-b"))


LIMITED = """\
- name: alice
  hash: {hash}
  requests_per_minute: 60
  tokens_per_minute: 20000
  max_concurrency: 4
  priority: -5
  models: [small, large]
- name: bob
  key: sk-2
  models: small
"""


def test_limits(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(LIMITED.format(hash=written_hash("sk-1")))
    limits = KeyLimits(requests_per_minute=60, tokens_per_minute=20000, max_concurrency=4)
    alice = replace(
        ApiKey.of("sk-1", "alice"),
        limits=limits,
        priority=-5,
        models=frozenset({"small", "large"}),
    )
    bob = replace(ApiKey.of("sk-2", "bob"), models=frozenset({"small"}))
    assert read_key_file(path) == (alice, bob)
    path.write_text(f"alice:\n  hash: {written_hash('sk-1').upper().replace('SHA', 'sha')}\n")
    assert read_key_file(path) == (ApiKey.of("sk-1", "alice"),)


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
        ("keys.yaml", "- {key: hush, nam: x}\n", "'nam'; did you mean 'name'"),
        ("keys.yaml", "- {key: hush, request_per_min: 1}\n", "mean 'requests_per_minute'"),
        ("keys.yaml", "- {key: x, hush-4711: 1}\n", "entry 1 has other fields than name, key"),
        ("keys.yaml", "- {key: hush, hash: sha256:1}\n", "a key and a hash"),
        ("keys.yaml", "- {hash: hush}\n", "no usable hash: it must be sha256:"),
        ("keys.yaml", f"- sha256:{'a' * 64}\n", "a hash as its key"),
        ("keys", f"sha256:{'a' * 64}\n", "line 1 has a hash in place of a key"),
        ("keys.yaml", "a: {key: hush, name: b}\n", "two names"),
        ("keys.yaml", "- {key: hush, requests_per_minute: 0}\n", "requests_per_minute: it must"),
        ("keys.yaml", "- {key: hush, tokens_per_minute: '9'}\n", "tokens_per_minute: it must"),
        ("keys.yaml", "- {key: hush, max_concurrency: true}\n", "max_concurrency: it must"),
        ("keys.yaml", "- {key: hush, priority: high}\n", "unusable priority"),
        ("keys.yaml", "- {key: hush, models: []}\n", "unusable models"),
        ("keys.yaml", "- {key: hush, models: [1]}\n", "unusable models"),
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
    key = ApiKey.of("sk-1", "alice")
    assert "sk-1" not in repr(key)
    assert key.digest.hex() not in repr(key)
