"""Long inputs leave the event loop free."""

from __future__ import annotations

import asyncio
import time

import httpx

from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings
from ftllm.text.tokenizer import Tokenizer

from .api import error_of
from .fake_engine import FakeEngine
from .fake_model import FakeModel, byte_tokenizer


class SlowTokenizer(Tokenizer):
    """Takes a second for a long text, without the interpreter's lock."""

    def __init__(self, inner: Tokenizer) -> None:
        super().__init__(inner._backend, inner._vocabulary, inner._special)

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        if len(text) > 10_000:
            time.sleep(1.0)
        return super().encode(text, add_special_tokens=add_special_tokens)


def test_health_answers_while_a_long_prompt_is_tokenized(engine: FakeEngine) -> None:
    model = FakeModel(engine, tokenizer=SlowTokenizer(byte_tokenizer()))
    transport = httpx.ASGITransport(create_app(model, ServerSettings()))
    message = {"role": "user", "content": "x" * 20_000}

    async def scenario() -> None:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            long = asyncio.gather(
                client.post("/v1/completions", json={"prompt": "x" * 20_000}),
                client.post("/v1/chat/completions", json={"messages": [message]}),
            )
            await asyncio.sleep(0.1)
            for _ in range(10):
                before = time.perf_counter()
                assert (await client.get("/health")).status_code == 200
                assert time.perf_counter() - before < 0.3
            short = await client.post("/v1/completions", json={"prompt": "x"})
            assert short.status_code == 200
            assert not long.done()
            for response in await long:
                assert error_of(response, 400)["code"] == "context_length_exceeded"

    asyncio.run(scenario())
