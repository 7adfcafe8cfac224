"""DeepSeek's DSML: tagged calls whose tags carry a token and whose arguments say what they are.

<|DSML|function_calls>                                              (with wide bars)
<|DSML|invoke name="f">
<|DSML|parameter name="key" string="true">text</|DSML|parameter>
<|DSML|parameter name="key" string="false">JSON</|DSML|parameter>
</|DSML|invoke>
</|DSML|function_calls>
"""

from __future__ import annotations

from ftllm.tool_parsers.bare_values import tagged_call
from ftllm.tool_parsers.call_layout import CallLayout
from ftllm.tool_parsers.call_writer import CallWriter
from ftllm.tool_parsers.dialect import ToolDialect
from ftllm.tool_parsers.source import Parse, Source
from ftllm.tool_parsers.tagged import Tag, TaggedGrammar

_TOKEN = "\N{FULLWIDTH VERTICAL LINE}DSML\N{FULLWIDTH VERTICAL LINE}"


def dsml_dialect(name: str, *blocks: str) -> ToolDialect:
    """Calls in one of `blocks`; one that begins with a space has a space in all its tags."""
    grammars = {f"<{_TOKEN}{block}>": _grammar(block) for block in blocks}

    def parse(source: Source, calls: CallWriter, marker: str) -> Parse[bool]:
        return (yield from grammars[marker].parse(source, calls, marker))

    return ToolDialect(name, tuple(grammars), parse, _layout(blocks[0]))


def _grammar(block: str) -> TaggedGrammar:
    prefix = f"{_TOKEN} " if block.startswith(" ") else _TOKEN
    return TaggedGrammar(
        call=Tag(f"<{prefix}invoke ", f"</{prefix}invoke>"),
        argument=Tag(f"<{prefix}parameter ", f"</{prefix}parameter>"),
        close=f"</{_TOKEN}{block}>",
        json_body=True,
        wrappers=("arguments", "input"),
        untyped="json",
    )


def _layout(block: str) -> CallLayout:
    prefix = f"{_TOKEN} " if block.startswith(" ") else _TOKEN
    call = f'\n<{prefix}invoke name="'
    return CallLayout(
        start=f"<{_TOKEN}{block}>{call}",
        between=call,
        end=f"\n</{_TOKEN}{block}>",
        call=tagged_call(
            name_end='">\n',
            key_start=f'<{prefix}parameter name="',
            key_end='" string="true">',
            json_key_end='" string="false">',
            value_end=f"</{prefix}parameter>\n",
            call_end=f"</{prefix}invoke>",
        ),
    )
