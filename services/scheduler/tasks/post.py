"""A message was received: make its mailings, one a list that takes it, one for the operator; obey it, or read it."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from uuid import UUID

import structlog

from services.scheduler.tasks.authors import Authors
from services.scheduler.tasks.commands import ObeyCommands
from services.scheduler.tasks.reports import ReadReports
from shared.broker.connection import BrokerUnavailable
from shared.broker.publisher import Publisher
from shared.contracts.commands import ExpandMailing, SendBatch
from shared.contracts.events import MailReceived
from shared.contracts.topology import Lane, TaskQueue
from shared.core.address import Address
from shared.core.mailing import MailingKind, TargetKind, TargetState
from shared.core.posting.duplicate import Earlier, duplicate
from shared.core.posting.post import Discard
from shared.runtime.consequences import Consequences, follow
from shared.runtime.moderation import Telling
from shared.store import digests, expansion, handling, held_posts, lists, mailings, members, posts, release
from shared.store.engine import Database, RawConnection
from shared.store.handling import Waiting
from shared.store.messages import NewTarget

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class HandlePost:
    """Decides about each recipient of a stored message, and publishes what follows from that."""

    database: Database
    publisher: Publisher
    authors: Authors
    commands: ObeyCommands
    reports: ReadReports
    telling: Telling
    operator_address: str | None
    publish_within_seconds: float
    give_up_after_seconds: float

    async def __call__(self, event: MailReceived) -> None:
        """Everything is decided in one transaction, or nothing; a message that is handled is left alone."""
        to_expand: list[int] = []
        express_batches: list[int] = []
        strict_domains = await self.authors.strict_domains(UUID(event.message_id))
        consequences = Consequences()
        async with self.database.raw_transaction() as connection:
            message = await handling.take(connection, UUID(event.message_id))
            if message is None:
                return
            for target in message.targets:
                if target.kind is TargetKind.LIST:
                    to_expand += await self._distribute(connection, message, target, strict_domains)
                elif target.kind is TargetKind.OPERATOR:
                    express_batches += await self._forward(connection, message, target)
                    consequences += (await self.reports.keep(connection, message, target)).consequences
                elif target.kind is TargetKind.COMMAND:
                    consequences += await self.commands.obey(connection, message, target)
                else:
                    kept = await self.reports.keep(connection, message, target)
                    consequences += kept.consequences
                    await self._keep(connection, message, target, kept.because)
            for held in await held_posts.undecided_of(connection, message.id):
                consequences += await self.telling.tell_of(connection, held)
            await handling.mark_handled(connection, message.id)
        await self._publish(to_expand, express_batches)
        await follow(self.database, self.publisher, consequences)

    async def _distribute(
        self, connection: RawConnection, message: Waiting, target: NewTarget, strict_domains: Set[str]
    ) -> list[int]:
        """The mailing to expand; none for a post that the list has had."""
        if target.list_id is None:
            raise ValueError(f"{target.address} is a list's, but no list is named")
        await posts.take_turns(connection, message)
        first = await posts.first_of_its_kind(connection, target.list_id, message)
        by_another_way = await posts.same_by_another_way(connection, target.list_id, message)
        verdict = duplicate(Earlier(first if first != message.id else None, by_another_way))
        if isinstance(verdict, Discard):
            await handling.decide(
                connection, message.id, target.address, TargetState.DUPLICATE, because=verdict.because
            )
            return []
        domain = target.address.rpartition("@")[2]
        mailing_id = await mailings.create(
            connection,
            kind=MailingKind.POST,
            lane=await lists.lane_of(connection, target.list_id),
            message_id=message.id,
            list_id=target.list_id,
            return_domain=domain,
            subject=message.subject,
            expand_again_after_seconds=self.publish_within_seconds,
            give_up_after_seconds=self.give_up_after_seconds,
            # What we sign and send for our own domain passes DMARC as it is.
            has_strict_author=bool(strict_domains - {domain}),
        )
        await digests.collect(connection, target.list_id, mailing_id)
        await handling.decide(connection, message.id, target.address, TargetState.DISTRIBUTED, mailing_id=mailing_id)
        return [mailing_id]

    async def _forward(self, connection: RawConnection, message: Waiting, target: NewTarget) -> list[int]:
        """The batches to send: express mail is released in the transaction that creates it."""
        readers = list(await members.owners(connection, target.list_id)) if target.list_id else []
        if not readers and self.operator_address:
            readers = [Address.parse(self.operator_address)]
        if not readers:
            _log.warning("mail to the operator is kept: LISTFLEET_OPERATOR_ADDRESS is not set", to=target.address)
            await self._keep(connection, message, target, "LISTFLEET_OPERATOR_ADDRESS is not set.")
            return []
        mailing_id = await mailings.create(
            connection,
            kind=MailingKind.FORWARD,
            lane=Lane.EXPRESS,
            message_id=message.id,
            list_id=None,
            return_domain=target.address.rpartition("@")[2],
            subject=message.subject,
            expand_again_after_seconds=self.publish_within_seconds,
            give_up_after_seconds=self.give_up_after_seconds,
        )
        await expansion.add_recipients(connection, mailing_id, readers)
        await handling.decide(connection, message.id, target.address, TargetState.DISTRIBUTED, mailing_id=mailing_id)
        return list(
            await release.make_batches(
                connection,
                Lane.EXPRESS,
                mailing_id,
                recipients=len(readers),
                batch_size=1,
                publish_after_seconds=self.publish_within_seconds,
            )
        )

    async def _keep(self, connection: RawConnection, message: Waiting, target: NewTarget, because: str) -> None:
        await handling.decide(connection, message.id, target.address, TargetState.KEPT, because=because)

    async def _publish(self, to_expand: list[int], express_batches: list[int]) -> None:
        try:
            await self.publisher.publish_all(Lane.EXPRESS.queue, [SendBatch(batch_id) for batch_id in express_batches])
            await self.publisher.publish_all(
                TaskQueue.TASKS.value, [ExpandMailing(mailing_id) for mailing_id in to_expand]
            )
        except BrokerUnavailable as error:
            _log.warning("left to the sweep", error=str(error))
