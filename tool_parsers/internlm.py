"""InternLM2 and 2.5, Intern-S1: `<|action_start|><|plugin|>\\n{"name": …}<|action_end|>`."""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout, json_object
from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.json_calls import json_block

# Some tokenizers put a space between two special tokens.
OPENINGS = ("<|action_start|><|plugin|>", "<|action_start|> <|plugin|>")
_LAYOUT = CallLayout(
    start=f"{OPENINGS[0]}\n",
    between=f"<|action_end|>\n{OPENINGS[0]}\n",
    end="<|action_end|>",
    call=json_object(arguments_key="parameters"),
)
TOOL = ToolDialect(
    "internlm", OPENINGS, json_block("<|action_end|>"), _LAYOUT, synonyms=OPENINGS[1:]
)
