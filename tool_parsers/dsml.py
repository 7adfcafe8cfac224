"""DeepSeek's DSML: tagged calls whose tags carry a token and whose arguments say what they are.

<|DSML|function_calls>                                              (with wide bars)
<|DSML|invoke name="f">
<|DSML|parameter name="key" string="true">text</|DSML|parameter>
<|DSML|parameter name="key" string="false">JSON</|DSML|parameter>
</|DSML|invoke>
</|DSML|function_calls>
"""

from __future__ import annotations

from ftllm.tool_parsers.call_layout import CallLayout
from ftllm.tool_parsers.call_writer import CallWriter
from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.source import Parse, Source
from ftllm.tool_parsers.tagged import Spelling, Tag, TaggedGrammar
from ftllm.tool_parsers.tagged_schema import tagged_call

_TOKEN = "\N{FULLWIDTH VERTICAL LINE}DSML\N{FULLWIDTH VERTICAL LINE}"


def dsml_dialect(name: str, *blocks: str) -> ToolDialect:
    """Calls in one of `blocks`, the first of which is the right one. A space in front of one is in
    all its tags."""
    grammars = {f"<{_TOKEN}{block}>": _grammar(block) for block in blocks}

    def parse(source: Source, calls: CallWriter, marker: str) -> Parse[bool]:
        return (yield from grammars[marker].parse(source, calls, marker))

    opening, grammar = next(iter(grammars.items()))
    layout = CallLayout(f"{opening}\n", "", grammar.close, tagged_call(grammar))
    return ToolDialect(name, tuple(grammars), parse, layout)


def _grammar(block: str) -> TaggedGrammar:
    prefix = f"{_TOKEN} " if block.startswith(" ") else _TOKEN
    return TaggedGrammar(
        call=Tag(f"<{prefix}invoke ", f"</{prefix}invoke>"),
        argument=Tag(f"<{prefix}parameter ", f"</{prefix}parameter>"),
        close=f"</{_TOKEN}{block}>",
        json_body=True,
        wrappers=("arguments", "input"),
        untyped="json",
        spelling=Spelling(attributes=True, string_flag=True, after_call="\n"),
    )
