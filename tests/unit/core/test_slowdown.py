"""Slowing down for volume: halved at once, raised step by step, free again at last."""

from __future__ import annotations

from dataclasses import replace

from shared.core.slowdown import (
    MIN_PER_MINUTE,
    UP_PER_MINUTE,
    Slowdown,
    Tally,
    adjusted,
)


def test_refusals_halve_what_was_sent() -> None:
    assert adjusted(None, Tally(50, 50), limit_per_minute=None) == Slowdown(600, 1200, is_fresh=True)


def test_a_rate_that_was_lowered_just_now_is_left_alone() -> None:
    slowed = Slowdown(600, 1200, is_fresh=True)
    assert adjusted(slowed, Tally(0, 100), limit_per_minute=None) == slowed
    again = adjusted(replace(slowed, is_fresh=False), Tally(0, 100), limit_per_minute=None)
    assert again == Slowdown(300, 1200, is_fresh=True)


def test_a_few_refusals_among_many_acceptances_are_no_reason() -> None:
    assert adjusted(None, Tally(1000, 10), limit_per_minute=None) is None
    assert adjusted(None, Tally(0, 4), limit_per_minute=None) is None


def test_it_is_never_slower_than_one_in_ten_seconds() -> None:
    slowed: Slowdown | None = None
    for _ in range(20):
        slowed = adjusted(slowed and replace(slowed, is_fresh=False), Tally(0, 10), limit_per_minute=None)
    assert slowed is not None
    assert slowed.per_minute == MIN_PER_MINUTE


def test_acceptances_raise_it_step_by_step_until_it_is_free() -> None:
    slowed: Slowdown | None = Slowdown(30, 60)
    rates = []
    while slowed is not None:
        rates.append(slowed.per_minute)
        slowed = adjusted(slowed, Tally(3, 0), limit_per_minute=None)
    assert rates[1] - rates[0] == UP_PER_MINUTE
    assert rates == sorted(rates)
    assert 120 - UP_PER_MINUTE <= rates[-1] < 120


def test_under_an_operators_limit_it_is_free_at_that_limit() -> None:
    assert adjusted(Slowdown(58, 1000), Tally(5, 0), limit_per_minute=60) is None


def test_who_sends_nothing_learns_nothing() -> None:
    slowed = Slowdown(30, 60)
    assert adjusted(slowed, Tally(0, 0), limit_per_minute=None) == slowed
