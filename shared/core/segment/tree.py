"""The tree of a segment. Trees are made by `shared.core.segment.parsing`, which checks them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

#: What a custom field is compared with. A number is compared with numbers, and with texts that are written like one
#: (files hold nothing but texts); true and false also with the texts `true` and `false`; a text with texts alone.
Scalar = str | Decimal | bool


class TextOperator(StrEnum):
    """How a text is to stand in another one; upper and lower case are different letters."""

    CONTAINS = "contains"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"


class NumberOperator(StrEnum):
    """How a number is to compare with another one."""

    LESS = "less"
    AT_MOST = "at_most"
    GREATER = "greater"
    AT_LEAST = "at_least"


class MomentOperator(StrEnum):
    """Where a day or a moment is to lie: before another one, or at it or later."""

    BEFORE = "before"
    SINCE = "since"


class Property(StrEnum):
    """What every member has."""

    EMAIL = "email"
    EMAIL_DOMAIN = "email_domain"
    DISPLAY_NAME = "display_name"
    STATUS = "status"
    DELIVERY_MODE = "delivery_mode"
    ROLE = "role"
    JOINED_AT = "joined_at"


class ActivityKind(StrEnum):
    """What happened to mail to an address."""

    #: A person opened it, or followed a link of it.
    OPENED = "opened"
    #: A person followed a link of it.
    CLICKED = "clicked"
    #: The next hop took it; without a mailing that is named, a newsletter.
    RECEIVED = "received"
    #: It failed for good, in our session or by a report that came back.
    BOUNCED = "bounced"


@dataclass(frozen=True, slots=True)
class IsOneOf:
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class HasText:
    operator: TextOperator
    text: str


@dataclass(frozen=True, slots=True)
class HasNumber:
    operator: NumberOperator
    number: Decimal


@dataclass(frozen=True, slots=True)
class HasDay:
    """A text that begins with a day, `2026-11-23`, alone or before a time."""

    operator: MomentOperator
    #: As it is written.
    day: str


@dataclass(frozen=True, slots=True)
class HasMoment:
    operator: MomentOperator
    moment: datetime


@dataclass(frozen=True, slots=True)
class IsWithinDays:
    """Not longer ago than so many times 24 hours."""

    days: int


@dataclass(frozen=True, slots=True)
class IsSet:
    """There, neither null nor an empty text."""


Test = IsOneOf | HasText | HasNumber | HasDay | HasMoment | IsWithinDays | IsSet


@dataclass(frozen=True, slots=True)
class Field:
    """A custom field of the member passes the test."""

    name: str
    test: IsOneOf | HasText | HasNumber | HasDay | IsSet


@dataclass(frozen=True, slots=True)
class Trait:
    """A property of the member passes the test; texts are given as the store keeps them."""

    property: Property
    test: IsOneOf | HasText | HasMoment | IsWithinDays | IsSet


@dataclass(frozen=True, slots=True)
class Activity:
    """It happened to the member's address, on whatever list: within so many days, with one mailing, or ever."""

    kind: ActivityKind
    within_days: int | None = None
    mailing_id: int | None = None


@dataclass(frozen=True, slots=True)
class Not:
    part: Condition


@dataclass(frozen=True, slots=True)
class And:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    parts: tuple[Condition, ...]


Condition = Field | Trait | Activity | Not | And | Or


def unopened(mailing_id: int) -> Condition:
    """Got the mailing, and no person opened it or followed a link of it."""
    return And(
        (
            Activity(ActivityKind.RECEIVED, mailing_id=mailing_id),
            Not(Activity(ActivityKind.OPENED, mailing_id=mailing_id)),
        )
    )
