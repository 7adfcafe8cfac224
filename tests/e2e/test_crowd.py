"""64 concurrent streams, 10 of which hang up: every other answer is, token by token and
log-probability by log-probability, the one that its request gets alone; and nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from running_server import RunningServer

from ftllm import LLM, SamplingParams

from .crowd import CLIENTS, HANG_UP_AFTER, Answer, Ask, all_at_once, make_asks, one_by_one
from .servers import ServerFactory, errors_in, wait_until_idle

pytestmark = pytest.mark.e2e

# Too few KV blocks for the crowd, so that sequences are preempted, and a budget that cuts most
# prompts into chunks. The longest request, about 700 tokens, still fits.
SCARCE_TOKENS = 768
SMALL_BUDGET = 96


@pytest.fixture(scope="module")
def asks() -> list[Ask]:
    return make_asks()


@pytest.fixture(scope="module")
def alone(smollm2: RunningServer, asks: list[Ask]) -> dict[int, Answer]:
    """The answers of the requests that are read to the end, each with the server for itself."""
    kept = [ask for ask in asks if not ask.hangs_up]
    answers = one_by_one(smollm2, kept)
    return {ask.number: answer for ask, answer in zip(kept, answers, strict=True)}


def test_the_crowd_is_what_it_claims_to_be(asks: list[Ask], alone: dict[int, Answer]) -> None:
    assert len(asks) == len({ask.prompt for ask in asks}) == CLIENTS
    assert sum(ask.hangs_up for ask in asks) == 10
    lengths = [answer.prompt_tokens for answer in alone.values()]
    assert min(lengths) < 40
    assert max(lengths) > 512  # more than one step's default budget
    assert all(len(answer.tokens) >= 1 for answer in alone.values())
    sampled = [alone[ask.number] for ask in asks if ask.seed is not None and not ask.hangs_up]
    greedy = [alone[ask.number] for ask in asks if ask.seed is None and not ask.hangs_up]
    assert len(sampled) > 10
    assert len(greedy) > 10


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(("--tokens", "32768"), id="roomy"),
        pytest.param(
            ("--tokens", str(SCARCE_TOKENS), "--max_batched_tokens", str(SMALL_BUDGET)),
            id="scarce",
        ),
    ],
)
def test_answers_of_a_crowd(
    serving: ServerFactory,
    asks: list[Ask],
    alone: dict[int, Answer],
    options: tuple[str, ...],
) -> None:
    with serving("smollm2-135m", *options) as server:
        answers = all_at_once(server, asks)
        wait_until_idle(server)
        hung_up = [line for line in server.log().splitlines() if " 499 " in line]
        assert errors_in(server.log()) == []
    assert len(hung_up) == 10
    for ask, answer in zip(asks, answers, strict=True):
        if ask.hangs_up:
            assert len(answer.tokens) >= HANG_UP_AFTER
            assert answer.finish_reason is None
        else:
            assert answer == alone[ask.number], f"request {ask.number} differs from itself alone"


def test_a_crowd_in_this_process_leaves_the_engine_sound(
    model_file: Callable[[str], Path], asks: list[Ask], alone: dict[int, Answer]
) -> None:
    """The same through the offline API, whose engine can be looked into."""
    kept = [ask for ask in asks if not ask.hangs_up]
    path = model_file("smollm2-135m")
    with LLM(path, tokens=SCARCE_TOKENS, max_batched_tokens=SMALL_BUDGET, progress=False) as llm:
        with ThreadPoolExecutor(10) as others:
            hung_up = [others.submit(_hang_up, llm, ask) for ask in asks if ask.hangs_up]
            prompts = [_prompt_ids(llm, ask) for ask in kept]
            results = llm.generate(prompts, [_params(ask) for ask in kept], progress=False)
            assert [client.result() for client in hung_up] == [HANG_UP_AFTER] * 10
        engine = llm.loaded.engine
    engine.check()  # closing the LLM has joined the engine's thread
    stats = engine.stats()
    assert stats.preemptions > 0
    assert stats.failed_steps == stats.finished_error == 0
    assert stats.finished_aborted == 10
    assert stats.finished_stop + stats.finished_length == CLIENTS - 10
    for ask, result in zip(kept, results, strict=True):
        (output,) = result.outputs
        assert output.logprobs is not None
        logprobs = [entry.logprob for entry in output.logprobs]
        if output.finish_reason == "stop":  # the server leaves the stop token out
            logprobs.pop()
        expected = alone[ask.number]
        assert output.text == expected.text, f"request {ask.number} differs from itself alone"
        assert logprobs == expected.logprobs, f"request {ask.number} differs from itself alone"


def _prompt_ids(llm: LLM, ask: Ask) -> list[int]:
    if not ask.chats:
        return llm.loaded.tokenizer.encode(ask.prompt)
    assert llm.loaded.chat_template is not None
    text = llm.loaded.chat_template.render([{"role": "user", "content": ask.prompt}])
    return llm.loaded.tokenizer.encode(text, add_special_tokens=False)


def _params(ask: Ask) -> SamplingParams:
    return SamplingParams(
        temperature=ask.temperature,
        seed=ask.seed,
        max_tokens=ask.max_tokens,
        ignore_eos=ask.ignores_eos,
        logprobs=0,
    )


def _hang_up(llm: LLM, ask: Ask) -> int:
    """Reads a part of the answer; returns how many tokens."""
    tokens = 0
    with closing(llm.stream(_prompt_ids(llm, ask), _params(ask))) as stream:
        while tokens < HANG_UP_AFTER:
            tokens += len(next(stream).token_ids)
    return tokens
