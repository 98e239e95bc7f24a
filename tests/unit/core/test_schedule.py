"""When a schedule's moments are, over clock changes and ends of months."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.cron import Cron, InvalidCron
from shared.core.schedule import Once, Recurrence, UnknownTimeZone, last_up_to

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"


def moments(cron: str, zone: str, after: str, count: int) -> list[str]:
    """The next moments after one of UTC, as the zone's clock shows them."""
    recurrence, moment, shown = Recurrence.parse(cron, zone), datetime.fromisoformat(after).replace(tzinfo=UTC), []
    for _ in range(count):
        found = recurrence.next_after(moment)
        assert found is not None
        moment = found
        shown.append(moment.astimezone(recurrence.zone).strftime("%m-%d %H:%M%z"))
    return shown


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("30 2 * * *", BERLIN, "2026-03-28T12:00", ["03-29 03:00+0200", "03-30 02:30+0200"]),
        ("*/15 2 * * *", BERLIN, "2026-03-28T12:00", ["03-29 03:00+0200", "03-30 02:00+0200"]),
        ("0 2,3 * * *", BERLIN, "2026-03-28T12:00", ["03-29 03:00+0200", "03-30 02:00+0200"]),
        ("30 2 * * *", NEW_YORK, "2026-03-07T12:00", ["03-08 03:00-0400", "03-09 02:30-0400"]),
        ("15 2 * * *", LORD_HOWE, "2026-10-03T12:00", ["10-04 02:30+1100", "10-05 02:15+1100"]),
        # 30 December 2011 was left out as a whole.
        ("0 9 30 12 *", "Pacific/Apia", "2011-12-01T00:00", ["12-31 00:00+1400", "12-30 09:00+1400"]),
    ],
)
def test_a_time_that_a_change_leaves_out_happens_once_at_the_next_moment(
    cron: str, zone: str, after: str, expected: list[str]
) -> None:
    assert moments(cron, zone, after, 2) == expected


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("30 2 * * *", BERLIN, "2026-10-24T12:00", ["10-25 02:30+0200", "10-26 02:30+0100"]),
        ("0,30 2 * * *", BERLIN, "2026-10-25T00:10", ["10-25 02:30+0200", "10-26 02:00+0100"]),
        ("30 1 * * *", NEW_YORK, "2026-10-31T12:00", ["11-01 01:30-0400", "11-02 01:30-0500"]),
        ("45 1 * * *", LORD_HOWE, "2026-04-04T12:00", ["04-05 01:45+1100", "04-06 01:45+1030"]),
        # Asked between the two: the first has been.
        ("30 2 * * *", BERLIN, "2026-10-25T01:00", ["10-26 02:30+0100", "10-27 02:30+0100"]),
    ],
)
def test_a_time_that_a_change_brings_twice_happens_once(cron: str, zone: str, after: str, expected: list[str]) -> None:
    assert moments(cron, zone, after, 2) == expected


def test_an_interval_follows_the_clock_through_a_change() -> None:
    autumn = ["10-25 01:30+0200", "10-25 02:30+0200", "10-25 02:30+0100", "10-25 03:30+0100"]
    assert moments("30 * * * *", BERLIN, "2026-10-24T23:00", 4) == autumn
    spring = ["03-29 01:40+0100", "03-29 03:00+0200", "03-29 03:20+0200"]
    assert moments("*/20 * * * *", BERLIN, "2026-03-29T00:30", 3) == spring


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        ("0 0 31 * *", "2026-01-31T00:00", ["03-31 00:00+0000", "05-31 00:00+0000"]),
        ("0 0 L * *", "2028-01-31T00:00", ["02-29 00:00+0000", "03-31 00:00+0000"]),
        ("0 0 15,L 2 *", "2026-01-01T00:00", ["02-15 00:00+0000", "02-28 00:00+0000"]),
        ("0 0 29 feb *", "2096-03-01T00:00", ["02-29 00:00+0000", "02-29 00:00+0000"]),
        ("0 12 * * mon-fri", "2026-11-27T12:00", ["11-30 12:00+0000", "12-01 12:00+0000"]),
        ("0 12 * * 7", "2026-11-27T12:00", ["11-29 12:00+0000", "12-06 12:00+0000"]),
        # Both days restricted: either.
        ("0 0 13 * fri", "2026-11-08T00:00", ["11-13 00:00+0000", "11-20 00:00+0000"]),
        ("59 23 31 12 *", "2026-12-31T23:59", ["12-31 23:59+0000", "12-31 23:59+0000"]),
        ("*/5 * 1 * *", "2026-11-23T00:00", ["12-01 00:00+0000", "12-01 00:05+0000"]),
    ],
)
def test_ends_of_months_and_days_of_the_week(cron: str, after: str, expected: list[str]) -> None:
    assert moments(cron, "UTC", after, 2) == expected


@pytest.mark.parametrize(
    ("cron", "because"),
    [
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("", "five fields"),
        ("60 * * * *", "minute field holds '60'"),
        ("* 24 * * *", "hour field"),
        ("* * 0 * *", "day field"),
        ("* * * 13 *", "month field"),
        ("* * * * 8", "weekday field"),
        ("*/0 * * * *", "minute field"),
        ("5-1 * * * *", "ends before it begins"),
        ("1,,2 * * * *", "minute field holds ''"),
        ("-1 * * * *", "minute field"),
        ("١ * * * *", "minute field"),
        ("0 0 30 2 *", "no day that there is"),
        ("0 0 31 4,6,9,11 *", "no day that there is"),
        ("@daily", "five fields"),
        ("* " * 500, "characters"),
    ],
)
def test_what_is_no_expression_is_refused_with_a_sentence(cron: str, because: str) -> None:
    with pytest.raises(InvalidCron, match=because):
        Cron.parse(cron)


@pytest.mark.parametrize("name", ["Europe/Atlantis", "", "../../etc/passwd", "Europe", "CEST", "/etc/localtime"])
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(UnknownTimeZone):
        Recurrence.parse("0 0 * * *", name)


def test_one_moment_is_one_moment() -> None:
    at = datetime(2026, 11, 23, tzinfo=UTC)
    assert Once(at).next_after(at - timedelta(seconds=1)) == at
    assert Once(at).next_after(at) is None
    assert last_up_to(Once(at), at, at + timedelta(days=400)) == at


def test_the_latest_missed_moment_is_found_however_many_there_are() -> None:
    first, now = datetime(2020, 1, 1, tzinfo=UTC), datetime(2026, 11, 23, 10, 0, 30, tzinfo=UTC)
    assert last_up_to(Recurrence.parse("* * * * *", "UTC"), first, now) == now.replace(second=0)
    yearly = Recurrence.parse("0 0 1 1 *", "UTC")
    assert last_up_to(yearly, first, now) == datetime(2026, 1, 1, tzinfo=UTC)
    assert last_up_to(yearly, first, first) == first


ZONES = st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, "UTC", "Asia/Kolkata", "America/Sao_Paulo", "Africa/Casablanca"])
HOURS = st.sets(st.integers(0, 22), min_size=1, max_size=5)
MINUTES = st.sets(st.integers(0, 59), min_size=1, max_size=3)
FIRST_START = datetime(2015, 1, 1, tzinfo=UTC)
STARTS = st.integers(0, 20 * 365 * 86_400).map(lambda seconds: FIRST_START + timedelta(seconds=seconds))


def joined(numbers: set[int]) -> str:
    return ",".join(map(str, sorted(numbers)))


@given(ZONES, HOURS, MINUTES, STARTS)
def test_each_time_of_a_day_happens_once(zone: str, hours: set[int], minutes: set[int], start: datetime) -> None:
    recurrence = Recurrence.parse(f"{joined(minutes)} {joined(hours)} * * *", zone)
    found: list[datetime] = []
    moment = start
    while moment < start + timedelta(days=4):
        following = recurrence.next_after(moment)
        assert following is not None
        assert following > moment
        moment = following
        found.append(moment.astimezone(recurrence.zone))
    shown = [local.replace(tzinfo=None, fold=0) for local in found]
    assert len(set(shown)) == len(shown), "no time of a day twice"
    named = {time(hour, minute) for hour in hours for minute in minutes}
    for day in {local.date() for local in shown} - {shown[0].date(), shown[-1].date()}:
        begins, ends = (datetime.combine(of, time(), recurrence.zone) for of in (day, day + timedelta(days=1)))
        if begins.utcoffset() == ends.utcoffset():
            assert {local.time() for local in shown if local.date() == day} == named


@given(ZONES, st.sampled_from([1, 5, 10, 15, 20, 30]), STARTS)
def test_an_interval_has_no_gap_longer_than_itself(zone: str, every: int, start: datetime) -> None:
    recurrence = Recurrence.parse(f"*/{every} * * * *", zone)
    found = [start]
    while len(found) < 100:
        following = recurrence.next_after(found[-1])
        assert following is not None
        found.append(following)
    assert all(timedelta() < later - earlier <= timedelta(minutes=every) for earlier, later in pairwise(found))
