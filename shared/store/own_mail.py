"""Mail that the system sends of its own to a few addresses: express, and nobody's statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from shared.contracts.topology import Lane
from shared.core.address import Address
from shared.core.mailing import MailingKind
from shared.core.retry import GIVE_UP_AFTER_SECONDS
from shared.store import expansion, mailings, messages, release
from shared.store.engine import RawConnection


@dataclass(frozen=True, slots=True)
class OwnMail:
    """A message as it goes out."""

    message_uuid: UUID
    content: bytes
    subject: str
    #: The list's, for return paths and signatures.
    domain: str
    to: Sequence[Address]


@dataclass(frozen=True, slots=True)
class Released:
    """What became of it."""

    mailing_id: int
    #: Express batches, to be published once they are committed; none when nobody may mail the addresses, or when they
    #: are under a limit of their domain: then a scheduler releases them in their turn.
    batches: Sequence[int]


async def send(connection: RawConnection, mail: OwnMail, *, publish_after_seconds: float) -> Released:
    """Store and release it in the caller's transaction; what the caller does not publish by then, the sweep does."""
    await messages.store_own(connection, mail.message_uuid, mail.content, subject=mail.subject, domain=mail.domain)
    mailing_id = await mailings.create(
        connection,
        kind=MailingKind.NOTICE,
        lane=Lane.EXPRESS,
        message_id=mail.message_uuid,
        # A list's limits and settings are for its posts.
        list_id=None,
        return_domain=mail.domain,
        subject=mail.subject,
        expand_again_after_seconds=publish_after_seconds,
        give_up_after_seconds=GIVE_UP_AFTER_SECONDS,
    )
    await expansion.add_recipients(connection, mailing_id, mail.to)
    batches = await release.make_batches(
        connection,
        Lane.EXPRESS,
        mailing_id,
        recipients=len(mail.to),
        batch_size=len(mail.to),
        publish_after_seconds=publish_after_seconds,
    )
    return Released(mailing_id, batches)
