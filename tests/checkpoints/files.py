"""Writes small GGUF and safetensors files, sound ones and odd ones, for tests.

Formats: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md,
https://huggingface.co/docs/safetensors/index#format
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# GGUF value type -> (id, struct code)
_VALUE_TYPES = {
    "u8": (0, "B"),
    "i8": (1, "b"),
    "u16": (2, "H"),
    "i16": (3, "h"),
    "u32": (4, "I"),
    "i32": (5, "i"),
    "f32": (6, "f"),
    "bool": (7, "?"),
    "u64": (10, "Q"),
    "i64": (11, "q"),
    "f64": (12, "d"),
}
_STRING, _ARRAY = 8, 9

GGML_TYPES = {  # dtype -> (ggml type id, elements per block, bytes per block)
    "f32": (0, 1, 4),
    "f16": (1, 1, 2),
    "q4_0": (2, 32, 18),
    "q4_1": (3, 32, 20),
    "q5_0": (6, 32, 22),
    "q5_1": (7, 32, 24),
    "q8_0": (8, 32, 34),
    "q2_k": (10, 256, 84),
    "q3_k": (11, 256, 110),
    "q4_k": (12, 256, 144),
    "q5_k": (13, 256, 176),
    "q6_k": (14, 256, 210),
    "iq2_xxs": (16, 256, 66),
    "iq2_xs": (17, 256, 74),
    "iq3_xxs": (18, 256, 98),
    "iq1_s": (19, 256, 50),
    "iq4_nl": (20, 32, 18),
    "iq3_s": (21, 256, 110),
    "iq2_s": (22, 256, 82),
    "iq4_xs": (23, 256, 136),
    "iq1_m": (29, 256, 56),
    "bf16": (30, 1, 2),
    "mxfp4": (39, 32, 17),
}


@dataclass(frozen=True, slots=True)
class Typed:
    """A GGUF value whose type is not the inferred one: Typed("u16", 3), Typed("f64", [1.0])."""

    type: str
    value: object


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor to write: `shape` in PyTorch's order, `data` its raw bytes.

    `dtype` is a key of GGML_TYPES or a ggml type id; for safetensors its spelling ("F32", "BF16").
    """

    name: str
    shape: tuple[int, ...]
    dtype: str | int
    data: bytes


def quantized(name: str, shape: tuple[int, ...], dtype: str, *, seed: int = 0) -> Tensor:
    """A tensor of arbitrary but fixed bytes of the right length for GGUF."""
    _, elements, size = GGML_TYPES[dtype]
    length = size
    for extent in shape:
        length *= extent
    length //= elements
    data = bytes((seed + 31 * index + (index >> 8)) % 251 for index in range(length))
    return Tensor(name, shape, dtype, data)


def gguf_bytes(
    metadata: Mapping[str, object],
    tensors: Sequence[Tensor],
    *,
    version: int = 3,
    alignment: int = 32,
) -> bytes:
    """A whole GGUF file. bool, int (u32, else i32, i64), float (f32), str, lists and `Typed` are
    written as such; another `alignment` than 32 is also written to the metadata."""
    if alignment != 32:
        metadata = {**metadata, "general.alignment": alignment}
    header = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, value in metadata.items():
        header += _string(key) + _value(value)
    data = b""
    for tensor in tensors:
        type_id = GGML_TYPES[tensor.dtype][0] if isinstance(tensor.dtype, str) else tensor.dtype
        header += _string(tensor.name) + struct.pack("<I", len(tensor.shape))
        header += struct.pack(f"<{len(tensor.shape)}Q", *reversed(tensor.shape))
        header += struct.pack("<IQ", type_id, len(data))
        data += _padded(tensor.data, alignment)
    return _padded(header, alignment) + data


def write_split_gguf(
    folder: Path, stem: str, metadata: Mapping[str, object], parts: Sequence[Sequence[Tensor]]
) -> list[Path]:
    """A split set as llama.cpp writes it: all metadata in the first part, `split.*` in each."""
    paths = []
    for number, tensors in enumerate(parts):
        split = {
            "split.no": Typed("u16", number),
            "split.count": Typed("u16", len(parts)),
            "split.tensors.count": Typed("i32", sum(map(len, parts))),
        }
        path = folder / f"{stem}-{number + 1:05}-of-{len(parts):05}.gguf"
        path.write_bytes(gguf_bytes({**(metadata if number == 0 else {}), **split}, tensors))
        paths.append(path)
    return paths


def tiny_metadata(architecture: str = "llama", **changed: object) -> dict[str, object]:
    """Metadata of a two-layer model. `changed` replaces the architecture's keys, with "__" for
    "."; None removes one."""
    keys: dict[str, object] = {
        "context_length": 128,
        "embedding_length": 64,
        "block_count": 2,
        "feed_forward_length": 96,
        "attention.head_count": 4,
        "attention.head_count_kv": 2,
        "attention.layer_norm_rms_epsilon": 1e-5,
    }
    keys.update({key.replace("__", "."): value for key, value in changed.items()})
    metadata: dict[str, object] = {"general.architecture": architecture}
    metadata.update({f"{architecture}.{k}": v for k, v in keys.items() if v is not None})
    metadata["tokenizer.ggml.model"] = "gpt2"
    metadata["tokenizer.ggml.tokens"] = [chr(ord("!") + index) for index in range(90)]
    metadata["tokenizer.ggml.bos_token_id"] = 1
    metadata["tokenizer.ggml.eos_token_id"] = 2
    return metadata


def safetensors_bytes(
    tensors: Sequence[Tensor], *, metadata: Mapping[str, str] | None = None
) -> bytes:
    """A whole safetensors file; a dtype given as an id is not possible here."""
    header: dict[str, object] = {} if metadata is None else {"__metadata__": metadata}
    data = b""
    for tensor in tensors:
        offsets = [len(data), len(data) + len(tensor.data)]
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": offsets,
        }
        data += tensor.data
    return framed(json.dumps(header).encode(), data)


def framed(header: bytes, data: bytes = b"") -> bytes:
    """A safetensors file with these header bytes, whatever they are."""
    return struct.pack("<Q", len(header)) + header + data


def write_safetensors(
    folder: Path,
    shards: Sequence[Sequence[Tensor]],
    *,
    config: Mapping[str, object] | None = None,
) -> Path:
    """A Hugging Face style folder; with more than one shard also their index."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config or {"model_type": "llama"}), "utf-8")
    if len(shards) == 1:
        (folder / "model.safetensors").write_bytes(safetensors_bytes(shards[0]))
        return folder
    weight_map: dict[str, str] = {}
    for number, tensors in enumerate(shards):
        name = f"model-{number + 1:05}-of-{len(shards):05}.safetensors"
        (folder / name).write_bytes(safetensors_bytes(tensors))
        weight_map.update({tensor.name: name for tensor in tensors})
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    return folder


def _padded(data: bytes, alignment: int) -> bytes:
    return data + bytes(-len(data) % alignment)


def _string(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _value(value: object) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", _STRING) + _string(value)
    if isinstance(value, list) or (isinstance(value, Typed) and isinstance(value.value, list)):
        return struct.pack("<I", _ARRAY) + _array(value)
    typed = value if isinstance(value, Typed) else Typed(_inferred(value), value)
    type_id, code = _VALUE_TYPES[typed.type]
    return struct.pack(f"<I{code}", type_id, typed.value)


def _array(value: object) -> bytes:
    """Element type, count and elements; the type is the first element's unless `Typed`."""
    items = value.value if isinstance(value, Typed) else value
    assert isinstance(items, list)
    if items and isinstance(items[0], str):
        return struct.pack("<IQ", _STRING, len(items)) + b"".join(map(_string, items))
    if items and isinstance(items[0], list):
        return struct.pack("<IQ", _ARRAY, len(items)) + b"".join(map(_array, items))
    name = value.type if isinstance(value, Typed) else _inferred(items[0] if items else 0)
    type_id, code = _VALUE_TYPES[name]
    return struct.pack(f"<IQ{len(items)}{code}", type_id, len(items), *items)


def _inferred(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, float):
        return "f32"
    assert isinstance(value, int), f"no GGUF type for {value!r}"
    if 0 <= value < 1 << 32:
        return "u32"
    return "i32" if -(1 << 31) <= value < 0 else "i64"
