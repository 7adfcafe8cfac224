from __future__ import annotations

from itertools import pairwise

import pytest
from fake_executor import FakeExecutor
from scheduler_driver import SchedulerDriver, make_request

from ftllm.engine.params import SamplingParams
from ftllm.engine.readout import Readout
from ftllm.engine.request import FinishReason, PromptLogprobsEvent, TokensEvent


def prompt(length: int, start: int = 0) -> list[int]:
    return [(start + 7 * place) % 50 for place in range(length)]


def rows(driver: SchedulerDriver) -> list[list[int]]:
    """Rows a sequence, for each step so far."""
    starts = [plan.row_starts.tolist() for plan in driver.executor.plans]
    return [[b - a for a, b in pairwise(s)] for s in starts]


def test_one_request() -> None:
    driver = SchedulerDriver(FakeExecutor())
    driver.add(make_request("a", prompt(10), max_tokens=3))
    driver.run()
    driver.verify()
    assert rows(driver) == [[10], [1], [1]]
    assert driver.finish("a").reason is FinishReason.LENGTH


def test_no_work_is_no_step() -> None:
    driver = SchedulerDriver(FakeExecutor())
    assert driver.step() is None


def test_decodes_come_first_and_a_long_prompt_is_prefilled_in_chunks() -> None:
    driver = SchedulerDriver(FakeExecutor(max_batched_tokens=16, num_blocks=64))
    for name in "abc":
        driver.add(make_request(name, prompt(4, ord(name)), max_tokens=12))
    driver.step()
    driver.add(make_request("long", prompt(60), max_tokens=2))
    order = driver.step()
    assert order == ["a", "b", "c", "long"]
    driver.run()
    driver.verify()
    # Every decode has its row in every step, the long prompt gets the rest of the budget.
    assert rows(driver)[1:6] == [[1, 1, 1, 13]] * 4 + [[1, 1, 1, 8]]


def test_first_come_first_served() -> None:
    driver = SchedulerDriver(FakeExecutor(max_batch=2))
    for name in "abcd":
        driver.add(make_request(name, prompt(4, ord(name)), max_tokens=3))
    orders = [driver.step() for _ in range(4)]
    assert orders == [["a", "b"], ["a", "b"], ["a", "b"], ["c", "d"]]
    driver.run()
    driver.verify()


def test_lower_priority_value_runs_first() -> None:
    driver = SchedulerDriver(FakeExecutor(max_batch=1))
    for name, priority in (("late", 5), ("first", -1), ("second", 0), ("third", 0)):
        driver.add(make_request(name, prompt(4), max_tokens=1, priority=priority))
    assert [driver.step() for _ in range(4)] == [["first"], ["second"], ["third"], ["late"]]


def test_urgent_request_overtakes_a_long_prefill() -> None:
    driver = SchedulerDriver(FakeExecutor(max_batched_tokens=8, num_blocks=64))
    driver.add(make_request("long", prompt(80), max_tokens=1))
    driver.step()
    driver.add(make_request("patient", prompt(4, 1), max_tokens=1))
    driver.add(make_request("urgent", prompt(6, 2), max_tokens=1, priority=-1))
    assert driver.step() == ["urgent", "long"]
    assert rows(driver)[1] == [6, 2]
    assert driver.step() == ["long"]
    driver.run()
    driver.verify()


@pytest.mark.parametrize("chunk", [1, 3, 7, 64])
def test_chunk_size_does_not_change_the_output(chunk: int) -> None:
    driver = SchedulerDriver(FakeExecutor(max_batched_tokens=chunk, max_batch=1))
    params = SamplingParams(seed=3, max_tokens=4, prompt_logprobs=2, logprobs=1)
    driver.add(make_request("a", prompt(23), params))
    driver.run()
    driver.verify()


def test_stop_token_is_delivered_and_ends_the_request() -> None:
    driver = SchedulerDriver(FakeExecutor())
    driver.add(make_request("free", prompt(5), max_tokens=8))
    driver.run()
    stop = driver.tokens("free")[2]
    assert stop not in driver.tokens("free")[:2]
    params = SamplingParams(seed=1, max_tokens=8, stop_token_ids=frozenset({stop}))
    driver.add(make_request("stopped", prompt(5), params))
    driver.run()
    driver.verify()
    assert driver.finish("stopped").reason is FinishReason.STOP
    assert driver.tokens("stopped") == driver.tokens("free")[:3]


@pytest.mark.parametrize("prompt_logprobs", [None, 1])
def test_where_no_token_is_allowed_the_answer_ends(prompt_logprobs: int | None) -> None:
    driver = SchedulerDriver(FakeExecutor())
    params = SamplingParams(
        seed=1,
        max_tokens=8,
        allowed_token_ids=frozenset({7}),
        bad_words=((7, 7, 7),),
        prompt_logprobs=prompt_logprobs,
    )
    driver.add(make_request("a", prompt(5), params))
    driver.run()
    assert driver.tokens("a") == [7, 7]
    assert driver.finish("a").reason is FinishReason.STOP


def test_context_end_is_length() -> None:
    driver = SchedulerDriver(FakeExecutor(), max_model_len=20)
    driver.add(make_request("a", prompt(15), SamplingParams(seed=1)))
    driver.run()
    driver.verify()
    assert len(driver.tokens("a")) == 5
    assert driver.finish("a").reason is FinishReason.LENGTH


def test_kv_capacity_is_the_context_end() -> None:
    driver = SchedulerDriver(FakeExecutor(num_blocks=5))
    driver.add(make_request("a", prompt(15), SamplingParams(seed=1)))
    driver.run()
    driver.verify()
    assert len(driver.tokens("a")) == 5
    assert driver.scheduler.preemptions == 0


def test_a_reset_prefix_cache_gives_no_hit() -> None:
    driver = SchedulerDriver(FakeExecutor())
    tables = driver.scheduler.tables
    driver.add(make_request("a", prompt(14), max_tokens=3))
    driver.run()
    driver.add(make_request("b", prompt(14), max_tokens=12))
    driver.step()
    tables.reset_cache()  # while "b" runs on blocks of "a"
    driver.scheduler.check()
    driver.add(make_request("c", prompt(14), max_tokens=9))
    driver.run()
    driver.add(make_request("d", prompt(14), max_tokens=1))
    driver.run()
    driver.verify()
    cached = [driver.finish(name).cached_tokens for name in "abcd"]
    assert cached == [0, 12, 0, 12]


def test_reset_frees_idle_blocks() -> None:
    driver = SchedulerDriver(FakeExecutor())
    driver.add(make_request("a", prompt(14), max_tokens=3))
    driver.run()
    assert driver.scheduler.tables.cached_blocks > 0
    driver.scheduler.tables.reset_cache()
    assert driver.scheduler.tables.cached_blocks == 0
    driver.scheduler.check()


def test_prefix_cache_hit() -> None:
    driver = SchedulerDriver(FakeExecutor())
    driver.add(make_request("a", prompt(14), max_tokens=3))
    driver.run()
    driver.add(make_request("b", prompt(14), SamplingParams(seed=2, max_tokens=3)))
    driver.add(make_request("c", prompt(12), max_tokens=1))
    driver.run()
    driver.verify()
    assert driver.finish("b").cached_tokens == 12
    assert driver.finish("c").cached_tokens == 8  # never the whole prompt
    tables = driver.scheduler.tables
    assert (tables.queried_tokens, tables.hit_tokens) == (14 + 14 + 12, 12 + 8)


def test_the_answer_is_cached_too() -> None:
    driver = SchedulerDriver(FakeExecutor())
    driver.add(make_request("a", prompt(10), max_tokens=11))
    driver.run()
    driver.add(make_request("b", [*prompt(10), *driver.tokens("a"), 1], max_tokens=2))
    driver.run()
    driver.verify()
    assert driver.finish("b").cached_tokens == 20


def test_salt_and_prompt_logprobs_do_not_hit() -> None:
    driver = SchedulerDriver(FakeExecutor())
    driver.add(make_request("a", prompt(14)))
    driver.run()
    driver.add(make_request("salted", prompt(14), salt="other"))
    params = SamplingParams(seed=1, max_tokens=2, prompt_logprobs=0)
    driver.add(make_request("scored", prompt(14), params))
    driver.run()
    driver.verify()
    assert driver.finish("salted").cached_tokens == 0
    assert driver.finish("scored").cached_tokens == 0


def test_prefix_caching_off() -> None:
    driver = SchedulerDriver(FakeExecutor(), prefix_caching=False)
    for name in "ab":
        driver.add(make_request(name, prompt(14)))
        driver.run()
    driver.verify()
    assert driver.finish("b").cached_tokens == 0
    assert driver.scheduler.tables.cached_blocks == 0


def test_equal_prompts_of_one_step_end_in_shared_blocks() -> None:
    driver = SchedulerDriver(FakeExecutor())
    for name in "abc":
        driver.add(make_request(name, prompt(13), max_tokens=2))
    driver.step()
    assert driver.scheduler.tables.blocks.used == 3 + 3  # three shared, one partial each
    driver.run()
    driver.verify()


def test_collisions_only_cost_hits() -> None:
    driver = SchedulerDriver(FakeExecutor(), chain_hash=lambda prefix, tokens: 1)
    for name in "abc":
        driver.add(make_request(name, prompt(13, ord(name))))
        driver.add(make_request(name * 2, prompt(13, ord(name))))
        driver.run()
    driver.verify()
    assert driver.scheduler.tables.cached_blocks == 1


def test_preempted_request_resumes_without_sending_twice() -> None:
    driver = SchedulerDriver(FakeExecutor(num_blocks=8, max_batch=3))
    for name in "abc":
        params = SamplingParams(seed=ord(name), max_tokens=14, logprobs=1, prompt_logprobs=1)
        driver.add(make_request(name, prompt(6, ord(name)), params))
    driver.run()
    driver.verify()
    assert driver.scheduler.preemptions > 0
    ends = [
        index
        for name in "abc"
        for index, event in enumerate(driver.events[name])
        if isinstance(event, PromptLogprobsEvent)
    ]
    assert ends == [0, 0, 0]


def test_the_newest_of_the_lowest_priority_is_preempted() -> None:
    driver = SchedulerDriver(FakeExecutor(num_blocks=9, max_batch=3))
    for name, priority in (("low", 1), ("first", 0), ("second", 0)):
        driver.add(make_request(name, prompt(6, ord(name[0])), max_tokens=12, priority=priority))
    while not driver.scheduler.preemptions:
        driver.step()
    assert [seq.request.request_id for seq in driver.scheduler.waiting] == ["low"]
    driver.run()
    driver.verify()


def test_recomputing_hits_the_cache_but_is_no_hit_for_the_user() -> None:
    driver = SchedulerDriver(FakeExecutor(num_blocks=8, max_batch=2))
    for name in "ab":
        driver.add(make_request(name, prompt(9, ord(name)), max_tokens=14))
    driver.run()
    driver.verify()
    assert driver.scheduler.preemptions > 0
    assert driver.finish("b").cached_tokens == 0
    assert driver.scheduler.tables.hit_tokens == 0


def test_admission_leaves_a_block_for_each_running_sequence() -> None:
    driver = SchedulerDriver(FakeExecutor(num_blocks=5, max_batch=2))
    driver.add(make_request("a", prompt(8), max_tokens=3))
    driver.add(make_request("b", prompt(10, 1), max_tokens=2))
    driver.run()
    driver.verify()
    # b would fit beside a, until a's first token takes the block that b would have.
    assert rows(driver) == [[8], [1], [1], [10], [1]]
    assert driver.scheduler.preemptions == 0


def test_blocked_request_is_searched_again_only_when_blocks_come_back() -> None:
    searches: list[int] = []

    def counting(prefix: int, tokens: tuple[int, ...]) -> int:
        searches.append(prefix)
        return hash((prefix, tokens))

    driver = SchedulerDriver(FakeExecutor(num_blocks=5), chain_hash=counting)
    driver.add(make_request("a", prompt(3), max_tokens=12))
    driver.add(make_request("b", prompt(18, 1), max_tokens=1))
    driver.step()
    driver.step()
    searches.clear()
    plan = driver.scheduler.schedule()
    assert plan is not None
    assert searches == []
    driver.scheduler.rollback(plan, "broken")
    assert driver.scheduler.schedule() is not None
    assert searches != []


def test_preemption_in_the_middle_of_prompt_logprobs() -> None:
    driver = SchedulerDriver(FakeExecutor(num_blocks=8, max_batch=2, max_batched_tokens=3))
    params = SamplingParams(seed=1, max_tokens=10, prompt_logprobs=3)
    driver.add(make_request("a", prompt(7), max_tokens=16))
    driver.add(make_request("b", prompt(17, 3), params))
    while not driver.scheduler.preemptions:
        driver.step()
    assert rows(driver)[-2] == [1, 2]  # b was still prefilling, two rows a step
    driver.run()
    driver.verify()


def test_one_token_prompt_with_prompt_logprobs() -> None:
    driver = SchedulerDriver(FakeExecutor())
    params = SamplingParams(seed=1, max_tokens=1, prompt_logprobs=3)
    driver.add(make_request("a", [4], params))
    driver.run()
    driver.verify()
    assert driver.events["a"][0] == PromptLogprobsEvent("a", (None,))


def test_abort_frees_at_once() -> None:
    driver = SchedulerDriver(FakeExecutor(max_batch=1))
    driver.add(make_request("running", prompt(9), max_tokens=50))
    driver.add(make_request("waiting", prompt(9, 1), max_tokens=50))
    driver.step()
    driver.step()
    driver.abort("waiting")
    driver.abort("running")
    driver.abort("unknown")
    driver.verify()
    assert driver.finish("running").reason is FinishReason.ABORTED
    assert driver.finish("running").output_tokens == 2
    assert driver.finish("waiting").output_tokens == 0


def test_failed_step_ends_only_its_own_requests() -> None:
    driver = SchedulerDriver(FakeExecutor(max_batched_tokens=8, max_batch=4, num_blocks=40))
    driver.add(make_request("decoding", prompt(4), max_tokens=9))
    driver.step()
    driver.add(make_request("prefilling", prompt(30, 1), max_tokens=9))
    driver.add(make_request("waiting", prompt(4, 2), max_tokens=3))
    driver.step(fail=True)
    assert driver.finish("decoding").reason is FinishReason.ERROR
    assert driver.finish("decoding").error == "broken"
    assert driver.finish("prefilling").reason is FinishReason.ERROR
    assert driver.events["waiting"] == []
    driver.run()
    driver.verify()
    assert driver.finish("waiting").reason is FinishReason.LENGTH


def test_blocks_of_a_failed_step_are_not_cached() -> None:
    driver = SchedulerDriver(FakeExecutor())
    driver.add(make_request("a", prompt(14)))
    driver.step(fail=True)
    assert driver.scheduler.tables.cached_blocks == 0
    driver.add(make_request("b", prompt(14)))
    driver.run()
    driver.verify()
    assert driver.finish("b").cached_tokens == 0


def test_row_without_a_finite_logit_ends_its_request_alone() -> None:
    driver = SchedulerDriver(FakeExecutor(max_batch=2))
    driver.add(make_request("broken", prompt(4), max_tokens=9))
    driver.add(make_request("sound", prompt(4, 1), max_tokens=3))
    plan = driver.scheduler.schedule()
    assert plan is not None
    result = driver.executor.step(plan)
    result.token_ids[0] = -1
    driver.take(driver.scheduler.commit(plan, Readout(plan, result)))
    assert driver.finish("broken").reason is FinishReason.ERROR
    assert "logit" in (driver.finish("broken").error or "")
    driver.run()
    assert driver.finish("sound").output_tokens == 3
    driver.scheduler.check()


def test_counters() -> None:
    driver = SchedulerDriver(FakeExecutor())
    driver.add(make_request("a", prompt(14), max_tokens=3))
    driver.add(make_request("b", prompt(5), max_tokens=2))
    driver.run()
    scheduler = driver.scheduler
    assert (scheduler.prompt_tokens, scheduler.generated_tokens) == (19, 5)
    assert scheduler.finished == {FinishReason.LENGTH: 2}


def test_logprobs_are_sent_with_their_token() -> None:
    driver = SchedulerDriver(FakeExecutor())
    driver.add(make_request("a", prompt(4), SamplingParams(seed=1, max_tokens=2, logprobs=0)))
    driver.run()
    driver.verify()
    event = driver.events["a"][0]
    assert isinstance(event, TokensEvent)
    assert event.logprobs is not None
    assert event.logprobs[0].top == ()


def test_step_must_be_committed_once() -> None:
    driver = SchedulerDriver(FakeExecutor())
    driver.add(make_request("a", prompt(4)))
    plan = driver.scheduler.schedule()
    assert plan is not None
    with pytest.raises(AssertionError, match="neither committed nor rolled back"):
        driver.scheduler.schedule()
    driver.scheduler.rollback(plan, "broken")
    with pytest.raises(AssertionError, match="no step"):
        driver.scheduler.rollback(plan, "broken")


def test_check_finds_a_damaged_table() -> None:
    driver = SchedulerDriver(FakeExecutor())
    driver.add(make_request("a", prompt(9)))
    driver.step()
    (seq,) = driver.scheduler.running
    seq.blocks[0], seq.blocks[1] = seq.blocks[1], seq.blocks[0]
    with pytest.raises(AssertionError):
        driver.scheduler.check()
