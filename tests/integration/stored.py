"""Rows to begin with, and what must hold between them at any time."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import asyncpg

from shared.contracts.topology import Lane
from shared.core.delivery import Outcome, OutcomeKind
from shared.core.mailing import MailingKind, TargetKind
from shared.core.membership import DeliveryMode, MemberRole, MemberStatus
from shared.core.node import NodeKind
from shared.core.smtp_reply import Reply
from shared.store import (
    batches,
    claims,
    expansion,
    mailings,
    member_imports,
    messages,
    nodes,
    outcomes,
    release,
)
from shared.store.claims import ClaimedBatch, Recipient
from shared.store.engine import RawConnection
from shared.store.members import NewMember
from shared.store.messages import NewMessage, NewTarget
from shared.store.nodes import Lease
from shared.store.outcomes import Recorded, Report

_numbers = itertools.count(1)

DELIVERED = Outcome(OutcomeKind.DELIVERED, "accepted", Reply(250, "2.0.0 taken"), "mx.example.net")
REFUSED = Outcome(OutcomeKind.REFUSED, "550 to RCPT", Reply(550, "5.1.1 nobody"), "mx.example.net")
DEFERRED = Outcome(OutcomeKind.DEFERRED, "451 to RCPT", Reply(451, "4.2.1 later"), "mx.example.net")
UNKNOWN = Outcome(OutcomeKind.UNKNOWN, "connection lost before the reply to the content")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[RawConnection]:
    connection = await asyncpg.connect(url, server_settings={"timezone": "UTC", "enable_seqscan": "off"})
    try:
        yield connection
    finally:
        await connection.close()


#: In an order in which they may be emptied.
_TABLES = (
    *("attempts", "batches", "deliveries", "outstanding", "mailings", "message_targets", "held_posts", "messages"),
    "digests",
    *("notices", "notice_templates", "subscription_requests", "form_tallies", "post_fingerprints"),
    *("tracking_events", "tracked_links", "reading_counts"),
    *("bounce_events", "members", "mailing_lists"),
    *("newsletter_attachments", "newsletters", "newsletter_templates"),
    *("nodes", "node_settings", "suppressions"),
    *("task_runs", "tasks"),
    *("count_changes", "dkim_keys", "parked", "domain_limits", "destinations", "destination_tallies"),
)


async def empty(connection: RawConnection) -> None:
    """Nothing is left of earlier tests; partitions stay. (TRUNCATE makes new files, which takes ten times as long.)"""
    await connection.execute("; ".join(f"DELETE FROM {table}" for table in _TABLES))


async def not_at_the_hours_end(connection: RawConnection) -> None:
    """Wait, in an hour's last 20 seconds, for the next one: what is counted by the hour begins anew there."""
    await connection.execute(
        """
        SELECT pg_sleep(extract(epoch FROM next_at - now()))
        FROM (SELECT date_trunc('hour', now()) + interval '1 hour' AS next_at) t
        WHERE next_at < now() + interval '20 seconds'
        """
    )


def new_member(number: int, **changes: object) -> NewMember:
    row = {
        "email": f"Member-{number}@example.com",
        "email_key": f"member-{number}@example.com",
        "display_name": "",
        "status": MemberStatus.SUBSCRIBED,
        "delivery_mode": DeliveryMode.MAIL,
        "role": MemberRole.MEMBER,
        "fields_json": "{}",
    }
    return NewMember(**(row | changes))  # type: ignore[arg-type]


async def new_list(connection: RawConnection, size: int) -> int:
    """A list with members `member-1` to `member-SIZE`."""
    list_id: int = await connection.fetchval(
        "INSERT INTO mailing_lists (name, domain, display_name, description, posting_policy)"
        " VALUES ($1, 'lists.example.org', '', '', 'anyone') RETURNING id",
        f"list-{next(_numbers)}",
    )
    if size:
        await member_imports.import_rows(connection, list_id, [new_member(number) for number in range(1, size + 1)])
    return list_id


def new_message(*targets: NewTarget, fingerprint: bytes | None = None, message_id: UUID | None = None) -> NewMessage:
    number = next(_numbers)
    return NewMessage(
        id=message_id or uuid4(),
        content=b"Subject: Hello\r\n\r\nHello.\r\n",
        envelope_sender="ann@example.com",
        message_id=f"<{number}@example.com>",
        subject="Hello",
        fingerprint=fingerprint or number.to_bytes(32, "big"),
        peer="192.0.2.1",
        targets=targets,
    )


async def new_mailing(connection: RawConnection, size: int, *, expand: bool = True, lane: Lane = Lane.POSTS) -> int:
    """A mailing, expanded, to a new list with `size` members."""
    return await mailing_to(connection, await new_list(connection, size), expand=expand, lane=lane)


async def mailing_to(connection: RawConnection, list_id: int, *, expand: bool = True, lane: Lane = Lane.POSTS) -> int:
    """A mailing, expanded, to the members of a list."""
    message = new_message(NewTarget("list@lists.example.org", TargetKind.LIST, list_id))
    await messages.store(connection, message)
    async with connection.transaction():
        mailing_id = await mailings.create(
            connection,
            kind=MailingKind.POST,
            lane=lane,
            message_id=message.id,
            list_id=list_id,
            return_domain="lists.example.org",
            subject="Hello",
            expand_again_after_seconds=5,
        )
    if expand:
        await expand_all(connection, mailing_id)
    return mailing_id


async def expand_all(connection: RawConnection, mailing_id: int, page_size: int = 5000) -> None:
    page = None
    while page is None or not page.is_last:
        async with connection.transaction():
            page = await expansion.expand_page(
                connection, mailing_id, page_size=page_size, expand_again_after_seconds=30
            )
        assert page is not None


async def make_due(connection: RawConnection) -> None:
    """What waits for its moment has it now."""
    await connection.execute("UPDATE outstanding SET due_at = now() WHERE batch_id IS NULL")


async def release_all(connection: RawConnection, mailing_id: int, batch_size: int = 100) -> list[int]:
    async with connection.transaction():
        return list(
            await release.make_batches(
                connection,
                Lane.POSTS,
                mailing_id,
                recipients=1_000_000,
                batch_size=batch_size,
                publish_after_seconds=5,
            )
        )


async def new_lease(connection: RawConnection, name: str | None = None) -> Lease:
    lease = await nodes.register(connection, NodeKind.OUTBOUND, name)
    assert lease is not None
    return lease


async def claim(
    connection: RawConnection, batch_id: int, lease: Lease, *, at_most: int = 1000, token: UUID | None = None
) -> ClaimedBatch | None:
    return await claims.claim(
        connection, batch_id, lease=lease.incarnation, node_name=lease.name, token=token or uuid4(), at_most=at_most
    )


async def claimed_mailing(connection: RawConnection, size: int, lease: Lease) -> ClaimedBatch:
    """A mailing whose recipients are in one batch, which the lease holds."""
    (batch_id,) = await release_all(connection, await new_mailing(connection, size), batch_size=max(1, size))
    claimed = await claim(connection, batch_id, lease)
    assert claimed is not None
    return claimed


def report(batch: ClaimedBatch, recipient: Recipient, outcome: Outcome, retry_after_seconds: float = 300) -> Report:
    return Report(
        batch_id=batch.id,
        claim=batch.claim,
        mailing_created_at=batch.mailing_created_at,
        delivery_id=recipient.delivery_id,
        round=recipient.round,
        attempt=recipient.attempt,
        outcome=outcome,
        retry_after_seconds=retry_after_seconds,
    )


async def record(
    connection: RawConnection,
    reports: Sequence[Report],
    unstarted: dict[int, int] | None = None,
    *,
    node_name: str = "outbound-1",
) -> Recorded:
    return await outcomes.record_outcomes(
        connection,
        reports,
        unstarted or {},
        node_name=node_name,
    )


async def record_all(connection: RawConnection, batch: ClaimedBatch, outcome: Outcome) -> Recorded:
    reports = [report(batch, recipient, outcome) for recipient in batch.recipients]
    return await record(connection, reports, {batch.id: 0})


async def lose(connection: RawConnection, lease: Lease) -> int:
    """The node is lost and taken over; how many recipients are to be sent again."""
    await connection.execute("UPDATE nodes SET state = 'left' WHERE incarnation = $1", lease.incarnation)
    return await batches.take_over_orphans(connection)


@dataclass(frozen=True, slots=True)
class BatchRow:
    state: str
    open: int
    unstarted: int
    delivered: int
    refused: int
    deferred: int
    unknown: int
    parked: int
    claim: UUID | None


async def batch_row(connection: RawConnection, batch_id: int) -> BatchRow:
    row = await connection.fetchrow(
        "SELECT state, open, unstarted, delivered, refused, deferred, unknown, parked, claim"
        " FROM batches WHERE id = $1",
        batch_id,
    )
    assert row is not None
    return BatchRow(*row)


async def states(connection: RawConnection, mailing_id: int) -> dict[str, int]:
    """How many deliveries of the mailing are in which state."""
    rows = await connection.fetch(
        "SELECT state, count(*) AS n FROM deliveries WHERE mailing_id = $1 GROUP BY state", mailing_id
    )
    return {row["state"]: row["n"] for row in rows}


async def delivery_state(connection: RawConnection, delivery_id: int) -> str:
    return str(await connection.fetchval("SELECT state FROM deliveries WHERE id = $1", delivery_id))


async def assert_consistent(connection: RawConnection) -> None:
    """Counters agree with rows, an open delivery is outstanding once, an ended one is not."""
    wrong_batches = await connection.fetch(
        """
        SELECT b.id, b.state, b.open, b.unstarted, count(o.delivery_id) AS members
        FROM batches b LEFT JOIN outstanding o ON o.batch_id = b.id
        GROUP BY b.id
        HAVING b.open <> count(o.delivery_id) OR b.unstarted NOT BETWEEN 0 AND b.open
            OR (b.state IN ('closed', 'revoked') AND b.open <> 0)
            OR (b.state = 'released' AND (b.open = 0 OR b.unstarted <> b.open))
            OR (b.state IN ('closed', 'revoked')) <> (b.closed_at IS NOT NULL)
        """
    )
    assert not wrong_batches
    wrong_deliveries = await connection.fetch(
        """
        SELECT d.id, d.state, o.batch_id, b.state AS batch_state
        FROM deliveries d LEFT JOIN outstanding o ON o.delivery_id = d.id LEFT JOIN batches b ON b.id = o.batch_id
        WHERE (d.state = 'open' AND o.delivery_id IS NULL)
           -- A claimed second copy of what was delivered after all ends with its claim.
           OR (d.state <> 'open' AND o.delivery_id IS NOT NULL
               AND NOT (d.state = 'delivered' AND coalesce(b.state = 'claimed', false)))
           OR (d.state = 'open') <> (d.ended_at IS NULL)
        """
    )
    assert not wrong_deliveries
    assert not await connection.fetch(
        "SELECT delivery_id FROM outstanding o WHERE NOT EXISTS (SELECT FROM deliveries d WHERE d.id = o.delivery_id)"
    )
    wrong_counts = await connection.fetch(
        """
        SELECT mailing_id, state, sum(n) AS difference FROM (
            SELECT mailing_id, state::text, change AS n FROM count_changes
            UNION ALL SELECT id, 'suppressed', suppressed FROM mailings
            UNION ALL SELECT mailing_id, counted.state, counted.n FROM batches
                CROSS JOIN LATERAL (VALUES ('delivered', delivered), ('refused', refused), ('unknown', unknown),
                                           ('parked', parked)) counted (state, n)
            UNION ALL SELECT mailing_id, state::text, -1 FROM deliveries WHERE state <> 'open'
        ) summands GROUP BY 1, 2 HAVING sum(n) <> 0
        """
    )
    assert not wrong_counts
