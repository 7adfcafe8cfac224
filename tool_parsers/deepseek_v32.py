"""DeepSeek V3.2: DSML in a block `function_calls`."""

from __future__ import annotations

from ftllm.tool_parsers.dsml import dsml_dialect

TOOL = dsml_dialect("deepseek_v32", "function_calls")
