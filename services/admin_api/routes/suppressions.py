"""Suppressions: addresses that nobody may mail, on any list."""

from __future__ import annotations

from fastapi import APIRouter, BackgroundTasks

from services.admin_api.announcing import Announcing
from services.admin_api.checked_route import CheckedRoute
from services.admin_api.paging import WhichPage
from services.admin_api.problems import Problem
from services.admin_api.routes.lists import Store
from services.admin_api.routes.members import MemberAddress
from services.admin_api.schemas.base import Page
from services.admin_api.schemas.suppressions import NewSuppression, SuppressionAnswer
from shared.contracts.events import AddressSuppressed
from shared.core.address import Address, InvalidAddress
from shared.store import suppressions

router = APIRouter(prefix="/suppressions", tags=["Suppressions"], route_class=CheckedRoute)


@router.get("")
async def get_suppressions(database: Store, which: WhichPage) -> Page[SuppressionAnswer]:
    """All suppressions by address, those that have ended too."""
    async with database.transaction() as session:
        found = await suppressions.page(session, after=which.after, limit=which.fetch)
    return which.page(found, SuppressionAnswer.model_validate, lambda row: row.email_key)


@router.post("", status_code=201)
async def suppress(
    database: Store, new: NewSuppression, announce: Announcing, background: BackgroundTasks
) -> SuppressionAnswer:
    """Suppress an address, in the place of what was said of it before.

    Every spelling of the address is meant: case and internationalised domains make no difference, but `ann+news@` is
    another mailbox than `ann@`. Within seconds no message to it starts, of any mailing; open deliveries end as
    suppressed when their turn comes, those made from now on at once. No import adds the address to a list.
    """
    async with database.transaction() as session:
        made = await suppressions.put(
            session, email=new.email.spelling, email_key=new.email.key, reason=new.reason, ends_at=new.ends_at
        )
        # By the database's clock, like its beginning: this process's own may be wrong.
        if made.ends_at is not None and made.ends_at <= made.created_at:
            wrong = {"pointer": "#/ends_at", "detail": "This has passed already."}
            raise Problem(422, "The request is not well formed: see errors.", errors=[wrong])
    background.add_task(announce, AddressSuppressed(new.email.key))
    return SuppressionAnswer.model_validate(made)


@router.delete("/{email:path}", status_code=204)
async def allow(database: Store, email: MemberAddress) -> None:
    """Let mail to the address go again."""
    try:
        key = Address.parse(email).key
    except InvalidAddress:
        key = ""
    async with database.transaction() as session:
        if not await suppressions.remove(session, key):
            raise Problem(404, f"{email} is not suppressed.")
