"""A DNS of a test's own, as rules see it."""

from __future__ import annotations

from shared.core.dns.answers import Answers, Failure, NotAskedYet, Question
from shared.core.dns.finding import Finding
from shared.core.dns.record import PlannedRecord, Purpose, RecordType
from shared.core.dns.rules import RULES

Zone = dict[str, list[str] | Failure]
"""`{"example.org TXT": ["v=spf1 -all"]}`"""


def judged(planned: list[PlannedRecord], zone: Zone) -> list[Finding]:
    """What the rule says when it was answered everything that it asked."""
    known: dict[Question, tuple[str, ...] | Failure] = {}
    while True:
        try:
            return RULES[planned[0].purpose](planned, Answers(known))
        except NotAskedYet as needed:
            for question in needed.questions:
                assert question not in known
                answer = zone.get(f"{question.name} {question.type}", [])
                known[question] = answer if isinstance(answer, Failure) else tuple(answer)


def record(name: str, record_type: RecordType, value: str, purpose: Purpose) -> PlannedRecord:
    return PlannedRecord(name, record_type, value, 300, purpose)


def summary(findings: list[Finding]) -> list[tuple[str | None, str, tuple[str, ...]]]:
    """What was planned, how it stands, what is there."""
    return [
        (finding.planned.value if finding.planned else None, str(finding.state), finding.found) for finding in findings
    ]
