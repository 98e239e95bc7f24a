"""Claims: one node takes a released batch, with all that it needs to send to the batch's recipients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from shared.contracts.topology import Lane
from shared.core.delivery import DeliveryState
from shared.core.retry import SCHEDULE_SECONDS
from shared.store import endings
from shared.store.engine import RawConnection, Record


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient of a claimed batch, with the name of the attempt that is to be made."""

    delivery_id: int
    round: int
    attempt: int
    address: str
    #: What a personal mailing says to the member; empty in others.
    display_name: str = ""
    #: A JSON object of the member's custom fields, read where the copy is made.
    fields_json: str = "{}"
    #: 0 for a recipient who is no member.
    member_id: int = 0


@dataclass(frozen=True, slots=True)
class BatchLimit:
    """What a limited batch has to keep to, beside its one connection."""

    #: The pattern that all its recipients are under, '' for none.
    domain_limit: str = ""
    #: From the answer of the database until the first moment; `None` without a rate.
    starts_in_seconds: float | None = None
    interval_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ClaimedBatch:
    """A batch in one node's hands."""

    id: int
    claim: UUID
    mailing_id: int
    mailing_created_at: datetime
    lane: Lane
    recipients: tuple[Recipient, ...]
    #: Recipients that went back because the node may not start them soon.
    handed_back: int
    #: The list's waits between attempts, in seconds.
    retry_schedule_seconds: tuple[float, ...] = SCHEDULE_SECONDS
    #: `None` for a batch that is under no limit.
    limit: BatchLimit | None = None

    @property
    def domain_limit(self) -> str:
        return self.limit.domain_limit if self.limit else ""

    @property
    def is_paced(self) -> bool:
        """Whether its recipients have moments at which they start."""
        return self.limit is not None and self.limit.starts_in_seconds is not None


async def claim(
    connection: RawConnection, batch_id: int, *, lease: UUID, node_name: str, token: UUID, at_most: int
) -> ClaimedBatch | None:
    """Take a released batch, keeping `at_most` recipients and handing the rest back; `None` when it is not to be had.

    Repeating it with the same token after a lost answer gives the same batch.
    """
    async with connection.transaction():
        live = await connection.fetchval(
            "SELECT 1 FROM nodes WHERE incarnation = $1 AND state = 'live' FOR SHARE", lease
        )
        if live is None:
            return None
        batch = await connection.fetchrow(
            """
            UPDATE batches SET state = 'claimed', holder = $2, node_name = $3, claim = $4, claimed_at = now(),
                               publish_due_at = NULL
            WHERE id = $1 AND (state = 'released' OR (state = 'claimed' AND claim = $4))
            RETURNING mailing_id, mailing_created_at, lane, open, is_limited, domain_limit, start_interval_seconds,
                      extract(epoch FROM starts_at - clock_timestamp())::float AS starts_in_seconds,
                      (SELECT personal FROM mailings m WHERE m.id = batches.mailing_id) AS personal, (
                SELECT l.retry_schedule_seconds FROM mailings m JOIN mailing_lists l ON l.id = m.list_id
                WHERE m.id = batches.mailing_id) AS retry_schedule_seconds
            """,
            batch_id,
            lease,
            node_name,
            token,
        )
        if batch is None:
            return None
        handed_back = max(0, batch["open"] - at_most)
        if handed_back:
            await connection.execute(
                """
                WITH rest AS (
                    UPDATE outstanding SET batch_id = NULL
                    WHERE delivery_id IN (SELECT delivery_id FROM outstanding WHERE batch_id = $1
                                          ORDER BY delivery_id OFFSET $2)
                    RETURNING 1
                ), moved AS (SELECT count(*) AS n FROM rest)
                UPDATE batches SET open = open - n, unstarted = unstarted - n FROM moved WHERE id = $1
                """,
                batch_id,
                at_most,
            )
        members = await _members(connection, batch_id, batch["mailing_created_at"])
        # What changed since it was released. A delivery that was delivered after all is the holder's to find out.
        ending = {
            row["delivery_id"]: DeliveryState.SUPPRESSED if row["is_suppressed"] else DeliveryState.CANCELLED
            for row in members
            if row["is_suppressed"] or row["is_cancelled"] or row["has_left"]
        }
        if ending:
            await endings.end_in_batch(connection, batch_id, ending)
        about = await _about_members(connection, batch_id, batch["mailing_created_at"]) if batch["personal"] else {}
        return ClaimedBatch(
            id=batch_id,
            claim=token,
            mailing_id=batch["mailing_id"],
            mailing_created_at=batch["mailing_created_at"],
            lane=Lane(batch["lane"]),
            recipients=tuple(
                Recipient(
                    row["delivery_id"],
                    row["round"],
                    row["attempt"],
                    row["recipient"],
                    *about.get(row["delivery_id"], ("", "{}")),
                    row["member_id"] or 0,
                )
                for row in members
                if row["delivery_id"] not in ending
            ),
            handed_back=handed_back,
            retry_schedule_seconds=tuple(batch["retry_schedule_seconds"] or SCHEDULE_SECONDS),
            limit=BatchLimit(batch["domain_limit"], batch["starts_in_seconds"], batch["start_interval_seconds"] or 0.0)
            if batch["is_limited"]
            else None,
        )


async def _members(connection: RawConnection, batch_id: int, mailing_created_at: datetime) -> Sequence[Record]:
    return await connection.fetch(
        """
        SELECT delivery_id, round, attempt, is_cancelled, d.recipient, d.member_id, d.is_suppressed, d.has_left
        FROM outstanding CROSS JOIN LATERAL (
            -- Not joined: that may be planned to walk through all deliveries, 5 ms instead of 0.1.
            SELECT d.recipient, d.member_id, (
                SELECT true FROM suppressions s
                WHERE s.email_key = d.recipient_key AND (s.ends_at IS NULL OR s.ends_at > now())
            ) IS TRUE AS is_suppressed, (
                SELECT m.status = 'unsubscribed' FROM members m WHERE m.id = d.member_id
            ) IS TRUE AS has_left
            FROM deliveries d WHERE d.id = delivery_id AND d.mailing_created_at = $2 LIMIT 1
        ) d
        WHERE batch_id = $1 ORDER BY delivery_id
        """,
        batch_id,
        mailing_created_at,
    )


async def _about_members(
    connection: RawConnection, batch_id: int, mailing_created_at: datetime
) -> Mapping[int, tuple[str, str]]:
    """Display name and custom fields by delivery; a member who is gone has none."""
    rows = await connection.fetch(
        """
        SELECT named.delivery_id, m.display_name, m.fields::text AS fields_json
        FROM (
            SELECT delivery_id, (
                SELECT d.member_id FROM deliveries d WHERE d.id = delivery_id AND d.mailing_created_at = $2
            ) AS member_id
            FROM outstanding WHERE batch_id = $1
        ) named, LATERAL (SELECT display_name, fields FROM members WHERE members.id = named.member_id OFFSET 0) m
        """,
        batch_id,
        mailing_created_at,
    )
    return {row["delivery_id"]: (row["display_name"], row["fields_json"]) for row in rows}
