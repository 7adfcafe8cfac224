"""All dialects by name. A new one is a file here and a line in one of the lists."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ftllm.errors import OptionError
from ftllm.tool_parsers import deepseek_r1, functiongemma, gemma4, hermes, qwen3
from ftllm.tool_parsers.dialect import ReasoningDialect, ToolDialect

TOOL_DIALECTS: Mapping[str, ToolDialect] = MappingProxyType(
    {
        dialect.name: dialect
        for dialect in (
            functiongemma.TOOL,
            gemma4.TOOL,
            hermes.TOOL,
        )
    }
)

REASONING_DIALECTS: Mapping[str, ReasoningDialect] = MappingProxyType(
    {
        dialect.name: dialect
        for dialect in (
            deepseek_r1.REASONING,
            gemma4.REASONING,
            qwen3.REASONING,
        )
    }
)


def tool_dialect_named(name: str) -> ToolDialect:
    """Raises `OptionError`, which names those there are."""
    dialect = TOOL_DIALECTS.get(name)
    if dialect is None:
        raise _unknown("tool call", name, TOOL_DIALECTS)
    return dialect


def reasoning_dialect_named(name: str) -> ReasoningDialect:
    """Raises `OptionError`, which names those there are."""
    dialect = REASONING_DIALECTS.get(name)
    if dialect is None:
        raise _unknown("reasoning", name, REASONING_DIALECTS)
    return dialect


def _unknown(kind: str, name: str, known: Mapping[str, object]) -> OptionError:
    return OptionError(f"{name!r} is no {kind} dialect; there are {', '.join(sorted(known))}")
