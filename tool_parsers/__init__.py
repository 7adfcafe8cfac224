"""Splits what a model writes into content, reasoning and tool calls, for each family's dialect."""

from ftllm.tool_parsers.deltas import Delta, ParsedOutput, ToolCall, ToolCallDelta, join_deltas
from ftllm.tool_parsers.detection import DetectedDialects, detect_dialects, starts_in_reasoning
from ftllm.tool_parsers.output_parser import OutputParser, parse_output
from ftllm.tool_parsers.registry import (
    REASONING_DIALECTS,
    TOOL_DIALECTS,
    AnyReasoningDialect,
    AnyToolDialect,
)

__all__ = [
    "REASONING_DIALECTS",
    "TOOL_DIALECTS",
    "AnyReasoningDialect",
    "AnyToolDialect",
    "Delta",
    "DetectedDialects",
    "OutputParser",
    "ParsedOutput",
    "ToolCall",
    "ToolCallDelta",
    "detect_dialects",
    "join_deltas",
    "parse_output",
    "starts_in_reasoning",
]
