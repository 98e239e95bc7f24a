from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.core.address import Address
from shared.core.subscription import RequestAction, RequestSource, RequestState
from shared.store import subscription_requests
from tests.fakes.admin_client import AdminClient, admin_client, let_in


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[AdminClient]:
    async with admin_client(database_url) as client:
        await let_in(client)
        yield client


async def pending(api: AdminClient, list_address: str, email: str) -> int:
    async with api.database.raw_transaction() as connection:
        name, _, domain = list_address.partition("@")
        list_id = await connection.fetchval(
            "SELECT id FROM mailing_lists WHERE name = $1 AND domain = $2", name, domain
        )
        request = await subscription_requests.add(
            connection, list_id, Address.parse(email), RequestAction.JOIN, RequestSource.WEB
        )
        await subscription_requests.move(connection, request.id, RequestState.PENDING)
    return request.id


async def notices_to(api: AdminClient, email: str) -> list[str]:
    async with api.database.raw() as connection:
        rows = await connection.fetch(
            "SELECT subject FROM mailings JOIN deliveries d ON d.mailing_id = mailings.id"
            " WHERE kind = 'notice' AND d.recipient = $1 ORDER BY mailings.id",
            email,
        )
    return [row["subject"] for row in rows]


async def test_what_waits_is_seen_approved_and_rejected(api: AdminClient) -> None:
    address = await api.new_list()
    path = f"/lists/{address}/subscription-requests"
    first, second = await pending(api, address, "ann@example.com"), await pending(api, address, "bob@example.com")
    page = (await api.get(path, params={"limit": 1})).json()
    assert [(row["id"], row["email"], row["state"]) for row in page["items"]] == [(first, "ann@example.com", "pending")]
    page = (await api.get(path, params={"after": page["next"]})).json()
    assert [row["id"] for row in page["items"]] == [second]

    approved = await api.post(f"{path}/{first}/approve")
    assert (approved.status_code, approved.json()["state"]) == (200, "done")
    assert (await api.get(f"/lists/{address}/members/ann@example.com")).json()["status"] == "subscribed"
    assert await notices_to(api, "ann@example.com") == [f"Welcome to {address}"]

    rejected = await api.post(f"{path}/{second}/reject", json={"reason": "Members of the club only."})
    assert (rejected.status_code, rejected.json()["state"]) == (200, "rejected")
    assert (await api.get(f"/lists/{address}/members/bob@example.com")).status_code == 404
    assert await notices_to(api, "bob@example.com") == [f"Your request to join {address}"]

    assert (await api.get(path)).json() == {"items": [], "next": None}
    for request_id in (first, second):
        assert (await api.post(f"{path}/{request_id}/approve")).status_code == 409
        assert (await api.post(f"{path}/{request_id}/reject", json={})).status_code == 409
    assert (await api.post(f"/lists/{await api.new_list()}/subscription-requests/{first}/approve")).status_code == 404


async def test_an_invitation_asks_the_address_whatever_the_policy(api: AdminClient) -> None:
    address = await api.new_list()
    assert (await api.get(f"/lists/{address}")).json()["subscription_policy"] == "confirm"
    assert (await api.patch(f"/lists/{address}", json={"subscription_policy": "invite"})).status_code == 200
    invited = await api.post(f"/lists/{address}/invitations", json={"email": "Cid@example.com"})
    assert (invited.status_code, invited.json()["state"]) == (201, "confirming")
    assert await notices_to(api, "Cid@example.com") == [f"Invitation to {address}"]
    again = await api.post(f"/lists/{address}/invitations", json={"email": "cid@EXAMPLE.com"})
    assert again.json()["state"] == "dropped"
    assert len(await notices_to(api, "Cid@example.com")) == 1
