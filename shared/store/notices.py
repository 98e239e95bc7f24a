"""Notices: one mail of the system to one address, made in the transaction of its cause, and once for each cause."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import BigInteger, Column, ForeignKey, Index, text
from sqlmodel import Field, SQLModel

from shared.core import courtesy
from shared.core.address import Address
from shared.core.courtesy import CountedAs
from shared.store import own_mail
from shared.store.columns import enum_type, identity_field, moment_field
from shared.store.engine import RawConnection, fetch_one
from shared.store.own_mail import OwnMail


class Notice(SQLModel, table=True):
    """What was written to whom, and because of what."""

    __tablename__ = "notices"
    __table_args__ = (
        # What a mailbox got lately.
        Index("ix_notices_counting_key_created_at", "counting_key", "created_at"),
        # What strangers were asked lately in a list's name.
        Index(
            "ix_notices_confirmations", "list_id", "created_at", postgresql_where=text("counted_as = 'confirmation'")
        ),
    )

    id: int = identity_field()
    #: Names what led to it: there is no second notice of one cause.
    cause: str = Field(unique=True)
    kind: str
    list_id: int = Field(sa_column=Column(BigInteger, ForeignKey("mailing_lists.id"), nullable=False))
    #: The same for all variants of an address.
    counting_key: str
    #: Null for what nobody else can bring about, and for a confirmation that was answered.
    counted_as: CountedAs | None = Field(default=None, sa_column=Column(enum_type(CountedAs, "counted_as")))
    #: Null until the mailing is made, in the same transaction.
    mailing_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    created_at: datetime = moment_field(set_now=True)


async def lock(connection: RawConnection, mailboxes: Iterable[Address]) -> None:
    """Until the transaction ends nobody else asks whether these may get one more. Who asks about several locks all of
    them first, in this one order: two who wait for each other would never end."""
    for key in sorted({to.counting_key for to in mailboxes}):
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext('listfleet notices'), hashtext($1))", key)


async def has_room(
    connection: RawConnection, counted_as: CountedAs, list_id: int, to: Address, *, is_owners_wish: bool
) -> bool:
    """Whether the mailbox may get one more of the kind about the list now; it is locked. What its owners wish is not
    counted among what strangers bring the list to send."""
    await lock(connection, [to])
    by_the_list = 0
    if counted_as is CountedAs.CONFIRMATION and not is_owners_wish:
        by_the_list = await _confirmations_by(connection, list_id)
    row = await fetch_one(
        connection,
        """
        SELECT count(*) FILTER (WHERE list_id = $3) AS of_the_list, count(*) AS in_all FROM notices
        WHERE counting_key = $1 AND created_at > now() - interval '1 day' AND counted_as = $2
        """,
        to.counting_key,
        counted_as.value,
        list_id,
    )
    return courtesy.has_room(counted_as, of_the_list=row["of_the_list"], in_all=row["in_all"], by_the_list=by_the_list)


async def _confirmations_by(connection: RawConnection, list_id: int) -> int:
    """How many of the list were brought about by strangers within 24 hours; not counted beyond the bound."""
    return await connection.fetchval(  # type: ignore[no-any-return]
        """
        SELECT count(*) FROM (
            SELECT FROM notices WHERE list_id = $1 AND counted_as = 'confirmation' AND kind <> 'invitation'
                                  AND created_at > now() - interval '1 day' LIMIT $2
        ) n
        """,
        list_id,
        courtesy.MAX_CONFIRMATIONS_BY_A_LIST,
    )


async def count_no_more(connection: RawConnection, cause: str) -> None:
    """The mailbox answered the notice of this cause: it wanted it."""
    await connection.execute("UPDATE notices SET counted_as = NULL WHERE cause = $1", cause)


async def is_first(
    connection: RawConnection, cause: str, *, kind: str, list_id: int, to: Address, counted_as: CountedAs | None
) -> bool:
    """Whether there was no notice of this cause. There is one from now on, when the transaction is committed."""
    return (
        await connection.fetchval(
            """
            INSERT INTO notices (cause, kind, list_id, counting_key, counted_as) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT DO NOTHING RETURNING true
            """,
            cause,
            kind,
            list_id,
            to.counting_key,
            counted_as.value if counted_as else None,
        )
        is not None
    )


async def release_to(
    connection: RawConnection, cause: str, notice: OwnMail, *, publish_after_seconds: float
) -> Sequence[int]:
    """Make the mailing of the cause's notice, and release it: the batches that the caller publishes once they are
    committed, or else the sweep. None when nobody may mail the address."""
    released = await own_mail.send(connection, notice, publish_after_seconds=publish_after_seconds)
    await connection.execute("UPDATE notices SET mailing_id = $2 WHERE cause = $1", cause, released.mailing_id)
    return released.batches
