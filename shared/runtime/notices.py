"""Writing to one address in the transaction of what it is about: `await notices.send(connection, Notice(...))`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

from shared.core.address import Address
from shared.core.courtesy import CountedAs
from shared.mail.notice_kinds import DEFAULTS, NoticeKind
from shared.mail.notices import NoticeText, Writing, compose, subject_of
from shared.mail.template import ListHeaders
from shared.store import lists, notice_templates, notices
from shared.store.engine import RawConnection
from shared.store.own_mail import OwnMail

#: What nobody published by then, the sweep does.
PUBLISH_AFTER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Notice:
    """One mail to one address about one list."""

    kind: NoticeKind
    #: Names what led to it, once and for all: `held:MEMBER:MOMENT`. A second notice of one cause is not sent.
    cause: str
    list_id: int
    to: Address
    #: The placeholders beside those that every notice has.
    values: Mapping[str, str] = field(default_factory=dict)
    #: Where an answer goes; without it, to the list's request address.
    reply_to: str | None = None
    #: Whether somebody's message or form led to it (RFC 3834 §5).
    is_answer: bool = False
    #: What anybody could bring about is counted, and `has_room` asked before.
    counted_as: CountedAs | None = None


async def has_room(connection: RawConnection, notice: Notice) -> bool:
    """Whether the mailbox may get this one, too; in the transaction that sends it."""
    is_wish = notice.kind is NoticeKind.INVITATION
    return notice.counted_as is None or await notices.has_room(
        connection, notice.counted_as, notice.list_id, notice.to, is_owners_wish=is_wish
    )


async def send(connection: RawConnection, notice: Notice) -> Sequence[int]:
    """Write, store and release the notice in the caller's transaction: express batches, to be published as `SendBatch`
    after the commit (the sweep does it otherwise).

    None when there was a notice of this cause, or when the address is suppressed, or under a limit of its domain: then
    a scheduler releases it in its turn.
    """
    if not await notices.is_first(
        connection,
        notice.cause,
        kind=notice.kind.value,
        list_id=notice.list_id,
        to=notice.to,
        counted_as=notice.counted_as,
    ):
        return ()
    about = await lists.about(connection, notice.list_id)
    listed = ListHeaders(about.name, about.domain, about.display_name, is_announcement=False)
    writing = Writing(
        text=await _text(connection, notice),
        values={**_common_values(listed, notice.to), **notice.values},
        list_headers=listed,
        to=notice.to,
        reply_to=notice.reply_to,
        is_answer=notice.is_answer,
    )
    message_uuid = uuid4()
    composed = OwnMail(
        message_uuid=message_uuid,
        content=compose(writing, message_uuid=message_uuid, written_at=datetime.now(UTC)),
        subject=subject_of(writing),
        domain=listed.domain,
        to=[notice.to],
    )
    return await notices.release_to(connection, notice.cause, composed, publish_after_seconds=PUBLISH_AFTER_SECONDS)


async def _text(connection: RawConnection, notice: Notice) -> NoticeText:
    written = await notice_templates.in_force(connection, notice.list_id, notice.kind.value)
    return DEFAULTS[notice.kind].text if written is None else NoticeText(written["subject"], written["body"])


def _common_values(listed: ListHeaders, to: Address) -> Mapping[str, str]:
    return {
        "list_name": listed.display_name or listed.address,
        "list_address": listed.address,
        "request_address": f"{listed.name}-request@{listed.domain}",
        "owner_address": f"{listed.name}-owner@{listed.domain}",
        "recipient": to.spelling,
    }
