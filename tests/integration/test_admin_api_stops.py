"""Stopping and sending again by API: answers, what the nodes are told, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.contracts.commands import ExpandMailing
from shared.contracts.events import AddressSuppressed, DeliveriesCancelled, MailingChanged, MailReceived
from shared.contracts.topology import encode
from shared.core.mailing import TargetKind
from shared.store import choosing, handling, mailings, messages, parked
from shared.store.claims import ClaimedBatch
from shared.store.engine import RawConnection
from shared.store.messages import NewTarget
from tests.fakes.admin_client import AdminClient, admin_client, let_in
from tests.integration import stored
from tests.integration.stored import DEFERRED, DELIVERED, REFUSED, UNKNOWN, record, report


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[RawConnection]:
    async with stored.connected(database_url) as connection:
        await stored.empty(connection)
        yield connection
        await stored.assert_consistent(connection)


@pytest.fixture
async def api(database_url: str, connection: RawConnection) -> AsyncIterator[AdminClient]:
    async with admin_client(database_url) as client:
        await let_in(client)
        yield client


@pytest.fixture
async def batch(connection: RawConnection) -> ClaimedBatch:
    """Six recipients in a node's hands: delivered, refused, deferred, unknown, and two without an outcome."""
    claimed = await stored.claimed_mailing(connection, 6, await stored.new_lease(connection))
    pairs = zip(claimed.recipients, [DELIVERED, REFUSED, DEFERRED, UNKNOWN], strict=False)
    await record(connection, [report(claimed, *pair) for pair in pairs], {claimed.id: 2})
    return claimed


async def counts(api: AdminClient, mailing_id: int) -> dict[str, int]:
    mailing = (await api.get(f"/mailings/{mailing_id}")).json()
    names = ("open", "delivered", "refused", "unknown", "expired", "suppressed", "cancelled", "parked")
    return {name: mailing[name] for name in names if mailing[name]}


async def changed(api: AdminClient, path: str, **body: Any) -> int:
    answer = await api.post(path, json=body) if body else await api.post(path)
    assert answer.status_code == 200, answer.text
    return int(answer.json()["deliveries"])


async def test_pausing_resuming_and_cancelling_are_told_to_the_nodes(api: AdminClient, batch: ClaimedBatch) -> None:
    path = f"/mailings/{batch.mailing_id}"
    assert (await api.post(f"{path}/pause")).json()["is_paused"] is True
    assert (await api.post(f"{path}/resume")).json()["is_paused"] is False
    assert (await api.post(f"{path}/cancel")).json()["cancelled_at"] is not None
    assert api.announced == [MailingChanged(batch.mailing_id)] * 3
    assert (await api.post(f"{path}/deliveries/retry")).status_code == 409, "it is being cancelled"


async def test_a_last_moment_is_set_and_taken_back(api: AdminClient, batch: ClaimedBatch) -> None:
    path = f"/mailings/{batch.mailing_id}"
    moment = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    answer = await api.patch(path, json={"not_after_at": moment})
    assert datetime.fromisoformat(answer.json()["not_after_at"]) == datetime.fromisoformat(moment)
    assert (await api.patch(path, json={})).json()["not_after_at"] is not None
    assert (await api.patch(path, json={"not_after_at": None})).json()["not_after_at"] is None
    assert (await api.patch(path, json={"not_after": moment})).status_code == 422
    for wrong in (5, "5", True, "2026-11-23T20:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        assert (await api.patch(path, json={"not_after_at": wrong})).status_code == 422
    await api.patch(path, json={"not_after_at": "2020-01-01T00:00:00Z"})
    assert (await api.post(f"{path}/deliveries/retry")).status_code == 409


async def test_sending_again_leaves_out_what_is_delivered_unless_it_is_named(
    api: AdminClient, batch: ClaimedBatch
) -> None:
    path = f"/mailings/{batch.mailing_id}/deliveries"
    assert await changed(api, f"{path}/retry", outcome="refused", domain="other.example") == 0
    assert await changed(api, f"{path}/retry", outcome="refused", domain="EXAMPLE.com") == 1
    assert await counts(api, batch.mailing_id) == {"open": 5, "delivered": 1}
    assert await changed(api, f"{path}/retry") == 2, "deferred and unknown are tried now"
    assert await changed(api, f"{path}/retry", state=["delivered"]) == 1
    assert await counts(api, batch.mailing_id) == {"open": 6}
    refused: list[dict[str, Any]] = [{"domain": "a b"}, {"state": []}, {"state": ["gone"]}, {"node": "outbound-1"}]
    for wrong in refused:
        assert (await api.post(f"{path}/retry", json=wrong)).status_code == 422


async def test_one_delivery_is_sent_again(api: AdminClient, batch: ClaimedBatch) -> None:
    path = f"/mailings/{batch.mailing_id}/deliveries"
    delivered, refused = (f"{path}/{recipient.delivery_id}" for recipient in batch.recipients[:2])
    assert (await api.post(f"{delivered}/retry")).status_code == 409
    assert await changed(api, f"{delivered}/retry", even_delivered=True) == 1
    await api.post("/suppressions", json={"email": "MEMBER-2@example.com"})
    assert AddressSuppressed("member-2@example.com") in api.announced
    assert (await api.post(f"{refused}/retry")).status_code == 409, "nobody may mail it"
    assert (await api.post(f"{path}/999999/retry")).status_code == 404


async def test_deliveries_are_cancelled_by_what_they_came_to_and_one_by_one(
    api: AdminClient, batch: ClaimedBatch
) -> None:
    path = f"/mailings/{batch.mailing_id}/deliveries"
    assert await changed(api, f"{path}/cancel", outcome="deferred") == 1
    assert await counts(api, batch.mailing_id) == {"open": 3, "delivered": 1, "refused": 1, "cancelled": 1}
    in_hand = batch.recipients[4].delivery_id
    assert await changed(api, f"{path}/{in_hand}/cancel") == 1
    assert api.announced == [DeliveriesCancelled(batch.id, (in_hand,))]
    assert (await api.post(f"{path}/{batch.recipients[0].delivery_id}/cancel")).status_code == 409


async def test_a_page_by_state_says_how_to_go_on(
    api: AdminClient, batch: ClaimedBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "SCANNED_A_PAGE", 2)
    path = f"/mailings/{batch.mailing_id}/deliveries"
    seen, pages, after = [], 0, ""
    while True:
        page = (await api.get(path, params={"state": "open", "after": after})).json()
        seen += [delivery["id"] for delivery in page["items"]]
        pages += 1
        if page["next"] is None:
            break
        after = page["next"]
    assert seen == [recipient.delivery_id for recipient in batch.recipients[2:]]
    assert pages == 4


async def test_a_parked_payload_is_kept_once_and_goes_through_its_queue_again(
    api: AdminClient, connection: RawConnection
) -> None:
    body = encode(ExpandMailing(42))
    for because in ("ZeroDivisionError", "again"):
        await parked.keep_payload(connection, queue="tasks", because=because, body=body)
    await parked.keep_payload(connection, queue="tasks", because="unreadable", body=b"\xff")
    kept, unreadable = (await api.get("/parked")).json()["items"]
    assert (kept["kind"], kept["times"], kept["queue"], kept["body"]) == ("payload", 2, "tasks", body.decode())
    assert (await api.post(f"/parked/{kept['id']}/retry")).status_code == 202
    assert api.published == [("tasks", ExpandMailing(42))]
    assert (await api.post(f"/parked/{kept['id']}/retry")).status_code == 404
    assert (await api.post(f"/parked/{unreadable['id']}/retry")).status_code == 409
    await parked.keep_payload(connection, queue="tasks", because="still", body=body)
    assert [item["times"] for item in (await api.get("/parked")).json()["items"]] == [1, 1]


async def test_a_parked_message_that_is_tried_again_is_swept_again_too(
    api: AdminClient, connection: RawConnection
) -> None:
    message = stored.new_message(NewTarget("postmaster@lists.example.org", TargetKind.OPERATOR))
    await messages.store(connection, message)
    for _ in range(handling.MOST_BROKEN_OFF):
        await handling.count_broken_off(connection, message.id)
    event = MailReceived(str(message.id))
    await parked.keep_payload(connection, queue="tasks.express", because="broken off", body=encode(event))
    (kept,) = (await api.get("/parked")).json()["items"]
    assert (await api.post(f"/parked/{kept['id']}/retry")).status_code == 202
    assert api.published == [("tasks.express", event)]
    await connection.execute("UPDATE messages SET publish_due_at = publish_due_at - interval '6 s'")
    assert await handling.publish_due(connection) == [message.id], "should the broker lose it now"


async def test_a_parked_delivery_is_listed_until_it_is_sent_again(api: AdminClient, connection: RawConnection) -> None:
    mailing_id = await stored.new_mailing(connection, 2)
    for _ in range(5):
        lease = await stored.new_lease(connection)
        await connection.execute("UPDATE outstanding SET due_at = now()")
        for batch_id in await stored.release_all(connection, mailing_id):
            assert await stored.claim(connection, batch_id, lease) is not None
        await stored.lose(connection, lease)
    await mailings.finish(connection)
    first, second = (await api.get("/parked")).json()["items"]
    assert (first["kind"], first["recipient"], first["mailing_id"]) == ("delivery", "Member-1@example.com", mailing_id)
    assert (await api.post(f"/parked/{first['id']}/retry")).status_code == 202
    assert await counts(api, mailing_id) == {"open": 1, "parked": 1}
    assert await changed(api, f"/mailings/{mailing_id}/deliveries/{second['delivery_id']}/retry") == 1
    assert (await api.get("/parked")).json()["items"] == []
    assert len(await stored.release_all(connection, mailing_id)) == 1, "their deaths are forgotten"


async def test_a_list_has_waits_and_an_age_of_its_own(api: AdminClient) -> None:
    new = {"name": "patient", "domain": "example.org", "retry_schedule_seconds": [60, 600]}
    made = (await api.post("/lists", json=new)).json()
    assert (made["retry_schedule_seconds"], made["give_up_after_seconds"]) == ([60, 600], None)
    path = f"/lists/{made['address']}"
    change = {"give_up_after_seconds": 86400, "retry_schedule_seconds": None}
    kept = (await api.patch(path, json=change)).json()
    assert (kept["retry_schedule_seconds"], kept["give_up_after_seconds"]) == (None, 86400)
    refused: list[dict[str, Any]] = [
        {"retry_schedule_seconds": []},
        {"retry_schedule_seconds": [0]},
        {"give_up_after_seconds": 0},
    ]
    for wrong in refused:
        assert (await api.patch(path, json=wrong)).status_code == 422


async def test_a_member_who_is_removed_gets_nothing_more(
    api: AdminClient, connection: RawConnection, batch: ClaimedBatch
) -> None:
    address = await connection.fetchval("SELECT name || '@' || domain FROM mailing_lists")
    first, second = batch.recipients[4:]
    assert (await api.delete(f"/lists/{address}/members/{first.address}")).status_code == 204
    path = f"/lists/{address}/members/{second.address}"
    assert (await api.patch(path, json={"status": "unsubscribed"})).status_code == 200
    marked = "SELECT array_agg(delivery_id ORDER BY delivery_id) FROM outstanding WHERE is_cancelled"
    assert await connection.fetchval(marked) == [first.delivery_id, second.delivery_id]
