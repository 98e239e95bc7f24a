"""Long sequences, a page at a time: `limit` items, those `after` the last page's end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Query

from services.admin_api.problems import Problem
from services.admin_api.schemas.base import MAX_ID, Page

T = TypeVar("T")
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Turn:
    """Which page is asked for."""

    limit: int
    after: str

    @property
    def fetch(self) -> int:
        """One more than is shown, to know whether there is a next page."""
        return self.limit + 1

    @property
    def after_id(self) -> int | None:
        """The cursor of a sequence in the order of ids; `None` for its first page."""
        if not self.after:
            return None
        if not (self.after.isascii() and self.after.isdecimal() and len(self.after) < 20 and int(self.after) <= MAX_ID):
            wrong = {"parameter": "after", "detail": "This is the `next` of another page."}
            raise Problem(422, "The request is not well formed: see errors.", errors=[wrong])
        return int(self.after)

    def page(self, rows: Sequence[Row], answer: Callable[[Row], T], cursor: Callable[[Row], object]) -> Page[T]:
        """The page of `rows`, of which `fetch` were asked for."""
        shown = rows[: self.limit]
        return Page(
            items=[answer(row) for row in shown], next=str(cursor(shown[-1])) if len(rows) > len(shown) else None
        )


def _turn(
    limit: Annotated[int, Query(ge=1, le=1000, description="Items on a page.")] = 100,
    after: Annotated[
        str, Query(max_length=400, description="The `next` of the page before; absent for the first.")
    ] = "",
) -> Turn:
    return Turn(limit, after)


WhichPage = Annotated[Turn, Depends(_turn)]
