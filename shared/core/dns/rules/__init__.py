"""Judging records by what the DNS answers, one purpose a file.

A rule gets the planned records of one purpose at one name, and what is known of the DNS; it raises `NotAskedYet` until
it knows enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shared.core.dns.answers import Answers
from shared.core.dns.finding import Finding
from shared.core.dns.record import PlannedRecord, Purpose
from shared.core.dns.rules import (
    addresses,
    mail_exchangers,
    message_policy,
    reverse_names,
    sender_policy,
    signing_keys,
    tls_reporting,
)

Rule = Callable[[Sequence[PlannedRecord], Answers], list[Finding]]

RULES: dict[Purpose, Rule] = {
    Purpose.ADDRESS: addresses.judge,
    Purpose.MAIL_EXCHANGER: mail_exchangers.judge,
    Purpose.SENDER_POLICY: sender_policy.judge,
    Purpose.SIGNING_KEY: signing_keys.judge,
    Purpose.MESSAGE_POLICY: message_policy.judge,
    Purpose.TLS_REPORTING: tls_reporting.judge,
    Purpose.REVERSE_NAME: reverse_names.judge,
}
