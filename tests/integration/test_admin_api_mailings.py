from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from shared.contracts.topology import Lane
from shared.core.delivery import Outcome, OutcomeKind
from shared.core.mailing import MailingKind, TargetKind, TargetState
from shared.core.node import NodeKind
from shared.core.smtp_reply import Reply
from shared.store import claims, expansion, handling, mailings, messages, nodes, release
from shared.store.messages import NewMessage, NewTarget
from shared.store.outcomes import Report, record_outcomes
from tests.fakes.admin_client import AdminClient, admin_client, let_in


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[AdminClient]:
    async with admin_client(database_url) as client:
        await let_in(client)
        yield client


async def _post(api: AdminClient, address: str, list_id: int) -> UUID:
    """A message to the list, as ingress stores it."""
    message = NewMessage(
        id=uuid4(),
        content=b"Subject: Hello\r\n\r\nHello.\r\n",
        envelope_sender="ann@example.com",
        message_id="<1@example.com>",
        subject="Hello",
        fingerprint=uuid4().bytes,
        peer="192.0.2.1",
        targets=(
            NewTarget(address, TargetKind.LIST, list_id),
            NewTarget("other@example.org", TargetKind.LIST, None, TargetState.REFUSED, "not a member"),
        ),
    )
    async with api.database.raw() as connection:
        await messages.store(connection, message)
    return message.id


async def _list_id(api: AdminClient, address: str) -> int:
    name, _, domain = address.partition("@")
    async with api.database.raw() as connection:
        return int(
            await connection.fetchval("SELECT id FROM mailing_lists WHERE name = $1 AND domain = $2", name, domain)
        )


async def _distribute(api: AdminClient, message_id: UUID, address: str, list_id: int) -> int:
    """The mailing of the message, with its deliveries made."""
    async with api.database.raw_transaction() as connection:
        mailing_id = await mailings.create(
            connection,
            kind=MailingKind.POST,
            lane=Lane.POSTS,
            message_id=message_id,
            list_id=list_id,
            return_domain="example.org",
            subject="Hello",
            expand_again_after_seconds=60,
        )
        await handling.decide(connection, message_id, address, TargetState.DISTRIBUTED, mailing_id=mailing_id)
        await expansion.expand_page(connection, mailing_id, page_size=100, expand_again_after_seconds=60)
    return mailing_id


async def _send(api: AdminClient, mailing_id: int, outcomes: dict[str, Outcome]) -> None:
    """One attempt at each of the recipients."""
    async with api.database.raw() as connection:
        lease = await nodes.register(connection, NodeKind.OUTBOUND, f"outbound-of-{mailing_id}")
        assert lease is not None
        (batch_id,) = await release.make_batches(
            connection, Lane.POSTS, mailing_id, recipients=100, batch_size=100, publish_after_seconds=60
        )
        token = uuid4()
        batch = await claims.claim(
            connection, batch_id, lease=lease.incarnation, node_name=lease.name, token=token, at_most=100
        )
        assert batch is not None
        reports = [
            Report(
                batch_id=batch_id,
                claim=token,
                mailing_created_at=batch.mailing_created_at,
                delivery_id=recipient.delivery_id,
                round=recipient.round,
                attempt=recipient.attempt,
                outcome=outcomes[recipient.address],
                retry_after_seconds=600,
            )
            for recipient in batch.recipients
        ]
        await record_outcomes(connection, reports, {batch_id: 0}, node_name=lease.name)


async def test_what_became_of_a_250_is_told_from_the_message_to_the_remotes_own_words(api: AdminClient) -> None:
    address = await api.new_list()
    for email in ("Ann@example.com", "bob@example.com", "carl@example.com", "never@example.com"):
        await api.post(f"/lists/{address}/members", json={"email": email})
    await api.post("/suppressions", json={"email": "never@example.com"})
    list_id = await _list_id(api, address)
    message_id = await _post(api, address, list_id)

    received = (await api.get(f"/messages/{message_id}")).json()
    assert {target["address"]: target["state"] for target in received["targets"]} == {
        address: "received",
        "other@example.org": "refused",
    }
    mailing_id = await _distribute(api, message_id, address, list_id)
    await _send(
        api,
        mailing_id,
        {
            "Ann@example.com": Outcome(OutcomeKind.DELIVERED, "sent", Reply(250, "2.0.0 queued as 7"), "mx.example"),
            "bob@example.com": Outcome(OutcomeKind.REFUSED, "RCPT", Reply(550, "5.1.1 no such user"), "mx.example"),
            "carl@example.com": Outcome(OutcomeKind.DEFERRED, "connection refused"),
        },
    )

    message = (await api.get(f"/messages/{message_id}")).json()
    assert (message["envelope_sender"], message["subject"], message["size_bytes"]) == ("ann@example.com", "Hello", 26)
    target = next(target for target in message["targets"] if target["address"] == address)
    assert (target["state"], target["mailing_id"]) == ("distributed", mailing_id)

    mailing = (await api.get(f"/mailings/{mailing_id}")).json()
    assert (mailing["list"], mailing["message_id"], mailing["kind"]) == (address, str(message_id), "post")
    counts = {name: mailing[name] for name in ("recipients", "open", "delivered", "refused", "suppressed", "parked")}
    assert counts == {"recipients": 4, "open": 1, "delivered": 1, "refused": 1, "suppressed": 1, "parked": 0}

    page = (await api.get(f"/mailings/{mailing_id}/deliveries")).json()
    found = {delivery["recipient"]: delivery for delivery in page["items"]}
    assert {recipient: delivery["state"] for recipient, delivery in found.items()} == {
        "Ann@example.com": "delivered",
        "bob@example.com": "refused",
        "carl@example.com": "open",
        "never@example.com": "suppressed",
    }
    (attempt,) = found["bob@example.com"]["attempts"]
    assert (attempt["reply_code"], attempt["reply_text"]) == (550, "5.1.1 no such user")
    assert (attempt["round"], attempt["attempt"], attempt["node"]) == (1, 1, f"outbound-of-{mailing_id}")
    (attempt,) = found["carl@example.com"]["attempts"]
    assert (attempt["because"], attempt["reply_code"], attempt["remote_host"]) == ("connection refused", None, None)
    assert datetime.fromisoformat(found["carl@example.com"]["due_at"]) > datetime.now(UTC)
    assert found["never@example.com"]["attempts"] == []


async def test_deliveries_are_paged_and_picked_by_state(api: AdminClient) -> None:
    address = await api.new_list()
    emails = [f"m{number}@example.com" for number in range(5)]
    for email in emails:
        await api.post(f"/lists/{address}/members", json={"email": email})
    list_id = await _list_id(api, address)
    mailing_id = await _distribute(api, await _post(api, address, list_id), address, list_id)
    delivered = Outcome(OutcomeKind.DELIVERED, "sent", Reply(250, "ok"), "mx.example")
    refused = Outcome(OutcomeKind.REFUSED, "RCPT", Reply(550, "no"), "mx.example")
    await _send(api, mailing_id, dict.fromkeys(emails, delivered) | {emails[1]: refused})
    path = f"/mailings/{mailing_id}/deliveries"

    seen: list[str] = []
    after = ""
    while True:
        page = (await api.get(path, params={"limit": 2, "after": after, "state": ["delivered", "open"]})).json()
        seen += [delivery["recipient"] for delivery in page["items"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert seen == [email for email in emails if email != emails[1]]
    (only,) = (await api.get(path, params={"state": "refused"})).json()["items"]
    assert only["recipient"] == emails[1]


async def test_mailings_come_newest_first(api: AdminClient) -> None:
    address = await api.new_list()
    list_id = await _list_id(api, address)
    made = [await _distribute(api, await _post(api, address, list_id), address, list_id) for _ in range(3)]
    first = (await api.get("/mailings", params={"limit": 2})).json()
    second = (await api.get("/mailings", params={"limit": 2, "after": first["next"]})).json()
    assert [mailing["id"] for page in (first, second) for mailing in page["items"]][:3] == made[::-1]


async def test_a_mailing_or_message_that_is_not_there_is_404(api: AdminClient) -> None:
    for path in ("/mailings/999999", "/mailings/999999/deliveries", f"/messages/{uuid4()}"):
        assert (await api.get(path)).status_code == 404
