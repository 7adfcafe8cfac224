"""What drafts may cost, and how the scheduler makes room for them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from fake_executor import FakeExecutor
from hypothesis import given
from hypothesis import strategies as st
from oracle_drafter import OracleDrafter
from scheduler_driver import SchedulerDriver, make_request

from ftllm.engine.engine_config import EngineConfig
from ftllm.engine.params import SamplingParams
from ftllm.engine.request import FinishReason, Request, TokensEvent
from ftllm.engine.speculation import (
    MAX_STEP_DRAFTS,
    Drafter,
    NgramDrafter,
    make_drafter,
    row_price,
)
from ftllm.errors import OptionError


def driver_of(
    executor: FakeExecutor, *, error_rate: float = 0.0, max_model_len: int = 1000
) -> SchedulerDriver:
    def make(request: Request) -> Drafter:
        return OracleDrafter(request, error_rate=error_rate, context_len=max_model_len)

    return SchedulerDriver(executor, max_model_len=max_model_len, make_drafter=make)


def rows(driver: SchedulerDriver) -> list[list[int]]:
    """Rows a sequence, for each step so far."""
    starts = [plan.row_starts.tolist() for plan in driver.executor.plans]
    return [[b - a for a, b in pairwise(s)] for s in starts]


def prompt(length: int, start: int = 0) -> list[int]:
    return [(start + 7 * place) % 50 for place in range(length)]


# --- the account -------------------------------------------------------------------------------


def test_a_row_costs_more_among_others() -> None:
    assert [row_price(decodes) for decodes in (1, 2, 3)] == pytest.approx([0.3, 0.6, 0.9])
    assert row_price(4) > 1


@given(
    answers=st.lists(st.integers(0, 3), min_size=1, max_size=200),
    decodes=st.integers(1, 3),
    most=st.integers(1, MAX_STEP_DRAFTS),
)
def test_failing_drafts_cost_no_more_than_the_allowance(
    answers: list[int], decodes: int, most: int
) -> None:
    """However the text goes: what was paid for drafts is at most the start, the allowance and the
    tokens that drafts brought."""
    drafter, price = NgramDrafter([0, 1, 2, 3] * 3), row_price(decodes)
    paid, won, place = 0.0, 0, 0
    while place < len(answers):
        drafts = drafter.propose(most, price)
        assert len(drafts) <= most
        paid += price * len(drafts)
        rest = answers[place:]
        accepted = 0
        while accepted < min(len(drafts), len(rest) - 1) and drafts[accepted] == rest[accepted]:
            accepted += 1
        drafter.record(rest[: accepted + 1], drafted=len(drafts), accepted=accepted)
        place += accepted + 1
        won += accepted
        assert paid <= 0.6 + won + 0.01 * place + 1e-9


def test_drafts_grow_while_they_are_right_and_shrink_when_not() -> None:
    text = prompt(50)  # no token comes twice
    drafter, place, lengths = NgramDrafter(text + text[:8]), 8, []
    while place < 40:
        drafts = list(drafter.propose(MAX_STEP_DRAFTS, 0.3))
        lengths.append(len(drafts))
        assert drafts == text[place : place + len(drafts)]
        drafter.record(
            text[place : place + len(drafts) + 1], drafted=len(drafts), accepted=len(drafts)
        )
        place += len(drafts) + 1
    assert lengths == list(range(1, len(lengths) + 1))
    drafted = len(drafter.propose(4, 0.3))
    drafter.record([0], drafted=drafted, accepted=0)
    assert len(drafter.propose(MAX_STEP_DRAFTS, 0.3)) <= 1


def test_nothing_to_look_up_is_no_draft() -> None:
    assert list(NgramDrafter([1, 2, 3]).propose(4, 0.3)) == []
    assert make_drafter("off", [1, 2, 1, 2]) is None


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(OptionError, match="speculative is 'magic'; supported are off, ngram"):
        EngineConfig(
            max_model_len=8, max_batch=1, max_batched_tokens=8, vocab_size=8, speculative="magic"
        )


# --- the scheduler -----------------------------------------------------------------------------


def test_right_drafts_save_steps() -> None:
    driver = driver_of(FakeExecutor(num_blocks=32))
    driver.add(make_request("a", prompt(10), max_tokens=34))
    driver.run()
    driver.verify()
    # One token from the prefill, then 1 + 15 a step; the last step drafts up to the end alone.
    assert rows(driver) == [[10], [16], [16], [1]]
    end = driver.finish("a")
    assert (end.drafted_tokens, end.accepted_tokens) == (30, 30)
    assert driver.scheduler.generated_tokens == 34
    deltas = [len(e.token_ids) for e in driver.events["a"] if isinstance(e, TokensEvent)]
    assert deltas == [1, 16, 16, 1]


def test_wrong_drafts_change_nothing() -> None:
    driver = driver_of(FakeExecutor(num_blocks=32), error_rate=1.0)
    driver.add(make_request("a", prompt(10), max_tokens=9))
    driver.run()
    driver.verify()
    end = driver.finish("a")
    assert end.drafted_tokens > end.accepted_tokens == 0
    assert len(rows(driver)) == 9


@pytest.mark.parametrize("place", range(1, 12))
def test_a_stop_token_among_the_drafts_ends_the_answer(place: int) -> None:
    free = driver_of(FakeExecutor(num_blocks=32))
    free.add(make_request("a", prompt(10), max_tokens=20))
    free.run()
    answer = free.tokens("a")
    stop = answer[place]
    driver = driver_of(FakeExecutor(num_blocks=32))
    params = SamplingParams(seed=1, max_tokens=20, stop_token_ids=frozenset({stop}))
    driver.add(make_request("a", prompt(10), params))
    driver.run()
    driver.verify()
    assert driver.tokens("a") == answer[: answer.index(stop) + 1]
    assert driver.finish("a").reason is FinishReason.STOP


def test_the_context_end_is_never_passed() -> None:
    driver = driver_of(FakeExecutor(num_blocks=5), max_model_len=20)
    driver.add(make_request("a", prompt(9), SamplingParams(seed=1)))
    driver.run()
    driver.verify()
    assert rows(driver) == [[9], [10]]
    assert driver.finish("a").reason is FinishReason.LENGTH


def test_accepted_drafts_fill_cached_blocks_and_rejected_ones_do_not() -> None:
    driver = driver_of(FakeExecutor(num_blocks=64), error_rate=0.3)
    driver.add(make_request("a", prompt(10), max_tokens=31))
    driver.run()
    answer = driver.tokens("a")
    driver.add(make_request("again", [*prompt(10), *answer, 1], max_tokens=8))
    driver.run()
    driver.verify()  # a block with a rejected draft in it would change the answer
    assert driver.finish("a").accepted_tokens > 0
    assert driver.finish("again").cached_tokens == 40


def test_drafts_come_after_decodes_and_prefill() -> None:
    driver = driver_of(FakeExecutor(num_blocks=64, max_batched_tokens=16))
    driver.add(make_request("a", prompt(4), max_tokens=60))
    driver.step()
    driver.add(make_request("long", prompt(35, 3), max_tokens=2))
    for _ in range(3):
        driver.step()
    # 15 rows of prefill leave no budget; the prompt's last 5 leave 10.
    assert rows(driver)[1:] == [[1, 15], [1, 15], [11, 5]]
    driver.run()
    driver.verify()


def test_sequences_share_the_drafts_of_a_step() -> None:
    driver = driver_of(FakeExecutor(num_blocks=64))
    for name, length in (("a", 30), ("b", 4), ("c", 30)):
        driver.add(make_request(name, prompt(4, ord(name)), max_tokens=length))
    driver.step()
    driver.step()
    assert rows(driver)[1] == [6, 3, 9]  # the second leaves what it cannot use to the third
    driver.run()
    driver.verify()


def test_no_drafts_where_they_cannot_pay() -> None:
    driver = driver_of(FakeExecutor(num_blocks=64))
    for name in "abcd":
        driver.add(make_request(name, prompt(4, ord(name)), max_tokens=5 + ord(name) - ord("a")))
    driver.run()
    driver.verify()
    # Four decode one by one; when the first has ended, the others draft.
    assert rows(driver)[:5] == [[4] * 4, *[[1] * 4] * 4]
    assert rows(driver)[5] == [1, 2, 3]


def test_drafts_never_preempt_nor_take_the_blocks_that_others_need() -> None:
    """Two sequences that need the whole pool of 8 blocks in the end; both have 3 now, with room
    for 12 tokens, and know 10."""
    driver = driver_of(FakeExecutor(num_blocks=8), error_rate=1.0, max_model_len=32)
    for name in "ab":
        driver.add(make_request(name, prompt(9, ord(name)), max_tokens=7))
    driver.step()
    for _ in range(2):
        driver.step()
        assert driver.scheduler.tables.blocks.used == 6
    # The first takes a block, and leaves the one that the second may need.
    assert rows(driver)[1:] == [[6, 3], [5, 2]]
    driver.run()
    driver.verify()
    assert driver.scheduler.preemptions == 0


def test_blocks_of_rejected_drafts_are_given_back() -> None:
    driver = driver_of(FakeExecutor(num_blocks=32), error_rate=1.0)
    driver.add(make_request("a", prompt(10), max_tokens=12))
    driver.step()
    driver.step()
    assert rows(driver)[1][0] > 8
    assert driver.scheduler.tables.blocks.used == 3
    driver.run()
    driver.verify()


def test_a_failed_step_with_drafts_ends_its_sequences() -> None:
    driver = driver_of(FakeExecutor(num_blocks=32))
    driver.add(make_request("a", prompt(10), max_tokens=12))
    driver.step()
    driver.step(fail=True)
    driver.verify()
    assert driver.finish("a").reason is FinishReason.ERROR
    assert len(driver.tokens("a")) == 1


def test_a_preempted_sequence_drafts_again() -> None:
    driver = driver_of(FakeExecutor(num_blocks=9), error_rate=0.7, max_model_len=36)
    for name in "abc":
        driver.add(make_request(name, prompt(6, ord(name)), max_tokens=24))
    driver.run()
    driver.verify()
    assert driver.scheduler.preemptions > 0
    assert driver.scheduler.accepted_tokens > 0
