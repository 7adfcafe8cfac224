"""How calls are laid out in a dialect: the grammar that constrains their sampling.

What a parser accepts is wide; a layout is the one form that the dialect's template writes. A call
sampled under it parses, and its arguments fit the schema of its tool.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ftllm.errors import RequestError
from ftllm.tool_parsers.lark_rules import LarkRules, choice, literal, sequence
from ftllm.tool_parsers.tool_schemas import Schema, ToolSchemas

RenderCall = Callable[[LarkRules, str, Schema], str]
"""(rules, name, schema of the arguments) -> the expression of a call of that tool."""


@dataclass(frozen=True, slots=True)
class CallLayout:
    """`start` call (`between` call)* `end`; `lead` may come before that.

    `start` begins with the first opening of the dialect, if that is what begins its calls.
    """

    start: str
    between: str
    end: str
    call: RenderCall
    lead: str = ""

    def grammar(
        self,
        tools: Sequence[Mapping[str, object]],
        *,
        parallel: bool,
        opening: str = "",
    ) -> str:
        """Lark for llguidance: calls of `tools`, at least one and, unless `parallel`, at most one.

        With `opening` it describes what follows that marker, which has been written. Raises
        `RequestError` for a schema that the dialect cannot guarantee.
        """
        assert self.start.startswith(opening)
        schemas = ToolSchemas(tools)
        if not schemas:
            raise RequestError("tools is empty; a call needs one", param="tools")
        rules = LarkRules()
        call = rules.add(
            choice(*(self.call(rules, name, schemas.parameters(name)) for name in schemas.names))
        )
        more = f"({sequence(literal(self.between), call)})*" if parallel else ""
        start = literal(self.start.removeprefix(opening))
        if self.lead and not opening:
            start = sequence(f"{literal(self.lead)}?", start)
        return rules.grammar(sequence(start, call, more, literal(self.end)))


def json_arguments(rules: LarkRules, schema: Schema) -> str:
    """The arguments as a JSON object."""
    if not schema:
        return rules.json({"type": "object", "properties": {}, "additionalProperties": False})
    return rules.json(schema if "type" in schema else {**schema, "type": "object"})


def json_object(name_key: str = "name", arguments_key: str = "arguments") -> RenderCall:
    """`{"name": …, "arguments": {…}}`."""
    return headed(f'{{"{name_key}": "', f'", "{arguments_key}": ', "}")


def headed(before: str, behind: str, end: str = "") -> RenderCall:
    """The name between two texts, then the arguments in JSON, then `end`."""

    def call(rules: LarkRules, name: str, schema: Schema) -> str:
        return sequence(
            literal(f"{before}{name}{behind}"), json_arguments(rules, schema), literal(end)
        )

    return call
