"""What is told by a copy that is read: opens and followed links, and how they are counted.

Counts follow from events alone. What an event changes is the difference between what its delivery's events came to
before and what they come to now, so counts and events cannot come apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


class ReadingKind(StrEnum):
    """What somebody, or something, did with a copy."""

    OPEN = "open"
    CLICK = "click"


class CountedBy(StrEnum):
    """What a count is about."""

    #: The mailing as a whole.
    MAILING = "mailing"
    #: One of its links, by number.
    LINK = "link"
    #: The recipients at a domain.
    DOMAIN = "domain"
    #: What happened within an hour; a reader counts in the hour of its first event.
    HOUR = "hour"


class MachineSign(StrEnum):
    """What tells that no person was at work."""

    #: The request was HEAD.
    HEAD = "head"
    #: It says that it fetches ahead of a person.
    PREFETCH = "prefetch"
    #: A program that names itself.
    PROGRAM = "program"
    #: A filter that looks where links lead.
    SCANNER = "scanner"
    #: A mailbox provider that fetches images in the place of its users.
    PROXY = "proxy"
    #: It came while, or right after, the copy was delivered.
    SOON = "soon"
    #: Several links at once.
    BURST = "burst"
    #: A click soon after the delivery, and nobody had opened the copy.
    UNSEEN = "unseen"
    #: The delivery had more events than people make.
    REPEATED = "repeated"


@dataclass(frozen=True, slots=True)
class Reading:
    """One event of a delivery, or of nobody's."""

    at: datetime
    #: 0: the copy was opened.
    link_id: int = 0
    #: What the request itself tells.
    sign: MachineSign | None = None

    @property
    def kind(self) -> ReadingKind:
        return ReadingKind.CLICK if self.link_id else ReadingKind.OPEN


@dataclass(frozen=True, slots=True, order=True)
class CountKey:
    """What is counted together."""

    by: CountedBy
    #: A link's number, a domain, the begin of an hour; '' for the mailing.
    key: str
    kind: ReadingKind
    is_machine: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """Events, and different recipients behind them; differences may be below 0."""

    total: Counter[CountKey]
    readers: Counter[CountKey]

    def since(self, before: Counts) -> dict[CountKey, tuple[int, int]]:
        """What changed: total and readers, where either did."""
        changes: dict[CountKey, tuple[int, int]] = {}
        for key in self.total.keys() | before.total.keys():
            change = self.total[key] - before.total[key], self.readers[key] - before.readers[key]
            if change != (0, 0):
                changes[key] = change
        return changes


def counted(
    readings: Sequence[Reading], judged: Sequence[MachineSign | None], *, domain: str, is_known: bool = True
) -> Counts:
    """What the events of one recipient at `domain` come to, each judged a machine's or (`None`) a person's.

    Those of nobody (not `is_known`) have no readers.
    """
    total: Counter[CountKey] = Counter()
    readers: Counter[CountKey] = Counter()
    first_hours: dict[tuple[ReadingKind, bool], str] = {}
    for reading, sign in sorted(zip(readings, judged, strict=True), key=lambda pair: pair[0].at):
        what = reading.kind, sign is not None
        hour = hour_of(reading.at)
        keys = [CountKey(CountedBy.MAILING, "", *what), CountKey(CountedBy.HOUR, hour, *what)]
        if domain:
            keys.append(CountKey(CountedBy.DOMAIN, domain, *what))
        if reading.link_id:
            keys.append(CountKey(CountedBy.LINK, str(reading.link_id), *what))
        total.update(keys)
        if is_known:
            is_first_hour = first_hours.setdefault(what, hour) == hour
            readers |= Counter(key for key in keys if is_first_hour or key.by is not CountedBy.HOUR)
    return Counts(total, readers)


def hour_of(moment: datetime) -> str:
    """The hour's begin in UTC, as it is kept."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:00:00Z")
