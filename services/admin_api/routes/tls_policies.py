"""TLS policies: to which domains mail goes only over TLS. Where a relay is set, it has a setting of its own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Path

from services.admin_api.announcing import Announcing
from services.admin_api.checked_route import CheckedRoute
from services.admin_api.paging import WhichPage
from services.admin_api.problems import Problem
from services.admin_api.routes.lists import Store
from services.admin_api.schemas.base import Page
from services.admin_api.schemas.tls_policies import NewTlsPolicy, TlsPolicyAnswer
from shared.contracts.events import NodeSettingsChanged
from shared.core.address import Address, InvalidAddress
from shared.store import tls_policies

router = APIRouter(prefix="/tls-policies", tags=["TLS policies"], route_class=CheckedRoute)

#: Every node reads all of them with every sign of life. Thousands of domains have one provider's pattern, or `*`.
MAX_POLICIES = 1000

Domain = Annotated[str, Path(description="`example.com`, `*.example.com` for all below it, or `*` for all others.")]


@router.get("")
async def get_tls_policies(database: Store, which: WhichPage) -> Page[TlsPolicyAnswer]:
    """All policies, by domain."""
    async with database.transaction() as session:
        found = await tls_policies.page(session, after=which.after, limit=which.fetch)
    return which.page(found, TlsPolicyAnswer.model_validate, lambda row: row.domain)


@router.get("/{domain}")
async def get_tls_policy(database: Store, domain: Domain) -> TlsPolicyAnswer:
    """The policy that was set for exactly this domain or pattern."""
    async with database.transaction() as session:
        found = await tls_policies.find(session, _normal(domain))
    if found is None:
        raise Problem(404, f"No TLS policy is set for {domain}.")
    return TlsPolicyAnswer.model_validate(found)


@router.put("/{domain}")
async def set_tls_policy(
    database: Store, domain: Domain, new: NewTlsPolicy, announce: Announcing, background: BackgroundTasks
) -> TlsPolicyAnswer:
    """Demand TLS of a domain's mail servers, or no longer; in force within 2 seconds, for connections yet to be opened.

    A domain's own policy goes before that of the nearest `*.` above it, and that before the one of `*`; where there is
    none TLS is opportunistic. At most 1,000 policies.
    """
    normal = _normal(domain)
    async with database.transaction() as session:
        if await tls_policies.find(session, normal) is None and await tls_policies.count(session) >= MAX_POLICIES:
            raise Problem(409, f"There are {MAX_POLICIES} policies already: use patterns.")
        made = await tls_policies.put(session, normal, new.policy)
        answer = TlsPolicyAnswer.model_validate(made)
    background.add_task(announce, NodeSettingsChanged())
    return answer


@router.delete("/{domain}", status_code=204)
async def forget_tls_policy(database: Store, domain: Domain, announce: Announcing, background: BackgroundTasks) -> None:
    """Forget a policy: what holds for the domain otherwise is in force within 2 seconds."""
    async with database.transaction() as session:
        if not await tls_policies.remove(session, _normal(domain)):
            raise Problem(404, f"No TLS policy is set for {domain}.")
    background.add_task(announce, NodeSettingsChanged())


def _normal(domain: str) -> str:
    """The domain in A-labels and lower case, `*` kept in front."""
    if domain == "*":
        return domain
    star, name = ("*.", domain[2:]) if domain.startswith("*.") else ("", domain)
    try:
        return star + Address.parse(f"x@{name}").ascii_domain
    except InvalidAddress as error:
        wrong = {"parameter": "domain", "detail": str(error)}
        raise Problem(422, "The request is not well formed: see errors.", errors=[wrong]) from error
