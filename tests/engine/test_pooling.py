"""Pooled requests through the scheduler and the engine, against what each must give alone."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from engine_driver import Collector, make_engine, running
from fake_executor import HIDDEN, FakeExecutor, hidden_state, logprob, mix, prefix_digests
from scheduler_driver import SchedulerDriver, make_request

from ftllm.engine.engine_config import EngineConfig
from ftllm.engine.params import SamplingParams
from ftllm.engine.pooling import (
    EmbeddingParams,
    PoolingMethod,
    PoolingParams,
    TokenScoresParams,
    make_pooler,
)
from ftllm.engine.request import FinishReason, Request
from ftllm.engine.request_check import check_ability
from ftllm.errors import ContextLengthError, RequestError

MEAN = EmbeddingParams(method=PoolingMethod.MEAN)
LAST = EmbeddingParams(method=PoolingMethod.LAST)
CLS = EmbeddingParams(method=PoolingMethod.CLS, normalize=False)
SCORES = TokenScoresParams(token_ids=(7, 3))
KINDS: tuple[PoolingParams, ...] = (MEAN, LAST, CLS, SCORES)


def pooled(request_id: str, prompt: Sequence[int], params: PoolingParams, **more: int) -> Request:
    return Request(
        request_id=request_id,
        prompt_ids=tuple(prompt),
        pooling=params,
        priority=more.get("priority", 0),
    )


def prompt(length: int, start: int = 0) -> list[int]:
    return [(start + 7 * place) % 50 for place in range(length)]


def expected(request: Request) -> tuple[float, ...]:
    """Straight from the prompt's digests, without pages, steps or chunks."""
    digests = prefix_digests(request.prompt_ids)
    seen = [mix(*digests[: place + 1]) for place in range(len(digests))]
    match request.pooling:
        case TokenScoresParams(token_ids=ids):
            return tuple(logprob(seen[-1], token) for token in ids)
        case EmbeddingParams() as params:
            rows = {
                PoolingMethod.MEAN: seen,
                PoolingMethod.LAST: seen[-1:],
                PoolingMethod.CLS: seen[:1],
            }[params.method]
            total = np.zeros(HIDDEN, np.float64)
            for row in rows:
                total += hidden_state(row)
            vector = (total / len(rows))[: params.dimensions]
            if params.normalize:
                vector /= np.sqrt(np.square(vector).sum())
            return tuple(vector.astype(np.float32).tolist())
    raise AssertionError("not a pooled request")


def check_finished(driver: SchedulerDriver, request: Request) -> None:
    """One event: the values, no tokens."""
    (end,) = driver.events[request.request_id]
    assert end == driver.finish(request.request_id)
    assert (end.reason, end.error) == (FinishReason.STOP, None)
    assert (end.prompt_tokens, end.output_tokens) == (len(request.prompt_ids), 0)
    assert end.values == expected(request)


@pytest.mark.parametrize("params", KINDS)
@pytest.mark.parametrize("length", [1, 4, 5, 8, 33])
def test_alone_and_in_chunks(params: PoolingParams, length: int) -> None:
    request = pooled("one", prompt(length), params)
    for chunk in (64, 5, 1):
        driver = SchedulerDriver(FakeExecutor(max_batched_tokens=chunk))
        driver.add(request)
        driver.run()
        check_finished(driver, request)
        assert driver.executor.steps == -(-length // chunk)
        assert driver.scheduler.tables.blocks.used == 0


def test_among_sequences_that_generate() -> None:
    driver = SchedulerDriver(FakeExecutor(num_blocks=64, max_batched_tokens=11))
    requests = [pooled(f"p{at}", prompt(3 + 5 * at, at), KINDS[at % 4]) for at in range(6)]
    generating = [
        make_request(
            f"g{at}",
            prompt(4 + at, 30 + at),
            SamplingParams(seed=at, max_tokens=9, logprobs=1, prompt_logprobs=2),
        )
        for at in range(3)
    ]
    for pair in zip(requests[:3], generating, strict=True):
        for request in pair:
            driver.add(request)
    driver.step()
    for request in requests[3:]:
        driver.add(request)
    driver.run()
    for request in requests:
        check_finished(driver, request)
        del driver.requests[request.request_id]
    driver.verify()


@pytest.mark.parametrize("params", KINDS)
def test_a_warm_prefix_changes_nothing(params: PoolingParams) -> None:
    """Where every row counts none is taken from the cache; what was computed is left in it."""
    driver = SchedulerDriver(FakeExecutor(num_blocks=32))
    driver.add(make_request("warm", prompt(21), max_tokens=1))
    driver.run()
    request = pooled("pooled", prompt(21), params)
    driver.add(request)
    driver.run()
    check_finished(driver, request)
    skips = params in (LAST, SCORES)
    assert driver.finish("pooled").cached_tokens == (20 if skips else 0)
    driver.add(make_request("after", prompt(30), max_tokens=1))
    driver.run()
    assert driver.finish("after").cached_tokens == 20


@pytest.mark.parametrize("params", KINDS)
def test_preempted_ones_start_again(params: PoolingParams) -> None:
    """A decode takes the last block; the half-read prompt yields and is read once more."""
    driver = SchedulerDriver(FakeExecutor(num_blocks=11, max_batched_tokens=4))
    first = make_request("first", prompt(4), SamplingParams(seed=1, max_tokens=30))
    request = pooled("late", prompt(30, 9), params)
    driver.add(first)
    driver.step()
    driver.add(request)
    driver.run()
    assert driver.scheduler.preemptions > 0
    check_finished(driver, request)


def test_random_mixtures() -> None:
    rng = random.Random(5)
    for _ in range(30):
        executor = FakeExecutor(
            num_blocks=rng.randint(10, 40), max_batched_tokens=rng.randint(2, 40)
        )
        driver = SchedulerDriver(executor, prefix_caching=rng.random() < 0.7)
        requests: list[Request] = []
        for number in range(rng.randint(1, 12)):
            ids = prompt(rng.randint(1, 32), rng.randint(0, 2))
            if rng.random() < 0.3:
                driver.add(make_request(f"g{number}", ids, max_tokens=rng.randint(1, 6)))
            else:
                request = pooled(f"p{number}", ids, rng.choice(KINDS), priority=rng.randint(0, 1))
                requests.append(request)
                driver.add(request)
            driver.step()
        driver.run()
        for request in requests:
            check_finished(driver, request)
            del driver.requests[request.request_id]
        driver.verify()


def test_aborted_and_failed() -> None:
    driver = SchedulerDriver(FakeExecutor(max_batched_tokens=4))
    driver.add(pooled("aborted", prompt(9), MEAN))
    driver.step()
    driver.abort("aborted")
    assert driver.finish("aborted").reason is FinishReason.ABORTED
    driver.add(pooled("failed", prompt(9), MEAN))
    driver.step()
    driver.step(fail=True)
    assert driver.finish("failed").reason is FinishReason.ERROR
    assert driver.finish("failed").values is None
    assert driver.scheduler.tables.blocks.used == 0


def test_whole_prompts_wait_for_a_step_that_holds_them() -> None:
    """A model that is not causal: no prompt is cut, and none is kept for others."""
    executor = FakeExecutor(num_blocks=64, max_batched_tokens=20)
    driver = SchedulerDriver(executor, causal=False, prefix_caching=False)
    requests = [pooled(f"p{at}", prompt(length), CLS) for at, length in enumerate((12, 9, 1, 20))]
    for request in requests:
        driver.add(request)
    driver.run()
    lengths = [rows for plan in executor.plans for rows in np.diff(plan.row_starts).tolist()]
    assert sorted(lengths) == [1, 9, 12, 20]
    assert all((plan.context_lens == 0).all() for plan in executor.plans)
    for request in requests:
        check_finished(driver, request)


def test_what_is_not_finite_is_an_error() -> None:
    pooler = make_pooler(MEAN)
    assert pooler is not None
    pooler.add(np.array([[1.0, np.nan], [1.0, 2.0]], np.float32))
    assert pooler.values([]) is None
    scorer = make_pooler(SCORES)
    assert scorer is not None
    assert scorer.values([float("-inf"), -1.0]) is None


def test_cut_vectors_are_normalized_after_the_cut() -> None:
    pooler = make_pooler(EmbeddingParams(method=PoolingMethod.LAST, dimensions=2))
    assert pooler is not None
    pooler.add(np.array([[3.0, 4.0, 12.0]], np.float32))
    assert pooler.values([]) == pytest.approx((0.6, 0.8))
    nothing = make_pooler(LAST)
    assert nothing is not None
    nothing.add(np.zeros((1, 3), np.float32))
    assert nothing.values([]) == (0.0, 0.0, 0.0)


def test_the_engine_refuses_what_the_model_cannot_do() -> None:
    def config(*, size: int = 4, generates: bool = True) -> EngineConfig:
        return EngineConfig(
            max_model_len=10, max_batch=1, max_batched_tokens=8, vocab_size=50,
            embedding_size=size, generates=generates,
        )  # fmt: skip

    embeds = pooled("e", [1], EmbeddingParams(method=PoolingMethod.LAST, dimensions=5))
    with pytest.raises(RequestError, match=r"dimensions is 5, but .* have 4") as caught:
        check_ability(embeds, config())
    assert caught.value.param == "dimensions"
    check_ability(embeds, config(size=5))
    with pytest.raises(RequestError, match="cannot embed"):
        check_ability(embeds, config(size=0))
    for request in (make_request("g", [1]), pooled("s", [1], SCORES)):
        check_ability(request, config())
        with pytest.raises(RequestError, match="no output layer"):
            check_ability(request, config(generates=False))
    with pytest.raises(RequestError, match="token id 50"):
        check_ability(pooled("s", [1], TokenScoresParams(token_ids=(50,))), config())


def test_parameters_out_of_range() -> None:
    with pytest.raises(RequestError, match="dimensions is 0"):
        EmbeddingParams(method=PoolingMethod.LAST, dimensions=0)
    for ids in ((), tuple(range(21))):
        with pytest.raises(RequestError, match="tokens are to be scored"):
            TokenScoresParams(token_ids=ids)


def test_through_the_engine_up_to_the_whole_context() -> None:
    """A prompt may fill the context: no token comes after it."""
    executor = FakeExecutor(num_blocks=8)  # 32 tokens
    fits, exceeds = pooled("a", prompt(32), MEAN), pooled("b", prompt(33), MEAN)
    with running(make_engine(executor)) as engine:
        sink = Collector()
        engine.submit(fits, sink)
        end = sink.wait()
        assert end.values == expected(fits)
        assert sink.events == [end]
        with pytest.raises(ContextLengthError, match="at most 32"):
            engine.submit(exceeds, Collector())
        stats = engine.stats()
    assert (stats.finished_stop, stats.prompt_tokens, stats.generated_tokens) == (1, 32, 0)
