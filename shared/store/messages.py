"""Incoming messages: stored once, before the final dot is answered, and what became of them at each recipient."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, SmallInteger, text
from sqlalchemy.orm import defer
from sqlmodel import Field, SQLModel, col, select

from shared.contracts.topology import TaskQueue
from shared.core.mailing import TargetKind, TargetState
from shared.store.columns import enum_type, moment_field
from shared.store.engine import RawConnection, Session


class Message(SQLModel, table=True):
    """One message as it was received, with CRLF line ends and our Received field on top."""

    __tablename__ = "messages"
    __table_args__ = (
        # What the sweep looks for: messages nobody has handled.
        Index("ix_messages_publish_due_at", "publish_due_at", postgresql_where=text("publish_due_at IS NOT NULL")),
        # A Message-ID may be longer than what another kind of index takes.
        Index(
            "ix_messages_message_id",
            "message_id",
            postgresql_using="hash",
            postgresql_where=text("message_id <> ''"),
        ),
        # What a purge walks along.
        Index("ix_messages_received_at", "received_at", "id", postgresql_where=text("content_purged_at IS NULL")),
    )

    id: UUID = Field(primary_key=True)
    content: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    size_bytes: int
    envelope_sender: str
    message_id: str = Field(default="")
    subject: str = Field(default="")
    #: Recognises the same post sent again: of Message-ID, envelope sender and body.
    fingerprint: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    peer: str = Field(default="")
    #: It bore a list's marks when it came.
    came_through_a_list: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    received_at: datetime = moment_field(set_now=True)
    #: When `MailReceived` is to be published (again); `None` once the message is handled.
    publish_due_at: datetime | None = moment_field(nullable=True)
    #: How often somebody began to handle it and never came to the end.
    broken_off: int = Field(default=0, sa_column=Column(SmallInteger, nullable=False, server_default="0"))
    #: When its content was deleted, which is empty since.
    content_purged_at: datetime | None = moment_field(nullable=True)


class MessageTarget(SQLModel, table=True):
    """A recipient that a message was accepted for."""

    __tablename__ = "message_targets"
    __table_args__ = (
        # What a list took lately.
        Index(
            "ix_message_targets_list_id_received_at",
            "list_id",
            "received_at",
            postgresql_where=text("list_id IS NOT NULL"),
        ),
    )

    message_id: UUID = Field(sa_column=Column(ForeignKey("messages.id"), primary_key=True))
    address: str = Field(primary_key=True)
    kind: TargetKind = Field(sa_column=Column(enum_type(TargetKind, "target_kind"), nullable=False))
    list_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("mailing_lists.id")))
    state: TargetState = Field(
        default=TargetState.RECEIVED, sa_column=Column(enum_type(TargetState, "target_state"), nullable=False)
    )
    #: The reason of a refusal, or the id of the message that this one repeats.
    because: str = Field(default="")
    mailing_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    #: Whose post or command it counts as; with a `?` before it when that is not proven.
    author_key: str = Field(default="", sa_column_kwargs={"server_default": ""})
    received_at: datetime = moment_field(set_now=True)


@dataclass(frozen=True, slots=True)
class NewTarget:
    """What ingress decided about one recipient."""

    address: str
    kind: TargetKind
    list_id: int | None = None
    state: TargetState = TargetState.RECEIVED
    because: str = ""
    #: The first author, as written; whose post it counts as, and whether SPF or DKIM vouches for that.
    author: str = ""
    author_key: str = ""
    is_author_proven: bool = False


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message as ingress stores it; `id` is drawn before, so that storing it twice is storing it once."""

    id: UUID
    content: bytes
    envelope_sender: str
    message_id: str
    subject: str
    fingerprint: bytes
    peer: str
    targets: tuple[NewTarget, ...]
    came_through_a_list: bool = False

    @property
    def queue(self) -> str:
        """Where `MailReceived` goes."""
        is_post = any(target.kind is TargetKind.LIST for target in self.targets)
        return (TaskQueue.TASKS if is_post else TaskQueue.EXPRESS).value


async def store(connection: RawConnection, *new: NewMessage, sweep_after_seconds: float = 5.0) -> None:
    """Store the messages and their targets, all or nothing. The sweep publishes what nobody did by then."""
    targets = [(message.id, target) for message in new for target in message.targets]
    held = [(message_id, target) for message_id, target in targets if target.state is TargetState.HELD]
    if not held:
        # One statement is one round trip and its own transaction; every message that comes in pays for this.
        await _insert(connection, new, targets, sweep_after_seconds)
        return
    async with connection.transaction():
        await _insert(connection, new, targets, sweep_after_seconds)
        await _hold(connection, held)


async def _insert(
    connection: RawConnection,
    new: Sequence[NewMessage],
    targets: Sequence[tuple[UUID, NewTarget]],
    sweep_after_seconds: float,
) -> None:
    await connection.execute(
        """
        WITH new AS (
            INSERT INTO messages (id, content, size_bytes, envelope_sender, message_id, subject, fingerprint, peer,
                                  came_through_a_list, publish_due_at)
            SELECT m.*, now() + make_interval(secs => $10)
            FROM unnest($1::uuid[], $2::bytea[], $3::int[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::text[],
                        $9::bool[]) m
            ON CONFLICT DO NOTHING
        )
        INSERT INTO message_targets (message_id, address, kind, list_id, state, because, author_key)
        SELECT t.*
        FROM unnest($11::uuid[], $12::text[], $13::target_kind[], $14::bigint[], $15::target_state[], $16::text[],
                    $17::text[]) t
        ON CONFLICT DO NOTHING
        """,
        [message.id for message in new],
        [message.content for message in new],
        [len(message.content) for message in new],
        [message.envelope_sender for message in new],
        [message.message_id for message in new],
        [message.subject for message in new],
        [message.fingerprint for message in new],
        [message.peer for message in new],
        [message.came_through_a_list for message in new],
        sweep_after_seconds,
        [message_id for message_id, _ in targets],
        [target.address for _, target in targets],
        [target.kind.value for _, target in targets],
        [target.list_id for _, target in targets],
        [target.state.value for _, target in targets],
        [target.because for _, target in targets],
        [target.author_key for _, target in targets],
    )


async def _hold(connection: RawConnection, held: Sequence[tuple[UUID, NewTarget]]) -> None:
    await connection.execute(
        """
        INSERT INTO held_posts (message_id, address, list_id, because, author, is_author_proven)
        SELECT t.* FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bool[]) t
        ON CONFLICT DO NOTHING
        """,
        [message_id for message_id, _ in held],
        [target.address for _, target in held],
        [target.list_id for _, target in held],
        [target.because for _, target in held],
        [target.author for _, target in held],
        [target.is_author_proven for _, target in held],
    )


async def store_own(
    connection: RawConnection, message_uuid: UUID, content: bytes, *, subject: str, domain: str
) -> None:
    """Store a message that the system made itself, in the caller's transaction: nobody has to handle it."""
    await connection.execute(
        """
        INSERT INTO messages (id, content, size_bytes, envelope_sender, message_id, subject, fingerprint, peer)
        VALUES ($1, $2, $3, '', $4, $5, $6, '')
        """,
        message_uuid,
        content,
        len(content),
        f"<{message_uuid}@{domain}>",
        subject,
        hashlib.sha256(content).digest(),
    )


async def find(
    session: Session, message_id: UUID, *, with_content: bool = True
) -> tuple[Message, Sequence[MessageTarget]] | None:
    """The message and its targets; without its content, which may be large, when nobody looks at it."""
    options = [] if with_content else [defer(Message.content, raiseload=True)]  # type: ignore[arg-type]
    message = await session.get(Message, message_id, options=options)
    if message is None:
        return None
    targets = select(MessageTarget).where(col(MessageTarget.message_id) == message_id)
    return message, (await session.exec(targets.order_by(col(MessageTarget.address)))).all()


async def beginning_of(connection: RawConnection, message_id: UUID, *, max_bytes: int) -> bytes:
    """The message's first bytes, at most so many."""
    return await connection.fetchval(  # type: ignore[no-any-return]
        "SELECT substring(content FOR $2) FROM messages WHERE id = $1", message_id, max_bytes
    )
