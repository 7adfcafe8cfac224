"""All dialects by name. A new one is a file here and a line in one of the lists."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ftllm.errors import OptionError
from ftllm.tool_parsers import (
    deepseek_r1,
    deepseek_v3,
    deepseek_v4,
    deepseek_v31,
    deepseek_v32,
    ernie45,
    functiongemma,
    gemma4,
    glm45,
    glm47,
    granite,
    granite4,
    granite_20b_fc,
    hermes,
    hunyuan_a13b,
    internlm,
    jamba,
    kimi_k2,
    lfm2,
    llama3_json,
    llama4_pythonic,
    longcat,
    minimax_m2,
    mistral,
    olmo3,
    openai,
    phi4_mini_json,
    pythonic,
    qwen3,
    qwen3_coder,
    seed_oss,
    step3,
    step3p5,
    xlam,
)
from ftllm.tool_parsers.dialect import ChannelDialect, ReasoningDialect, ToolDialect

AnyToolDialect = ToolDialect | ChannelDialect
AnyReasoningDialect = ReasoningDialect | ChannelDialect

_TOOLS: tuple[AnyToolDialect, ...] = (
    deepseek_v3.TOOL,
    deepseek_v31.TOOL,
    deepseek_v32.TOOL,
    deepseek_v4.TOOL,
    ernie45.TOOL,
    functiongemma.TOOL,
    gemma4.TOOL,
    glm45.TOOL,
    glm47.TOOL,
    granite.TOOL,
    granite4.TOOL,
    granite_20b_fc.TOOL,
    hermes.TOOL,
    hunyuan_a13b.TOOL,
    internlm.TOOL,
    jamba.TOOL,
    kimi_k2.TOOL,
    lfm2.TOOL,
    llama3_json.TOOL,
    llama4_pythonic.TOOL,
    longcat.TOOL,
    minimax_m2.TOOL,
    mistral.TOOL,
    olmo3.TOOL,
    openai.TOOL,
    phi4_mini_json.TOOL,
    pythonic.TOOL,
    qwen3_coder.TOOL,
    seed_oss.TOOL,
    step3.TOOL,
    step3p5.TOOL,
    xlam.TOOL,
)
_REASONING: tuple[AnyReasoningDialect, ...] = (
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
    openai.REASONING,
    qwen3.REASONING,
    seed_oss.REASONING,
    step3.REASONING,
    step3p5.REASONING,
)

TOOL_DIALECTS: Mapping[str, AnyToolDialect] = MappingProxyType({each.name: each for each in _TOOLS})
REASONING_DIALECTS: Mapping[str, AnyReasoningDialect] = MappingProxyType(
    {each.name: each for each in _REASONING}
)


def tool_dialect_named(name: str) -> AnyToolDialect:
    """Raises `OptionError`, which names those there are."""
    dialect = TOOL_DIALECTS.get(name)
    if dialect is None:
        raise _unknown("tool call", name, TOOL_DIALECTS)
    return dialect


def reasoning_dialect_named(name: str) -> AnyReasoningDialect:
    """Raises `OptionError`, which names those there are."""
    dialect = REASONING_DIALECTS.get(name)
    if dialect is None:
        raise _unknown("reasoning", name, REASONING_DIALECTS)
    return dialect


def _unknown(kind: str, name: str, known: Mapping[str, object]) -> OptionError:
    return OptionError(f"{name!r} is no {kind} dialect; there are {', '.join(sorted(known))}")
