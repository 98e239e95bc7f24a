"""The cluster in the DNS: its public hosts as the operator states them, the records it needs, and what there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.responses import PlainTextResponse

from services.admin_api.checked_route import CheckedRoute
from services.admin_api.problems import Problem
from services.admin_api.routes.lists import Store
from services.admin_api.schemas.dns import (
    DnsCheckAnswer,
    DnsHostAnswer,
    DnsPlanAnswer,
    FindingAnswer,
    NewDnsHost,
    PlannedRecordAnswer,
)
from shared.core.address import Address, InvalidAddress
from shared.core.dns.finding import Finding, State
from shared.core.dns.plan import CACHING, Plan, PublicHost, within
from shared.core.dns.record import PlannedRecord
from shared.store import dns_hosts, dns_plan
from shared.store.dns_hosts import DnsHost
from shared.store.engine import Database

router = APIRouter(prefix="/dns", tags=["DNS"], route_class=CheckedRoute)

#: A plan and a check go through all of them.
MAX_HOSTS = 200
MAX_MAIL_HOSTS = 20
MAX_SENDING_ADDRESSES = 256

#: What the DNS has of planned records.
CheckDns = Callable[[Sequence[PlannedRecord]], Awaitable[Sequence[Finding]]]


def check_of(request: Request) -> CheckDns:
    """The one that the application was made with."""
    return cast(CheckDns, request.app.state.check_dns)


Check = Annotated[CheckDns, Depends(check_of)]
Host = Annotated[str, Path(max_length=300, description="The host's public name, such as `mx1.example.org`.")]
Zone = Annotated[
    str | None, Query(max_length=300, description="Only the records at this name and below it: one zone's, mostly.")
]


class Format(StrEnum):
    """How a plan is written."""

    JSON = "json"
    ZONE = "zone"


@router.get("/hosts")
async def get_dns_hosts(database: Store) -> list[DnsHostAnswer]:
    """All public hosts, by name."""
    async with database.transaction() as session:
        return [DnsHostAnswer.model_validate(row) for row in await dns_hosts.all_hosts(session)]


@router.get("/hosts/{host}")
async def get_dns_host(database: Store, host: Host) -> DnsHostAnswer:
    """One public host."""
    async with database.transaction() as session:
        return DnsHostAnswer.model_validate(_there(await dns_hosts.find(session, _name(host)), host))


@router.put("/hosts/{host}")
async def set_dns_host(database: Store, host: Host, new: NewDnsHost) -> DnsHostAnswer:
    """State a public host, in the place of what was stated before. This changes the plan, and nothing else: neither the
    DNS nor what any node does.

    At most 200 hosts, of which at most 20 take mail; those that send have at most 256 addresses, each once.
    """
    stated = PublicHost(_name(host), tuple(new.addresses), new.mx_preference, new.is_tracking, new.is_sending)
    async with database.transaction() as session:
        await dns_hosts.take_turns(session)
        others = [dns_plan.stated(row) for row in await dns_hosts.all_hosts(session) if row.host != stated.name]
        _fits(stated, others)
        return DnsHostAnswer.model_validate(await dns_hosts.put(session, stated))


@router.delete("/hosts/{host}", status_code=204)
async def forget_dns_host(database: Store, host: Host) -> None:
    """Forget a public host: its records are planned no more."""
    async with database.transaction() as session:
        if not await dns_hosts.remove(session, _name(host)):
            raise Problem(404, f"There is no host {host}.")


@router.get(
    "/plan",
    response_model=DnsPlanAnswer,
    responses={200: {"content": {"text/dns": {}}, "description": "The records, as JSON or as lines of a zone file."}},
)
async def get_dns_plan(
    database: Store,
    zone: Zone = None,
    written_as: Annotated[Format, Query(alias="format", description="JSON, or lines of a zone file.")] = Format.JSON,
) -> Response:
    """The records that this cluster needs in the DNS, with their TTLs: addresses of hosts; MX, SPF, DKIM, DMARC and TLS
    reporting of each domain of lists; PTR of each address that sends."""
    whole, records = await _planned(database, zone)
    if written_as is Format.ZONE:
        return PlainTextResponse(_zone_file(whole, records), media_type="text/dns")
    answer = DnsPlanAnswer(
        records=[PlannedRecordAnswer.model_validate(record) for record in records],
        gaps=list(whole.gaps),
        caching=CACHING,
    )
    return Response(answer.model_dump_json(), media_type="application/json")


@router.get("/check")
async def check_dns(database: Store, check: Check, zone: Zone = None) -> DnsCheckAnswer:
    """Compare the plan with what the DNS answers, record by record, as a receiver sees it (`LISTFLEET_DNS_RESOLVER`
    names another resolver than the system's). Takes 20 seconds at most; what was not answered by then is unknown."""
    whole, records = await _planned(database, zone)
    findings = await check(records)
    return DnsCheckAnswer(
        is_right=bool(findings) and all(finding.state is State.RIGHT for finding in findings),
        counts=dict(Counter(finding.state for finding in findings)),
        findings=[_finding(finding) for finding in findings],
        gaps=list(whole.gaps),
    )


async def _planned(database: Database, zone: str | None) -> tuple[Plan, Sequence[PlannedRecord]]:
    """The whole plan, and its records that were asked for."""
    name = None if zone is None else _zone_name(zone)
    async with database.transaction() as session:
        whole = await dns_plan.of_cluster(session)
    return whole, whole.records if name is None else within(whole, name)


def _zone_file(whole: Plan, records: Sequence[PlannedRecord]) -> str:
    remarks = [CACHING, *whole.gaps]
    return "".join(f"{line}\n" for line in [*(f"; {remark}" for remark in remarks), *(r.zone_line for r in records)])


def _finding(finding: Finding) -> FindingAnswer:
    planned = finding.planned
    return FindingAnswer(
        name=finding.name,
        type=finding.type,
        purpose=planned and planned.purpose,
        expected=planned and planned.value,
        state=finding.state,
        found=list(finding.found),
        mend=finding.mend,
    )


def _fits(stated: PublicHost, others: Sequence[PublicHost]) -> None:
    if len(others) >= MAX_HOSTS:
        raise Problem(409, f"There are {MAX_HOSTS} hosts already.")
    if stated.mx_preference is not None and sum(host.mx_preference is not None for host in others) >= MAX_MAIL_HOSTS:
        raise Problem(409, f"{MAX_MAIL_HOSTS} hosts take mail already: let one be a balancer.")
    sending = {address: host.name for host in others if host.is_sending for address in host.addresses}
    for address in stated.addresses if stated.is_sending else ():
        if address in sending:
            raise Problem(409, f"{sending[address]} sends from {address} already: an address has one name.")
    if stated.is_sending and len(sending) + len(stated.addresses) > MAX_SENDING_ADDRESSES:
        raise Problem(409, f"More than {MAX_SENDING_ADDRESSES} addresses would send.")


def _name(host: str) -> str:
    """The host's name in A-labels and lower case."""
    try:
        name = Address.parse(f"x@{host.removesuffix('.')}").ascii_domain
        if "." not in name:
            raise InvalidAddress("A public name has a domain: mx1.example.org.")
    except InvalidAddress as error:
        wrong = {"parameter": "host", "detail": str(error)}
        raise Problem(422, "The request is not well formed: see errors.", errors=[wrong]) from error
    return name


def _zone_name(zone: str) -> str:
    """In lower case; zones of addresses are given as `2.0.192.in-addr.arpa`, which is no name of a host."""
    try:
        return Address.parse(f"x@{zone.removesuffix('.')}").ascii_domain
    except InvalidAddress as error:
        wrong = {"parameter": "zone", "detail": str(error)}
        raise Problem(422, "The request is not well formed: see errors.", errors=[wrong]) from error


def _there(row: DnsHost | None, host: str) -> DnsHost:
    if row is None:
        raise Problem(404, f"There is no host {host}.")
    return row
