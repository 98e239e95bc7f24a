"""What all schemas share: strictness, the kinds of text, addresses, and pages."""

from __future__ import annotations

from typing import Generic, TypeVar

# What tasks are given by their parameters is checked by the same, in the schedulers too.
from shared.contracts.bodies import (
    MAX_EXACT_INTEGER,
    Answer,
    Body,
    EmailAddress,
    Lines,
    Moment,
    OneLine,
    has_controls,
    may_be_absent,
    on_one_line,
    refuse,
    without_controls,
)

__all__ = [
    "MAX_EXACT_INTEGER",
    "MAX_ID",
    "Answer",
    "Body",
    "EmailAddress",
    "Lines",
    "Moment",
    "OneLine",
    "Page",
    "has_controls",
    "may_be_absent",
    "on_one_line",
    "refuse",
    "without_controls",
]

#: The ids the database has.
MAX_ID = 2**63 - 1

T = TypeVar("T")


class Page(Answer, Generic[T]):
    """A part of a longer sequence."""

    items: list[T]
    """This page's items, in the sequence's order."""
    next: str | None
    """The `after` of the next page; null on the last."""
