"""The start of a newsletter: its message, and the mailing of it, in one transaction, and once for each occurrence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from shared.contracts.topology import Lane
from shared.core.mailing import MailingKind
from shared.core.newsletter import NewsletterState
from shared.store import mailings, messages
from shared.store.engine import RawConnection, Record, fetch_one


@dataclass(frozen=True, slots=True)
class ComposedMailing:
    """A newsletter as it goes out, before merge fields are filled in."""

    message_uuid: UUID
    content: bytes
    subject: str
    #: The first list's, for return paths and signatures.
    domain: str
    #: When what it was made of was last changed.
    composed_of: datetime


@dataclass(frozen=True, slots=True)
class Occasion:
    """Why a newsletter starts now."""

    task_id: int
    occurrence_at: datetime
    #: No attempt begins so long after the occurrence.
    not_after_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """The mailing of this occurrence, made now or before, and whom it is for."""

    mailing_id: int
    lists: Sequence[str]
    segment: dict[str, Any] | None
    unopened_of_mailing_id: int | None


@dataclass(frozen=True, slots=True)
class NotStarted:
    """It is not to be sent now."""

    because: str


@dataclass(frozen=True, slots=True)
class Outdated:
    """It was changed since it was composed: to be composed anew."""


async def start(
    connection: RawConnection,
    newsletter_id: int,
    occasion: Occasion,
    composed: ComposedMailing,
    *,
    expand_again_after_seconds: float,
    give_up_after_seconds: float,
) -> Started | NotStarted | Outdated:
    """Make the mailing of an approved newsletter in the caller's transaction; it is to be expanded then.

    A newsletter whose task recurs stays scheduled, any other has started. Once for each occurrence, whoever tries.
    """
    # Before its row is read: a second scheduler at the same occurrence sees what the first one did.
    await connection.execute("SELECT 1 FROM newsletters WHERE id = $1 FOR NO KEY UPDATE", newsletter_id)
    row = await connection.fetchrow(
        _NEWSLETTER, newsletter_id, occasion.task_id, occasion.occurrence_at, occasion.not_after_seconds
    )
    if row is None:
        return NotStarted(f"There is no newsletter {newsletter_id}.")
    if row["mailing_id"] is not None:
        return _started(row["mailing_id"], row)
    if because := _why_not(row, occasion):
        return NotStarted(because)
    if row["updated_at"] != composed.composed_of:
        return Outdated()
    await messages.store_own(
        connection,
        composed.message_uuid,
        composed.content,
        subject=composed.subject,
        domain=composed.domain,
    )
    await mailings.ensure_partitions(connection)
    made = await fetch_one(
        connection,
        """
        INSERT INTO mailings (kind, lane, state, message_id, list_id, return_domain, subject, recipients, suppressed,
                              expanded_to_member_id, expand_due_at, give_up_after_seconds, gives_up_at,
                              personal, verp_enabled, one_click, tracking, tracks_plain_text,
                              newsletter_id, occurrence_at, list_ids, segment, unopened_of_mailing_id, not_after_at)
        SELECT $1, $2, 'expanding', $3, list.id, list.domain, $4, 0, 0,
               0, now() + make_interval(secs => $5), age.seconds, now() + make_interval(secs => age.seconds),
               true, true, true, list.tracking, list.tracks_plain_text,
               n.id, $6::timestamptz, n.list_ids, n.segment, n.unopened_of_mailing_id,
               least(n.not_after_at, $6::timestamptz + make_interval(secs => $8::float8))
        FROM newsletters n JOIN mailing_lists list ON list.id = n.list_ids[1],
             LATERAL (SELECT coalesce(list.give_up_after_seconds, $7) AS seconds) age
        WHERE n.id = $9
        RETURNING id
        """,
        MailingKind.NEWSLETTER.value,
        Lane.BULK.value,
        composed.message_uuid,
        composed.subject,
        expand_again_after_seconds,
        occasion.occurrence_at,
        give_up_after_seconds,
        occasion.not_after_seconds,
        newsletter_id,
    )
    await connection.execute(
        "UPDATE newsletters SET state = $2, task_id = $3 WHERE id = $1",
        newsletter_id,
        (NewsletterState.SCHEDULED if row["recurs"] else NewsletterState.STARTED).value,
        occasion.task_id,
    )
    return _started(made["id"], row)


_NEWSLETTER = """
SELECT n.state, n.task_id, n.updated_at, n.segment::text AS segment, n.unopened_of_mailing_id,
       t.cron IS NOT NULL AS recurs,
       ARRAY(SELECT name || '@' || domain FROM unnest(n.list_ids) WITH ORDINALITY AS given (id, place)
             JOIN mailing_lists USING (id) ORDER BY place) AS lists,
       (SELECT id FROM mailings WHERE newsletter_id = n.id AND occurrence_at = $3::timestamptz) AS mailing_id,
       least(n.not_after_at, $3::timestamptz + make_interval(secs => $4::float8)) <= now() IS TRUE AS is_too_late
FROM newsletters n LEFT JOIN tasks t ON t.id = $2
WHERE n.id = $1
"""


def _why_not(row: Record, occasion: Occasion) -> str | None:
    state = NewsletterState(row["state"])
    if state not in (NewsletterState.APPROVED, NewsletterState.SCHEDULED):
        return f"The newsletter is not approved: it is {state.value}."
    if row["task_id"] not in (None, occasion.task_id):
        return f"Another task sends the newsletter: {row['task_id']}."
    if not row["lists"]:
        return "The newsletter has no list."
    if row["is_too_late"]:
        return "It was not to be sent any more at this time."
    return None


def _started(mailing_id: int, row: Record) -> Started:
    segment = None if row["segment"] is None else json.loads(row["segment"])
    return Started(mailing_id, list(row["lists"]), segment, row["unopened_of_mailing_id"])
