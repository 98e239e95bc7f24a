"""The records that the cluster needs in the DNS, as its rows say."""

from __future__ import annotations

from shared.core.dns.plan import Plan, PublicHost, SigningRecord, plan
from shared.store import dkim_keys, dns_hosts, lists
from shared.store.dns_hosts import DnsHost
from shared.store.engine import Session


async def of_cluster(session: Session) -> Plan:
    """The whole plan: of all public hosts, domains of lists, and keys."""
    hosts = [stated(row) for row in await dns_hosts.all_hosts(session)]
    keys = [SigningRecord(key.domain, key.record_name, key.record_text) for key in await dkim_keys.to_publish(session)]
    return plan(hosts, await lists.domains(session), keys)


def stated(row: DnsHost) -> PublicHost:
    """The host as its operator states it."""
    return PublicHost(row.host, tuple(row.addresses), row.mx_preference, row.is_tracking, row.is_sending)
