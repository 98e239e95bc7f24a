"""`record_outcomes` alone: outcomes of 20,000 deliveries, in groups as a busy node's connections make them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

from bench import rows
from bench.list_kinds import PLAIN
from bench.listfleet import CONNECTIONS
from deploy.local.cluster import Cluster
from deploy.local.postgres import Postgres
from shared.contracts.topology import Lane
from shared.core.delivery import Outcome, OutcomeKind
from shared.core.node import LeftBecause, NodeKind
from shared.core.smtp_reply import Reply
from shared.store import claims, expansion, nodes, outcomes, release
from shared.store.claims import ClaimedBatch
from shared.store.engine import Database, RawConnection
from shared.store.outcomes import Report

_DATABASE = "recorder"
_LIST = "recorder"
_BATCH_RECIPIENTS = 100
_PAGE_RECIPIENTS = 5_000
_DELIVERED = Outcome(OutcomeKind.DELIVERED, "accepted", Reply(250, "2.0.0 taken"), "127.0.0.1")


class RecorderAlone:
    """A migrated database without any service, and a list in it."""

    def __init__(self, folder: Path, server: Postgres, recipients: int) -> None:
        self._recipients = recipients
        self._url = server.url_of(_DATABASE)
        asyncio.run(rows.make_database(server.url, _DATABASE))
        Cluster(folder / "logs-recorder", {"LISTFLEET_DATABASE_URL": self._url}).migrate()
        self._list_id = asyncio.run(rows.make_list(self._url, PLAIN, _LIST, recipients))

    def outcomes_per_second(self) -> float:
        """Of a new mailing, whose batches are claimed before the clock starts."""
        return asyncio.run(self._record_a_mailing())

    async def _record_a_mailing(self) -> float:
        database = Database(self._url, name="bench")
        async with database.raw() as connection:
            lease = await nodes.register(connection, NodeKind.OUTBOUND, None)
            if lease is None:
                raise LookupError("no name is free for a node")
            claimed = await _claim_all(connection, await self._expanded_mailing(connection), lease)
            groups = list(_groups(claimed))
            began_seconds = time.monotonic()
            for group, unstarted in groups:
                recorded = await outcomes.record_outcomes(connection, group, unstarted, node_name=lease.name)
                if recorded.in_time != len(group):
                    raise ValueError(f"{len(group) - recorded.in_time} outcomes of a group were not recorded in time")
            seconds = time.monotonic() - began_seconds
            await nodes.leave(connection, lease.incarnation, LeftBecause.DRAINED)
        await database.close()
        return sum(len(group) for group, _ in groups) / seconds

    async def _expanded_mailing(self, connection: RawConnection) -> int:
        mailing_id = await rows.make_mailing(connection, PLAIN, self._list_id, _LIST)
        page = None
        while page is None or not page.is_last:
            async with connection.transaction():
                page = await expansion.expand_page(
                    connection, mailing_id, page_size=_PAGE_RECIPIENTS, expand_again_after_seconds=60
                )
            if page is None:
                raise LookupError(f"mailing {mailing_id} is expanded by somebody else")
        async with connection.transaction():
            await release.make_batches(
                connection,
                Lane.POSTS,
                mailing_id,
                recipients=self._recipients,
                batch_size=_BATCH_RECIPIENTS,
                publish_after_seconds=60,
            )
        return mailing_id


async def _claim_all(connection: RawConnection, mailing_id: int, lease: nodes.Lease) -> Sequence[ClaimedBatch]:
    found = await connection.fetch("SELECT id FROM batches WHERE mailing_id = $1 ORDER BY id", mailing_id)
    claimed = [
        await claims.claim(
            connection,
            row["id"],
            lease=lease.incarnation,
            node_name=lease.name,
            token=uuid4(),
            at_most=_BATCH_RECIPIENTS,
        )
        for row in found
    ]
    return [batch for batch in claimed if batch is not None]


def _groups(claimed: Sequence[ClaimedBatch]) -> Iterator[tuple[list[Report], dict[int, int]]]:
    """Reports of all recipients, one from each connection at a time, and what is unstarted of their batches then."""
    unstarted = {batch.id: len(batch.recipients) for batch in claimed}
    reports = [
        Report(
            batch_id=batch.id,
            claim=batch.claim,
            mailing_created_at=batch.mailing_created_at,
            delivery_id=recipient.delivery_id,
            round=recipient.round,
            attempt=recipient.attempt,
            outcome=_DELIVERED,
            retry_after_seconds=300.0,
        )
        for batch in claimed
        for recipient in batch.recipients
    ]
    for first in range(0, len(reports), CONNECTIONS):
        group = reports[first : first + CONNECTIONS]
        for report in group:
            unstarted[report.batch_id] -= 1
        yield group, {report.batch_id: unstarted[report.batch_id] for report in group}
