"""How bounces add up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.core.bounce import BounceClass, Diagnosis
from shared.core.bounce_score import NOT_THE_MEMBERS, Score, scored

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HARD = Diagnosis(BounceClass.NO_SUCH_USER, is_hard=True)
SOFT = Diagnosis(BounceClass.MAILBOX_FULL, is_hard=False)


def after(*bounces: tuple[float, Diagnosis], quiet_days: int = 7) -> float:
    """The points after bounces that came so many days after noon."""
    score = Score()
    for days, diagnosis in bounces:
        score = scored(score, diagnosis, NOON + timedelta(days=days), quiet_days=quiet_days)
    return score.points


def test_at_most_one_bounce_a_day_counts() -> None:
    assert after((0, HARD), (0.1, HARD), (0.4, SOFT)) == 1
    assert after((0, HARD), (0.6, HARD)) == 2


def test_a_bounce_that_proves_nothing_counts_half() -> None:
    assert after((0, SOFT), (1, SOFT), (2, HARD)) == 2


def test_after_quiet_days_all_is_forgotten() -> None:
    assert after((0, HARD), (1, HARD), (8, HARD)) == 3
    assert after((0, HARD), (1, HARD), (8.1, HARD)) == 1
    assert after((0, HARD), (1.5, HARD), quiet_days=1) == 1


def test_what_comes_out_of_order_counts_for_no_second_day() -> None:
    assert after((1, HARD), (0, HARD), (-3, HARD)) == 1


@pytest.mark.parametrize("bounce_class", sorted(NOT_THE_MEMBERS))
def test_what_says_nothing_of_the_member_counts_nothing(bounce_class: BounceClass) -> None:
    assert after((0, Diagnosis(bounce_class, is_hard=False))) == 0


@pytest.mark.parametrize("bounce_class", sorted(NOT_THE_MEMBERS))
def test_a_probe_that_was_blocked_says_nothing_of_the_member(bounce_class: BounceClass) -> None:
    before = Score(4.0, NOON)
    blocked = Diagnosis(bounce_class, is_hard=False)
    assert scored(before, blocked, NOON, quiet_days=7, is_probe=True) == before
    assert scored(before, SOFT, NOON, quiet_days=7, is_probe=True).points == 5
