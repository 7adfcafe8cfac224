"""How many KV blocks to allocate."""

from __future__ import annotations

from dataclasses import dataclass

from ftllm.engine.machine import available_memory
from ftllm.errors import OptionError

_DEFAULT_LIMIT = 4 << 30  # without options: no more than this, unless one full context needs it
_FREE_SHARE = 0.5  # without options: no more than this share of the free memory


@dataclass(frozen=True, slots=True, kw_only=True)
class KvDemand:
    """What is asked for. `limit_bytes` and `tokens` None: sized from free memory."""

    limit_bytes: int | None
    tokens: int | None
    max_model_len: int
    max_batch: int


def least_kv_bytes(demand: KvDemand, *, block_bytes: int, block_size: int) -> int:
    """What `demand` takes at least: all that it names, else a block."""
    if demand.tokens is not None:
        return -(-demand.tokens // block_size) * block_bytes
    return block_bytes if demand.limit_bytes is None else demand.limit_bytes


def kv_blocks(demand: KvDemand, *, block_bytes: int, block_size: int) -> int:
    """Blocks to allocate. Raises `OptionError` with the numbers when the memory is not there."""
    free = available_memory()
    if demand.tokens is not None:
        blocks = -(-demand.tokens // block_size)
        if blocks < 1:
            raise OptionError(f"tokens is {demand.tokens}; it must be at least 1")
    elif demand.limit_bytes is not None:
        blocks = demand.limit_bytes // block_bytes
        if blocks < 1:
            raise OptionError(
                f"kv_cache_limit is {demand.limit_bytes} bytes, but one block of {block_size}"
                f" tokens takes {block_bytes}"
            )
    else:
        one_context = -(-demand.max_model_len // block_size)
        limit = max(_DEFAULT_LIMIT // block_bytes, one_context)
        share = int(free * _FREE_SHARE) // block_bytes
        blocks = min(limit, share, one_context * demand.max_batch)
        if blocks < 1:
            raise OptionError(
                f"{free >> 20} MiB of memory are free, too little for a KV cache; one block of"
                f" {block_size} tokens takes {block_bytes >> 10} KiB"
            )
    if blocks * block_bytes > free:
        raise OptionError(
            f"a KV cache of {blocks * block_size} tokens takes {blocks * block_bytes >> 20} MiB,"
            f" but only {free >> 20} MiB are free; lower --tokens or --kv_cache_limit, or choose a"
            " smaller --kv_cache_dtype"
        )
    return blocks
