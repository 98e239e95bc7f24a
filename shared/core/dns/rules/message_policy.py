"""What becomes of mail that only claims to be a domain's (DMARC, RFC 9989). Stricter than planned is right."""

from __future__ import annotations

from collections.abc import Sequence

from shared.core.dns.answers import Answers, Question
from shared.core.dns.finding import Finding, missing, right, wrong
from shared.core.dns.record import PlannedRecord, RecordType
from shared.core.dns.tags import of_version, tags

_PREFIX = "_dmarc."
_VERSION = "DMARC1"
#: Each at least as strict as what is planned, which is the first.
_POLICIES = ("none", "quarantine", "reject")
#: How many names a receiver asks at (RFC 9989 §4.10): of longer ones it skips the middle.
_MAX_NAMES = 8


def judge(planned: Sequence[PlannedRecord], answers: Answers) -> list[Finding]:
    return [_of_domain(record, answers) for record in planned]


def _of_domain(record: PlannedRecord, answers: Answers) -> Finding:
    own, *above = _names(record.name.removeprefix(_PREFIX))
    texts = answers.all(tuple(Question(_PREFIX + name, RecordType.TXT) for name in (own, *above)))
    found = of_version(texts[0], _VERSION)
    if len(found) > 1:
        return wrong(record, found, f"Leave one of the {len(found)} DMARC records: with two there is no policy.")
    # The domain's own record, else that of the organization, which is the uppermost unless one below says psd=n.
    policy = found[0] if found else _of_organization(texts[1:])
    if policy is None:
        return missing(record)
    there = tags(policy)
    named = there.get("p", "") if found else there.get("sp", there.get("p", ""))
    # Where reports are wanted, a policy that nobody understands is "none" (RFC 9989 §4.7).
    if named.lower() not in _POLICIES and "rua" not in there:
        return wrong(record, (policy,), f"Change the record, which names no policy that exists, to {record.zone_line}")
    return right(record, policy)


def _of_organization(texts: Sequence[tuple[str, ...]]) -> str | None:
    """`texts` of the names above a domain, the nearest first."""
    uppermost = None
    for at_name in texts:
        found = of_version(at_name, _VERSION)
        if len(found) == 1:
            uppermost = found[0]
            if tags(uppermost).get("psd") == "n":
                break
    return uppermost


def _names(domain: str) -> list[str]:
    """The domain, then those above it whose policy would hold for it."""
    labels = domain.split(".")
    names = [".".join(labels[at:]) for at in range(len(labels) - 1)]
    return names if len(names) < _MAX_NAMES else [domain, *names[-(_MAX_NAMES - 2) :]]
