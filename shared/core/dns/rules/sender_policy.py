"""From where a domain's mail comes (SPF, RFC 7208), by what it means: a record may say more, or otherwise."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from shared.core.dns import spf
from shared.core.dns.answers import Answers
from shared.core.dns.finding import Finding, missing, right, wrong
from shared.core.dns.record import PlannedRecord, RecordType, text_data


def judge(planned: Sequence[PlannedRecord], answers: Answers) -> list[Finding]:
    return [_of_name(record, answers) for record in planned]


def _of_name(record: PlannedRecord, answers: Answers) -> Finding:
    found = spf.policies(answers.get(record.name, RecordType.TXT))
    if not found:
        return missing(record)
    if len(found) > 1:
        mend = (
            f"Make one of the {len(found)} SPF records of {record.name}: with two, receivers heed none (RFC 7208 §4.5)."
        )
        return wrong(record, found, mend)
    uncovered = []
    try:
        for network in _networks(record.value):
            read = [spf.passes(record.name, str(address), answers) for address in network]
            if any(reading.lets_everybody for _, reading in read):
                mend = f"Change the + before all to ~: as it is, {record.name} lets everybody send mail as itself."
                return wrong(record, found, mend)
            if not all(passed for passed, _ in read):
                uncovered.append(network)
    except spf.SpfFault as fault:
        return wrong(record, found, f"Correct the SPF record, for it {fault}.")
    if uncovered:
        better = _with(found[0], uncovered)
        return wrong(record, found, f"Change the SPF record of {record.name} to {text_data(better)}")
    return right(record, *found)


_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(planned: str) -> list[_Network]:
    """Those of our own record; they hold the stated addresses and no others."""
    terms = [term.partition(":") for term in planned.split()]
    return [ipaddress.ip_network(value) for kind, _, value in terms if kind in ("ip4", "ip6")]


def _with(found: str, networks: Sequence[_Network]) -> str:
    """The record with these networks in front, where nothing can exclude them."""
    version, *terms = found.split()
    added = [f"ip{network.version}:{str(network).removesuffix('/32').removesuffix('/128')}" for network in networks]
    return " ".join([version, *added, *terms])
