"""gpt-oss: harmony, whose channels hold content, reasoning and calls (see harmony.py)."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import ChannelDialect

TOOL = ChannelDialect("openai")
REASONING = ChannelDialect("openai_gptoss")
