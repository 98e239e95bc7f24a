"""Messages that came in, as schedulers handle them: taken by one, decided about, published again when nobody did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from shared.core.mailing import TargetKind, TargetState
from shared.store.engine import RawConnection, Record
from shared.store.messages import NewTarget

#: A message whose handling was broken off so often is set aside.
MOST_BROKEN_OFF = 5


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that is to be handled, and its targets that nothing was decided about."""

    id: UUID
    envelope_sender: str
    subject: str
    fingerprint: bytes
    #: The client's address.
    peer: str
    targets: tuple[NewTarget, ...]
    message_id: str
    came_through_a_list: bool


async def take(connection: RawConnection, message_id: UUID) -> Waiting | None:
    """The message, locked until the transaction ends; `None` when it is handled or unknown."""
    row = await connection.fetchrow(
        """
        SELECT id, envelope_sender, subject, fingerprint, peer, message_id, came_through_a_list FROM messages
        WHERE id = $1 AND publish_due_at IS NOT NULL FOR UPDATE
        """,
        message_id,
    )
    if row is None:
        return None
    # In one order for all messages: two copies of a post to the same lists must not wait for each other.
    targets = await connection.fetch(
        """
        SELECT address, kind, list_id, author_key FROM message_targets WHERE message_id = $1 AND state = 'received'
        ORDER BY address
        """,
        message_id,
    )
    return Waiting(
        id=row["id"],
        envelope_sender=row["envelope_sender"],
        subject=row["subject"],
        fingerprint=row["fingerprint"],
        peer=row["peer"],
        targets=tuple(_target(row) for row in targets),
        message_id=row["message_id"],
        came_through_a_list=row["came_through_a_list"],
    )


def _target(row: Record) -> NewTarget:
    key = row["author_key"]
    is_proven = key != "" and not key.startswith("?")
    return NewTarget(
        row["address"], TargetKind(row["kind"]), row["list_id"], author_key=key, is_author_proven=is_proven
    )


async def to_be_mitigated(connection: RawConnection, message_id: UUID, header_bytes: int) -> bytes | None:
    """The first bytes of a message of which a list wants to know what its author's domain publishes; else `None`."""
    return await connection.fetchval(  # type: ignore[no-any-return]
        """
        SELECT substring(content FROM 1 FOR $2) FROM messages
        WHERE id = $1 AND EXISTS (SELECT FROM message_targets t JOIN mailing_lists l ON l.id = t.list_id
                                  WHERE t.message_id = messages.id AND l.dmarc_mitigation = 'when_published')
        """,
        message_id,
        header_bytes,
    )


async def decide(
    connection: RawConnection,
    message_id: UUID,
    address: str,
    state: TargetState,
    *,
    because: str = "",
    mailing_id: int | None = None,
) -> None:
    """Write down what became of the message at one recipient."""
    await connection.execute(
        """
        UPDATE message_targets SET state = $3, because = $4, mailing_id = $5
        WHERE message_id = $1 AND address = $2
        """,
        message_id,
        address,
        state.value,
        because,
        mailing_id,
    )


async def mark_handled(connection: RawConnection, message_id: UUID) -> None:
    await connection.execute("UPDATE messages SET publish_due_at = NULL WHERE id = $1", message_id)


async def count_broken_off(connection: RawConnection, message_id: UUID) -> int:
    """Count that somebody began to handle it and never came to the end; how often by now, 0 if it is handled after all.

    At `MOST_BROKEN_OFF` it is published no more.
    """
    times = await connection.fetchval(
        """
        UPDATE messages SET broken_off = least(broken_off + 1, $2)
        WHERE id = $1 AND publish_due_at IS NOT NULL RETURNING broken_off
        """,
        message_id,
        MOST_BROKEN_OFF,
    )
    return times or 0


async def try_again(connection: RawConnection, message_id: UUID) -> None:
    """What was broken off is forgotten; the sweep publishes the message when nobody handles it soon."""
    await connection.execute(
        """
        UPDATE messages SET broken_off = 0, publish_due_at = now() + interval '5 s'
        WHERE id = $1 AND publish_due_at IS NOT NULL
        """,
        message_id,
    )


async def publish_due(connection: RawConnection, *, limit: int = 500) -> Sequence[UUID]:
    """Messages whose `MailReceived` is due: never published, or published and not handled for too long."""
    rows = await connection.fetch(
        "SELECT id FROM messages WHERE publish_due_at < now() AND broken_off < $2 ORDER BY publish_due_at LIMIT $1",
        limit,
        MOST_BROKEN_OFF,
    )
    return [row["id"] for row in rows]


async def mark_published(connection: RawConnection, message_ids: Sequence[UUID], *, again_after_seconds: float) -> None:
    """RabbitMQ has these; those that nobody handles are due again after so long."""
    await connection.execute(
        """
        UPDATE messages SET publish_due_at = now() + make_interval(secs => $2)
        WHERE id IN (SELECT id FROM messages WHERE id = ANY($1) AND publish_due_at IS NOT NULL FOR UPDATE SKIP LOCKED)
        """,
        message_ids,
        again_after_seconds,
    )
