"""What came to the sink, and nothing else."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections import Counter

import asyncpg

from deploy.local.live_cluster import LiveCluster, wait_until
from deploy.local.sink import Copy

#: For mail to get through, on a busy machine.
ARRIVAL_SECONDS = 30


def expect_only(cluster: LiveCluster, expected: Counter[str]) -> None:
    """Mail sent last has come, so all that was before it has as well: nobody got more than is expected."""
    cluster.sink.wait_until(lambda sink: sink.copies_per_recipient() >= expected, ARRIVAL_SECONDS)
    assert cluster.sink.copies_per_recipient() == expected


def wait_until_settled(cluster: LiveCluster) -> None:
    """Returns when a scheduler has looked at every message and every request, and all that followed is sent."""
    wait_until(lambda: not asyncio.run(_unsettled(cluster.database_url)), ARRIVAL_SECONDS)


async def _unsettled(database_url: str) -> int:
    connection = await asyncpg.connect(database_url)
    try:
        return int(
            await connection.fetchval(
                """
                SELECT (SELECT count(*) FROM messages WHERE publish_due_at IS NOT NULL)
                     + (SELECT count(*) FROM subscription_requests WHERE publish_due_at IS NOT NULL)
                     + (SELECT count(*) FROM mailings WHERE finished_at IS NULL)
                """
            )
        )
    finally:
        await connection.close()


def mail_to(cluster: LiveCluster, recipient: str, word: str = "") -> Copy:
    def arrived() -> list[Copy]:
        return [copy for copy in list(cluster.sink.copies) if copy.recipient == recipient and word in copy.subject]

    return wait_until(arrived, ARRIVAL_SECONDS)[0]


def message_of(copy: Copy) -> email.message.EmailMessage:
    return email.message_from_bytes(copy.content, policy=email.policy.default)


def body_of(copy: Copy) -> str:
    return str(message_of(copy).get_content())
