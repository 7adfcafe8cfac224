"""Packs a checkpoint's tensors into the layout that the kernels read."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ftllm import _core
from ftllm.engine.checkpoints.checkpoint import Checkpoint
from ftllm.engine.checkpoints.tensor import TensorData
from ftllm.engine.names import TensorNames, expert_name, stacked_name
from ftllm.engine.pack_cache import PackCache
from ftllm.errors import CheckpointError, OptionError

Float32Array = npt.NDArray[np.float32]
RowOrder = npt.NDArray[np.int64]
RowOrderOf = Callable[[str], RowOrder | None]

_CHUNK_BYTES = 32 << 20  # source bytes packed before their pages are given back
_GROUPS = {"int4g": (32, 64, 128, 256), "int4z": (32, 64, 128)}
_DEFAULT_GROUP = 128
# Values of --dtype for which there is no more to say than the packed format; GGUF's names mean
# GGUF's formats. int8 has a scale for 128 columns, finer than one a row for 0.12 bits
# a weight.
_FORMATS = {"float32": "f32", "float16": "f16", "bfloat16": "bf16", "fp8": "fp8", "int8": "int8"}
_FORMATS |= {"fp8_e4m3": "fp8", "int8g": "int8", "int8g128": "int8", "int8g32": "q8_0"}
_FORMATS |= {name: name for name in ("q8_0", "q6_k", "q5_k", "q5_1", "q5_0", "q4_k", "q4_1")}
_FORMATS |= {name: name for name in ("q4_0", "iq4_nl", "iq4_xs", "q3_k", "q2_k")}
_FORMATS |= {name: name for name in ("mxfp4", "nvfp4")}
# One scale and min for 256 columns: the coarsest groups there are, still finer than one for a row.
_FORMATS |= {"int4": "int4g256"}
_FINE_FORMATS = frozenset({"f32", "f16", "bf16", "fp8", "int8"})
_FINE_FORMATS |= {"q8_0", "q6_k", "q5_k", "q5_1", "q5_0"}


def weight_format(dtype: str) -> str | None:
    """The packed format that a --dtype asks for; None keeps each tensor's own ("auto").

    Raises `OptionError` listing what is supported.
    """
    if dtype == "auto":
        return None
    if dtype in _FORMATS:
        return _FORMATS[dtype]
    grouped = re.fullmatch(r"(int4[gz])(\d*)", dtype)
    if grouped is not None:
        group = int(grouped[2] or _DEFAULT_GROUP)
        if group in _GROUPS[grouped[1]]:
            return f"{grouped[1]}{group}"
    choices = "; ".join(
        f"{name}N with N one of {', '.join(map(str, sizes))}" for name, sizes in _GROUPS.items()
    )
    raise OptionError(
        f"dtype is {dtype!r}; supported are auto, {', '.join(_FORMATS)}, int4g and int4z (groups of"
        f" {_DEFAULT_GROUP}); {choices}"
    )


def dtype_warning(dtype: str) -> str | None:
    """What a user should know of a --dtype that is allowed and not wise."""
    if dtype == "int4":
        return "int4 loses more than int4g, which costs 0.13 bits a weight; give --dtype int4g"
    return None


def packed_format(wanted: str | None, stored: str, role: str) -> str:
    """What a matrix is packed in: `wanted` is what `weight_format` gave, `stored` its own format;
    for `role` see `WeightLoader.matrix`."""
    if role == "router":
        return "f32"
    if wanted is None:
        return stored
    if role == "embedding" and wanted not in _FINE_FORMATS:
        return "int8"
    if role == "shared_kv" and wanted.startswith("int4"):
        return "int8"
    return wanted


class WeightLoader:
    """Reads tensors under canonical names and gives them packed; each is packed once.

    `row_order` says, by canonical name, in which order a matrix's rows are wanted. `on_bytes` is
    told how many source bytes were consumed. What `cache` holds is taken from there; `keep` gives
    it the rest.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        names: TensorNames,
        *,
        dtype: str,
        pool: _core.ThreadPool,
        row_order: RowOrderOf | None = None,
        on_bytes: Callable[[int], None] = lambda _: None,
        cache: PackCache | None = None,
    ) -> None:
        self._checkpoint = checkpoint
        self._names = names
        self._format = weight_format(dtype)
        self._pool = pool
        self._row_order = row_order
        self._on_bytes = on_bytes
        self._cache = cache
        self._pack_seconds = 0.0
        self._matrices: dict[str, _core.Weight] = {}
        self._arena = _core.Arena()
        self._present = frozenset(checkpoint.names())

    @property
    def packed_bytes(self) -> int:
        return sum(weight.nbytes for weight in self._matrices.values())

    @property
    def formats(self) -> tuple[str, ...]:
        """The packed formats in use, the one with most bytes first."""
        sizes: dict[str, int] = {}
        for weight in self._matrices.values():
            sizes[weight.format] = sizes.get(weight.format, 0) + weight.nbytes
        return tuple(sorted(sizes, key=lambda name: -sizes[name]))

    def has(self, name: str) -> bool:
        return self._names(name) in self._present

    def vector(self, name: str, size: int) -> Float32Array:
        """A tensor of `size` values as float32, whatever its stored format, in `row_order`."""
        tensor = self._checkpoint.tensor(self._names(name))
        if int(np.prod(tensor.shape)) != size:
            raise _shape_error(tensor, (size,))
        weight = _core.Weight(format="f32", rows=1, columns=size)
        self._fill(weight, tensor, tensor.data)
        values: Float32Array = weight.unpack()[0]
        order = self._order_of(name)
        return values if order is None else values[order]

    def matrix(self, name: str, rows: int, columns: int, *, role: str = "linear") -> _core.Weight:
        """A (rows, columns) matrix.

        `role`: "linear"; "embedding" (stays at 8 bits where linear layers go to 4: a table that is
        also the output layer suffers most); "shared_kv" (keys and values that several heads read:
        few weights with much effect, at 8 bits where int4 is asked for); "router" (float32: experts
        are chosen by it).
        """
        known = self._matrices.get(name)
        if known is not None:
            return known
        source = self._names(name)
        weight = self._find(name, [source], 1, rows, columns)
        if weight is None:
            start = time.monotonic()
            tensor = self._checkpoint.tensor(source)
            if tensor.shape != (rows, columns):
                raise _shape_error(tensor, (rows, columns))
            weight = _core.Weight(
                format=packed_format(self._format, tensor.dtype, role),
                rows=rows,
                columns=columns,
                arena=self._arena,
            )
            self._fill(weight, tensor, tensor.data, order=self._order_of(name))
            self._pack_seconds += time.monotonic() - start
        self._matrices[name] = weight
        return weight

    def experts(self, name: str, experts: int, rows: int, columns: int) -> _core.Weight:
        """`experts` matrices as one weight: a stacked tensor called `name` + ".weight", or one
        tensor an expert, in which "{e}" of `name` is the expert's number."""
        known = self._matrices.get(name)
        if known is not None:
            return known
        sources = [self._names(stacked_name(name))]
        stacked = sources[0] in self._present
        if not stacked:
            sources = [self._names(expert_name(name, e)) for e in range(experts)]
        weight = self._find(name, sources, experts, rows, columns)
        if weight is None:
            start = time.monotonic()
            weight = self._pack_experts(
                sources, (experts // len(sources), rows, columns), stacked=stacked
            )
            self._pack_seconds += time.monotonic() - start
        self._matrices[name] = weight
        return weight

    def keep(self) -> None:
        """All weights have been asked for: the cache may keep them."""
        if self._cache is not None:
            self._cache.store(self._matrices, seconds=self._pack_seconds)

    def _find(
        self, name: str, sources: Sequence[str], experts: int, rows: int, columns: int
    ) -> _core.Weight | None:
        """From the cache, what would be packed from the tensors `sources`."""
        if self._cache is None:
            return None
        weight = self._cache.find(
            name, experts=experts, rows=rows, columns=columns, arena=self._arena
        )
        if weight is not None:
            self._on_bytes(sum(self._checkpoint.tensor_bytes(source) for source in sources))
        return weight

    def _pack_experts(
        self, sources: Sequence[str], shape: tuple[int, int, int], *, stacked: bool
    ) -> _core.Weight:
        """From one tensor for all experts, or from one for each; `shape`: the part of a tensor."""
        count, rows, columns = shape
        weight: _core.Weight | None = None
        for first, source in enumerate(sources):
            tensor = self._checkpoint.tensor(source)
            expected = shape if stacked else (rows, columns)
            if tensor.shape != expected:
                raise _shape_error(tensor, expected)
            if weight is None:
                weight = _core.Weight(
                    format=packed_format(self._format, tensor.dtype, "linear"),
                    rows=rows,
                    columns=columns,
                    experts=count * len(sources),
                    arena=self._arena,
                )
            size = len(tensor.data) // count
            for e in range(count):
                data = tensor.data[e * size : (e + 1) * size]
                self._fill(weight, tensor, data, expert=first + e)
        assert weight is not None  # a model with experts has at least one
        return weight

    def _order_of(self, name: str) -> RowOrder | None:
        return None if self._row_order is None else self._row_order(name)

    def _fill(
        self,
        weight: _core.Weight,
        tensor: TensorData,
        data: memoryview,
        *,
        expert: int = 0,
        order: RowOrder | None = None,
    ) -> None:
        """Pack an expert from `data`, a part of `tensor`, giving its pages back as it goes."""
        row_bytes = len(data) // weight.rows
        step = weight.rows
        if order is None:
            lanes = _core.panel_rows()
            step = max(1, _CHUNK_BYTES // max(1, row_bytes * lanes)) * lanes
        for first in range(0, weight.rows, step):
            count = min(step, weight.rows - first)
            weight.fill(
                expert=expert,
                first_row=first,
                count=count,
                source=tensor.dtype,
                data=data[first * row_bytes : (first + count) * row_bytes],
                order=order,
                pool=self._pool,
            )
            self._checkpoint.release(tensor.name)
            self._on_bytes(count * row_bytes)


def _shape_error(tensor: TensorData, expected: Sequence[int]) -> CheckpointError:
    return CheckpointError(
        f"tensor {tensor.name!r} is {tensor.dtype} of shape {tuple(tensor.shape)}; the model's"
        f" configuration asks for {tuple(expected)}"
    )
