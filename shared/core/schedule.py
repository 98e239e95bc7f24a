"""When something is to happen: once, or again and again by a cron expression in a time zone, over its clock changes.

An expression that names hours names times of day. One that a clock change leaves out happens once, at the first moment
after the change; one that a change brings twice happens once, the first time. An expression that names no hour
(`*/15 * * * *`) is an interval: it follows the clock through the change, without a gap and without a repetition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from shared.core.cron import Cron

#: From 29 February to the next one are eight years at most (1896 to 1904, 2096 to 2104).
_HORIZON_DAYS = 366 * 9
_MINUTE = timedelta(minutes=1)


class UnknownTimeZone(ValueError):
    """There is no such time zone; the exception's words are one sentence."""


@dataclass(frozen=True, slots=True)
class Once:
    """One moment."""

    at: datetime

    def next_after(self, moment: datetime) -> datetime | None:
        """The moment, if it is still to come."""
        return self.at if self.at > moment else None


@dataclass(frozen=True, slots=True)
class Recurrence:
    """A cron expression on a time zone's clock."""

    cron: Cron
    zone: ZoneInfo

    @classmethod
    def parse(cls, cron: str, time_zone: str) -> Recurrence:
        """`time_zone` as in `Europe/Berlin`. Raises `InvalidCron`, `UnknownTimeZone`."""
        return cls(Cron.parse(cron), zone_of(time_zone))

    def next_after(self, moment: datetime) -> datetime | None:
        """The first moment after `moment`, in UTC; `None` when the calendar ends before it."""
        return self._next_minute(moment) if self.cron.is_every_hour else self._next_time_of_day(moment)

    def _next_minute(self, moment: datetime) -> datetime | None:
        minute = moment.astimezone(UTC).replace(second=0, microsecond=0) + _MINUTE
        for day in _days_from(minute.astimezone(self.zone).date()):
            if self.cron.names_day(day):
                while (local := minute.astimezone(self.zone)).date() <= day:
                    if local.date() == day and local.minute in self.cron.minutes:
                        return minute
                    minute += _MINUTE
            else:
                minute = max(minute, _instant(datetime.combine(day + timedelta(days=1), time()), self.zone))
        return None

    def _next_time_of_day(self, moment: datetime) -> datetime | None:
        # A change at midnight can put a time of the day before behind `moment`'s.
        for day in _days_from(moment.astimezone(self.zone).date() - timedelta(days=1)):
            if self.cron.names_day(day):
                for local in self._times_of(day):
                    if (instant := _instant(local, self.zone)) > moment:
                        return instant
        return None

    def _times_of(self, day: date) -> Iterator[datetime]:
        for hour in sorted(self.cron.hours):
            for minute in sorted(self.cron.minutes):
                yield datetime.combine(day, time(hour, minute))


Schedule = Once | Recurrence


def last_up_to(schedule: Schedule, first: datetime, now: datetime) -> datetime:
    """The latest moment of the schedule that is not after `now`; `first` is one of its moments, and not after `now`.

    Looks back step by step, so that a year of missed minutes costs no more than an hour of them.
    """
    for back in (timedelta(hours=1), timedelta(days=1), timedelta(days=31), timedelta(days=366)):
        found = schedule.next_after(max(first, now - back))
        if found is not None and found <= now:
            while (later := schedule.next_after(found)) is not None and later <= now:
                found = later
            return found
        if now - back <= first:
            break
    return first


@lru_cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


def zone_of(name: str) -> ZoneInfo:
    """The time zone of that name in the IANA database. Raises `UnknownTimeZone`."""
    if name not in _zone_names():
        raise UnknownTimeZone(f"There is no time zone {name!r}: it has a name such as Europe/Berlin, or UTC.")
    return ZoneInfo(name)


def _days_from(first: date) -> Iterator[date]:
    for number in range(_HORIZON_DAYS):
        try:
            yield first + timedelta(days=number)
        except OverflowError:
            return


def _instant(local: datetime, zone: ZoneInfo) -> datetime:
    """The moment at which the zone's clock first shows `local`, or the end of the gap that leaves it out."""
    before = local.replace(tzinfo=zone).astimezone(UTC)
    if before.astimezone(zone).replace(tzinfo=None) == local:
        return before
    return _end_of_gap(local.replace(tzinfo=zone, fold=1).astimezone(UTC), before, zone)


def _end_of_gap(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """The moment between two at which the zone's offset changes, to the second."""
    old = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == old:
            low = middle
        else:
            high = middle
    return high
