"""What all schemas share: ids and pages. What texts and moments are is in `shared/contracts/bodies.py`."""

from __future__ import annotations

from typing import Generic, TypeVar

from shared.contracts.bodies import Answer

#: The ids the database has.
MAX_ID = 2**63 - 1

T = TypeVar("T")


class Page(Answer, Generic[T]):
    """A part of a longer sequence."""

    items: list[T]
    """This page's items, in the sequence's order."""
    next: str | None
    """The `after` of the next page; null on the last."""
