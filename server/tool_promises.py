"""Which tools are strict, where a request leaves that to the server."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from ftllm.errors import RequestError
from ftllm.server.conversation import ToolOffer
from ftllm.server.grammars import Grammars
from ftllm.server.turn_grammar import turn_grammar
from ftllm.tool_parsers import AnyToolDialect


class ToolPromises:
    """Finds out whether calls that fit their schema can be guaranteed."""

    def __init__(
        self, grammars: Grammars, dialect: AnyToolDialect | None, special: Container[str]
    ) -> None:
        self._grammars = grammars
        self._dialect = dialect
        self._special = special

    async def settle(self, offer: ToolOffer) -> ToolOffer:
        """The offer with the open tools strict; or not, if a schema among all that may be called
        cannot be honoured, since one grammar holds them all."""
        if all(tool.strict is not None for tool in offer.tools):
            return offer
        strict = _settled(offer, strict=True)
        try:
            grammar = turn_grammar(
                None, strict, dialect=self._dialect, special=self._special, thinking=None
            )
            await self._grammars.compiled(grammar)
        except RequestError:
            return _settled(offer, strict=False)
        return strict


def _settled(offer: ToolOffer, *, strict: bool) -> ToolOffer:
    tools = (
        tool if tool.strict is not None else replace(tool, strict=strict) for tool in offer.tools
    )
    return replace(offer, tools=tuple(tools))
