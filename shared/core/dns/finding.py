"""What a check found out about a record."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared.core.dns.record import PlannedRecord, RecordType


class State(StrEnum):
    """How a record stands."""

    #: It is there, or something that does the same.
    RIGHT = "right"
    #: It is not there.
    MISSING = "missing"
    #: Something else is there.
    WRONG = "wrong"
    #: The DNS did not answer.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    type: RecordType
    #: `None` for what is there and should not be.
    planned: PlannedRecord | None
    state: State
    found: tuple[str, ...] = ()
    #: What to do, in one sentence; `None` when it is right.
    mend: str | None = None


def right(planned: PlannedRecord, *found: str) -> Finding:
    return Finding(planned.name, planned.type, planned, State.RIGHT, found)


def missing(planned: PlannedRecord) -> Finding:
    mend = f"Add {planned.zone_line}"
    return Finding(planned.name, planned.type, planned, State.MISSING, (), mend)


def wrong(planned: PlannedRecord, found: tuple[str, ...], mend: str) -> Finding:
    return Finding(planned.name, planned.type, planned, State.WRONG, found, mend)


def unwanted(name: str, record_type: RecordType, found: str, mend: str) -> Finding:
    """There is a record that should not be."""
    return Finding(name, record_type, None, State.WRONG, (found,), mend)


def unknown(planned: PlannedRecord, because: str) -> Finding:
    mend = f"Check again later: {because}."
    return Finding(planned.name, planned.type, planned, State.UNKNOWN, (), mend)
