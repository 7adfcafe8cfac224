"""Step-3: StepML invokes, each in a pair of tokens with a plain underscore and wide bars."""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout
from ftllm.tool_parsers.dialect import ToolDialect, think_tags
from ftllm.tool_parsers.tagged import Spelling, Tag, TaggedGrammar
from ftllm.tool_parsers.tagged_schema import tagged_call


def _token(name: str) -> str:
    return f"<\N{FULLWIDTH VERTICAL LINE}{name}\N{FULLWIDTH VERTICAL LINE}>"


GRAMMAR = TaggedGrammar(
    call=Tag("<steptml:invoke ", "</steptml:invoke>"),
    argument=Tag("<steptml:parameter ", "</steptml:parameter>"),
    close=_token("tool_calls_end"),
    skipped=(_token("tool_call_begin"), "function", _token("tool_sep"), _token("tool_call_end")),
    spelling=Spelling(newline="", attributes=True),
)
_BEFORE = f"{_token('tool_call_begin')}function{_token('tool_sep')}"
LAYOUT = CallLayout(
    start=_token("tool_calls_begin") + _BEFORE,
    between=_token("tool_call_end") + _BEFORE,
    end=_token("tool_call_end") + _token("tool_calls_end"),
    call=tagged_call(GRAMMAR),
)
TOOL = ToolDialect("step3", (_token("tool_calls_begin"),), GRAMMAR.parse, LAYOUT)
REASONING = think_tags("step3")
