"""Comparing planned records with what the DNS answers: whatever a rule needs is asked, all rules at once, in time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import chain, groupby

from shared.core.dns.answers import Answers, Failure, NotAskedYet, Question, Unanswered
from shared.core.dns.finding import Finding, unknown
from shared.core.dns.record import PlannedRecord, RecordType
from shared.core.dns.rules import RULES
from shared.dns.resolver import LookupFailedError, NoSuchDomainError, Resolver

#: For the whole check; what is not known then is unknown.
CHECK_SECONDS = 20.0
#: For one question with all its retries: what the resolver of a check is to be made with.
QUESTION_SECONDS = 5.0
#: Questions on their way at once: a resolver drops what comes in floods.
MAX_AT_ONCE = 50
#: Of one answer, which anybody may have written.
_MAX_VALUES = 50


async def check(
    planned: Sequence[PlannedRecord], resolver: Resolver, *, timeout_seconds: float = CHECK_SECONDS
) -> tuple[Finding, ...]:
    """What is to be said of each record, and of those that should not be there; by purpose and name."""
    deadline = asyncio.get_running_loop().time() + timeout_seconds
    inquiry = _Inquiry(resolver)
    try:
        found = await asyncio.gather(*(_judged(group, inquiry, deadline) for group in _groups(planned)))
    finally:
        inquiry.end()
    return tuple(chain.from_iterable(found))


def _groups(planned: Sequence[PlannedRecord]) -> list[list[PlannedRecord]]:
    """The records of one purpose at one name, together."""
    in_order = sorted(planned, key=lambda record: (record.purpose, record.name))
    return [list(group) for _, group in groupby(in_order, key=lambda record: (record.purpose, record.name))]


async def _judged(group: list[PlannedRecord], inquiry: _Inquiry, deadline: float) -> list[Finding]:
    rule = RULES[group[0].purpose]
    try:
        async with asyncio.timeout_at(deadline), inquiry.turn:
            while True:
                try:
                    # Not on the loop: what others published may be long to read.
                    return await asyncio.to_thread(rule, group, Answers(inquiry.known))
                except NotAskedYet as needed:
                    await inquiry.ask(needed.questions)
    except Unanswered as failure:
        because = str(failure)
    except TimeoutError:
        because = "the DNS was too slow for all questions of this check, one zone has fewer"
    return [unknown(record, because) for record in group]


class _Inquiry:
    """Asks each question once, whoever needs its answer."""

    def __init__(self, resolver: Resolver) -> None:
        self.known: dict[Question, tuple[str, ...] | Failure] = {}
        self._resolver = resolver
        #: Of the groups that are judged at once: thousands would hold up the loop.
        self.turn = asyncio.Semaphore(MAX_AT_ONCE)
        self._room = asyncio.Semaphore(MAX_AT_ONCE)
        self._asked: dict[Question, asyncio.Task[None]] = {}

    async def ask(self, questions: Sequence[Question]) -> None:
        """Return when all of them are known."""
        for question in questions:
            if question not in self._asked:
                self._asked[question] = asyncio.create_task(self._ask(question))
        await asyncio.wait([self._asked[question] for question in questions])

    def end(self) -> None:
        """Ask no further."""
        for task in self._asked.values():
            task.cancel()

    async def _ask(self, question: Question) -> None:
        async with self._room:
            try:
                self.known[question] = (await _answer(self._resolver, question))[:_MAX_VALUES]
            except NoSuchDomainError:
                self.known[question] = ()
            except LookupFailedError as error:
                self.known[question] = Failure(str(error))


async def _answer(resolver: Resolver, question: Question) -> tuple[str, ...]:
    """Values as rules read them."""
    match question.type:
        case RecordType.A | RecordType.AAAA:
            found = await resolver.addresses(question.name, question.type)
        case RecordType.TXT:
            found = await resolver.txt(question.name)
        case RecordType.MX:
            found = tuple(f"{mx.preference} {mx.host.lower()}" for mx in await resolver.mx(question.name))
        case RecordType.PTR | RecordType.CNAME:
            found = await resolver.names(question.name, question.type)
    return tuple(sorted(found))
