from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from shared.core.digest import MAX_ISSUE_BYTES, MAX_ISSUE_POSTS, IssueNumber, is_full, number_after

NOW = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)


def test_issues_are_counted_within_a_year_and_years_within_the_list() -> None:
    assert number_after(None, None, NOW) == IssueNumber(1, 1)
    assert number_after(IssueNumber(3, 11), NOW - timedelta(days=300), NOW) == IssueNumber(3, 12)
    assert number_after(IssueNumber(3, 12), NOW, NOW + timedelta(hours=1)) == IssueNumber(4, 1)
    assert number_after(IssueNumber(4, 1), NOW, NOW + timedelta(days=1000)) == IssueNumber(5, 1)


def test_a_year_is_utcs_whatever_the_moments_offset() -> None:
    in_january = NOW.astimezone(timezone(timedelta(hours=2)))
    assert in_january.year == 2027
    assert number_after(IssueNumber(1, 1), NOW, in_january) == IssueNumber(1, 2)


def test_an_issue_is_bounded_and_a_post_that_is_larger_is_one_by_itself() -> None:
    assert not is_full(0, 0, 10 * MAX_ISSUE_BYTES)
    assert not is_full(1, MAX_ISSUE_BYTES - 10, 10)
    assert is_full(1, MAX_ISSUE_BYTES - 10, 11)
    assert is_full(1, 10 * MAX_ISSUE_BYTES, 1)
    assert not is_full(MAX_ISSUE_POSTS - 1, 0, 1)
    assert is_full(MAX_ISSUE_POSTS, 0, 1)
