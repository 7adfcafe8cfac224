"""Whether a model fits into memory, told before hours are spent on reading it."""

from __future__ import annotations

from dataclasses import dataclass

from ftllm.engine.machine import FreeMemory
from ftllm.errors import OptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeed:
    """Bytes that a model is about to take."""

    weights: int  # packed; those of the files where `refused`
    kv_cache: int  # the least that it can be set up with
    reserved: int  # address space of the weights
    refused: bool = False  # by the system, when that was tried


def check_memory(need: MemoryNeed, *, free: FreeMemory, space: FreeMemory | None) -> None:
    """Raise `OptionError` with the numbers unless there is enough. `free`: what can be filled;
    `space`: what can be reserved, None without a limit."""
    if need.weights + need.kv_cache > free.bytes:
        raise _error(need, f"takes {_mib(need.weights + need.kv_cache)} MiB of memory", free)
    if space is None:
        return
    reserved = max(need.weights, need.reserved) + need.kv_cache
    if need.refused or reserved > space.bytes:
        raise _error(need, f"reserves at least {_mib(reserved)} MiB of address space", space)


def _error(need: MemoryNeed, takes: str, free: FreeMemory) -> OptionError:
    return OptionError(
        f"the model {takes} (its weights are {_mib(need.weights)} MiB, the KV cache is at least"
        f" {_mib(need.kv_cache)} MiB), but only {free.bytes >> 20} MiB {free.where}; choose a"
        " smaller model or --dtype, lower --tokens or --kv_cache_limit, or raise the limit"
    )


def _mib(size: int) -> int:
    return -(-size >> 20)
