"""The backlog: lanes in order, destinations together, nobody forgotten who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime
from typing import TypeAlias
from uuid import UUID

from services.outbound_sender.backlog import Backlog
from services.outbound_sender.copies import WireContent
from services.outbound_sender.held_batch import HeldBatch, Job
from shared.contracts.topology import Lane
from shared.core.address import Address
from shared.store.claims import BatchLimit, ClaimedBatch, Recipient

Slot: TypeAlias = asyncio.Task[Job]


def backlog() -> Backlog:
    return Backlog(lambda address: address.ascii_domain)


def held(
    batch_id: int,
    lane: Lane,
    addresses: list[str],
    acknowledged: list[int] | None = None,
    *,
    mailing_id: int = 1,
    limit: BatchLimit | None = None,
) -> HeldBatch:
    batch = ClaimedBatch(
        id=batch_id,
        claim=UUID(int=batch_id),
        mailing_id=mailing_id,
        mailing_created_at=datetime(2026, 1, 1, tzinfo=UTC),
        lane=lane,
        recipients=tuple(Recipient(number, 1, 1, address) for number, address in enumerate(addresses, start=1)),
        handed_back=0,
        limit=limit,
    )
    ids = {recipient.delivery_id for recipient in batch.recipients}
    return HeldBatch(
        batch,
        WireContent((b"\r\n.\r\n",), has_8bit=False, return_domain="example.org"),
        claimed_at_seconds=0,
        on_all_started=lambda: (acknowledged if acknowledged is not None else []).append(batch_id),
        unstarted=set(ids),
        open=set(ids),
    )


def jobs(batch_id: int, lane: Lane, *addresses: str, mailing_id: int = 1, limit: BatchLimit | None = None) -> list[Job]:
    of_batch = held(batch_id, lane, list(addresses), mailing_id=mailing_id, limit=limit)
    return [Job(of_batch, recipient, Address.parse(recipient.address)) for recipient in of_batch.batch.recipients]


async def settled(slots: Collection[Slot]) -> tuple[set[Slot], set[Slot]]:
    """Who is done and who waits still, once nobody has anything to do."""
    for _ in range(20):
        await asyncio.sleep(0)
    done = {slot for slot in slots if slot.done()}
    return done, set(slots) - done


async def test_express_goes_before_posts_and_posts_before_bulk() -> None:
    waiting = backlog()
    for number, lane in enumerate([Lane.BULK, Lane.POSTS, Lane.EXPRESS], start=1):
        waiting.add(jobs(number, lane, "a@example.com"))
    assert [(await waiting.next(None)).held.id for _ in range(3)] == [3, 2, 1]
    assert len(waiting) == 0


async def test_who_has_a_connection_gets_the_next_recipient_there() -> None:
    waiting = backlog()
    waiting.add(jobs(1, Lane.POSTS, "a@one.example", "b@two.example", "c@one.example", "d@two.example"))
    first = await waiting.next("two.example")
    second = await waiting.next("two.example")
    third = await waiting.next("two.example")
    assert [job.address.local for job in (first, second, third)] == ["b", "d", "a"]


async def test_a_kept_connection_does_not_hold_up_a_more_urgent_lane() -> None:
    waiting = backlog()
    waiting.add(jobs(1, Lane.BULK, "a@one.example"))
    waiting.add(jobs(2, Lane.EXPRESS, "b@two.example"))
    assert (await waiting.next("one.example")).held.id == 2


async def test_every_job_wakes_one_who_waits() -> None:
    waiting = backlog()
    slots = [asyncio.create_task(waiting.next(None)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting.add(jobs(1, Lane.POSTS, *(f"{n}@example.com" for n in range(3))))
    done, pending = await settled(slots)
    assert len(done) == 3
    waiting.add(jobs(2, Lane.POSTS, "4@example.com", "5@example.com"))
    async with asyncio.timeout(5):
        await asyncio.gather(*pending)


async def test_who_is_woken_and_cancelled_passes_the_job_on() -> None:
    waiting = backlog()
    first, second = (asyncio.create_task(waiting.next(None)) for _ in range(2))
    await asyncio.sleep(0)
    waiting.add(jobs(1, Lane.POSTS, "a@example.com"))
    first.cancel()
    async with asyncio.timeout(5):
        assert (await second).held.id == 1
    assert first.cancelled()
    assert len(waiting) == 0


async def test_a_job_that_another_slot_took_first_leaves_the_woken_one_waiting() -> None:
    waiting = backlog()
    woken = asyncio.create_task(waiting.next(None))
    await asyncio.sleep(0)
    waiting.add(jobs(1, Lane.POSTS, "a@example.com"))
    assert (await waiting.next(None)).held.id == 1
    waiting.add(jobs(2, Lane.POSTS, "b@example.com"))
    async with asyncio.timeout(5):
        assert (await woken).held.id == 2


async def test_a_full_hosts_destination_is_for_those_who_have_a_connection_there() -> None:
    waiting = backlog()
    waiting.add(jobs(1, Lane.EXPRESS, "a@full.example", "b@full.example"))
    waiting.add(jobs(2, Lane.BULK, "c@other.example"))
    waiting.set_aside(await waiting.next(None), "mx.full.example")
    assert (waiting.set_aside_count, len(waiting)) == (2, 3)
    assert waiting.has_for("full.example")
    assert (await waiting.next(None)).held.id == 2, "others' mail goes on, even less urgent mail"
    assert not waiting.has_for(None)
    assert waiting.has_for(None, hosts={"mx.full.example", "192.0.2.1"})
    assert (await waiting.next("full.example")).address.local == "a", "it was put back in front"
    assert (await waiting.next("elsewhere.example", {"mx.full.example"})).address.local == "b"


async def test_a_slot_that_may_not_have_a_full_hosts_job_waits_until_it_has_room() -> None:
    waiting = backlog()
    waiting.add(jobs(1, Lane.POSTS, "a@full.example"))
    waiting.set_aside(await waiting.next(None), "mx.full.example")
    slots = [asyncio.create_task(waiting.next(None)) for _ in range(2)]
    done, _ = await settled(slots)
    assert not done
    waiting.has_room({"mx.other.example"})
    done, _ = await settled(slots)
    assert not done
    waiting.has_room({"mx.full.example"})
    done, left = await asyncio.wait(slots, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    assert (len(done), len(left), waiting.set_aside_count) == (1, 1, 0)
    left.pop().cancel()


async def test_every_place_that_comes_free_is_for_one_more_slot() -> None:
    waiting = backlog()
    waiting.add(jobs(1, Lane.POSTS, *(f"{n}@full.example" for n in range(5))))
    waiting.set_aside(await waiting.next(None), "mx.full.example")
    slots = [asyncio.create_task(waiting.next(None)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting.has_room({"mx.full.example"})
    waiting.has_room({"mx.full.example"})
    done, left = await settled(slots)
    assert (len(done), len(left)) == (2, 1)
    left.pop().cancel()


async def test_a_place_is_for_one_destination_of_the_host_that_has_jobs() -> None:
    waiting = backlog()
    waiting.add(jobs(1, Lane.POSTS, "a@one.example", "b@two.example", "c@three.example"))
    for job in [await waiting.next(None) for _ in range(3)]:
        waiting.set_aside(job, "mx.full.example")
    await waiting.next("one.example")
    waiting.has_room({"mx.full.example"})
    assert waiting.set_aside_count == 1
    assert (await waiting.next(None)).address.local == "b"
    assert not waiting.has_for(None)


async def test_what_is_set_aside_is_tried_again_when_something_is_removed() -> None:
    waiting = backlog()
    waiting.add(jobs(1, Lane.POSTS, "a@one.example", "b@two.example"))
    for job in [await waiting.next(None) for _ in range(2)]:
        waiting.set_aside(job, "mx.full.example")
    waiting.has_room({"mx.full.example"})
    assert len(waiting.remove(lambda job: job.address.local == "a")) == 1
    assert (await waiting.next(None)).address.local == "b", "the place was meant for the one that is gone"


async def test_new_mail_for_a_full_host_wakes_who_has_a_connection_there() -> None:
    waiting = backlog()
    waiting.add(jobs(1, Lane.POSTS, "a@full.example"))
    waiting.set_aside(await waiting.next(None), "mx.full.example")
    await waiting.next("full.example")
    stranger, near, at_host = (
        asyncio.create_task(waiting.next(None)),
        asyncio.create_task(waiting.next("full.example")),
        asyncio.create_task(waiting.next("third.example", {"mx.full.example"})),
    )
    await asyncio.sleep(0)
    waiting.add(jobs(2, Lane.POSTS, "b@full.example", "c@full.example"))
    async with asyncio.timeout(5):
        assert {(await near).address.local, (await at_host).address.local} == {"b", "c"}
    assert not stranger.done()
    waiting.add(jobs(3, Lane.POSTS, "d@other.example"))
    async with asyncio.timeout(5):
        assert (await stranger).address.local == "d"


async def test_when_the_limit_of_hosts_is_lifted_everything_that_was_set_aside_goes() -> None:
    waiting = backlog()
    waiting.add(jobs(1, Lane.POSTS, "a@one.example", "b@two.example"))
    for job in [await waiting.next(None), await waiting.next(None)]:
        waiting.set_aside(job, "mx.full.example")
    slots = [asyncio.create_task(waiting.next(None)) for _ in range(2)]
    await asyncio.sleep(0)
    waiting.has_room(None)
    async with asyncio.timeout(5):
        await asyncio.gather(*slots)


async def test_what_is_removed_is_not_given_out() -> None:
    waiting = backlog()
    waiting.add(jobs(1, Lane.POSTS, "a@one.example", "b@two.example"))
    waiting.add(jobs(2, Lane.BULK, "c@one.example"))
    removed = waiting.remove(lambda job: job.address.ascii_domain == "one.example")
    assert sorted(job.address.local for job in removed) == ["a", "c"]
    assert len(waiting) == 1
    assert (await waiting.next("one.example")).address.local == "b"


async def test_one_job_in_five_is_bulk_while_posts_wait() -> None:
    waiting = backlog()
    waiting.add(jobs(1, Lane.POSTS, *(f"p{n}@example.com" for n in range(10))))
    waiting.add(jobs(2, Lane.BULK, *(f"b{n}@example.com" for n in range(10))))
    taken = [(await waiting.next("example.com")).held.batch.lane for _ in range(10)]
    assert taken.count(Lane.BULK) == 2


async def test_mailings_of_a_lane_take_turns() -> None:
    waiting = backlog()
    waiting.add(jobs(1, Lane.BULK, *(f"a{n}@example.com" for n in range(4)), mailing_id=1))
    waiting.add(jobs(2, Lane.BULK, *(f"b{n}@example.com" for n in range(4)), mailing_id=2))
    taken = [(await waiting.next("example.com")).held.id for _ in range(8)]
    assert taken == [1, 2, 1, 2, 1, 2, 1, 2]


async def test_a_large_destination_does_not_keep_all_slots_from_a_small_one() -> None:
    waiting = backlog()
    waiting.add(jobs(1, Lane.BULK, *(f"a{n}@large.example" for n in range(100)), "b@small.example"))
    taken = [(await waiting.next("large.example")).address.domain for _ in range(30)]
    assert "small.example" in taken


async def test_a_slot_for_express_mail_waits_for_nothing_else() -> None:
    waiting = backlog()
    reserved = asyncio.create_task(waiting.next(None, only_express=True))
    await asyncio.sleep(0)
    waiting.add(jobs(1, Lane.POSTS, "a@example.com"))
    await asyncio.sleep(0.01)
    assert not reserved.done()
    waiting.add(jobs(2, Lane.EXPRESS, "b@example.com"))
    async with asyncio.timeout(5):
        assert (await reserved).held.id == 2
    assert len(waiting) == 1


async def test_a_limited_batch_is_one_slots_from_its_first_recipient_to_its_last() -> None:
    waiting = backlog()
    waiting.add(jobs(1, Lane.POSTS, "p@example.com"))
    waiting.add(jobs(2, Lane.BULK, "a@one.example", "b@one.example", "c@one.example", limit=BatchLimit("one.example")))
    assert len(waiting) == 2
    job: Job | None = await waiting.next(None)
    served = []
    while job is not None:
        served.append(job.address.local)
        is_last = waiting.is_last(job)
        job = waiting.next_of(job)
        assert is_last is (job is None)
    assert served == ["a", "b", "c"]
    assert len(waiting) == 1


async def test_a_limited_batch_for_a_full_host_is_set_aside_whole() -> None:
    waiting = backlog()
    waiting.add(jobs(1, Lane.BULK, "a@full.example", "b@full.example", limit=BatchLimit("full.example")))
    waiting.add(jobs(2, Lane.POSTS, "c@other.example"))
    first = await waiting.next(None)
    waiting.set_aside(first, "mx.full.example")
    assert (waiting.set_aside_count, len(waiting)) == (1, 2)
    assert waiting.set_aside_in(tuple(Lane)) == 0, "it keeps nothing else away"
    assert waiting.next_of(first) is None
    assert (await waiting.next(None)).held.id == 2
    assert not waiting.has_for(None)
    waiting.has_room({"mx.full.example"})
    again = await waiting.next(None)
    following = waiting.next_of(again)
    assert following is not None
    assert [again.address.local, following.address.local] == ["a", "b"]


async def test_who_is_at_a_full_host_gets_its_mail_first_but_not_for_ever() -> None:
    waiting = backlog()
    waiting.add(jobs(1, Lane.BULK, *(f"a{n}@d{n}.example" for n in range(30))))
    for job in [await waiting.next(None) for _ in range(30)]:
        waiting.set_aside(job, "mx.full.example")
    waiting.add(jobs(2, Lane.BULK, "b@other.example"))
    taken = [(await waiting.next("d0.example", {"mx.full.example"})).held.id for _ in range(20)]
    assert 2 in taken


async def test_jobs_that_share_a_transaction_are_one_mailings_and_one_destinations() -> None:
    waiting = backlog()
    waiting.add(jobs(1, Lane.POSTS, "a@one.example", "b@two.example", "c@one.example", mailing_id=1))
    waiting.add(jobs(2, Lane.POSTS, "d@one.example", mailing_id=2))
    first = await waiting.next(None)
    assert [job.address.local for job in waiting.more_like(first, 10, lambda: True)] == ["c"]
    assert len(waiting) == 2
    assert waiting.more_like(first, 10, lambda: True) == []
    assert {(await waiting.next(None)).address.local for _ in range(2)} == {"b", "d"}


async def test_what_is_left_of_a_limited_batch_can_be_taken_back() -> None:
    waiting = backlog()
    limit = BatchLimit("one.example")
    waiting.add(jobs(1, Lane.BULK, "a@one.example", "b@one.example", "c@one.example", limit=limit))
    waiting.add(jobs(2, Lane.BULK, "d@one.example", limit=limit))
    first = await waiting.next(None)
    assert [job.address.local for job in waiting.remove(lambda job: job.address.local in "bd")] == ["d", "b"]
    assert len(waiting) == 0
    assert [job.address.local for job in waiting.rest_of(first)] == ["c"]
    assert waiting.next_of(first) is None


def test_the_brokers_message_is_acknowledged_once_when_nothing_is_unstarted() -> None:
    acknowledged: list[int] = []
    batch = held(7, Lane.POSTS, ["a@example.com", "b@example.com"], acknowledged)
    batch.leave_unstarted(1)
    assert acknowledged == []
    batch.leave_unstarted(2)
    batch.leave_unstarted(2)
    assert acknowledged == [7]


def test_a_batch_that_was_forgotten_is_not_acknowledged_again() -> None:
    acknowledged: list[int] = []
    batch = held(7, Lane.POSTS, ["a@example.com"], acknowledged)
    batch.unstarted.clear()
    batch.leave_unstarted(1)
    assert acknowledged == []
