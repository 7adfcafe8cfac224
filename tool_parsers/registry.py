"""All dialects by name. A new one is a file here and a line in one of the lists."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ftllm.errors import OptionError
from ftllm.tool_parsers import (
    deepseek_r1,
    deepseek_v3,
    deepseek_v4,
    deepseek_v32,
    ernie45,
    functiongemma,
    gemma4,
    glm45,
    glm47,
    granite,
    hermes,
    hunyuan_a13b,
    kimi_k2,
    minimax_m2,
    mistral,
    qwen3,
    qwen3_coder,
    seed_oss,
    step3,
    step3p5,
)
from ftllm.tool_parsers.dialect import ReasoningDialect, ToolDialect

TOOL_DIALECTS: Mapping[str, ToolDialect] = MappingProxyType(
    {
        dialect.name: dialect
        for dialect in (
            deepseek_v32.TOOL,
            deepseek_v4.TOOL,
            functiongemma.TOOL,
            gemma4.TOOL,
            glm45.TOOL,
            glm47.TOOL,
            hermes.TOOL,
            minimax_m2.TOOL,
            qwen3_coder.TOOL,
            seed_oss.TOOL,
            step3.TOOL,
            step3p5.TOOL,
        )
    }
)

REASONING_DIALECTS: Mapping[str, ReasoningDialect] = MappingProxyType(
    {
        dialect.name: dialect
        for dialect in (
            deepseek_r1.REASONING,
            deepseek_v3.REASONING,
            deepseek_v4.REASONING,
            ernie45.REASONING,
            gemma4.REASONING,
            glm45.REASONING,
            glm47.REASONING,
            granite.REASONING,
            hunyuan_a13b.REASONING,
            kimi_k2.REASONING,
            minimax_m2.REASONING,
            mistral.REASONING,
            qwen3.REASONING,
            seed_oss.REASONING,
            step3.REASONING,
            step3p5.REASONING,
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
