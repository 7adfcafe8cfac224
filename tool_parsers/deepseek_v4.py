"""DeepSeek V4 and V4.1: DSML in a block `tool_calls`, or with spaces in a block ` calls`."""

from __future__ import annotations

from ftllm.tool_parsers.dialect import think_tags
from ftllm.tool_parsers.dsml import dsml_dialect

# The last two are slips of the model, seen in production.
TOOL = dsml_dialect("deepseek_v4", "tool_calls", " calls", "toolcalls", "tool")
REASONING = think_tags("deepseek_v4")
