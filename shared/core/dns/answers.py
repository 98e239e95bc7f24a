"""What the DNS answered, for rules that read it as if everything had been asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.core.dns.record import RecordType


@dataclass(frozen=True, slots=True)
class Question:
    name: str
    type: RecordType


@dataclass(frozen=True, slots=True)
class Failure:
    """The DNS did not answer; it may later."""

    because: str


class NotAskedYet(Exception):
    """A rule needs these answers: ask, and judge again."""

    def __init__(self, questions: tuple[Question, ...]) -> None:
        super().__init__(questions)
        self.questions = questions


class Unanswered(Exception):
    """A rule needs an answer that the DNS failed to give; the text says why."""


class Answers:
    """Values as `PlannedRecord.value` has them, and texts whole; none where there is no such record, or name."""

    def __init__(self, known: Mapping[Question, tuple[str, ...] | Failure]) -> None:
        self._known = known

    def get(self, name: str, record_type: RecordType) -> tuple[str, ...]:
        """Raises `NotAskedYet` and `Unanswered`."""
        return self.all((Question(name.lower(), record_type),))[0]

    def all(self, questions: tuple[Question, ...]) -> list[tuple[str, ...]]:
        """Several at once, so that they are asked at once. Raises `NotAskedYet` and `Unanswered`."""
        missing = tuple(question for question in questions if question not in self._known)
        if missing:
            raise NotAskedYet(missing)
        found = []
        for question in questions:
            answer = self._known[question]
            if isinstance(answer, Failure):
                raise Unanswered(answer.because)
            found.append(answer)
        return found
