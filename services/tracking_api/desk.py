"""What the forms do: each in one transaction, the same for every address, and what follows after the answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog

from shared.broker.connection import BrokerUnavailable
from shared.broker.publisher import Publisher
from shared.contracts.events import LeaveAsked, SubscriptionAsked
from shared.contracts.topology import TaskQueue
from shared.core.address import Address, InvalidAddress
from shared.core.courtesy import MAX_FORMS_A_NETWORK, MAX_FORMS_A_PEER
from shared.core.digest import DigestFormat
from shared.core.held_post import HeldDecision
from shared.core.membership import DeliveryMode, MemberStatus
from shared.core.subscription import RequestAction, RequestSource, RequestState, SubscriptionPolicy
from shared.core.tokens import Purpose, Tokens
from shared.runtime import moderation
from shared.runtime.consequences import Consequences, follow
from shared.runtime.moderation import Decided
from shared.runtime.subscriptions import Confirmed, Subscriptions
from shared.store import form_tallies, held_posts, lists, members, subscription_requests
from shared.store.engine import Database, RawConnection, StoreUnavailable
from shared.store.held_posts import Held

_log = structlog.get_logger(__name__)

#: A request that was not published by then is given to a scheduler by the sweep.
_PUBLISH_AFTER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class PublicList:
    """What everybody may know of a list."""

    id: int
    address: str
    display_name: str
    may_join: bool


@dataclass(frozen=True, slots=True)
class Open:
    """A request that may be confirmed."""

    list_address: str
    recipient: str
    action: RequestAction


@dataclass(frozen=True, slots=True)
class Settings:
    """A member's own."""

    list_address: str
    recipient: str
    mode: DeliveryMode
    digest_format: DigestFormat


class Desk:
    """The store as the pages use it. All methods raise `StoreUnavailable`, but `leave` when the broker is there."""

    def __init__(self, database: Database, publisher: Publisher, subscriptions: Subscriptions, tokens: Tokens) -> None:
        self._database = database
        self._publisher = publisher
        self._subscriptions = subscriptions
        self._tokens = tokens

    def number(self, purpose: Purpose, token: str) -> int | None:
        """What the token names; `None` when it is none."""
        return self._tokens.read(purpose, token, now=datetime.now(UTC))

    async def find_list(self, address: str) -> PublicList | None:
        try:
            name, _, domain = Address.parse(address).key.rpartition("@")
        except InvalidAddress:
            return None
        async with self._database.transaction() as session:
            found = await lists.find(session, name, domain)
        if found is None:
            return None
        may_join = found.subscription_policy not in (SubscriptionPolicy.CLOSED, SubscriptionPolicy.INVITE)
        return PublicList(found.id, found.address, found.display_name, may_join)

    async def may_ask(self, host: str) -> bool:
        """Whether a client may use a form once more; it is counted."""
        async with self._database.raw_transaction() as connection:
            return await form_tallies.may_use(
                connection, host, max_a_peer=MAX_FORMS_A_PEER, max_a_network=MAX_FORMS_A_NETWORK
            )

    async def ask(self, list_id: int, address: Address, action: RequestAction) -> int:
        """Keep the request, whoever the address is, for a scheduler to look at: its number."""
        async with self._database.raw_transaction() as connection:
            request = await subscription_requests.add(
                connection,
                list_id,
                address,
                action,
                RequestSource.WEB,
                publish_after_seconds=_PUBLISH_AFTER_SECONDS,
            )
        return request.id

    async def tell(self, request_id: int) -> None:
        """Let a scheduler know of the request; the sweep does it otherwise."""
        try:
            await self._publisher.publish(TaskQueue.EXPRESS.value, SubscriptionAsked(request_id))
        except BrokerUnavailable as error:
            _log.warning("left to the sweep", request=request_id, error=str(error))

    async def to_confirm(self, request_id: int) -> Open | None:
        """What a request's page says; `None` when there is nothing to confirm."""
        async with self._database.raw() as connection:
            request = await subscription_requests.look(connection, request_id)
            if request is None or request.is_expired or request.state is not RequestState.CONFIRMING:
                return None
            about = await lists.about(connection, request.list_id)
            return Open(about.address, request.address.spelling, request.action)

    async def confirm(self, request_id: int) -> tuple[Confirmed, Consequences]:
        async with self._database.raw_transaction() as connection:
            return await self._subscriptions.confirm(connection, request_id)

    async def list_of(self, member_id: int) -> str | None:
        """The address of the list that the member is or was on; `None` when there is no such member."""
        async with self._database.raw_transaction() as connection:
            member = await members.membership_of(connection, member_id)
            return None if member is None else (await lists.about(connection, member.list_id)).address

    async def leave(self, member_id: int) -> Consequences:
        """Let the member leave: now, or, while the database is down, as soon as it is back.

        Raises `StoreUnavailable` when the broker is down as well.
        """
        try:
            async with self._database.raw_transaction() as connection:
                return await self._subscriptions.leave(connection, member_id)
        except StoreUnavailable as error:
            try:
                await self._publisher.publish(TaskQueue.EXPRESS.value, LeaveAsked(member_id))
            except BrokerUnavailable:
                raise error from None
            return Consequences()

    async def settings(self, member_id: int) -> Settings | None:
        """The member's own; `None` for one who left."""
        async with self._database.raw_transaction() as connection:
            return await _settings_of(connection, member_id)

    async def set_mode(self, member_id: int, mode: DeliveryMode, digest_format: DigestFormat | None) -> Settings | None:
        """Set how posts come, and, unless it is left as it is, what digests look like: the settings as they are
        then."""
        async with self._database.raw_transaction() as connection:
            before = await _settings_of(connection, member_id)
            if before is None:
                return None
            await members.set_mode(connection, member_id, mode, digest_format)
            return replace(before, mode=mode, digest_format=digest_format or before.digest_format)

    async def held_post(self, held_id: int) -> Held | None:
        async with self._database.raw() as connection:
            return await held_posts.get(connection, held_id)

    async def decide(self, held_id: int, decision: HeldDecision, reason: str) -> Decided | None:
        """Decide about a held post; `None` when somebody has, or there is none."""
        async with self._database.raw_transaction() as connection:
            return await moderation.decide(
                connection, held_id, decision, decided_by="a link in a moderator's mail", reason=reason
            )

    async def follow(self, consequences: Consequences) -> None:
        await follow(self._database, self._publisher, consequences)


async def _settings_of(connection: RawConnection, member_id: int) -> Settings | None:
    member = await members.membership_of(connection, member_id)
    if member is None or member.status is MemberStatus.UNSUBSCRIBED:
        return None
    about = await lists.about(connection, member.list_id)
    return Settings(about.address, member.address.spelling, member.delivery_mode, member.digest_format)
