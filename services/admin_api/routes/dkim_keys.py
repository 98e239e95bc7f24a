"""Keys that sign mail (DKIM): made, published by the operator, checked in the DNS, and then used.

To rotate, make another key, check it and activate it: it takes over from the one before, which is retired.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from services.admin_api.checked_route import CheckedRoute
from services.admin_api.paging import WhichPage
from services.admin_api.problems import Problem
from services.admin_api.routes.lists import Store
from services.admin_api.schemas.base import MAX_ID, Page
from services.admin_api.schemas.dkim_keys import DkimCheckAnswer, DkimKeyAnswer, DnsRecord, NewDkimKey
from shared.core.address import Address, InvalidAddress
from shared.core.dkim import DkimAlgorithm
from shared.core.dns.record import text_data
from shared.core.dns.rules.signing_keys import fault_of_records
from shared.mail.dkim_keys import make_key, record_text, to_der
from shared.store import dkim_keys, lists
from shared.store.dkim_keys import DkimKey
from shared.store.sealing import seal

router = APIRouter(prefix="/dkim-keys", tags=["DKIM keys"], route_class=CheckedRoute)


KeyId = Annotated[int, Path(ge=1, le=MAX_ID, description="The key's number.")]


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The DNS did not say what there is."""

    because: str


#: The TXT records at a name.
LookUp = Callable[[str], Awaitable[tuple[str, ...] | Unanswered]]


@dataclass(frozen=True, slots=True)
class KeyRoom:
    """What handling keys needs besides the database."""

    #: The cluster's secret, under which private keys are sealed.
    secret: bytes
    look_up: LookUp


def key_room_of(request: Request) -> KeyRoom:
    """The one that the application was made with."""
    return cast(KeyRoom, request.app.state.key_room)


Keys = Annotated[KeyRoom, Depends(key_room_of)]


@router.get("")
async def get_dkim_keys(
    database: Store,
    which: WhichPage,
    domain: Annotated[str | None, Query(max_length=253, description="Only the keys of this domain.")] = None,
) -> Page[DkimKeyAnswer]:
    """All keys, in the order they were made; retired ones too."""
    of = None if domain is None else _ascii(domain) or domain
    async with database.transaction() as session:
        found = await dkim_keys.page(session, domain=of, after_id=which.after_id or 0, limit=which.fetch)
    return which.page(found, _answer, lambda row: row.id)


@router.post("", status_code=201)
async def make_dkim_key(database: Store, keys: Keys, new: NewDkimKey, response: Response) -> DkimKeyAnswer:
    """Make a key for a domain of lists. It signs nothing until its record was found in the DNS and it is activated."""
    domain = _ascii(new.domain)
    async with database.raw() as connection:
        if domain is None or not await lists.is_our_domain(connection, domain):
            wrong = {"pointer": "#/domain", "detail": "No list has an address in this domain."}
            raise Problem(422, "The request is not well formed: see errors.", errors=[wrong])
    selector = new.selector or f"listfleet-{secrets.token_hex(4)}"
    sealed, text = await asyncio.to_thread(_made, domain, selector, new.algorithm, keys.secret)
    async with database.transaction() as session:
        made = await dkim_keys.add(
            session,
            domain=domain,
            selector=selector,
            algorithm=new.algorithm,
            sealed_private_key=sealed,
            record_text=text,
        )
    if made is None:
        raise Problem(409, f"{domain} has a key with the selector {selector} already.")
    response.headers["Location"] = f"/api/v1/dkim-keys/{made.id}"
    return _answer(made)


@router.get("/{key_id}")
async def get_dkim_key(database: Store, key_id: KeyId) -> DkimKeyAnswer:
    """One key, and the record that is to stand in the DNS."""
    async with database.transaction() as session:
        return _answer(_there(await dkim_keys.get(session, key_id), key_id))


@router.post("/{key_id}/check")
async def check_dkim_key(database: Store, keys: Keys, key_id: KeyId) -> DkimCheckAnswer:
    """Look the key's record up in the DNS, as a receiver does. One that is found may be activated. 503 when the DNS
    does not answer."""
    async with database.transaction() as session:
        key = _there(await dkim_keys.get(session, key_id), key_id)
    found = await keys.look_up(key.record_name)
    if isinstance(found, Unanswered):
        raise Problem(503, f"{found.because}. Please try again.", headers={"Retry-After": "5"})
    because = fault_of_records(found, key.record_text)
    if because is None:
        async with database.transaction() as session:
            key = _there(await dkim_keys.mark_checked(session, key_id), key_id)
    return DkimCheckAnswer(is_published=because is None, because=because, found=list(found), key=_answer(key))


@router.post("/{key_id}/activate")
async def activate_dkim_key(database: Store, key_id: KeyId) -> DkimKeyAnswer:
    """Sign the domain's mail with this key, within a minute in running mailings too.

    The key that signed with the same algorithm before is retired; leave its record in the DNS for a week. 409 for a key
    whose record was never found, and for a retired one.
    """
    async with database.transaction() as session:
        key = _there(await dkim_keys.get(session, key_id), key_id)
        activated = await dkim_keys.activate(session, key_id)
        if activated is None:
            raise Problem(409, f"The key is {key.state}: only one that was checked in the DNS can be activated.")
        return _answer(activated)


@router.post("/{key_id}/retire")
async def retire_dkim_key(database: Store, key_id: KeyId) -> DkimKeyAnswer:
    """Sign with this key no more, and with no other in its place: without an active key, mail goes out unsigned."""
    async with database.transaction() as session:
        return _answer(_there(await dkim_keys.retire(session, key_id), key_id))


@router.delete("/{key_id}", status_code=204)
async def delete_dkim_key(database: Store, key_id: KeyId) -> None:
    """Forget a key and its record's text. 409 while it is active."""
    async with database.transaction() as session:
        _there(await dkim_keys.get(session, key_id), key_id)
        if not await dkim_keys.remove(session, key_id):
            raise Problem(409, "The key is active: retire it first, or activate another one in its place.")


def _made(domain: str, selector: str, algorithm: DkimAlgorithm, secret: bytes) -> tuple[bytes, str]:
    """A new key's sealed private half and its record's text."""
    key = make_key(domain, selector, algorithm)
    owner = dkim_keys.record_name(domain, selector)
    return seal(to_der(key), secret=secret, belongs_to=owner), record_text(key)


def _ascii(domain: str) -> str | None:
    try:
        return Address.parse(f"postmaster@{domain}").ascii_domain
    except InvalidAddress:
        return None


def _there(key: DkimKey | None, key_id: int) -> DkimKey:
    if key is None:
        raise Problem(404, f"There is no key {key_id}.")
    return key


def _answer(key: DkimKey) -> DkimKeyAnswer:
    record = DnsRecord(
        name=key.record_name,
        text=key.record_text,
        zone_line=f"{key.record_name}. IN TXT {text_data(key.record_text)}",
    )
    return DkimKeyAnswer(
        id=key.id,
        domain=key.domain,
        selector=key.selector,
        algorithm=key.algorithm,
        state=key.state,
        record=record,
        made_at=key.made_at,
        checked_at=key.checked_at,
        activated_at=key.activated_at,
        retired_at=key.retired_at,
    )
