"""Cron expressions (POSIX crontab, with names and `L`): which days, hours and minutes they name."""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

#: Longer is nothing that somebody wrote by hand.
MAX_CHARACTERS = 200
_LEAP_YEAR = date(2028, 1, 1)
_EVERY_HOUR = frozenset(range(24))
_MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}


class InvalidCron(ValueError):
    """The text is no cron expression; the exception's words are one sentence that says why."""


@dataclass(frozen=True, slots=True)
class Cron:
    """What an expression's five fields name."""

    minutes: frozenset[int]
    hours: frozenset[int]
    #: Of the month, and whether its last day is named, by `L`.
    days: frozenset[int]
    is_last_day_named: bool
    months: frozenset[int]
    #: 0 is Sunday.
    weekdays: frozenset[int]
    #: Whether the field is `*`. With both restricted, a day that either names is named.
    is_any_day: bool
    is_any_weekday: bool

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Of `minute hour day month weekday`: `*`, `5`, `1-5`, `*/15`, `10-30/5`, lists of these; `jan`, `mon` (Sunday
        is 0 or 7); `L`, the month's last day. Raises `InvalidCron`."""
        if len(text) > MAX_CHARACTERS:
            raise InvalidCron(f"A cron expression has at most {MAX_CHARACTERS} characters.")
        fields = text.lower().split()
        if len(fields) != 5:
            raise InvalidCron(f"A cron expression has five fields (minute hour day month weekday), not {len(fields)}.")
        minute, hour, day, month, weekday = fields
        day_parts = day.split(",")
        numbered = ",".join(part for part in day_parts if part != "l")
        cron = cls(
            minutes=_named(minute, "minute", 0, 59),
            hours=_named(hour, "hour", 0, 23),
            days=_named(numbered, "day", 1, 31) if numbered or "l" not in day_parts else frozenset(),
            is_last_day_named="l" in day_parts,
            months=_named(month, "month", 1, 12, _MONTHS),
            weekdays=frozenset(number % 7 for number in _named(weekday, "weekday", 0, 7, _WEEKDAYS)),
            is_any_day=day == "*",
            is_any_weekday=weekday == "*",
        )
        # A leap year has every day that there is.
        if not any(cron.names_day(_LEAP_YEAR + timedelta(days=number)) for number in range(366)):
            raise InvalidCron("The expression names no day that there is.")
        return cron

    @property
    def is_every_hour(self) -> bool:
        """Whether it names minutes, and no hour."""
        return self.hours == _EVERY_HOUR

    def names_day(self, day: date) -> bool:
        """Whether something of the expression is on that day."""
        if day.month not in self.months:
            return False
        is_last = self.is_last_day_named and day.day == calendar.monthrange(day.year, day.month)[1]
        is_day = is_last or day.day in self.days
        is_weekday = day.isoweekday() % 7 in self.weekdays
        if self.is_any_day or self.is_any_weekday:
            return is_day and is_weekday
        return is_day or is_weekday


def _named(field: str, name: str, lowest: int, highest: int, words: Mapping[str, int] | None = None) -> frozenset[int]:
    numbers: set[int] = set()
    for part in field.split(","):
        span, slash, step_text = part.partition("/")
        first_text, dash, last_text = span.partition("-")
        if span == "*":
            first, last = lowest, highest
        else:
            first = _number(first_text, name, lowest, highest, words)
            last = _number(last_text, name, lowest, highest, words) if dash else first
            if slash and not dash:
                last = highest
        step = _number(step_text, name, 1, highest, None) if slash else 1
        if first > last:
            raise InvalidCron(f"The {name} field has a range that ends before it begins: {span}.")
        numbers.update(range(first, last + 1, step))
    return frozenset(numbers)


def _number(text: str, name: str, lowest: int, highest: int, words: Mapping[str, int] | None) -> int:
    if words and text in words:
        return words[text]
    if not (text.isascii() and text.isdecimal() and len(text) <= 2 and lowest <= int(text) <= highest):
        raise InvalidCron(f"The {name} field holds {text!r}: it takes numbers from {lowest} to {highest}.")
    return int(text)
