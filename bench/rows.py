"""What the bench writes into Listfleet's database before a mailing, and reads from it afterwards."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from uuid import UUID, uuid4

from bench.list_kinds import SIGNED_DOMAIN, ListKind
from bench.post import author, compose
from shared.contracts.topology import Lane
from shared.core.dkim import DkimAlgorithm
from shared.core.mailing import MailingKind, TargetKind
from shared.core.membership import DeliveryMode, MemberRole, MemberStatus, PostingPolicy
from shared.core.node import NodeKind
from shared.core.tracking import TrackingPolicy
from shared.mail.dkim_keys import make_key, record_text, to_der
from shared.store import dkim_keys, lists, mailings, member_imports, messages, node_settings
from shared.store.engine import Database, RawConnection, fetch_one
from shared.store.members import NewMember
from shared.store.messages import NewMessage, NewTarget
from shared.store.sealing import seal

_IMPORT_ROWS = 10_000
_SELECTOR = "bench"
#: A deferred recipient is tried again only after minutes: a mailing that is not finished by then failed.
_FINISH_TIMEOUT_SECONDS = 60
_IS_FINISHED = "SELECT state = 'finished' FROM mailings WHERE message_id = $1"


async def make_database(url: str, name: str) -> None:
    """An empty one, on the server of `url`."""
    server = Database(url, name="bench")
    async with server.raw() as connection:
        await connection.execute(f"CREATE DATABASE {name}")
    await server.close()


async def limit_connections(url: str, connections: int) -> None:
    """For every outbound node, as `/api/v1/node-defaults` would."""
    database = Database(url, name="bench")
    async with database.transaction() as session:
        limits = {"max_connections": connections}
        await node_settings.configure(session, NodeKind.OUTBOUND, node_settings.DEFAULTS, limits)
    await database.close()


async def sign_mail(url: str, secret: str) -> None:
    """Have the mail of `SIGNED_DOMAIN` signed, as if its key's record had been found in the DNS."""
    key = make_key(SIGNED_DOMAIN, _SELECTOR, DkimAlgorithm.RSA_SHA256)
    owner = dkim_keys.record_name(SIGNED_DOMAIN, _SELECTOR)
    database = Database(url, name="bench")
    async with database.transaction() as session:
        added = await dkim_keys.add(
            session,
            domain=SIGNED_DOMAIN,
            selector=_SELECTOR,
            algorithm=DkimAlgorithm.RSA_SHA256,
            sealed_private_key=seal(to_der(key), secret=secret.encode(), belongs_to=owner),
            record_text=record_text(key),
        )
        if added is None:
            raise ValueError(f"{SIGNED_DOMAIN} has a key already")
        await dkim_keys.mark_checked(session, added.id)
        await dkim_keys.activate(session, added.id)
    await database.close()


async def make_list(url: str, kind: ListKind, name: str, recipients: int) -> int:
    """A list with so many members, to which anybody may post; its id."""
    database = Database(url, name="bench")
    async with database.transaction() as session:
        made = await lists.add(
            session,
            name=name,
            domain=kind.domain,
            display_name="",
            description="",
            posting_policy=PostingPolicy.ANYONE,
            personal=kind.personal,
            tracking=TrackingPolicy.FULL if kind.personal else TrackingPolicy.OFF,
            one_click_enabled=kind.personal,
            verp_enabled=kind.verp_enabled,
        )
    if made is None:
        raise ValueError(f"there is a list {name} already")
    for first in range(0, recipients, _IMPORT_ROWS):
        rows = [_member(kind, number) for number in range(first, min(first + _IMPORT_ROWS, recipients))]
        async with database.raw_transaction() as connection:
            await member_imports.import_rows(connection, made.id, rows)
    await database.close()
    return made.id


async def make_mailing(connection: RawConnection, kind: ListKind, list_id: int, name: str) -> int:
    """A post to the list `name`, stored, and its mailing, of which nothing is expanded; the mailing's id."""
    message = NewMessage(
        id=uuid4(),
        content=compose(kind, name),
        envelope_sender=author(kind),
        message_id="",
        subject="",
        fingerprint=uuid4().bytes,
        peer="",
        targets=(NewTarget(f"{name}@{kind.domain}", TargetKind.LIST, list_id),),
    )
    await messages.store(connection, message)
    async with connection.transaction():
        return await mailings.create(
            connection,
            kind=MailingKind.POST,
            lane=Lane.POSTS,
            message_id=message.id,
            list_id=list_id,
            return_domain=kind.domain,
            subject="",
            expand_again_after_seconds=60,
        )


def _member(kind: ListKind, number: int) -> NewMember:
    address = f"member-{number}@members.test"
    fields = {"first_name": f"Member {number}", "city": "Springfield"} if kind.personal else {}
    return NewMember(
        email=address,
        email_key=address,
        display_name="",
        status=MemberStatus.SUBSCRIBED,
        delivery_mode=DeliveryMode.MAIL,
        role=MemberRole.MEMBER,
        fields_json=json.dumps(fields),
    )


@dataclass(frozen=True, slots=True)
class Moments:
    """When a mailing's rows were written, as `time.time` counts."""

    made_at: float
    first_released_at: float
    last_released_at: float
    first_claimed_at: float


async def moments_of(url: str, message_id: UUID) -> Moments:
    """Returned once the mailing is finished, so that all its outcomes are committed."""
    database = Database(url, name="bench")
    async with database.raw() as connection:
        async with asyncio.timeout(_FINISH_TIMEOUT_SECONDS):
            while not await connection.fetchval(_IS_FINISHED, message_id):  # noqa: ASYNC110 - rows give no sign
                await asyncio.sleep(0.1)
        row = await fetch_one(
            connection,
            """
            SELECT extract(epoch FROM m.created_at)::float, extract(epoch FROM min(b.released_at))::float,
                   extract(epoch FROM max(b.released_at))::float, extract(epoch FROM min(b.claimed_at))::float
            FROM mailings m JOIN batches b ON b.mailing_id = m.id WHERE m.message_id = $1 GROUP BY m.id
            """,
            message_id,
        )
    await database.close()
    return Moments(*row)
