"""Step-3: StepML invokes, each in a pair of tokens with a plain underscore and wide bars."""

from __future__ import annotations

from ftllm.tool_parsers.bare_values import tagged_call
from ftllm.tool_parsers.call_layout import CallLayout
from ftllm.tool_parsers.dialect import ToolDialect, think_tags
from ftllm.tool_parsers.tagged import Tag, TaggedGrammar


def _token(name: str) -> str:
    return f"<\N{FULLWIDTH VERTICAL LINE}{name}\N{FULLWIDTH VERTICAL LINE}>"


GRAMMAR = TaggedGrammar(
    call=Tag("<steptml:invoke ", "</steptml:invoke>"),
    argument=Tag("<steptml:parameter ", "</steptml:parameter>"),
    close=_token("tool_calls_end"),
    skipped=(_token("tool_call_begin"), "function", _token("tool_sep"), _token("tool_call_end")),
)
_CALL = f'{_token("tool_call_begin")}function{_token("tool_sep")}<steptml:invoke name="'
_CALL_END = _token("tool_call_end")
LAYOUT = CallLayout(
    start=_token("tool_calls_begin") + _CALL,
    between=_CALL_END + _CALL,
    end=_CALL_END + _token("tool_calls_end"),
    call=tagged_call(
        name_end='">',
        key_start='<steptml:parameter name="',
        key_end='">',
        value_end="</steptml:parameter>",
        call_end="</steptml:invoke>",
    ),
)
TOOL = ToolDialect("step3", (_token("tool_calls_begin"),), GRAMMAR.parse, LAYOUT)
REASONING = think_tags("step3")
