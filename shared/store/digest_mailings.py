"""The mailings of a closed digest: which comes next, what it says, and for whom it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from uuid import UUID

from shared.contracts.topology import Lane
from shared.core.copies import ReplyToPolicy
from shared.core.digest import DigestFormat, IssueNumber
from shared.core.mailing import MailingKind
from shared.core.membership import PostingPolicy
from shared.store import mailings, messages
from shared.store.engine import RawConnection, fetch_one

#: While posts or the first format are still being expanded, it is looked at again after so long.
LOOK_AGAIN_SECONDS = 1.0


class Pending(Enum):
    """What a digest waits for, other than that a format is made."""

    #: Its posts, or its first mailing, are still being expanded.
    EXPANSION = auto()
    #: Nothing any more.
    NOTHING = auto()


async def next_step(connection: RawConnection, digest_id: int) -> DigestFormat | Pending:
    """The format to be made now, in the caller's transaction, which nobody else looks at the digest in.

    Both mailings of a digest, and all of its posts', are expanded one after the other: so whoever changes the mode or
    the format meanwhile is in one of them.
    """
    digest = await connection.fetchrow(
        "SELECT list_id FROM digests WHERE id = $1 AND state = 'closed' FOR NO KEY UPDATE", digest_id
    )
    if digest is None:
        return Pending.NOTHING
    found = await fetch_one(
        connection,
        """
        SELECT count(*) FILTER (WHERE state = 'expanding' AND cancelled_at IS NULL) AS expanding,
               count(*) FILTER (WHERE digest_format IS NULL AND cancelled_at IS NULL) AS posts,
               coalesce(bool_or(digest_format = 'plain' OR (digest_format = 'mime' AND cancelled_at IS NOT NULL)),
                        false) AS has_all,
               max(id) FILTER (WHERE digest_format = 'mime') AS mime_id
        FROM mailings WHERE digest_id = $1
        """,
        digest_id,
    )
    if not found["posts"] or found["has_all"]:
        return Pending.NOTHING
    if found["expanding"]:
        return Pending.EXPANSION
    if found["mime_id"] is None and await _has_reader(connection, digest_id, DigestFormat.MIME, 0):
        return DigestFormat.MIME
    if await _has_reader(connection, digest_id, DigestFormat.PLAIN, found["mime_id"] or 0):
        return DigestFormat.PLAIN
    return Pending.NOTHING


#: Who gets a mailing, by its row and the member's. Each post goes to those who want mail and, if it is in no digest, to
#: readers of digests. A digest's first mailing goes to its readers who want MIME, the second to those who have not got
#: that one. Whoever chose mail since the digest was opened gets it too: posts in it may have been distributed before.
#: (A minute more, since a choice is committed a little after its moment.)
WANTS = """CASE
    WHEN {mailing}.digest_format IS NULL
    THEN {member}.delivery_mode = 'mail' OR ({member}.delivery_mode = 'digest' AND {mailing}.digest_id IS NULL)
    ELSE ({mailing}.digest_format = 'plain' OR {member}.digest_format = 'mime')
         AND ({member}.delivery_mode = 'digest' OR ({member}.delivery_mode = 'mail' AND {member}.left_digests_at > (
              SELECT opened_at - interval '1 minute' FROM digests WHERE id = {mailing}.digest_id)))
END"""


async def _has_reader(
    connection: RawConnection, digest_id: int, digest_format: DigestFormat, earlier_mailing_id: int
) -> bool:
    """Whether anybody is to get the digest in the format who did not get it by the earlier mailing."""
    wants = WANTS.format(mailing="mailing", member="reader")
    return await connection.fetchval(  # type: ignore[no-any-return]
        f"""
        SELECT EXISTS (
            SELECT FROM digests
            CROSS JOIN LATERAL (SELECT digests.id AS digest_id, $2::digest_format AS digest_format) mailing
            JOIN members reader ON reader.list_id = digests.list_id AND reader.status = 'subscribed'
                 AND (reader.delivery_mode = 'digest' OR reader.left_digests_at IS NOT NULL)
            WHERE digests.id = $1 AND {wants}
              AND NOT EXISTS (SELECT FROM deliveries d
                              WHERE d.mailing_id = $3 AND d.recipient_key = reader.email_key))
        """,
        digest_id,
        digest_format.value,
        earlier_mailing_id,
    )


async def posts_of(connection: RawConnection, digest_id: int) -> Sequence[int]:
    """The mailings of its posts, in the order they came; those that somebody cancelled are left out."""
    rows = await connection.fetch(
        """
        SELECT id FROM mailings WHERE digest_id = $1 AND digest_format IS NULL AND cancelled_at IS NULL ORDER BY id
        """,
        digest_id,
    )
    return [row["id"] for row in rows]


@dataclass(frozen=True, slots=True)
class IssueFacts:
    """What a digest says of itself and of its list."""

    number: IssueNumber
    list_id: int
    list_name: str
    list_domain: str
    list_display_name: str
    posting_policy: PostingPolicy
    header_text: str
    footer_text: str
    #: Merge fields count in these.
    is_personal: bool
    reply_to: ReplyToPolicy
    reply_to_address: str | None
    now: datetime


async def facts_of(connection: RawConnection, digest_id: int) -> IssueFacts:
    """The facts of a closed digest, as its list is now."""
    row = await fetch_one(
        connection,
        """
        SELECT volume, issue, l.id, l.name, l.domain, l.display_name, l.posting_policy, l.header_text, l.footer_text,
               l.personal, l.reply_to, l.reply_to_address, now() AS now
        FROM digests JOIN mailing_lists l ON l.id = digests.list_id WHERE digests.id = $1
        """,
        digest_id,
    )
    return IssueFacts(
        number=IssueNumber(row["volume"], row["issue"]),
        list_id=row["id"],
        list_name=row["name"],
        list_domain=row["domain"],
        list_display_name=row["display_name"],
        posting_policy=PostingPolicy(row["posting_policy"]),
        header_text=row["header_text"],
        footer_text=row["footer_text"],
        is_personal=row["personal"],
        reply_to=ReplyToPolicy(row["reply_to"]),
        reply_to_address=row["reply_to_address"],
        now=row["now"],
    )


@dataclass(frozen=True, slots=True)
class ComposedDigest:
    """A digest in one format, as it goes out."""

    message_uuid: UUID
    content: bytes
    subject: str
    format: DigestFormat


async def make_mailing(
    connection: RawConnection,
    digest_id: int,
    facts: IssueFacts,
    composed: ComposedDigest,
    *,
    expand_again_after_seconds: float,
    give_up_after_seconds: float,
) -> int:
    """The digest's mailing in this format, in the transaction that found that it is the next step."""
    await messages.store_own(
        connection, composed.message_uuid, composed.content, subject=composed.subject, domain=facts.list_domain
    )
    mailing_id = await mailings.create(
        connection,
        kind=MailingKind.DIGEST,
        lane=Lane.BULK,
        message_id=composed.message_uuid,
        list_id=facts.list_id,
        return_domain=facts.list_domain,
        subject=composed.subject,
        expand_again_after_seconds=expand_again_after_seconds,
        give_up_after_seconds=give_up_after_seconds,
    )
    # What the authors wrote is not the list's to fill in.
    await connection.execute(
        "UPDATE mailings SET digest_id = $2, digest_format = $3, personal = false WHERE id = $1",
        mailing_id,
        digest_id,
        composed.format.value,
    )
    await look_again(connection, digest_id)
    return mailing_id


async def look_again(connection: RawConnection, digest_id: int) -> None:
    """`MakeDigest` is due again in a moment, unless it is made by then."""
    await connection.execute(
        "UPDATE digests SET publish_due_at = now() + make_interval(secs => $2) WHERE id = $1 AND state = 'closed'",
        digest_id,
        LOOK_AGAIN_SECONDS,
    )


async def end(connection: RawConnection, digest_id: int) -> None:
    """Nothing is left to be done for the digest."""
    await connection.execute(
        "UPDATE digests SET state = 'made', made_at = now(), publish_due_at = NULL WHERE id = $1 AND state = 'closed'",
        digest_id,
    )
