"""GGUF files: what is read, and what is said about unsound ones."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from ftllm.engine.checkpoints import Checkpoint, open_checkpoint
from ftllm.engine.checkpoints.tensor import DTYPE_BLOCKS
from ftllm.errors import CheckpointError, UnsupportedModelError
from tests.checkpoints.files import (
    GGML_TYPES,
    Tensor,
    Typed,
    gguf_bytes,
    quantized,
    tiny_metadata,
    write_split_gguf,
)

NORM = quantized("output_norm.weight", (64,), "f32")
EMBEDDING = quantized("token_embd.weight", (90, 64), "q8_0", seed=3)


def write(folder: Path, data: bytes) -> Path:
    path = folder / "model.gguf"
    path.write_bytes(data)
    return path


def opened(folder: Path, data: bytes) -> Checkpoint:
    return open_checkpoint(write(folder, data))


def refused(folder: Path, data: bytes, *words: str) -> None:
    """Opening fails with a message that has all the words."""
    with pytest.raises(CheckpointError) as caught:
        opened(folder, data)
    for word in (str(folder), *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("alignment", [1, 32, 4096])
def test_every_supported_type_comes_back_byte_for_byte(
    tmp_path: Path, version: int, alignment: int
) -> None:
    tensors = [quantized(f"{dtype}.weight", (3, 512), dtype, seed=9) for dtype in GGML_TYPES]
    checkpoint = opened(
        tmp_path, gguf_bytes(tiny_metadata(), tensors, version=version, alignment=alignment)
    )
    assert checkpoint.format == "gguf"
    assert set(GGML_TYPES) == set(DTYPE_BLOCKS)
    assert list(checkpoint.names()) == [tensor.name for tensor in tensors]
    for tensor in tensors:
        read = checkpoint.tensor(tensor.name)
        assert (read.name, read.shape, read.dtype) == (tensor.name, (3, 512), tensor.dtype)
        assert read.data.readonly
        assert bytes(read.data) == tensor.data


def test_dimensions_are_in_row_major_order(tmp_path: Path) -> None:
    experts = quantized("blk.0.ffn_up_exps.weight", (2, 3, 32), "q4_0")
    data = gguf_bytes(tiny_metadata(), [experts])
    assert struct.pack("<3Q", 32, 3, 2) in data  # the file has the fastest axis first
    assert opened(tmp_path, data).tensor(experts.name).shape == (2, 3, 32)


def test_metadata_of_every_type(tmp_path: Path) -> None:
    extremes = {
        "u8": 255,
        "i8": -128,
        "u16": 65535,
        "i16": -32768,
        "u32": 2**32 - 1,
        "i32": -(2**31),
        "f32": 0.5,
        "bool": True,
        "u64": 2**64 - 1,
        "i64": -(2**63),
        "f64": 1e300,
    }
    metadata = tiny_metadata()
    metadata |= {f"one.{name}": Typed(name, value) for name, value in extremes.items()}
    metadata |= {f"many.{name}": Typed(name, [value] * 3) for name, value in extremes.items()}
    metadata |= {"text": "naïve 🙂", "texts": ["a", "", "é"], "nested": [[1, 2], [3]]}
    metadata |= {"empty": Typed("f32", [])}
    read = opened(tmp_path, gguf_bytes(metadata, [NORM])).metadata
    for name, value in extremes.items():
        assert read[f"one.{name}"] == value
        assert type(read[f"one.{name}"]) is type(value)
        assert read[f"many.{name}"] == [value] * 3
    assert read["text"] == "naïve 🙂"
    assert read["texts"] == ["a", "", "é"]
    assert read["nested"] == [[1, 2], [3]]
    assert read["empty"] == []


def test_a_large_vocabulary_is_read(tmp_path: Path) -> None:
    metadata = tiny_metadata()
    metadata["tokenizer.ggml.tokens"] = [f"token{index}" for index in range(150_000)]
    metadata["tokenizer.ggml.scores"] = [0.0] * 150_000
    path = write(tmp_path, gguf_bytes(metadata, [NORM]))
    checkpoint = open_checkpoint(path)
    assert checkpoint.metadata["tokenizer.ggml.tokens"] == metadata["tokenizer.ggml.tokens"]


def test_an_unsupported_type_is_refused_when_the_tensor_is_used(tmp_path: Path) -> None:
    odd = [Tensor("a.weight", (1, 256), 34, bytes(54)), Tensor("b.weight", (4,), 99, bytes(4))]
    checkpoint = opened(tmp_path, gguf_bytes(tiny_metadata(), [NORM, *odd]))
    assert bytes(checkpoint.tensor(NORM.name).data) == NORM.data
    with pytest.raises(UnsupportedModelError, match=r"'a\.weight'.*'tq1_0'.*f32, f16, bf16"):
        checkpoint.tensor("a.weight")
    with pytest.raises(UnsupportedModelError, match=r"'b\.weight'.*'ggml type 99'"):
        checkpoint.tensor("b.weight")


def test_a_missing_tensor_names_near_matches(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, gguf_bytes(tiny_metadata(), [NORM, EMBEDDING]))
    with pytest.raises(CheckpointError, match=r"no tensor 'output_norm'.*output_norm\.weight"):
        checkpoint.tensor("output_norm")
    with pytest.raises(CheckpointError, match="it has 2 tensors"):
        checkpoint.release("xyz")


def test_released_tensors_can_be_read_again(tmp_path: Path) -> None:
    big = quantized("token_embd.weight", (90, 6400), "f32")
    checkpoint = opened(tmp_path, gguf_bytes(tiny_metadata(), [NORM, big]))
    for _ in range(2):
        assert bytes(checkpoint.tensor(big.name).data) == big.data
        checkpoint.release(big.name)
        checkpoint.release(NORM.name)  # smaller than a page: nothing to give back


def test_release_gives_memory_back(tmp_path: Path) -> None:
    big = Tensor("token_embd.weight", (90, 64 * 1024), "f32", b"\1" * (90 * 64 * 1024 * 4))
    path = write(tmp_path, gguf_bytes(tiny_metadata(), [big]))
    checkpoint = open_checkpoint(path)

    def resident() -> int:  # KiB of this mapping
        lines = Path("/proc/self/smaps").read_text().splitlines()
        start = next(index for index, line in enumerate(lines) if line.endswith(str(path)))
        return next(int(line.split()[1]) for line in lines[start:] if line.startswith("Rss:"))

    assert sum(checkpoint.tensor(big.name).data[::4096]) > 0
    before = resident()
    checkpoint.release(big.name)
    assert before > 20_000
    assert resident() < 200


def test_close_is_idempotent_and_spares_views_that_are_held(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, gguf_bytes(tiny_metadata(), [NORM]))
    held = checkpoint.tensor(NORM.name).data
    checkpoint.close()
    checkpoint.close()
    assert bytes(held) == NORM.data
    with pytest.raises(CheckpointError):
        checkpoint.tensor(NORM.name)


class TestUnsoundFiles:
    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="no such file"):
            open_checkpoint(tmp_path / "absent.gguf")
        with pytest.raises(CheckpointError, match="cannot be read"):
            open_checkpoint(tmp_path / ("x" * 5000))
        refused(tmp_path, b"", "empty")

    def test_another_format(self, tmp_path: Path) -> None:
        refused(tmp_path, b"PK\3\4" + bytes(60), "not a GGUF file", r"b'PK\x03\x04'")

    def test_versions(self, tmp_path: Path) -> None:
        refused(tmp_path, gguf_bytes({}, [], version=1), "version 1", "supported: 2, 3")
        refused(tmp_path, b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian")

    @pytest.mark.parametrize("keep", [2, 6, 14, 20, 40, 200])
    def test_cut_in_the_header(self, tmp_path: Path, keep: int) -> None:
        whole = gguf_bytes(tiny_metadata(), [NORM])
        with pytest.raises(CheckpointError, match=r"only|left"):
            opened(tmp_path, whole[:keep])

    def test_cut_in_the_weights(self, tmp_path: Path) -> None:
        whole = gguf_bytes(tiny_metadata(), [NORM, EMBEDDING])
        cut = len(whole) - 100
        refused(tmp_path, whole[:cut], EMBEDDING.name, f"only {cut} bytes", "cut short")

    def test_counts_beyond_the_file(self, tmp_path: Path) -> None:
        refused(tmp_path, b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), str(2**60), "limit")
        refused(tmp_path, b"GGUF" + struct.pack("<IQQ", 3, 1000, 0), "1000 tensors", "24000 bytes")
        refused(tmp_path, b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63), "metadata keys", "limit")

    def test_array_longer_than_the_file(self, tmp_path: Path) -> None:
        for element, claimed in ((8, 1 << 21), (6, 1 << 21), (9, 1 << 21), (6, 2**62)):
            data = b"GGUF" + struct.pack("<IQQ", 3, 0, 1)
            data += struct.pack("<Q3sIIQ", 3, b"key", 9, element, claimed) + bytes(64)
            refused(tmp_path, data, f"{claimed} elements of 'key'")

    def test_deeply_nested_arrays(self, tmp_path: Path) -> None:
        data = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q3sI", 3, b"key", 9)
        data += struct.pack("<IQ", 9, 1) * 5000
        refused(tmp_path, data, "'key'", "deeper than 4")

    def test_unknown_value_type(self, tmp_path: Path) -> None:
        data = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q3sI", 3, b"key", 13)
        refused(tmp_path, data + bytes(64), "'key'", "unknown type 13")

    def test_invalid_utf8(self, tmp_path: Path) -> None:
        for place in (b"general.architecture", b"llama", b"output_norm.weight", b"!"):
            whole = gguf_bytes({**tiny_metadata(), "tokens": ["!"]}, [NORM])
            at = whole.rindex(struct.pack("<Q", len(place)) + place) + 8
            refused(tmp_path, whole[:at] + b"\xff" + whole[at + 1 :], "not valid UTF-8")

    def test_not_a_boolean(self, tmp_path: Path) -> None:
        whole = gguf_bytes({**tiny_metadata(), "flag": Typed("bool", True)}, [])
        at = whole.rindex(b"flag") + 8
        refused(tmp_path, whole[:at] + b"\7" + whole[at + 1 :], "'flag'", "boolean")

    def test_duplicates(self, tmp_path: Path) -> None:
        one = gguf_bytes({"same.a": 1, "same.b": 2}, [])
        refused(tmp_path, one.replace(b"same.b", b"same.a"), "'same.a' occurs twice")
        refused(tmp_path, gguf_bytes({}, [NORM, NORM]), f"{NORM.name!r} occurs twice")

    @pytest.mark.parametrize("alignment", [0, 3, 2**31, "32", True, -8])
    def test_alignment(self, tmp_path: Path, alignment: object) -> None:
        data = gguf_bytes({"general.alignment": alignment}, [])
        refused(tmp_path, data, f"general.alignment is {alignment!r}", "power of two")

    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            (lambda: Tensor("t", (1,) * 5, "f32", bytes(4)), ("5 dimensions", "limit is 4")),
            (lambda: Tensor("t", (4, 0), "f32", b""), ("(4, 0)",)),
            (lambda: Tensor("t", (2, 40), "q8_0", bytes(85)), ("q8_0", "multiple of 32")),
            (lambda: Tensor("t", (2**40, 2**20), "f32", bytes(8)), ("cut short",)),
            (lambda: Tensor("t", (2**63, 2**63, 2**63, 2), "f32", bytes(8)), ("cut short",)),
        ],
    )
    def test_shapes(
        self, tmp_path: Path, damage: Callable[[], Tensor], words: tuple[str, ...]
    ) -> None:
        refused(tmp_path, gguf_bytes(tiny_metadata(), [damage()]), "'t'", *words)

    def test_offsets(self, tmp_path: Path) -> None:
        whole = gguf_bytes(tiny_metadata(), [NORM, EMBEDDING])
        at = whole.index(EMBEDDING.name.encode()) + len(EMBEDDING.name) + 4 + 16 + 4
        for offset, word in ((7, "alignment"), (0, "overlap"), (2**63, "cut short")):
            damaged = whole[:at] + struct.pack("<Q", offset) + whole[at + 8 :]
            refused(tmp_path, damaged, word)


class TestSplitFiles:
    def parts(self, folder: Path) -> list[Path]:
        return write_split_gguf(folder, "m", tiny_metadata(), [[NORM], [EMBEDDING]])

    def test_any_part_opens_all(self, tmp_path: Path) -> None:
        for path in (*self.parts(tmp_path), tmp_path):
            checkpoint = open_checkpoint(path)
            assert bytes(checkpoint.tensor(EMBEDDING.name).data) == EMBEDDING.data
            assert bytes(checkpoint.tensor(NORM.name).data) == NORM.data
            assert checkpoint.config["hidden_size"] == 64

    def test_a_missing_part_is_named(self, tmp_path: Path) -> None:
        first, second = self.parts(tmp_path)
        second.unlink()
        with pytest.raises(CheckpointError, match=r"m-00002-of-00002\.gguf: no such file"):
            open_checkpoint(first)

    def test_a_renamed_part_is_found_out(self, tmp_path: Path) -> None:
        first, second = self.parts(tmp_path)
        second.write_bytes(first.read_bytes())
        with pytest.raises(CheckpointError, match=r"split\.no is 0; by its name it must be 1"):
            open_checkpoint(first)
        lonely = first.rename(tmp_path / "lonely.gguf")
        with pytest.raises(CheckpointError, match=r"split\.count is 2, but the name says 1"):
            open_checkpoint(lonely)
        lonely.rename(tmp_path / "m-00003-of-00002.gguf")
        with pytest.raises(CheckpointError, match="part 3 of 2 does not exist"):
            open_checkpoint(tmp_path / "m-00003-of-00002.gguf")

    def test_the_tensor_count_is_checked(self, tmp_path: Path) -> None:
        first, second = self.parts(tmp_path)
        whole = second.read_bytes()
        part = {"split.no": Typed("u16", 1), "split.count": Typed("u16", 2)}
        second.write_bytes(gguf_bytes(part, []))
        with pytest.raises(CheckpointError, match=r"split\.tensors\.count is 2.* hold 1"):
            open_checkpoint(first)
        second.write_bytes(gguf_bytes(part, [NORM]))
        with pytest.raises(CheckpointError, match=r"'output_norm\.weight' is in both"):
            open_checkpoint(first)
        second.write_bytes(whole)
        open_checkpoint(first).close()
