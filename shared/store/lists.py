"""Mailing lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from sqlalchemy import ARRAY, Column, Float, UniqueConstraint, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Field, col, select

from shared.contracts.topology import Lane
from shared.core.bounce_score import DEFAULT_BOUNCE_LIMIT, DEFAULT_QUIET_DAYS
from shared.core.copies import DmarcMitigation
from shared.core.digest import DEFAULT_SIZE_BYTES
from shared.core.membership import PostingPolicy
from shared.core.newsletter import DEFAULT_RECENCY_DAYS
from shared.core.pacing import next_within_seconds
from shared.core.posting.post import Moderation, NonMemberAction
from shared.core.subscription import SubscriptionPolicy
from shared.core.tracking import TrackingPolicy
from shared.store.columns import enum_type, identity_field, moment_field, texts_column, within
from shared.store.copies import CopyColumns
from shared.store.engine import RawConnection, Session, fetch_one


class MailingList(CopyColumns, table=True):
    """A list; its posting address is `name@domain`, both in lower case, the domain in its ASCII form."""

    __tablename__ = "mailing_lists"
    __table_args__ = (UniqueConstraint("domain", "name"),)

    id: int = identity_field()
    name: str
    domain: str
    display_name: str = Field(default="")
    description: str = Field(default="")
    posting_policy: PostingPolicy = Field(
        default=PostingPolicy.MEMBERS, sa_column=Column(enum_type(PostingPolicy, "posting_policy"), nullable=False)
    )
    #: Who may join, and how.
    subscription_policy: SubscriptionPolicy = Field(
        default=SubscriptionPolicy.CONFIRM,
        sa_column=Column(
            enum_type(SubscriptionPolicy, "subscription_policy"),
            nullable=False,
            server_default=SubscriptionPolicy.CONFIRM.value,
        ),
    )
    #: Each member's copy has a link of its own that ends the membership at once (RFC 8058).
    one_click_enabled: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    #: What is kept of opens and clicks; also of those in mail that was sent before.
    tracking: TrackingPolicy = Field(
        default=TrackingPolicy.OFF,
        sa_column=Column(
            enum_type(TrackingPolicy, "tracking_policy"), nullable=False, server_default=TrackingPolicy.OFF.value
        ),
    )
    #: Links in plain text are tracked as well.
    tracks_plain_text: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    #: Posts may hold merge fields; off, a post's body goes out unchanged.
    personal: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    #: Each delivery has a return path of its own; off, a mailing has one, and transactions may have many recipients.
    verp_enabled: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    #: When its copies are from the list instead of from the author.
    dmarc_mitigation: DmarcMitigation = Field(
        default=DmarcMitigation.NEVER,
        sa_column=Column(
            enum_type(DmarcMitigation, "dmarc_mitigation"), nullable=False, server_default=DmarcMitigation.NEVER.value
        ),
    )
    #: The lane of what is posted to it.
    lane: Lane = Field(
        default=Lane.POSTS, sa_column=Column(enum_type(Lane, "lane"), nullable=False, server_default=Lane.POSTS.value)
    )
    #: Of all nodes together, spread over the hour; null is unlimited.
    max_messages_per_hour: int | None = None
    #: The first moment of that rate that is not given out yet.
    next_start_at: datetime | None = moment_field(nullable=True)
    #: At most so many newsletters to one address within so many days, of all lists that say this; null is unlimited.
    recency_newsletters: int | None = None
    recency_days: int = Field(
        default=DEFAULT_RECENCY_DAYS, sa_column_kwargs={"server_default": text(f"{DEFAULT_RECENCY_DAYS}")}
    )
    #: Waits between the attempts at a deferred delivery, and the age at which one is given up; `None` is as everywhere.
    retry_schedule_seconds: list[float] | None = Field(default=None, sa_column=Column(ARRAY(Float)))
    give_up_after_seconds: float | None = Field(default=None, sa_column=Column(Float))
    #: What is asked of posts: see `ListRules`.
    non_member_action: NonMemberAction = Field(
        default=NonMemberAction.REFUSE,
        sa_column=Column(enum_type(NonMemberAction, "non_member_action"), nullable=False, server_default="refuse"),
    )
    moderation: Moderation = Field(
        default=Moderation.FLAGGED,
        sa_column=Column(enum_type(Moderation, "moderation"), nullable=False, server_default="flagged"),
    )
    emergency: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    max_post_bytes: int | None = None
    banned: list[str] = Field(default_factory=list, sa_column=texts_column())
    requires_explicit_destination: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    other_addresses: list[str] = Field(default_factory=list, sa_column=texts_column())
    refuses_commands: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    refused_attachments: list[str] = Field(default_factory=list, sa_column=texts_column())
    max_posts_a_day: int | None = None
    max_posts_a_day_per_author: int | None = None
    #: Posts are collected for members who want digests, and sent early once so many bytes have come, `None` for never.
    digests_enabled: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    digest_size_bytes: int | None = Field(
        default=DEFAULT_SIZE_BYTES, sa_column_kwargs={"server_default": text(f"{DEFAULT_SIZE_BYTES}")}
    )
    #: Who is on another such list, which has the same post, gets it once.
    one_copy_across_lists: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    #: The author of a held post is told, if it is known who that is.
    tells_held_authors: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    #: Points of bounces at which a member is held, `None` for never; days without one after which they are forgotten.
    bounce_limit: float | None = Field(
        default=DEFAULT_BOUNCE_LIMIT, sa_column=Column(Float, server_default=text(f"{DEFAULT_BOUNCE_LIMIT:g}"))
    )
    bounce_quiet_days: int = Field(
        default=DEFAULT_QUIET_DAYS, sa_column_kwargs={"server_default": text(f"{DEFAULT_QUIET_DAYS}")}
    )
    #: Held members who do not answer their reminders are members no more.
    removes_held_members: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    created_at: datetime = moment_field(set_now=True)

    @property
    def address(self) -> str:
        return f"{self.name}@{self.domain}"


async def find(session: Session, name: str, domain: str) -> MailingList | None:
    """The list whose posting address is `name@domain`, in any case."""
    statement = select(MailingList).where(
        col(MailingList.domain) == domain.lower(), col(MailingList.name) == name.lower()
    )
    return (await session.exec(statement)).one_or_none()


async def add(
    session: Session,
    *,
    name: str,
    domain: str,
    display_name: str,
    description: str,
    posting_policy: PostingPolicy,
    subscription_policy: SubscriptionPolicy = SubscriptionPolicy.CONFIRM,
    one_click_enabled: bool = True,
    tracking: TrackingPolicy = TrackingPolicy.OFF,
    tracks_plain_text: bool = False,
    personal: bool = False,
    verp_enabled: bool = True,
    lane: Lane = Lane.POSTS,
    max_messages_per_hour: int | None = None,
    retry_schedule_seconds: list[float] | None = None,
    give_up_after_seconds: float | None = None,
    posting_rules: Mapping[str, object] = MappingProxyType({}),
    dmarc_mitigation: DmarcMitigation = DmarcMitigation.NEVER,
    copies: CopyColumns | None = None,
    bounce_limit: float | None = DEFAULT_BOUNCE_LIMIT,
    bounce_quiet_days: int = DEFAULT_QUIET_DAYS,
    digests_enabled: bool = False,
    digest_size_bytes: int | None = DEFAULT_SIZE_BYTES,
    removes_held_members: bool = True,
    recency_newsletters: int | None = None,
    recency_days: int = DEFAULT_RECENCY_DAYS,
) -> MailingList | None:
    """The new list `name@domain`, both as the table wants them; `None` when there is one already.

    `posting_rules` are columns by name.
    """
    values = {
        "name": name,
        "domain": domain,
        "display_name": display_name,
        "description": description,
        "posting_policy": posting_policy,
        "subscription_policy": subscription_policy,
        "one_click_enabled": one_click_enabled,
        "tracking": tracking,
        "tracks_plain_text": tracks_plain_text,
        "personal": personal,
        "verp_enabled": verp_enabled,
        "lane": lane,
        "max_messages_per_hour": max_messages_per_hour,
        "retry_schedule_seconds": retry_schedule_seconds,
        "give_up_after_seconds": give_up_after_seconds,
        **posting_rules,
        "dmarc_mitigation": dmarc_mitigation,
        **(copies or CopyColumns()).model_dump(),
        "bounce_limit": bounce_limit,
        "bounce_quiet_days": bounce_quiet_days,
        "digests_enabled": digests_enabled,
        "digest_size_bytes": digest_size_bytes,
        "removes_held_members": removes_held_members,
        "recency_newsletters": recency_newsletters,
        "recency_days": recency_days,
    }
    statement = insert(MailingList).values(values).on_conflict_do_nothing().returning(MailingList)
    return (await session.exec(statement)).scalar_one_or_none()


async def pace_anew(session: Session, found: MailingList) -> None:
    """The list's messages an hour were changed: what waits does not wait for a moment of the rate before."""
    latest_seconds = next_within_seconds(found.max_messages_per_hour, 3600.0)
    await session.exec(
        update(MailingList)
        .where(col(MailingList.id) == found.id)
        .values(next_start_at=within(col(MailingList.next_start_at), latest_seconds))
        .execution_options(synchronize_session=False)
    )


async def get(session: Session, list_id: int) -> MailingList | None:
    return await session.get(MailingList, list_id)


async def lane_of(connection: RawConnection, list_id: int) -> Lane:
    """The lane of what is posted to the list."""
    return Lane(await connection.fetchval("SELECT lane FROM mailing_lists WHERE id = $1", list_id))


@dataclass(frozen=True, slots=True)
class AboutList:
    """What is said of a list, and how one comes to it."""

    id: int
    name: str
    domain: str
    display_name: str
    policy: SubscriptionPolicy

    @property
    def address(self) -> str:
        return f"{self.name}@{self.domain}"


async def about(connection: RawConnection, list_id: int) -> AboutList:
    """What is said of the list, which is there."""
    row = await fetch_one(
        connection,
        "SELECT id, name, domain, display_name, subscription_policy FROM mailing_lists WHERE id = $1",
        list_id,
    )
    return AboutList(
        row["id"], row["name"], row["domain"], row["display_name"], SubscriptionPolicy(row["subscription_policy"])
    )


async def id_of(connection: RawConnection, name: str, domain: str) -> int | None:
    """The list of this posting address, both parts as they are kept; `None` when there is none."""
    return await connection.fetchval(  # type: ignore[no-any-return]
        "SELECT id FROM mailing_lists WHERE domain = $1 AND name = $2", domain, name
    )


async def is_our_domain(connection: RawConnection, domain: str) -> bool:
    """Whether any list lives in `domain`, which is given as it is kept."""
    return await connection.fetchval(  # type: ignore[no-any-return]
        "SELECT EXISTS (SELECT FROM mailing_lists WHERE domain = $1)", domain
    )


async def domains(session: Session) -> Sequence[str]:
    """The domains that lists live in, by name."""
    return (await session.exec(select(MailingList.domain).distinct().order_by(col(MailingList.domain)))).all()


async def page(session: Session, *, after_id: int = 0, limit: int = 100) -> Sequence[MailingList]:
    """Lists in the order they were made, those with an id above `after_id`."""
    statement = select(MailingList).where(col(MailingList.id) > after_id).order_by(col(MailingList.id)).limit(limit)
    return (await session.exec(statement)).all()
