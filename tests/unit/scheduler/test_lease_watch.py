"""Which leases are dead, seen by one scheduler."""

from __future__ import annotations

from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.takeover import LeaseWatch

LEASE, OTHER = uuid4(), uuid4()


def watch() -> LeaseWatch:
    return LeaseWatch(lease_seconds=15, gap_seconds=5)


def looks(renewals_by_second: dict[float, dict[UUID, int]]) -> dict[float, list[UUID]]:
    """What the watch says at each look."""
    watching = watch()
    return {
        second: [lease for lease, _ in watching.look(renewals, second)]
        for second, renewals in renewals_by_second.items()
    }


def test_a_lease_whose_count_stands_still_for_15_seconds_is_dead() -> None:
    said = looks({second: {LEASE: 7, OTHER: second} for second in range(0, 20, 2)})
    assert [second for second, dead in said.items() if dead] == [16, 18]
    assert said[16] == [LEASE]


def test_the_count_that_it_stood_still_at_is_named() -> None:
    watching = watch()
    answers = [watching.look({LEASE: 7}, second) for second in range(0, 18, 2)]
    assert answers[-1] == [(LEASE, 7)]


def test_a_sign_of_life_starts_the_wait_anew() -> None:
    said = looks({second: {LEASE: 1 if second < 14 else 2} for second in range(0, 28, 2)})
    assert not any(said.values())


def test_a_gap_between_two_looks_kills_nobody() -> None:
    said = looks({second: {LEASE: 7} for second in (0, 2, 4, 6, 8, 10, 12, 18, 20)})
    assert not any(said.values())


def test_after_a_gap_the_whole_time_has_to_pass() -> None:
    said = looks({second: {LEASE: 7} for second in (0, 2, *range(60, 80, 2))})
    assert [second for second, dead in said.items() if dead] == [76, 78]


def test_a_node_that_came_and_went_is_forgotten() -> None:
    said = looks({second: {} if second == 8 else {LEASE: 7} for second in range(0, 20, 2)})
    assert not any(said.values())


@given(st.lists(st.tuples(st.integers(1, 8), st.booleans()), max_size=60))
def test_no_lease_is_dead_before_it_was_seen_standing_still_for_15_seconds_without_a_gap(
    steps: list[tuple[int, bool]],
) -> None:
    watching = watch()
    now, count, unchanged_since = 0, 0, 0
    watching.look({LEASE: count}, now)
    for step_seconds, is_renewed in steps:
        now += step_seconds
        count += is_renewed
        if is_renewed or step_seconds > 5:
            unchanged_since = now
        is_dead = bool(watching.look({LEASE: count}, now))
        assert is_dead == (now - unchanged_since >= 15)
