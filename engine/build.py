"""From a checkpoint to an executor: record the graph, pack the weights, allocate the KV cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ftllm import _core
from ftllm.engine.checkpoints.checkpoint import Checkpoint, source_bytes
from ftllm.engine.config import ModelConfig, parse_config
from ftllm.engine.executor import CoreExecutor
from ftllm.engine.graph import Graph
from ftllm.engine.kv_capacity import KvDemand, kv_blocks, least_kv_bytes
from ftllm.engine.machine import default_threads, free_address_space, free_memory
from ftllm.engine.memory_check import MemoryNeed, check_memory
from ftllm.engine.models import Family, configure, find_family, is_causal, row_order
from ftllm.engine.names import TensorNames, model_prefix
from ftllm.engine.numa import thread_places
from ftllm.engine.pack_cache import PackCache, check_pack_cache_mode
from ftllm.engine.weight_outline import WeightOutline
from ftllm.engine.weights import WeightLoader, weight_format
from ftllm.errors import FtllmError, OptionError, UnsupportedModelError

_ARENA_CHUNK_BYTES = 256 << 20  # csrc/base/arena.cc: what an arena reserves at a time, at least
KV_DTYPES = ("auto", "float32", "float16", "bfloat16", "int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """See the command line's help; None and "auto" take defaults."""

    dtype: str = "auto"
    kv_cache_dtype: str = "auto"
    threads: int | None = None
    pin: str = "auto"
    device: str = "cpu"
    kv_cache_bytes: int | None = None
    tokens: int | None = None
    max_batch: int = 64
    max_batched_tokens: int = 512
    max_model_len: int | None = None
    pack_cache: str = "auto"
    pack_folder: Path | None = None  # where packed weights are kept; None: nowhere

    def check(self) -> None:
        """Raise `OptionError` before any work is done."""
        weight_format(self.dtype)
        check_pack_cache_mode(self.pack_cache)
        if self.kv_cache_dtype not in KV_DTYPES:
            raise OptionError(
                f"kv_cache_dtype is {self.kv_cache_dtype!r}; supported are {', '.join(KV_DTYPES)}"
            )
        thread_places(self.threads or default_threads(), pin=self.pin, device=self.device)
        for name, value in (
            ("threads", self.threads),
            ("tokens", self.tokens),
            ("max_batch", self.max_batch),
            ("max_batched_tokens", self.max_batched_tokens),
            ("max_model_len", self.max_model_len),
        ):
            if value is not None and not 1 <= value <= 1 << 24:
                raise OptionError(f"{name} is {value}; it must be from 1 to {1 << 24}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltModel:
    """An executor and what it was made of."""

    executor: CoreExecutor
    core: _core.Executor
    graph: _core.Graph
    config: ModelConfig
    packed_bytes: int
    weight_formats: tuple[str, ...]
    generates: bool  # it has an output layer
    causal: bool
    kv_dtype: str
    kv_bytes: int
    notes: tuple[str, ...]  # on loading, for the user

    @property
    def kv_tokens(self) -> int:
        return self.executor.num_blocks * self.executor.block_size


def build_model(
    checkpoint: Checkpoint,
    options: BuildOptions,
    *,
    on_bytes: Callable[[int], None],
    original_config: Mapping[str, object] | None = None,
) -> BuiltModel:
    """Packs every weight that the model's family asks for. `on_bytes` counts source bytes.

    `original_config`: the content of a config.json that wins over what a GGUF says.

    Raises `CheckpointError`, `UnsupportedModelError`, `GraphError` or `OptionError`.
    """
    options.check()
    from_gguf = checkpoint.format == "gguf"
    content = checkpoint.config if original_config is None else original_config
    config = parse_config(content, from_gguf=from_gguf, max_model_len=options.max_model_len)
    family = find_family(config.model_type, from_gguf=from_gguf and original_config is None)
    config = _configured(family, config)
    names = _tensor_names(family, checkpoint, from_gguf=from_gguf)
    _check_memory(family, config, checkpoint, names, options)
    threads = options.threads or default_threads()
    places = thread_places(threads, pin=options.pin, device=options.device)
    pool = _core.ThreadPool(threads=threads, cpus=places.cpus, groups=places.groups)
    cache = PackCache(
        mode=options.pack_cache,
        folder=options.pack_folder,
        checkpoint=checkpoint,
        config=content,
        weight_format=weight_format(options.dtype),
        pool=pool,
    )
    weights = WeightLoader(
        checkpoint,
        names,
        dtype=options.dtype,
        pool=pool,
        row_order=lambda name: row_order(family, config, name),
        on_bytes=on_bytes,
        cache=cache,
    )
    graph = Graph(weights)
    logits = family.build(graph, config)
    if logits is not None:
        graph.core.set_logits(logits=logits.id)
    weights.keep()
    kv_dtype = _kv_dtype(options)
    block_bytes = _core.kv_bytes_per_block(kv_type=kv_dtype, layers=graph.core.kv_layers)
    demand = _kv_demand(options, config.max_model_len)
    blocks = kv_blocks(demand, block_bytes=block_bytes, block_size=_core.KV_BLOCK_SIZE)
    # A step must hold a whole prompt where tokens see those after them.
    least_tokens = 1 if is_causal(family) else config.max_model_len
    core = _executor(graph, pool, options, kv_dtype, blocks, least_tokens)
    return BuiltModel(
        executor=CoreExecutor(core),
        core=core,
        graph=graph.core,
        config=config,
        packed_bytes=weights.packed_bytes,
        weight_formats=weights.formats,
        generates=logits is not None,
        causal=is_causal(family),
        kv_dtype=kv_dtype,
        kv_bytes=blocks * block_bytes,
        notes=(*places.notes, *cache.notes),
    )


def _check_memory(
    family: Family,
    config: ModelConfig,
    checkpoint: Checkpoint,
    names: TensorNames,
    options: BuildOptions,
) -> None:
    """Raise `OptionError` if the model cannot fit. What else is wrong with it, loading tells."""
    outline = WeightOutline(checkpoint, names, dtype=options.dtype)
    graph = Graph(outline)
    refused = False
    try:
        family.build(graph, config)
    except OptionError:  # there is not even the address space
        refused = True
    except FtllmError:
        return
    layers = graph.core.kv_layers
    if refused:
        layers = [(config.num_kv_heads, config.head_dim)] * config.num_layers
    need = MemoryNeed(
        weights=source_bytes(checkpoint) if refused else outline.packed_bytes,
        kv_cache=least_kv_bytes(
            _kv_demand(options, config.max_model_len),
            block_bytes=_core.kv_bytes_per_block(kv_type=_kv_dtype(options), layers=layers),
            block_size=_core.KV_BLOCK_SIZE,
        ),
        reserved=outline.address_space + refused * _ARENA_CHUNK_BYTES,
        refused=refused,
    )
    del graph, outline  # which take address space themselves
    check_memory(need, free=free_memory(), space=free_address_space())


def _kv_dtype(options: BuildOptions) -> str:
    return "float16" if options.kv_cache_dtype == "auto" else options.kv_cache_dtype


def _kv_demand(options: BuildOptions, max_model_len: int) -> KvDemand:
    return KvDemand(
        limit_bytes=options.kv_cache_bytes,
        tokens=options.tokens,
        max_model_len=max_model_len,
        max_batch=options.max_batch,
    )


def _executor(
    graph: Graph,
    pool: _core.ThreadPool,
    options: BuildOptions,
    kv_dtype: str,
    kv_blocks: int,
    least_tokens: int,
) -> _core.Executor:
    max_tokens = max(options.max_batched_tokens, least_tokens)
    return _core.Executor(
        graph=graph.core,
        pool=pool,
        kv_type=kv_dtype,
        kv_blocks=kv_blocks,
        max_tokens=max_tokens,
        max_sequences=min(options.max_batch, max_tokens),
    )


def _tensor_names(family: Family, checkpoint: Checkpoint, *, from_gguf: bool) -> TensorNames:
    if from_gguf:
        return TensorNames(family.GGUF_TENSORS)
    return TensorNames(prefix=model_prefix(checkpoint.names()))


def _configured(family: Family, config: ModelConfig) -> ModelConfig:
    """As the family means it. A head that it left out would make the model's answers mean nothing,
    so it is refused."""
    names = [str(name) for name in config.extra.sequence("architectures") or ()]
    taken = is_causal(family) or not config.classifies
    for name in names:
        if name.endswith(("Classification", "QuestionAnswering")) and taken:
            raise UnsupportedModelError(
                f"architectures names {name}, a model with an output layer that is not supported;"
                " supported are models that generate text, give embeddings or rerank"
            )
    return configure(family, config)
