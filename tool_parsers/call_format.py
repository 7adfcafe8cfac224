"""How a dialect spells calls, for the grammars that constrain the sampling to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ftllm.tool_parsers.lark_rules import LarkRules, choice, literal, sequence
from ftllm.tool_parsers.tool_schemas import Schema, ToolSchemas

CallRule = Callable[[LarkRules, str, Schema], str]
"""The expression of one call of a function, by its name and the schema of its parameters."""


@dataclass(frozen=True, slots=True)
class CallFormat:
    """Blocks of calls: `opening before call (between call)* after (gap opening …)*`.

    Without `between` a block has one call, without `gap` there is one block.
    """

    opening: str
    call: CallRule
    before: str = ""
    between: str | None = None
    after: str = ""
    gap: str | None = None

    def grammar(
        self, tools: ToolSchemas, names: Sequence[str], *, parallel: bool, after_opening: bool
    ) -> str:
        """A Lark grammar of calls of the functions `names`: one, or as many as the model likes if
        `parallel`. With `after_opening` it is of what follows a block's opening, up to its end.

        Raises `RequestError` for schemas that calls in this format cannot be held to.
        """
        rules = LarkRules()
        call = rules.rule(choice([self.call(rules, name, tools.parameters(name)) for name in names]))
        more = ""
        if parallel and self.between is not None:
            more = f"({sequence(literal(self.between), call)})*"
        block = sequence(literal(self.before), call, more, literal(self.after))
        if after_opening:
            return rules.grammar(block)
        block = rules.rule(sequence(literal(self.opening), block))
        if not parallel or self.gap is None:
            return rules.grammar(block)
        return rules.grammar(f"{block} ({sequence(literal(self.gap), block)})*")
