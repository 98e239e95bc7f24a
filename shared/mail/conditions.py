"""Conditions on a member's values, compiled: what stands in a copy when they hold, and when they do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from shared.mail.merge import Values

Leaf = TypeVar("Leaf")
Other = TypeVar("Other")


@dataclass(frozen=True, slots=True)
class Condition:
    """What is asked of a member."""

    name: str
    #: What the value is compared with; `None`: whether there is one.
    text: str | None = None
    is_negated: bool = False

    def holds(self, values: Values) -> bool:
        value = values.get(self.name, "").strip()
        if self.text is None:
            return value not in ("", "false")
        return (value == self.text) is not self.is_negated


@dataclass(frozen=True, slots=True)
class Choice(Generic[Leaf]):
    """A condition, and what stands in a copy when it holds and when it does not."""

    condition: Condition
    then: tuple[Leaf | Choice[Leaf], ...]
    otherwise: tuple[Leaf | Choice[Leaf], ...]

    def chosen(self, values: Values) -> Iterator[Leaf]:
        """What the member with these values gets of it, in order."""
        for piece in self.then if self.condition.holds(values) else self.otherwise:
            if isinstance(piece, Choice):
                yield from piece.chosen(values)
            else:
                yield piece

    def with_leaves(self, made: Callable[[Leaf], Other]) -> Choice[Other]:
        """The same choice between what is made of these leaves."""

        def branch(pieces: tuple[Leaf | Choice[Leaf], ...]) -> tuple[Other | Choice[Other], ...]:
            return tuple([piece.with_leaves(made) if isinstance(piece, Choice) else made(piece) for piece in pieces])

        return Choice(self.condition, branch(self.then), branch(self.otherwise))

    def leaves(self) -> Iterator[Leaf]:
        """All that some member may get."""
        for piece in (*self.then, *self.otherwise):
            if isinstance(piece, Choice):
                yield from piece.leaves()
            else:
                yield piece
