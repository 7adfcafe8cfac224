"""Compiles requests' grammars while the event loop goes on."""

from __future__ import annotations

import asyncio
import time

from ftllm.engine.matcher import TokenGrammar
from ftllm.errors import RequestError
from ftllm.server.metrics.histogram import Histogram
from ftllm.text.grammar import Grammar
from ftllm.text.grammar_compiler import GrammarCompiler


class Grammars:
    """Waits for the compiler, but not for ever. `seconds` gets how long each wait took."""

    def __init__(self, compiler: GrammarCompiler, *, timeout: float, seconds: Histogram) -> None:
        self._compiler = compiler
        self._timeout = timeout  # seconds
        self._seconds = seconds

    async def compiled(self, grammar: Grammar | None) -> TokenGrammar | None:
        """Raises `RequestError`, naming the field that asked for it, with the reason why it cannot
        be honoured; also when that is not known in time."""
        if grammar is None:
            return None
        # The vocabulary is read once, for the first grammar: no part of what that one takes.
        await asyncio.shield(asyncio.wrap_future(self._compiler.prepare()))
        started = time.monotonic()
        # Shielded: others may wait for the same grammar.
        future = asyncio.shield(asyncio.wrap_future(self._compiler.submit(grammar)))
        try:
            return await asyncio.wait_for(future, self._timeout)
        except asyncio.TimeoutError as error:
            raise RequestError(
                f"The {grammar.kind.value} was not compiled within {self._timeout:g} s; make it"
                " smaller.",
                param=grammar.param,
                code="grammar_timeout",
            ) from error
        except RequestError as error:
            raise RequestError(str(error), param=grammar.param, code=error.code) from error
        finally:
            self._seconds.observe(time.monotonic() - started)
