"""safetensors folders: what is read, and what is said about unsound ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftllm.engine.checkpoints import Checkpoint, open_checkpoint
from ftllm.errors import CheckpointError, UnsupportedModelError
from tests.checkpoints.files import (
    Tensor,
    framed,
    gguf_bytes,
    quantized,
    safetensors_bytes,
    tiny_metadata,
    write_safetensors,
)

NORM = Tensor("model.norm.weight", (4,), "F32", bytes(range(16)))
HEAD = Tensor("lm_head.weight", (3, 4), "BF16", bytes(range(100, 124)))
SCALE = Tensor("scale", (), "F16", b"\0\x3c")


def folder_with(folder: Path, data: bytes) -> Path:
    write_safetensors(folder, [[]])
    (folder / "model.safetensors").write_bytes(data)
    return folder


def entry(begin: int, end: int, shape: object = (4,), dtype: object = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def check_contents(checkpoint: Checkpoint) -> None:
    assert checkpoint.format == "safetensors"
    assert set(checkpoint.names()) == {NORM.name, HEAD.name, SCALE.name}
    for tensor, dtype in ((NORM, "f32"), (HEAD, "bf16"), (SCALE, "f16")):
        read = checkpoint.tensor(tensor.name)
        assert (read.name, read.shape, read.dtype) == (tensor.name, tensor.shape, dtype)
        assert bytes(read.data) == tensor.data
        checkpoint.release(tensor.name)
    assert checkpoint.metadata == {}


def test_one_file(tmp_path: Path) -> None:
    write_safetensors(tmp_path, [[NORM, HEAD, SCALE]], config={"hidden_size": 4})
    checkpoint = open_checkpoint(tmp_path)
    check_contents(checkpoint)
    assert checkpoint.config == {"hidden_size": 4}
    assert checkpoint.generation_config == {}
    checkpoint.close()
    checkpoint.close()


def test_shards(tmp_path: Path) -> None:
    write_safetensors(tmp_path, [[NORM], [HEAD, SCALE]])
    (tmp_path / "generation_config.json").write_text('{"top_k": 5}', "utf-8")
    checkpoint = open_checkpoint(tmp_path)
    check_contents(checkpoint)
    assert checkpoint.generation_config == {"top_k": 5}


def test_free_metadata_is_ignored(tmp_path: Path) -> None:
    data = safetensors_bytes([NORM], metadata={"format": "pt"})
    assert list(open_checkpoint(folder_with(tmp_path, data)).names()) == [NORM.name]


def test_unsupported_dtypes_are_refused_when_the_tensor_is_used(tmp_path: Path) -> None:
    odd = [Tensor("a", (2,), "I64", bytes(16)), Tensor("b", (2,), "F4_NEW", bytes(1))]
    checkpoint = open_checkpoint(folder_with(tmp_path, safetensors_bytes([NORM, *odd])))
    with pytest.raises(UnsupportedModelError, match=r"'a'.*'i64'.*f32"):
        checkpoint.tensor("a")
    with pytest.raises(UnsupportedModelError, match=r"'b'.*'f4_new'"):
        checkpoint.tensor("b")


def test_a_missing_tensor_names_near_matches(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_safetensors(tmp_path, [[NORM]]))
    with pytest.raises(CheckpointError, match=r"'model\.norm\.bias'.*model\.norm\.weight"):
        checkpoint.tensor("model.norm.bias")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"\1\0\0", "too few"),
        ((100_000_001).to_bytes(8, "little"), "the limit is 100000000"),
        ((1 << 63).to_bytes(8, "little"), "the limit is 100000000"),
        ((50).to_bytes(8, "little") + b"{}", "only 2 follow"),
        (framed(b"{"), "invalid JSON"),
        (framed(b"\xff\xfe"), "UTF-8"),
        (framed(b"[" * 100_000), "nested too deeply"),
        (framed(b"[]"), "a JSON object is expected, not a list"),
        (framed(b'{"a": 1, "a": 2}'), "'a' occurs twice"),
        (framed(b'{"a": {"dtype": "F32", "dtype": "F16"}}'), "'dtype' occurs twice"),
        (framed(b'{"a": 5}'), "exactly dtype, shape and data_offsets"),
        (framed(b'{"a": {"dtype": "F32", "shape": [1]}}'), "exactly dtype, shape"),
        (framed(json.dumps({"a": entry(0, 16, dtype=3)}).encode()), "the dtype is 3"),
        (framed(json.dumps({"a": entry(0, 16, shape="4")}).encode()), "the shape is '4'"),
        (framed(json.dumps({"a": entry(0, 16, shape=[-4])}).encode()), "the shape is [-4]"),
        (framed(json.dumps({"a": entry(0, 16, shape=[4.0])}).encode()), "the shape is [4.0]"),
        (framed(json.dumps({"a": entry(0, 16, shape=[True])}).encode()), "the shape is [True]"),
        (framed(json.dumps({"a": entry(0, 16, shape=[2**99])}).encode()), "the shape is"),
        (framed(json.dumps({"a": entry(-1, 16)}).encode()), "data_offsets is [-1, 16]"),
        (framed(json.dumps({"a": entry(16, 0)}).encode()), "begin at 16, after their end 0"),
        (framed(json.dumps({"a": entry(0, 17)}).encode(), bytes(17)), "takes 16 bytes"),
        (framed(json.dumps({"a": entry(0, 16)}).encode(), bytes(12)), "cut short"),
        (framed(json.dumps({"a": entry(0, 16)}).encode(), bytes(20)), "the file has"),
        (framed(json.dumps({"a": entry(4, 20)}).encode(), bytes(20)), "leaves a hole"),
        (
            framed(json.dumps({"a": entry(0, 16), "b": entry(8, 24)}).encode(), bytes(24)),
            "'b' overlaps",
        ),
    ],
)
def test_unsound_files(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(folder_with(tmp_path, data))
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


class TestShards:
    def index(self, folder: Path, content: object) -> None:
        (folder / "model.safetensors.index.json").write_text(json.dumps(content), "utf-8")

    def test_a_missing_shard_is_named(self, tmp_path: Path) -> None:
        write_safetensors(tmp_path, [[NORM], [HEAD]])
        (tmp_path / "model-00002-of-00002.safetensors").unlink()
        with pytest.raises(CheckpointError, match=r"model-00002-of-00002\.safetensors: no such"):
            open_checkpoint(tmp_path)

    def test_a_tensor_in_two_shards(self, tmp_path: Path) -> None:
        write_safetensors(tmp_path, [[NORM, SCALE], [HEAD, NORM]])
        with pytest.raises(CheckpointError, match=r"'model\.norm\.weight' is in both"):
            open_checkpoint(tmp_path)

    def test_an_index_that_does_not_fit(self, tmp_path: Path) -> None:
        write_safetensors(tmp_path, [[NORM], [HEAD]])
        first, second = (f"model-0000{number}-of-00002.safetensors" for number in (1, 2))
        self.index(tmp_path, {"weight_map": {NORM.name: second, HEAD.name: second}})
        with pytest.raises(CheckpointError, match=r"norm\.weight' should be in model-00002"):
            open_checkpoint(tmp_path)
        self.index(tmp_path, {"weight_map": {NORM.name: first, HEAD.name: second, "x": first}})
        with pytest.raises(CheckpointError, match="'x' should be in model-00001"):
            open_checkpoint(tmp_path)

    @pytest.mark.parametrize("weight_map", [None, [], {}, {"a": 3}, {"a": "../b"}, {"a": "/b"}])
    def test_an_unsound_index(self, tmp_path: Path, weight_map: object) -> None:
        write_safetensors(tmp_path, [[NORM], [HEAD]])
        self.index(tmp_path, {"weight_map": weight_map})
        with pytest.raises(CheckpointError, match=r"index\.json"):
            open_checkpoint(tmp_path)


class TestFolders:
    def test_config_must_be_there_and_sound(self, tmp_path: Path) -> None:
        write_safetensors(tmp_path, [[NORM]])
        config = tmp_path / "config.json"
        for content, message in ((b"{", "invalid JSON"), (b"[]", "object"), (b"\xff", "UTF-8")):
            config.write_bytes(content)
            with pytest.raises(CheckpointError, match=rf"config\.json: .*{message}"):
                open_checkpoint(tmp_path)
        config.unlink()
        with pytest.raises(CheckpointError, match=r"config\.json: no such file"):
            open_checkpoint(tmp_path)

    def test_one_gguf_opens(self, tmp_path: Path) -> None:
        tensors = [quantized("output_norm.weight", (64,), "f32")]
        (tmp_path / "a.gguf").write_bytes(gguf_bytes(tiny_metadata(), tensors))
        assert open_checkpoint(tmp_path).format == "gguf"
        (tmp_path / "b.gguf").write_bytes(b"")
        with pytest.raises(CheckpointError, match=r"a\.gguf, b\.gguf"):
            open_checkpoint(tmp_path)
        write_safetensors(tmp_path, [[NORM]])
        assert open_checkpoint(tmp_path).format == "safetensors"

    def test_no_weights(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            open_checkpoint(tmp_path)
        (tmp_path / "pytorch_model.bin").write_bytes(b"x")
        with pytest.raises(UnsupportedModelError, match="convert to safetensors"):
            open_checkpoint(tmp_path)

    def test_a_weights_file_instead_of_its_folder(self, tmp_path: Path) -> None:
        write_safetensors(tmp_path, [[NORM]])
        with pytest.raises(CheckpointError, match=f"give the folder {tmp_path}"):
            open_checkpoint(tmp_path / "model.safetensors")
