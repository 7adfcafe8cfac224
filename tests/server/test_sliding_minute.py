from __future__ import annotations

import random

import pytest

from ftllm.server.sliding_minute import GRAIN, MINUTE, SlidingMinute


def test_what_was_used_counts_for_a_minute() -> None:
    used = SlidingMinute()
    assert used.total(0.0) == 0
    used.add(5, 10.0)
    used.add(3, 30.0)
    assert used.total(30.0) == 8
    assert used.total(69.9) == 8
    assert used.total(70.0) == 3
    assert used.total(90.0) == 0


def test_how_long_until_less_is_used() -> None:
    used = SlidingMinute()
    assert used.seconds_until(0, 5.0) == 0.0
    used.add(5, 10.0)
    used.add(3, 30.0)
    assert used.seconds_until(8, 30.0) == 0.0
    assert used.seconds_until(7, 30.0) == pytest.approx(40.0)
    assert used.seconds_until(3, 30.0) == pytest.approx(40.0)
    assert used.seconds_until(0, 40.0) == pytest.approx(50.0)


def test_no_minute_has_more_than_is_counted() -> None:
    """Whatever the order and the spacing: an exact account never exceeds this one."""
    chance = random.Random(3)
    used, now = SlidingMinute(), 0.0
    uses: list[tuple[float, int]] = []
    for _ in range(3000):
        now += chance.choice((0.0, 0.01, 0.3, 0.9, 1.1, 7.0))
        amount = chance.randrange(4)
        used.add(amount, now)
        uses.append((now, amount))
        uses = [(at, each) for at, each in uses if now - at < MINUTE + GRAIN]
        exact = sum(each for at, each in uses if now - at < MINUTE)
        assert exact <= used.total(now) <= sum(each for _, each in uses)


def test_its_size_is_bounded() -> None:
    used = SlidingMinute()
    for step in range(100_000):
        used.add(1, step / 1000)
    assert used.total(100.0) <= 61_000
    assert len(used._spans) <= 62
