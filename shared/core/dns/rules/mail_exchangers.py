"""The MX records of a domain of lists: each of our hosts by its preference, and nobody else (RFC 5321 §5.1)."""

from __future__ import annotations

from collections.abc import Sequence

from shared.core.dns.answers import Answers, Question
from shared.core.dns.finding import Finding, missing, right, unwanted, wrong
from shared.core.dns.record import PlannedRecord, RecordType

#: How the null MX of RFC 7505 reads here.
_NULL = "0 "


def judge(planned: Sequence[PlannedRecord], answers: Answers) -> list[Finding]:
    """`planned` are all MX records of one domain."""
    domain = planned[0].name
    hosts = [_host(record.value) for record in planned]
    questions = [Question(domain, RecordType.MX), *(Question(host, RecordType.CNAME) for host in hosts)]
    found, *aliases = answers.all(tuple(questions))
    findings = [_of_host(record, found, alias) for record, alias in zip(planned, aliases, strict=True)]
    wanted = {record.value for record in planned}
    spoken_of = {value for finding in findings for value in finding.found}
    return [
        *findings,
        *(_other(domain, value) for value in found if value not in wanted | spoken_of),
    ]


def _of_host(record: PlannedRecord, found: tuple[str, ...], alias: tuple[str, ...]) -> Finding:
    host = _host(record.value)
    same_host = tuple(value for value in found if _host(value) == host)
    if not same_host:
        return missing(record)
    if record.value not in same_host:
        preference, there = record.value.partition(" ")[0], same_host[0].partition(" ")[0]
        mend = f"Change the preference of the MX {host} of {record.name} from {there} to {preference}."
        return wrong(record, same_host, mend)
    if alias:
        mend = f"Give {host} addresses instead of the CNAME {alias[0]}: an MX leads to no alias (RFC 2181 §10.3)."
        return wrong(record, (f"{host} is an alias of {alias[0]}",), mend)
    return right(record, record.value)


def _other(domain: str, value: str) -> Finding:
    if value == _NULL:
        mend = f"Remove the null MX of {domain}: it says that the domain takes no mail (RFC 7505)."
        return unwanted(domain, RecordType.MX, "0 .", mend)
    mend = f"Remove the MX {value} of {domain}, or state the host: mail that goes there does not come to this cluster."
    return unwanted(domain, RecordType.MX, value, mend)


def _host(value: str) -> str:
    return value.partition(" ")[2]
