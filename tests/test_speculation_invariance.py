"""Drafts change no bit of an answer: tokens, log-probabilities and reasons with and without them.

Every request runs alone without drafts; then with them alone, and among all others in an engine
that is too small for them, so that prompts are cut, prefixes shared and sequences preempted.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from ftllm.engine.build import BuildOptions
from ftllm.engine.engine import Engine
from ftllm.engine.engine_config import EngineConfig
from ftllm.engine.params import SamplingParams
from ftllm.engine.request import (
    Event,
    FinishedEvent,
    FinishReason,
    PromptLogprobsEvent,
    Request,
    TokenLogprobs,
    TokensEvent,
)
from ftllm.engine.stats import EngineStats
from tests.engine.models.quantized_llama import write_quantized_llama
from tests.engine.models.steps import build
from tests.golden.rows import load_row, write_model

_PATIENCE = 60.0  # seconds
_ROOMY = BuildOptions(
    dtype="auto", threads=1, tokens=4096, max_batch=16, max_batched_tokens=256, max_model_len=256
)
# 8 blocks: about three of the sequences below.
_CROWDED = replace(_ROOMY, threads=2, tokens=256, max_batched_tokens=40)


@dataclass(frozen=True, slots=True)
class Answer:
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprobs, ...]
    prompt_logprobs: tuple[TokenLogprobs | None, ...]
    reason: FinishReason


def answer_of(events: Sequence[Event]) -> Answer:
    tokens: list[int] = []
    logprobs: list[TokenLogprobs] = []
    prompt: tuple[TokenLogprobs | None, ...] = ()
    for event in events:
        match event:
            case TokensEvent():
                tokens += event.token_ids
                logprobs += event.logprobs or ()
            case PromptLogprobsEvent():
                prompt = event.logprobs
    last = events[-1]
    assert isinstance(last, FinishedEvent)
    assert last.output_tokens == len(tokens)
    return Answer(tuple(tokens), tuple(logprobs), prompt, last.reason)


class Runner:
    """An engine that answers many requests at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def run(self, requests: Sequence[Request]) -> list[Answer]:
        events: dict[str, list[Event]] = {request.request_id: [] for request in requests}
        arrived: queue.SimpleQueue[list[Event]] = queue.SimpleQueue()
        for request in requests:
            self._engine.submit(request, arrived.put)
        finished = 0
        while finished < len(requests):
            for event in arrived.get(timeout=_PATIENCE):
                events[event.request_id].append(event)
                finished += isinstance(event, FinishedEvent)
        return [answer_of(events[request.request_id]) for request in requests]

    def stats(self) -> EngineStats:
        return self._engine.stats()


@contextmanager
def running(path: Path, options: BuildOptions, speculative: str) -> Iterator[Runner]:
    built = build(path, options)
    config = EngineConfig(
        max_model_len=built.config.max_model_len,
        max_batch=options.max_batch,
        max_batched_tokens=options.max_batched_tokens,
        vocab_size=built.config.vocab_size,
        speculative=speculative,
    )
    engine = Engine(built.executor, config)
    engine.start()
    try:
        yield Runner(engine)
    finally:
        engine.shutdown()
        engine.check()


def sampling() -> list[SamplingParams]:
    few = {5: 60.0, 6: 60.0, 7: 63.5, 8: 60.0}  # n-grams come again, and drafts sometimes fail
    bases = [
        SamplingParams(temperature=0),
        SamplingParams(temperature=0, logprobs=3, prompt_logprobs=2),
        SamplingParams(temperature=0, frequency_penalty=0.4, presence_penalty=0.2),
        SamplingParams(temperature=0, repetition_penalty=1.05, logprobs=0),
        SamplingParams(temperature=0.9, logit_bias=few, logprobs=1),
        SamplingParams(temperature=1.5, logit_bias=few, top_p=0.8, top_k=20, min_p=0.01),
        SamplingParams(temperature=0.8, logit_bias=few, frequency_penalty=0.3, logprobs=2),
        SamplingParams(
            temperature=1.0,
            logit_bias=few,
            min_tokens=12,
            stop_token_ids=frozenset({6}),
            logprobs=1,
        ),
        SamplingParams(temperature=1.0, logit_bias=few, stop_token_ids=frozenset({8})),
        SamplingParams(temperature=0.05, repetition_penalty=1.01),
    ]
    return [replace(params, seed=17 + n) for n, params in enumerate(bases)]


def requests_of(vocab: int) -> list[Request]:
    rng = np.random.default_rng(3)
    shared = rng.integers(0, vocab, 37).tolist()
    made = []
    for number, params in enumerate(sampling()):
        own = rng.integers(0, vocab, 5 + number).tolist()
        prompt = [*shared, *own, *shared[: 3 * number], *own]
        params = replace(params, max_tokens=50 + 3 * number)
        made.append(Request(request_id=f"r{number}", prompt_ids=tuple(prompt), params=params))
    return made


def check(path: Path, options: Callable[[BuildOptions], BuildOptions]) -> None:
    with running(path, options(_ROOMY), "off") as plain:
        vocab = build(path, options(_ROOMY)).config.vocab_size
        requests = requests_of(vocab)
        expected = [plain.run([request])[0] for request in requests]
        assert plain.stats().drafted_tokens == 0
    with running(path, options(_ROOMY), "ngram") as alone:
        for request, wanted in zip(requests, expected, strict=True):
            assert alone.run([request])[0] == wanted
        stats = alone.stats()
        assert stats.accepted_tokens > 30
        assert stats.drafted_tokens > stats.accepted_tokens + 20
        assert stats.prefix_hit_tokens > 0
    with running(path, options(_CROWDED), "ngram") as together:
        for _ in range(2):  # the second time finds its prefixes in the cache
            assert together.run(requests) == expected
        stats = together.stats()
        assert stats.accepted_tokens > 0
        assert stats.preemptions > 0
        assert stats.prefix_hit_tokens > 0


@pytest.mark.parametrize("kv", ["float16", "int8"])
@pytest.mark.parametrize("weights", ["f32", "q8_0", "q4_k", "q5_0"])
def test_quantized_llama(weights: str, kv: str, tmp_path: Path) -> None:
    path = write_quantized_llama(tmp_path / "model.gguf", weights)
    check(path, lambda options: replace(options, kv_cache_dtype=kv))


@pytest.mark.parametrize("name", ["gemma3", "qwen2_window", "qwen3_moe_mixed"])
def test_windows_and_experts(name: str, tmp_path: Path) -> None:
    path = write_model(load_row(name), tmp_path / "model")
    check(path, lambda options: options)


def test_an_abort_amid_drafts_disturbs_nobody(tmp_path: Path) -> None:
    """A request that is aborted after its first tokens, and the same prompt's answer beside it."""
    path = write_quantized_llama(tmp_path / "model.gguf", "q8_0")
    with running(path, _ROOMY, "off") as plain:
        request = requests_of(64)[0]
        (wanted,) = plain.run([request])
    built = build(path, _ROOMY)
    config = EngineConfig(
        max_model_len=built.config.max_model_len,
        max_batch=16,
        max_batched_tokens=256,
        vocab_size=built.config.vocab_size,
        speculative="ngram",
    )
    engine = Engine(built.executor, config)
    victim = replace(request, request_id="victim", params=replace(request.params, max_tokens=None))
    ended: queue.SimpleQueue[FinishedEvent] = queue.SimpleQueue()

    def abort_early(events: list[Event]) -> None:
        engine.abort("victim")
        if isinstance(events[-1], FinishedEvent):
            ended.put(events[-1])

    engine.start()
    try:
        engine.submit(victim, abort_early)
        assert Runner(engine).run([request]) == [wanted]
        assert ended.get(timeout=_PATIENCE).reason is FinishReason.ABORTED
    finally:
        engine.shutdown()
        engine.check()
