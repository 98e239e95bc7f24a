"""What the senders need of a mailing to make its copies."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.core.copies import CopySettings
from shared.core.mailing import MailingKind
from shared.core.membership import PostingPolicy
from shared.core.tracking import TrackingPolicy
from shared.store.copies import COPY_COLUMNS, copy_settings
from shared.store.engine import RawConnection


@dataclass(frozen=True, slots=True)
class MailingContent:
    """A mailing's message, and what its list adds to it."""

    content: bytes
    kind: MailingKind
    return_domain: str
    #: Merge fields count.
    personal: bool
    #: Each delivery has a return path of its own.
    verp_enabled: bool
    #: What is done to the post for its copies.
    copies: CopySettings
    list_name: str | None
    list_domain: str | None
    list_display_name: str
    posting_policy: PostingPolicy | None
    message_uuid: UUID
    #: When this was read, by the database's clock: a node's own may be ahead.
    loaded_at: datetime
    received_at: datetime
    #: Each copy has a link of its own that ends the membership.
    one_click: bool = False
    #: What the copies tell of being opened and of links that are followed; of links in plain text, too.
    tracking: TrackingPolicy = TrackingPolicy.OFF
    tracks_plain_text: bool = False


async def load(connection: RawConnection, mailing_id: int) -> MailingContent | None:
    """The content of a mailing; `None` when there is no such mailing."""
    row = await connection.fetchrow(
        f"""
        SELECT messages.content, messages.id AS message_uuid, messages.received_at, mailings.kind,
               clock_timestamp() AS loaded_at,
               mailings.return_domain, mailings.personal, mailings.verp_enabled,
               mailings.one_click, mailings.is_from_list, mailings.tracking, mailings.tracks_plain_text,
               {", ".join(f"mailings.{name}" for name in COPY_COLUMNS)},
               lists.name, lists.domain, lists.display_name, lists.posting_policy
        FROM mailings JOIN messages ON messages.id = mailings.message_id
        LEFT JOIN mailing_lists lists ON lists.id = mailings.list_id
        WHERE mailings.id = $1
        """,
        mailing_id,
    )
    if row is None:
        return None
    return MailingContent(
        content=row["content"],
        kind=MailingKind(row["kind"]),
        return_domain=row["return_domain"],
        personal=row["personal"],
        verp_enabled=row["verp_enabled"],
        copies=copy_settings(row),
        list_name=row["name"],
        list_domain=row["domain"],
        list_display_name=row["display_name"] or "",
        posting_policy=PostingPolicy(row["posting_policy"]) if row["posting_policy"] else None,
        message_uuid=row["message_uuid"],
        loaded_at=row["loaded_at"],
        received_at=row["received_at"],
        one_click=row["one_click"],
        tracking=TrackingPolicy(row["tracking"]),
        tracks_plain_text=row["tracks_plain_text"],
    )
