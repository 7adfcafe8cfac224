"""gpt-oss: harmony, whose channels hold content, reasoning and calls (see harmony.py)."""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout, headed
from ftllm.tool_parsers.dialect import ChannelDialect

_CALL = "<|channel|>commentary to=functions."
_LAYOUT = CallLayout(
    start=_CALL,
    between=f"<|call|><|start|>assistant{_CALL}",
    end="",
    call=headed("", " <|constrain|>json<|message|>"),
    lead="<|start|>assistant",  # behind a message of reasoning
)
TOOL = ChannelDialect("openai", _LAYOUT)
REASONING = ChannelDialect("openai_gptoss", _LAYOUT)
