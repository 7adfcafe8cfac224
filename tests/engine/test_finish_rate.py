from __future__ import annotations

from ftllm.engine.stats import MAX_RETRY_AFTER, FinishRate


def test_retry_after_is_the_mean_time_between_finishes() -> None:
    rate = FinishRate()
    assert rate.retry_after(100.0) == 1  # nothing is known yet
    for finish in (0.0, 4.0, 8.0):
        rate.add(finish)
    assert rate.retry_after(12.0) == 4
    assert rate.retry_after(8.1) == 3
    assert rate.retry_after(10_000.0) == MAX_RETRY_AFTER


def test_quick_finishes_and_old_ones() -> None:
    rate = FinishRate(window=4)
    rate.add(0.0)
    for finish in range(1000, 1004):
        rate.add(finish / 1.0)
    assert rate.retry_after(1004.0) == 1
