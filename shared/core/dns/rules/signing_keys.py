"""The record of a key that signs mail (DKIM, RFC 6376 §3.6.1)."""

from __future__ import annotations

from collections.abc import Sequence

from shared.core.dns.answers import Answers
from shared.core.dns.finding import Finding, missing, right, wrong
from shared.core.dns.record import PlannedRecord, RecordType
from shared.core.dns.tags import tags


def judge(planned: Sequence[PlannedRecord], answers: Answers) -> list[Finding]:
    return [_of_key(record, answers.get(record.name, RecordType.TXT)) for record in planned]


def _of_key(record: PlannedRecord, found: tuple[str, ...]) -> Finding:
    if not found:
        return missing(record)
    fault = fault_of_records(found, record.value)
    if fault is not None:
        return wrong(record, found, f"{fault[:-1]}: let the one record there be {record.zone_line}")
    return right(record, *found)


def fault_of_records(found: tuple[str, ...], expected: str) -> str | None:
    """What is wrong with the TXT records found at a key's name, in one sentence; `None` when its record is there."""
    if not found:
        return "There is no TXT record at this name."
    if len(found) > 1:
        return f"There are {len(found)} TXT records at this name; verifiers want one (RFC 6376 §3.6.2.2)."
    there, wanted = tags(found[0]), tags(expected)
    if there.get("v", "DKIM1") != "DKIM1":
        return "The record's v= is not DKIM1."
    if there.get("k", "rsa") != wanted["k"]:
        return f"The record's k= is not {wanted['k']}."
    if not there.get("p"):
        return "The record has no key in p=, which says that the key is revoked."
    if there["p"] != wanted["p"]:
        return "The record's p= is another key."
    if "sha256" not in there.get("h", "sha256").split(":"):
        return "The record's h= does not allow sha256."
    if not {"*", "email"}.intersection(there.get("s", "*").split(":")):
        return "The record's s= does not allow email."
    return None
