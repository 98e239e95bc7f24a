"""Where servers report that they could not send to a domain over TLS (RFC 8460 §3)."""

from __future__ import annotations

from collections.abc import Sequence

from shared.core.dns.answers import Answers
from shared.core.dns.finding import Finding, missing, right, wrong
from shared.core.dns.record import PlannedRecord, RecordType
from shared.core.dns.tags import of_version, tags


def judge(planned: Sequence[PlannedRecord], answers: Answers) -> list[Finding]:
    return [_of_domain(record, answers) for record in planned]


def _of_domain(record: PlannedRecord, answers: Answers) -> Finding:
    found = of_version(answers.get(record.name, RecordType.TXT), "TLSRPTv1")
    if not found:
        return missing(record)
    if len(found) > 1:
        return wrong(record, found, f"Leave one of the {len(found)} records: with two nobody reports (RFC 8460 §3).")
    if not tags(found[0]).get("rua", "").startswith(("mailto:", "https:")):
        return wrong(record, found, f"Change the record to {record.zone_line}")
    return right(record, *found)
