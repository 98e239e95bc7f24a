"""Claims: a batch is in one node's hands, or in nobody's."""

from __future__ import annotations

import asyncio
from uuid import uuid4

from shared.store import batches, member_imports
from shared.store.engine import RawConnection
from tests.integration import stored


async def released(connection: RawConnection, size: int) -> int:
    """A released batch of `size` recipients."""
    mailing_id = await stored.new_mailing(connection, size)
    (batch_id,) = await stored.release_all(connection, mailing_id, batch_size=size)
    return batch_id


async def test_a_claim_gives_every_recipient_with_the_name_of_its_attempt(connection: RawConnection) -> None:
    lease = await stored.new_lease(connection)
    claimed = await stored.claim(connection, await released(connection, 3), lease)
    assert claimed is not None
    assert [recipient.address for recipient in claimed.recipients] == [
        f"Member-{number}@example.com" for number in (1, 2, 3)
    ]
    assert {(recipient.round, recipient.attempt) for recipient in claimed.recipients} == {(1, 1)}
    assert claimed.handed_back == 0


async def test_a_claim_of_a_personal_mailing_brings_what_it_says_to_each_member(connection: RawConnection) -> None:
    lease, list_id = await stored.new_lease(connection), await stored.new_list(connection, 0)
    ann = stored.new_member(1, display_name="Ann", fields_json='{"city": "Köln"}')
    await member_imports.import_rows(connection, list_id, [ann, stored.new_member(2), stored.new_member(3)])
    await connection.execute("UPDATE mailing_lists SET personal = true WHERE id = $1", list_id)
    mailing_id = await stored.mailing_to(connection, list_id)
    await connection.execute("DELETE FROM members WHERE list_id = $1 AND email_key = 'member-3@example.com'", list_id)
    # What is changed afterwards counts from the next post on.
    await connection.execute("UPDATE mailing_lists SET personal = false WHERE id = $1", list_id)
    (batch_id,) = await stored.release_all(connection, mailing_id)
    claimed = await stored.claim(connection, batch_id, lease)
    assert claimed is not None
    about = [(recipient.display_name, recipient.fields_json) for recipient in claimed.recipients]
    assert about == [("Ann", '{"city": "Köln"}'), ("", "{}"), ("", "{}")]


async def test_a_claim_of_any_other_mailing_brings_addresses_only(connection: RawConnection) -> None:
    lease, list_id = await stored.new_lease(connection), await stored.new_list(connection, 0)
    await member_imports.import_rows(
        connection, list_id, [stored.new_member(1, display_name="Ann", fields_json='{"a": 1}')]
    )
    (batch_id,) = await stored.release_all(connection, await stored.mailing_to(connection, list_id))
    claimed = await stored.claim(connection, batch_id, lease)
    assert claimed is not None
    assert [(r.display_name, r.fields_json) for r in claimed.recipients] == [("", "{}")]


async def test_a_claim_repeated_after_a_lost_answer_gives_the_same_batch(connection: RawConnection) -> None:
    lease, token = await stored.new_lease(connection), uuid4()
    batch_id = await released(connection, 10)
    first = await stored.claim(connection, batch_id, lease, at_most=4, token=token)
    again = await stored.claim(connection, batch_id, lease, at_most=4, token=token)
    assert first is not None and again is not None
    assert first.recipients == again.recipients
    assert (first.handed_back, again.handed_back) == (6, 0)


async def test_a_claimed_batch_is_nobody_elses(connection: RawConnection) -> None:
    ours, theirs = await stored.new_lease(connection), await stored.new_lease(connection)
    batch_id = await released(connection, 3)
    assert await stored.claim(connection, batch_id, ours) is not None
    assert await stored.claim(connection, batch_id, theirs) is None
    assert await stored.claim(connection, batch_id, ours) is None, "another token is another claim"


async def test_of_two_nodes_that_claim_at_once_one_gets_the_batch(connection: RawConnection, database_url: str) -> None:
    leases = [await stored.new_lease(connection) for _ in range(2)]
    async with stored.connected(database_url) as first, stored.connected(database_url) as second:
        for _ in range(20):
            batch_id = await released(connection, 5)
            claims = await asyncio.gather(
                stored.claim(first, batch_id, leases[0]), stored.claim(second, batch_id, leases[1])
            )
            assert [claim is None for claim in claims].count(True) == 1


async def test_a_lease_that_is_gone_claims_nothing(connection: RawConnection) -> None:
    lease = await stored.new_lease(connection)
    batch_id = await released(connection, 3)
    await stored.lose(connection, lease)
    assert await stored.claim(connection, batch_id, lease) is None
    assert (await stored.batch_row(connection, batch_id)).state == "released"


async def test_a_restart_under_the_same_name_does_not_inherit(connection: RawConnection) -> None:
    lease, token = await stored.new_lease(connection, "berlin"), uuid4()
    batch_id = await released(connection, 3)
    await stored.claim(connection, batch_id, lease, token=token)
    await stored.lose(connection, lease)
    again = await stored.new_lease(connection, "berlin")
    assert await batches.claimed_by(connection, again.incarnation) == {}
    assert await stored.claim(connection, batch_id, again, token=token) is None


async def test_a_batch_that_does_not_exist_is_not_to_be_had(connection: RawConnection) -> None:
    assert await stored.claim(connection, 1_000_000, await stored.new_lease(connection)) is None


async def test_what_the_node_cannot_start_soon_is_left_to_others(connection: RawConnection) -> None:
    ours, theirs = await stored.new_lease(connection), await stored.new_lease(connection)
    batch_id = await released(connection, 10)
    claimed = await stored.claim(connection, batch_id, ours, at_most=4)
    assert claimed is not None
    assert (len(claimed.recipients), claimed.handed_back) == (4, 6)
    (rest,) = await stored.release_all(connection, claimed.mailing_id)
    others = await stored.claim(connection, rest, theirs)
    assert others is not None
    ids = [recipient.delivery_id for recipient in (*claimed.recipients, *others.recipients)]
    assert len(set(ids)) == 10
    assert {recipient.attempt for recipient in others.recipients} == {1}, "no counter moves"


async def test_a_hand_back_repeated_after_a_lost_answer_gives_back_once(connection: RawConnection) -> None:
    claimed = await stored.claimed_mailing(connection, 10, await stored.new_lease(connection))
    ids = [recipient.delivery_id for recipient in claimed.recipients[6:]]
    for _ in range(2):
        await batches.hand_back(connection, claimed.id, claimed.claim, ids, unstarted=6)
    row = await stored.batch_row(connection, claimed.id)
    assert (row.state, row.open, row.unstarted) == ("claimed", 6, 6)


async def test_a_batch_handed_back_whole_is_closed_and_its_recipients_wait_with_their_attempt(
    connection: RawConnection,
) -> None:
    claimed = await stored.claimed_mailing(connection, 5, await stored.new_lease(connection))
    await batches.hand_back_whole(connection, claimed.id, claimed.claim)
    assert (await stored.batch_row(connection, claimed.id)).state == "closed"
    rows = await connection.fetch("SELECT batch_id, attempt, deaths FROM outstanding")
    assert [tuple(row) for row in rows] == [(None, 1, 0)] * 5


async def test_a_hand_back_by_who_lost_the_claim_changes_nothing(connection: RawConnection) -> None:
    lease, other = await stored.new_lease(connection), await stored.new_lease(connection)
    claimed = await stored.claimed_mailing(connection, 5, lease)
    await stored.lose(connection, lease)
    (batch_id,) = await stored.release_all(connection, claimed.mailing_id)
    theirs = await stored.claim(connection, batch_id, other)
    assert theirs is not None
    ids = [recipient.delivery_id for recipient in claimed.recipients]
    await batches.hand_back(connection, claimed.id, claimed.claim, ids, unstarted=0)
    await batches.hand_back(connection, theirs.id, claimed.claim, ids, unstarted=0)
    assert (await stored.batch_row(connection, theirs.id)).open == 5


async def test_the_unstarted_of_a_claim_that_is_ours_are_written_down(connection: RawConnection) -> None:
    lease = await stored.new_lease(connection)
    claimed = await stored.claimed_mailing(connection, 5, lease)
    await batches.report_unstarted(connection, {claimed.id: (claimed.claim, 2)})
    assert (await stored.batch_row(connection, claimed.id)).unstarted == 2
    await batches.report_unstarted(connection, {claimed.id: (uuid4(), 4)})
    assert (await stored.batch_row(connection, claimed.id)).unstarted == 2


async def test_a_claim_waits_for_no_renewal_of_another_node(connection: RawConnection, database_url: str) -> None:
    ours, theirs = await stored.new_lease(connection), await stored.new_lease(connection)
    batch_id = await released(connection, 3)
    async with stored.connected(database_url) as other, other.transaction():
        await other.execute("UPDATE nodes SET renewals = 9 WHERE incarnation = $1", theirs.incarnation)
        async with asyncio.timeout(30):
            assert await stored.claim(connection, batch_id, ours) is not None
