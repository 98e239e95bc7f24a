"""The name of an address that sends: one of its hosts, whose own address is that one again."""

from __future__ import annotations

from collections.abc import Sequence

from shared.core.dns.answers import Answers
from shared.core.dns.finding import Finding, missing, right, wrong
from shared.core.dns.record import PlannedRecord, RecordType


def judge(planned: Sequence[PlannedRecord], answers: Answers) -> list[Finding]:
    return [_of_address(record, answers) for record in planned]


def _of_address(record: PlannedRecord, answers: Answers) -> Finding:
    found = answers.get(record.name, RecordType.PTR)
    if not found:
        return missing(record)
    if found != (record.value,):
        mend = (
            f"Let whoever owns the address change its name ({record.name}) to {record.value}, and to no other:"
            " receivers refuse mail from an address whose name leads elsewhere."
        )
        return wrong(record, found, mend)
    return right(record, *found)
