"""What many sessions ask the database at the same moment, asked together: one round trip and one commit for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from shared.store.engine import StoreUnavailable

Question = TypeVar("Question")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class _Asked(Generic[Question, Answer]):
    question: Question
    answer: asyncio.Future[Answer]


class Grouped(Generic[Question, Answer]):
    """One group is asked at a time, at once when none is under way; what comes meanwhile is the next group.

    Nothing waits for a group to grow, so one session alone is as fast as without.
    """

    def __init__(
        self, ask_all: Callable[[Sequence[Question]], Awaitable[Sequence[Answer]]], *, most: int, timeout_seconds: float
    ) -> None:
        """`ask_all` gives the answers in the questions' order, all or nothing; a group has at most `most` questions."""
        self._ask_all = ask_all
        self._most = most
        self._timeout_seconds = timeout_seconds
        self._waiting: list[_Asked[Question, Answer]] = []
        self._asking: asyncio.Task[None] | None = None

    async def ask(self, question: Question) -> Answer:
        """The answer. Raises `StoreUnavailable` and `TimeoutError`, and what `ask_all` raises at this question alone.

        A question whose asker is gone is left out of the next group; one that is asked already is asked to the end.
        """
        asked: _Asked[Question, Answer] = _Asked(question, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_until_none_wait())
        return await asked.answer

    async def _ask_until_none_wait(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                if wanted := [asked for asked in group if not asked.answer.done()]:
                    await self._ask(wanted)
        finally:
            self._asking = None

    async def _ask(self, group: Sequence[_Asked[Question, Answer]]) -> None:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answers = await self._ask_all([asked.question for asked in group])
        except Exception as error:  # noqa: BLE001 - each asker gets it
            if len(group) > 1 and not isinstance(error, StoreUnavailable | TimeoutError):
                # One of them is to blame, and its neighbours are not to suffer for it.
                for asked in group:
                    await self._ask([asked])
                return
            for asked in group:
                if not asked.answer.done():
                    asked.answer.set_exception(error)
        else:
            for asked, answer in zip(group, answers, strict=True):
                if not asked.answer.done():
                    asked.answer.set_result(answer)
