"""Kimi-K2, its Thinking variants, K2.5: between markers the id, which holds the name, and JSON."""

from __future__ import annotations

import re

from ftllm.tool_parsers.call_layout import CallLayout, json_arguments
from ftllm.tool_parsers.call_writer import CallWriter
from ftllm.tool_parsers.dialect import ToolDialect, think_tags
from ftllm.tool_parsers.json_sections import JsonSections
from ftllm.tool_parsers.lark_rules import LarkRules, literal, sequence
from ftllm.tool_parsers.tool_schemas import Schema

_ID = re.compile(r"(?:functions\.)?(?P<name>.+?)(?::(?P<index>[0-9]+))?")


def _open(calls: CallWriter, header: str) -> bool:
    """`functions.name:index`; the index counts over the conversation, and the id has to be kept."""
    match = _ID.fullmatch(header)
    if match is None:
        return False
    call_id = header if match["index"] else ""
    index = calls.outbox.call_count
    while not call_id or calls.is_used(call_id):
        call_id = f"functions.{match['name']}:{index}"
        index += 1
    calls.open(match["name"], call_id)
    return True


GRAMMAR = JsonSections(
    start="<|tool_calls_section_begin|>",
    end="<|tool_calls_section_end|>",
    call_start="<|tool_call_begin|>",
    separator="<|tool_call_argument_begin|>",
    call_end="<|tool_call_end|>",
    open_call=_open,
)


def _call(rules: LarkRules, name: str, schema: Schema) -> str:
    index = "/[0-9]{1,4}/"
    head = literal(f"functions.{name}:")
    return sequence(head, index, literal(GRAMMAR.separator), json_arguments(rules, schema))


_LAYOUT = CallLayout(
    start=GRAMMAR.start + GRAMMAR.call_start,
    between=GRAMMAR.call_end + GRAMMAR.call_start,
    end=GRAMMAR.call_end + GRAMMAR.end,
    call=_call,
)
TOOL = ToolDialect("kimi_k2", (GRAMMAR.start, GRAMMAR.call_start), GRAMMAR.parse, _LAYOUT)
REASONING = think_tags("kimi_k2")
