"""The C++ engine: kernels, graph executor, KV cache and sampler."""

from collections.abc import Mapping, Sequence
from typing import Literal, overload

import numpy as np
import numpy.typing as npt

_Float32Array = npt.NDArray[np.float32]
_Int32Array = npt.NDArray[np.int32]

KV_BLOCK_SIZE: int  # tokens in one block of the KV cache

def isa() -> str:
    """The instruction set whose kernels this process runs. Raises `OptionError` when FTLLM_ISA asks
    for one that is unknown or that the processor lacks."""

def panel_rows() -> int:
    """Rows that weights are packed in together; `Weight.fill` starts at multiples of it."""

def packed_layout() -> str:
    """What besides format and shape decides where packed bytes lie: the same for two processes,
    the same bytes in both."""

def weight_formats() -> list[str]: ...
def format_block(format: str) -> tuple[int, int]:
    """(columns, bytes) of a block as files store it; 0 bytes: made at load only."""

def kv_bytes_per_block(kv_type: str, layers: Sequence[tuple[int, int]]) -> int:
    """Bytes of one KV block over all `layers`, each (KV heads, head_dim)."""

class ThreadPool:
    """A fixed team of threads; the calling thread is one of them.

    With `cpus`, thread t stays on the processors cpus[t], but for the calling thread, t = 0.
    `groups`: the group of each thread, ascending from 0; the threads of a group share a NUMA node.
    """

    def __init__(
        self, threads: int, cpus: Sequence[Sequence[int]] = (), groups: Sequence[int] = ()
    ) -> None: ...
    @property
    def size(self) -> int: ...
    @property
    def groups(self) -> int: ...
    def share(self, count: int, group: int) -> tuple[int, int]:
        """[begin, end) of `count` things (panels of a weight) that `group` owns."""

def item_threads(
    *, pool: ThreadPool, items: Sequence[int], together: int, help: bool
) -> list[list[int]]:
    """Which thread did each item of a loop with `items` items for each group. `together` items
    must be running at once before any ends; `help`: a group takes others' items. For tests."""

class Arena:
    """Memory that many weights share, on huge pages; given back with the last of them."""

    def __init__(self) -> None: ...
    @property
    def nbytes(self) -> int:
        """Address space taken; only what weights fill becomes memory."""

class InputFile:
    """A file that weights are read from; `descriptor` is duplicated."""

    def __init__(self, descriptor: int) -> None: ...

class Weight:
    """A matrix of `rows` by `columns` (times `experts`), packed for this process's kernels.

    With `arena` it lies there and keeps it alive; without, in memory of its own.
    """

    def __init__(
        self,
        *,
        format: str,
        rows: int,
        columns: int,
        experts: int = 1,
        arena: Arena | None = None,
    ) -> None: ...
    def fill(
        self,
        *,
        expert: int = 0,
        first_row: int,
        count: int,
        source: str,
        data: memoryview,
        order: npt.NDArray[np.int64] | None = None,
        pool: ThreadPool,
    ) -> None:
        """Pack `count` rows stored in format `source`, converting when the formats differ.

        `first_row` is a multiple of `panel_rows()`; so is `count`, but for the last rows.
        `order[i]`: which of the `count` rows of `data` becomes the i-th. Releases the GIL.
        Raises `CheckpointError` when `data` does not have the bytes that this takes.
        """

    def read(self, *, file: InputFile, offset: int, pool: ThreadPool) -> int:
        """Take over packed bytes and return their checksum. Releases the GIL.

        Raises `CheckpointError` when they cannot be read.
        """

    def checksum(self, *, pool: ThreadPool) -> int:
        """64 bits of the packed bytes, against accidents. Releases the GIL."""

    def __buffer__(self, flags: int, /) -> memoryview:
        """The packed bytes, read-only."""

    def unpack(self, expert: int = 0) -> _Float32Array:
        """(rows, columns) as the kernels understand them."""

    @property
    def format(self) -> str: ...
    @property
    def experts(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def columns(self) -> int: ...
    @property
    def nbytes(self) -> int: ...

class Graph:
    """A recorded model; `engine/graph.py` says what each operator computes. Values are ids."""

    def __init__(self) -> None: ...
    def set_location(self, scope: str, source: str) -> None: ...
    def width(self, value: int) -> int: ...
    def embedding(self, table: Weight, factor: float) -> int: ...
    def linear(self, x: int, weight: Weight, bias: _Float32Array | None) -> int: ...
    def rms_norm(self, x: int, weight: _Float32Array, eps: float) -> int: ...
    def layer_norm(self, x: int, weight: _Float32Array, bias: _Float32Array, eps: float) -> int: ...
    def positions(self, x: int, table: _Float32Array, first: int) -> int: ...
    def rope_table(self, frequencies: _Float32Array, factor: float) -> int: ...
    def rope(self, x: int, table: int, head_dim: int) -> int: ...
    def attention(
        self,
        q: int,
        k: int,
        v: int,
        layer: int,
        head_dim: int,
        scale: float,
        window: int,
        causal: bool = True,
    ) -> int: ...
    def add(self, a: int, b: int) -> int: ...
    def scale(self, x: int, factor: float) -> int: ...
    def soft_cap(self, x: int, limit: float) -> int: ...
    def gelu(self, x: int) -> int: ...
    def gated(self, gate: int, up: int, activation: str) -> int: ...
    def experts(
        self,
        x: int,
        router: int,
        gate: Weight,
        up: Weight,
        down: Weight,
        top_k: int,
        normalize: bool,
        activation: str,
    ) -> int: ...
    def select_outputs(self, x: int) -> int: ...
    def set_logits(self, logits: int) -> None: ...
    def set_hidden(self, hidden: int) -> None: ...
    @property
    def names(self) -> list[str]:
        """Each value's name."""

    @property
    def kv_layers(self) -> list[tuple[int, int]]:
        """(KV heads, head_dim) of each attention layer."""

_Step = tuple[_Int32Array, _Float32Array, _Int32Array, _Int32Array, _Float32Array, _Float32Array]

class Executor:
    """Runs steps of a graph over its KV cache; arrays as in `engine/plan.py`."""

    def __init__(
        self,
        *,
        graph: Graph,
        pool: ThreadPool,
        kv_type: str,
        kv_blocks: int,
        max_tokens: int,
        max_sequences: int,
    ) -> None: ...
    @overload
    def step(
        self,
        *,
        token_ids: _Int32Array,
        row_starts: _Int32Array,
        context_lens: _Int32Array,
        block_tables: _Int32Array,
        output_rows: _Int32Array,
        output_targets: _Int32Array,
        output_top: _Int32Array,
        output_drafts: _Int32Array,
        samplers: Sequence[Sampler | None],
        pooled_rows: _Int32Array | None = None,
        output_masks: _Int32Array | None = None,
        masks: TokenMasks | None = None,
        trace: Literal[False] = False,
    ) -> _Step:
        """(token_ids, logprobs, ranks, top_ids, top_logprobs, hidden). Releases the GIL.

        Raises `GraphError` when the arrays do not fit the executor's limits or each other.
        """

    @overload
    def step(
        self,
        *,
        token_ids: _Int32Array,
        row_starts: _Int32Array,
        context_lens: _Int32Array,
        block_tables: _Int32Array,
        output_rows: _Int32Array,
        output_targets: _Int32Array,
        output_top: _Int32Array,
        output_drafts: _Int32Array,
        samplers: Sequence[Sampler | None],
        pooled_rows: _Int32Array | None = None,
        output_masks: _Int32Array | None = None,
        masks: TokenMasks | None = None,
        trace: Literal[True],
    ) -> tuple[
        _Int32Array,
        _Float32Array,
        _Int32Array,
        _Float32Array,
        _Float32Array,
        dict[str, _Float32Array],
    ]:
        """With the (rows, width) matrix of every value of the graph, by name."""

    @property
    def isa(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def kv_blocks(self) -> int: ...
    @property
    def max_tokens(self) -> int: ...
    @property
    def max_sequences(self) -> int: ...
    @property
    def hidden_width(self) -> int:
        """Values of a final hidden state; 0: the graph does not name it."""

    @property
    def workspace_bytes(self) -> int: ...

class NgramIndex:
    """A sequence's tokens, and what followed earlier occurrences of its end.

    N-grams count from `shortest` tokens on; those longer than `longest` are not told apart.
    """

    def __init__(self, *, shortest: int, longest: int) -> None: ...
    def append(self, token_ids: Sequence[int]) -> None: ...
    def continuation(self, count: int) -> list[int]:
        """The `count` tokens after the latest earlier occurrence of the longest n-gram that ends
        the sequence; past its end they go on with themselves. Empty if there is none."""

    def __len__(self) -> int: ...

class Sampler:
    """Sampling state of one request: its parameters, token counts and random stream.

    The n-th token depends only on the logits, the parameters, the seed and n. `accept` counts a
    token as generated; `step` never changes a sampler, so a failed step needs no undoing.
    """

    def __init__(
        self,
        *,
        temperature: float,
        top_k: int,
        top_p: float,
        min_p: float,
        repetition_penalty: float,
        presence_penalty: float,
        frequency_penalty: float,
        logit_bias: Mapping[int, float],
        seed: int,
        min_tokens: int,
        stop_token_ids: Sequence[int],
        allowed_token_ids: Sequence[int] | None,
        bad_words: Sequence[Sequence[int]],
        prompt_ids: Sequence[int],
    ) -> None: ...
    def accept(self, token_id: int) -> None: ...
    @property
    def num_accepted(self) -> int: ...

class TokenMasks:
    """Which tokens some rows of a step can be sampled from: a bit a token, in words of 32; all
    begin as 0. Another thread may fill them while the step computes; `step` waits for `publish`
    before it samples."""

    def __init__(self, *, rows: int, vocab_size: int) -> None: ...
    @property
    def address(self) -> int: ...
    @property
    def data(self) -> memoryview:
        """(rows * row_bytes,), writable"""

    @property
    def rows(self) -> int: ...
    @property
    def row_bytes(self) -> int: ...
    def publish(self) -> None:
        """The rows are complete; they must not change after this."""

    def wait(self) -> None: ...

def sample_row(
    sampler: Sampler,
    logits: _Float32Array,
    drafts: Sequence[int] = (),
    mask: Sequence[int] = (),
) -> int:
    """The token that `sampler` draws from one row of logits, as if it had accepted `drafts`. `mask`
    are words of 32 bits, a bit a token; empty: all are allowed.

    Raises `ValueError` when no logit is above -inf, or all that are belong to tokens that the
    options or the mask exclude. For tests.
    """

def score_row(
    logits: _Float32Array, target: int, top_n: int
) -> tuple[float, int, _Int32Array, _Float32Array]:
    """(log-probability of `target`, its rank from 1, top ids, top log-probabilities). For tests."""

def sampler_uniform(seed: int, n: int) -> float:
    """The n-th number of a sampler's random stream, in [0, 1). For tests."""

# Kernels, for tests

class kernels:
    """A submodule: the kernels of this process one by one. Arrays are float32 and come back new;
    a shape that does not fit is a `ValueError`."""

    @staticmethod
    def tile_rows() -> int:
        """Activation rows that block formats compute together."""

    @staticmethod
    def quantize_rows(x: _Float32Array) -> tuple[npt.NDArray[np.int8], _Float32Array]:
        """x (M, K) as block formats see it: codes (M, K up to a multiple of 32) and scales, one
        per 32 columns."""

    @staticmethod
    def linear(
        *,
        weight: Weight,
        x: _Float32Array,
        bias: _Float32Array | None = None,
        expert: int = 0,
        rows_per_call: int = 960,
        panels_per_call: int = 1 << 20,
        threads: int = 1,
    ) -> _Float32Array:
        """x Wᵀ (+ bias), (M, N), cut into calls of `rows_per_call` (a multiple of `tile_rows()`)
        by `panels_per_call`, handed out to `threads`."""

    @staticmethod
    def add(a: _Float32Array, b: _Float32Array) -> _Float32Array: ...
    @staticmethod
    def silu_mul(gate: _Float32Array, up: _Float32Array) -> _Float32Array: ...
    @staticmethod
    def gelu_mul(gate: _Float32Array, up: _Float32Array) -> _Float32Array: ...
    @staticmethod
    def scale(x: _Float32Array, factor: float) -> _Float32Array: ...
    @staticmethod
    def soft_cap(x: _Float32Array, limit: float) -> _Float32Array: ...
    @staticmethod
    def scaled_add(x: _Float32Array, factor: float, y: _Float32Array) -> _Float32Array:
        """y + factor · x"""

    @staticmethod
    def rms_norm(x: _Float32Array, weight: _Float32Array, eps: float) -> _Float32Array:
        """x and weight (K,)"""

    @staticmethod
    def layer_norm(
        x: _Float32Array, weight: _Float32Array, bias: _Float32Array, eps: float
    ) -> _Float32Array:
        """x, weight and bias (K,)"""

    @staticmethod
    def gelu(x: _Float32Array) -> _Float32Array: ...
    @staticmethod
    def rotate_half(x: _Float32Array, cos: _Float32Array, sin: _Float32Array) -> _Float32Array:
        """x of one head; cos and sin (pairs,)"""

    @staticmethod
    def attention(
        *,
        kv_type: str,
        q: _Float32Array,
        k: _Float32Array,
        v: _Float32Array,
        block_table: _Int32Array,
        blocks: int,
        position: int,
        scale: float,
        window: int = 0,
        causal: bool = True,
        rows_per_call: int = 1,
        fill: int = 0,
        split: bool = False,
    ) -> _Float32Array:
        """q (T, H, D) at positions from `position` on, over one KV head's k and v (S, D), which
        are first written to a cache of `blocks` blocks full of the byte `fill`. `split`: each
        chunk of the context is summed in a call of its own, as threads share them."""

class timing:
    """A submodule: kernels and the machine's limits against the clock, for benchmarks. All release
    the GIL."""

    @staticmethod
    def arithmetic_rate(*, kind: str, pool: ThreadPool, seconds: float) -> float:
        """Multiplications and additions a second of bare loops in registers, on all threads.

        `kind`: "float32", "int8" (u8 by s8, summed in 32 bits) or "int4" (the same with codes of
        few bits, for which some instruction sets need fewer instructions).
        """

    @staticmethod
    def read_seconds(*, weights: Sequence[Weight], pool: ThreadPool) -> float:
        """To read the packed bytes of all weights once."""

    @staticmethod
    def linear_seconds(*, weights: Sequence[Weight], x: _Float32Array, pool: ThreadPool) -> float:
        """Of x Wᵀ for every weight in turn, activations quantized for each."""

    @staticmethod
    def barrier_seconds(*, pool: ThreadPool, items: int, loops: int) -> float:
        """Of one parallel loop over `items` items that do nothing; the mean of `loops`."""
