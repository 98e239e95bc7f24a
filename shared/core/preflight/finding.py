"""What a preflight found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What follows from a finding."""

    #: It is not sent as it is.
    REFUSE = "refuse"
    #: It can be sent; somebody should have seen this.
    WARN = "warn"


@dataclass(frozen=True, slots=True)
class Place:
    """Where it stands."""

    #: What an author writes: `subject`, `html`, `from_address`, …; empty for the newsletter as a whole.
    field: str
    #: From 1, in characters; `None` for the field as a whole.
    line: int | None = None
    column: int | None = None


WHOLE = Place("")


@dataclass(frozen=True, slots=True)
class Finding:
    #: The same for all findings of one sort.
    code: str
    severity: Severity
    place: Place
    #: What is wrong and what mends it, in one sentence.
    mend: str


def refused(code: str, place: Place, mend: str) -> Finding:
    return Finding(code, Severity.REFUSE, place, mend)


def warned(code: str, place: Place, mend: str) -> Finding:
    return Finding(code, Severity.WARN, place, mend)
