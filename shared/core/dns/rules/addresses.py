"""The addresses of a host's name: those that were stated, and no other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from shared.core.dns.answers import Answers, Question
from shared.core.dns.finding import Finding, missing, right, unwanted, wrong
from shared.core.dns.record import PlannedRecord, RecordType

_TYPES = (RecordType.A, RecordType.AAAA)


def judge(planned: Sequence[PlannedRecord], answers: Answers) -> list[Finding]:
    """`planned` are all addresses of one name."""
    name = planned[0].name
    found = answers.all(tuple(Question(name, record_type) for record_type in _TYPES))
    findings: list[Finding] = []
    for record_type, addresses in zip(_TYPES, found, strict=True):
        findings += _of_type(name, record_type, [record for record in planned if record.type is record_type], addresses)
    return findings


def _of_type(
    name: str, record_type: RecordType, planned: Sequence[PlannedRecord], found: tuple[str, ...]
) -> list[Finding]:
    findings = [right(record, record.value) for record in planned if record.value in found]
    absent = [record for record in planned if record.value not in found]
    others = [address for address in found if address not in {record.value for record in planned}]
    for record, other in zip_longest(absent, others):
        if other is None:
            findings.append(missing(record))
        elif record is None:
            mend = f"Remove the {record_type} record {other} of {name}, or state it as one of the host's addresses."
            findings.append(unwanted(name, record_type, other, mend))
        else:
            mend = f"Change the {record_type} record {other} of {name} to {record.value}."
            findings.append(wrong(record, (other,), mend))
    return findings
