"""Keys that sign mail: made, published, found in the DNS, used, followed by others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from deploy.local.dns_server import dns_server, txt
from services.admin_api.routes.dkim_keys import KeyRoom
from services.admin_api.wiring import _look_up
from services.outbound_sender import key_ring
from services.outbound_sender.key_ring import KeyRing
from shared.dns.resolver import Resolver
from shared.mail.dkim_keys import record_text
from shared.store import dkim_keys
from shared.store.dkim_keys import ActiveKey
from shared.store.sealing import CannotBeOpened
from tests.fakes.admin_client import AdminClient, admin_client, let_in

SECRET = b"sixteen octets or more"
DOMAIN = "example.org"


@pytest.fixture
def records() -> dict[tuple[str, str], list[str] | str]:
    """What stands in the DNS; a test may change it at any time."""
    return {}


@pytest.fixture
async def api(database_url: str, records: dict[tuple[str, str], list[str] | str]) -> AsyncIterator[AdminClient]:
    async with dns_server(records) as server:
        resolver = Resolver(("127.0.0.1", server.port), lifetime_seconds=1, cache_size=0)

        async def look_up(name: str) -> Any:
            return await _look_up(resolver, name)

        async with admin_client(database_url, KeyRoom(SECRET, look_up)) as client:
            await let_in(client)
            await client.new_list()
            yield client


async def made(api: AdminClient, **more: str) -> dict[str, Any]:
    answer = await api.post("/dkim-keys", json={"domain": DOMAIN, **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def publish(records: dict[tuple[str, str], list[str] | str], key: dict[str, Any]) -> None:
    records[key["record"]["name"], "TXT"] = [txt(key["record"]["text"])]


async def checked(api: AdminClient, key: dict[str, Any]) -> dict[str, Any]:
    answer = await api.post(f"/dkim-keys/{key['id']}/check")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def activated(api: AdminClient, records: dict[tuple[str, str], list[str] | str], **more: str) -> dict[str, Any]:
    key = await made(api, **more)
    publish(records, key)
    assert (await checked(api, key))["is_published"]
    answer = await api.post(f"/dkim-keys/{key['id']}/activate")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def state_of(api: AdminClient, key: dict[str, Any]) -> str:
    return str((await api.get(f"/dkim-keys/{key['id']}")).json()["state"])


def ring(api: AdminClient, secret: bytes = SECRET) -> KeyRing:
    async def load(domain: str) -> list[ActiveKey]:
        async with api.database.raw() as connection:
            return list(await dkim_keys.active(connection, domain))

    return KeyRing(load, secret)


async def test_a_key_is_made_with_the_record_that_is_to_stand_in_the_dns(api: AdminClient) -> None:
    key = await made(api, selector="first")
    assert (key["state"], key["algorithm"], key["domain"]) == ("made", "rsa-sha256", DOMAIN)
    assert key["record"]["name"] == "first._domainkey.example.org"
    assert key["record"]["text"].startswith("v=DKIM1; k=rsa; p=MIIBIjANBgkq")
    strings = key["record"]["zone_line"].partition("(")[2].split('"')[1::2]
    assert "".join(strings) == key["record"]["text"]
    assert max(map(len, strings)) <= 255
    assert (await api.get(f"/dkim-keys/{key['id']}")).json() == key
    assert (await api.post("/dkim-keys", json={"domain": DOMAIN, "selector": "first"})).status_code == 409
    listed = (await api.get("/dkim-keys", params={"domain": "EXAMPLE.org", "limit": 1000})).json()["items"]
    assert key in listed
    assert (await api.get("/dkim-keys", params={"domain": "other.test"})).json()["items"] == []


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"domain": "nobodys.test"}, "#/domain"),
        ({"domain": "a b"}, "#/domain"),
        ({"selector": "a.b"}, "#/selector"),
        ({"selector": "a\r\nb"}, "#/selector"),
        ({"algorithm": "rsa-sha1"}, "#/algorithm"),
    ],
)
async def test_a_wrong_key_is_refused(api: AdminClient, wrong: dict[str, str], pointer: str) -> None:
    answer = await api.post("/dkim-keys", json={"domain": DOMAIN, **wrong})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_a_key_is_not_used_before_it_was_found_in_the_dns(
    api: AdminClient, records: dict[tuple[str, str], list[str] | str]
) -> None:
    key = await made(api)
    assert (await api.post(f"/dkim-keys/{key['id']}/activate")).status_code == 409

    assert (await checked(api, key))["because"] == "There is no TXT record at this name."
    records[key["record"]["name"], "TXT"] = ['"v=DKIM1; p=AAAA"']
    found = await checked(api, key)
    assert (found["because"], found["found"]) == ("The record's p= is another key.", ["v=DKIM1; p=AAAA"])
    records[key["record"]["name"], "ANY"] = "SERVFAIL"
    assert (await api.post(f"/dkim-keys/{key['id']}/check")).status_code == 503
    del records[key["record"]["name"], "ANY"]
    assert await state_of(api, key) == "made"
    assert (await api.post(f"/dkim-keys/{key['id']}/activate")).status_code == 409

    publish(records, key)
    found = await checked(api, key)
    assert (found["is_published"], found["because"], found["key"]["state"]) == (True, None, "checked")
    assert (await api.post(f"/dkim-keys/{key['id']}/activate")).json()["state"] == "active"


async def test_a_new_key_takes_over_and_the_record_of_the_old_one_stays_shown(
    api: AdminClient, records: dict[tuple[str, str], list[str] | str]
) -> None:
    old = await activated(api, records)
    other_algorithm = await activated(api, records, algorithm="ed25519-sha256")
    new = await activated(api, records)
    assert [await state_of(api, key) for key in (old, other_algorithm, new)] == ["retired", "active", "active"]
    shown = (await api.get(f"/dkim-keys/{old['id']}")).json()
    assert shown["record"] == old["record"]
    assert shown["retired_at"] == new["activated_at"]
    assert (await api.post(f"/dkim-keys/{old['id']}/activate")).status_code == 409
    keys = await ring(api).keys(DOMAIN)
    assert {record_text(key) for key in keys} == {new["record"]["text"], other_algorithm["record"]["text"]}


async def test_of_two_keys_activated_at_once_one_is_active(
    api: AdminClient, records: dict[tuple[str, str], list[str] | str]
) -> None:
    await activated(api, records)
    both = [await made(api), await made(api)]
    for key in both:
        publish(records, key)
        await checked(api, key)
    answers = await asyncio.gather(*(api.post(f"/dkim-keys/{key['id']}/activate") for key in both))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert sorted([await state_of(api, key) for key in both]) == ["active", "retired"]


async def test_an_active_key_is_not_deleted(api: AdminClient, records: dict[tuple[str, str], list[str] | str]) -> None:
    key = await activated(api, records)
    assert (await api.delete(f"/dkim-keys/{key['id']}")).status_code == 409
    assert (await api.post(f"/dkim-keys/{key['id']}/retire")).json()["state"] == "retired"
    assert (await api.delete(f"/dkim-keys/{key['id']}")).status_code == 204
    for method, path in (("GET", ""), ("POST", "/check"), ("POST", "/activate"), ("POST", "/retire"), ("DELETE", "")):
        assert (await api.request(method, f"/dkim-keys/{key['id']}{path}")).status_code == 404


async def test_a_sender_learns_of_a_rotation_while_it_runs(
    api: AdminClient, records: dict[tuple[str, str], list[str] | str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await activated(api, records)
    sender = ring(api)
    before = await sender.keys(DOMAIN)
    assert old["selector"] in {key.selector for key in before}
    assert await sender.keys(DOMAIN) == before
    new = await activated(api, records)
    assert await sender.keys(DOMAIN) == before, "asked again only after some seconds"
    monkeypatch.setattr(key_ring, "KEPT_SECONDS", 0.0)
    selectors = {key.selector for key in await sender.keys(DOMAIN)}
    assert new["selector"] in selectors
    assert old["selector"] not in selectors
    assert key_ring.KEPT_SECONDS < 60


async def test_a_private_key_is_opened_by_its_owner_and_the_secret_only(
    api: AdminClient, records: dict[tuple[str, str], list[str] | str]
) -> None:
    key = await activated(api, records)
    async with api.database.raw() as connection:
        rows = await connection.fetch("SELECT * FROM dkim_keys WHERE id = $1", key["id"])
        assert b"\x30\x82" not in rows[0]["sealed_private_key"][:16], "not DER"
    with pytest.raises(CannotBeOpened):
        await ring(api, b"another secret, quite").keys(DOMAIN)
    async with api.database.raw() as connection:
        await connection.execute("UPDATE dkim_keys SET selector = 'moved' WHERE id = $1", key["id"])
    with pytest.raises(CannotBeOpened):
        await ring(api).keys(DOMAIN)
