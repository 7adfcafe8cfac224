"""Reads the header of one GGUF file: key/values and the table of tensors.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
Every length is checked against what is left of the file before anything is read or allocated.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise

from ftllm.engine.checkpoints.mapped_file import MappedFile
from ftllm.engine.checkpoints.tensor import DTYPE_BLOCKS, TensorEntry, byte_count
from ftllm.errors import CheckpointError, UnsupportedModelError

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_DEFAULT_ALIGNMENT = 32
_MAX_DIMENSIONS = 4
# Bounds that no sound file comes near (the largest vocabularies have half a million merges): they
# keep a damaged count from turning gigabytes of weights into metadata.
_MAX_HEADER = 256 * 1024**2  # bytes
_MAX_ELEMENTS = 1 << 22  # of one array
_MAX_KEYS = 1 << 16
_MAX_TENSORS = 1 << 18
_MAX_NESTING = 4  # arrays in arrays
_MAX_ALIGNMENT = 1 << 20

_BOOL, _STRING, _ARRAY = 7, 8, 9
_SCALARS = {  # value type -> struct code
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    _BOOL: "B",
    10: "Q",
    11: "q",
    12: "d",
}
_SMALLEST = {_STRING: 8, _ARRAY: 12}  # bytes of an empty string, of an empty array

_TENSOR_TYPES = {  # ggml type id -> name; 4, 5, 31-33, 36-38 were removed from ggml
    0: "f32",
    1: "f16",
    2: "q4_0",
    3: "q4_1",
    6: "q5_0",
    7: "q5_1",
    8: "q8_0",
    9: "q8_1",
    10: "q2_k",
    11: "q3_k",
    12: "q4_k",
    13: "q5_k",
    14: "q6_k",
    15: "q8_k",
    16: "iq2_xxs",
    17: "iq2_xs",
    18: "iq3_xxs",
    19: "iq1_s",
    20: "iq4_nl",
    21: "iq3_s",
    22: "iq2_s",
    23: "iq4_xs",
    24: "i8",
    25: "i16",
    26: "i32",
    27: "i64",
    28: "f64",
    29: "iq1_m",
    30: "bf16",
    34: "tq1_0",
    35: "tq2_0",
    39: "mxfp4",
    40: "nvfp4",
}


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """One file's metadata and its tensors by name."""

    metadata: dict[str, object]
    tensors: dict[str, TensorEntry]


def read_header(file: MappedFile) -> GgufHeader:
    """Parse and check the whole header. Raises `CheckpointError`."""
    cursor = _Cursor(file)
    tensor_count, key_count = _read_counts(cursor)
    metadata: dict[str, object] = {}
    for _ in range(key_count):
        key = cursor.string("a metadata key")
        if key in metadata:
            raise cursor.error(f"the metadata key {key!r} occurs twice")
        metadata[key] = cursor.value(cursor.u32(f"the type of {key!r}"), key)
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if (
        not isinstance(alignment, int)
        or isinstance(alignment, bool)
        or not 1 <= alignment <= _MAX_ALIGNMENT
        or alignment & (alignment - 1)
    ):
        raise cursor.error(
            f"general.alignment is {alignment!r}; it must be a power of two up to {_MAX_ALIGNMENT}"
        )
    tensors: dict[str, TensorEntry] = {}
    for _ in range(tensor_count):
        entry = cursor.tensor(alignment)
        if entry.name in tensors:
            raise cursor.error(f"the tensor {entry.name!r} occurs twice")
        tensors[entry.name] = entry
    data_start = -(-cursor.position // alignment) * alignment
    return GgufHeader(metadata, _place(tensors, data_start, file))


def _read_counts(cursor: _Cursor) -> tuple[int, int]:
    magic = cursor.take(4, "the magic number")
    if magic != _MAGIC:
        raise cursor.error(f"not a GGUF file: it starts with {magic!r} instead of {_MAGIC!r}")
    version = cursor.u32("the version")
    if version not in _VERSIONS:
        if int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS:
            raise UnsupportedModelError(f"{cursor.path}: big-endian GGUF is not supported")
        raise UnsupportedModelError(
            f"{cursor.path}: GGUF version {version} is not supported; supported: "
            f"{', '.join(map(str, _VERSIONS))}"
        )
    tensor_count = cursor.count("tensors", smallest=24, limit=_MAX_TENSORS)
    key_count = cursor.count("metadata keys", smallest=13, limit=_MAX_KEYS)
    return tensor_count, key_count


def _place(
    relative: dict[str, TensorEntry], data_start: int, file: MappedFile
) -> dict[str, TensorEntry]:
    """Turn offsets within the data section into offsets within the file, all of them checked."""
    placed: dict[str, TensorEntry] = {}
    for entry in relative.values():
        start, end = data_start + entry.start, data_start + entry.end
        if end > file.size:
            raise CheckpointError(
                f"{file.path}: tensor {entry.name!r} ends at byte {end}, but the file has only "
                f"{file.size} bytes; it was cut short or damaged, download it again"
            )
        placed[entry.name] = TensorEntry(entry.name, entry.shape, entry.dtype, start, end)
    by_start = sorted(placed.values(), key=lambda entry: (entry.start, entry.end))
    for before, after in pairwise(by_start):
        if after.start < before.end:
            raise CheckpointError(
                f"{file.path}: tensors {before.name!r} and {after.name!r} overlap: the first ends "
                f"at byte {before.end}, the second starts at byte {after.start}"
            )
    return placed


class _Cursor:
    """Reads the header front to back and never past its end."""

    def __init__(self, file: MappedFile) -> None:
        self.path = file.path
        self.position = 0
        self._file = file
        self._end = min(file.size, _MAX_HEADER)

    def error(self, message: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {message}")

    def take(self, length: int, what: str) -> bytes:
        return self._file.read(self._advance(length, what), self.position)

    def u32(self, what: str) -> int:
        return int.from_bytes(self.take(4, what), "little")

    def u64(self, what: str) -> int:
        return int.from_bytes(self.take(8, what), "little")

    def count(self, what: str, *, smallest: int, limit: int) -> int:
        """A 64-bit count of items that each take at least `smallest` bytes."""
        count = self.u64(f"the number of {what}")
        if count > limit:
            raise self.error(f"it claims {count} {what}; the limit is {limit}")
        if count * smallest > self._end - self.position:
            raise self.error(
                f"it claims {count} {what}, which take at least {count * smallest} bytes, but only "
                f"{self._end - self.position} are left"
            )
        return count

    def string(self, what: str) -> str:
        data = self.take(self.u64(f"the length of {what}"), what)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.error(f"{what} is not valid UTF-8: {error.reason}") from error

    def value(self, value_type: int, key: str) -> object:
        if value_type == _STRING:
            return self.string(f"the value of {key!r}")
        if value_type == _ARRAY:
            return self._array(key, nesting=1)
        return self._scalars(value_type, 1, key)[0]

    def tensor(self, alignment: int) -> TensorEntry:
        """One row of the tensor table; the offsets are within the data section."""
        name = self.string("a tensor name")
        dimensions = self.u32(f"the number of dimensions of {name!r}")
        if dimensions > _MAX_DIMENSIONS:
            raise self.error(
                f"tensor {name!r} has {dimensions} dimensions; the limit is {_MAX_DIMENSIONS}"
            )
        raw = self.take(8 * dimensions, f"the shape of {name!r}")
        shape = tuple(reversed(struct.unpack(f"<{dimensions}Q", raw)))  # GGUF: fastest axis first
        if 0 in shape:
            raise self.error(f"tensor {name!r} has the empty shape {shape}")
        type_id = self.u32(f"the type of {name!r}")
        dtype = _TENSOR_TYPES.get(type_id, f"ggml type {type_id}")
        offset = self.u64(f"the offset of {name!r}")
        if offset % alignment:
            raise self.error(
                f"tensor {name!r} has the offset {offset}, not a multiple of the alignment "
                f"{alignment}"
            )
        length = byte_count(dtype, shape) if dtype in DTYPE_BLOCKS else 0
        if length is None:
            raise self.error(
                f"tensor {name!r} of shape {shape}: a row of {dtype} must be a multiple of "
                f"{DTYPE_BLOCKS[dtype][0]} elements"
            )
        return TensorEntry(name, shape, dtype, offset, offset + length)

    def _advance(self, length: int, what: str) -> int:
        start = self.position
        if length > self._end - start:
            if length <= self._file.size - start:
                raise self.error(
                    f"{what} takes {length} bytes from byte {start}; the limit of a header is "
                    f"{_MAX_HEADER} bytes"
                )
            raise self.error(
                f"{what} takes {length} bytes from byte {start}, but the file has only "
                f"{self._file.size}; it was cut short or damaged, download it again"
            )
        self.position = start + length
        return start

    def _scalars(self, value_type: int, count: int, key: str) -> list[object]:
        code = _SCALARS.get(value_type)
        if code is None:
            raise self.error(f"the value of {key!r} has the unknown type {value_type}")
        form = struct.Struct(f"<{count}{code}")
        values = list(form.unpack(self.take(form.size, f"the value of {key!r}")))
        if value_type != _BOOL:
            return values
        if any(value > 1 for value in values):
            raise self.error(f"the value of {key!r} is not a boolean (0 or 1)")
        return [value == 1 for value in values]

    def _array(self, key: str, *, nesting: int) -> list[object]:
        if nesting > _MAX_NESTING:
            raise self.error(f"the value of {key!r} nests arrays deeper than {_MAX_NESTING}")
        value_type = self.u32(f"the element type of {key!r}")
        if value_type not in _SCALARS and value_type not in _SMALLEST:
            raise self.error(f"the elements of {key!r} have the unknown type {value_type}")
        smallest = _SMALLEST.get(value_type) or struct.calcsize("<" + _SCALARS[value_type])
        count = self.count(f"elements of {key!r}", smallest=smallest, limit=_MAX_ELEMENTS)
        if value_type == _STRING:
            return self._strings(count, key)
        if value_type == _ARRAY:
            return [self._array(key, nesting=nesting + 1) for _ in range(count)]
        return self._scalars(value_type, count, key)

    def _strings(self, count: int, key: str) -> list[object]:
        """Vocabularies have hundreds of thousands of strings: one tight loop, no calls to self."""
        buffer, end, position = self._file.buffer, self._end, self.position
        read_length = struct.Struct("<Q").unpack_from
        strings: list[object] = []
        for index in range(count):
            start = position + 8
            if start > end:
                raise self.error(f"the file ends inside {key!r}, at element {index} of {count}")
            position = start + read_length(buffer, position)[0]
            if position > end:
                raise self.error(
                    f"element {index} of {key!r} takes {position - start} bytes, but only "
                    f"{end - start} are left"
                )
            try:
                strings.append(str(buffer[start:position], "utf-8"))
            except UnicodeDecodeError as error:
                raise self.error(
                    f"element {index} of {key!r} is not valid UTF-8: {error.reason}"
                ) from error
        self.position = position
        return strings
