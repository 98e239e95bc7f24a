"""Digests are turned on, and members choose their form."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.core.digest import MAX_ISSUE_BYTES
from tests.fakes.admin_client import AdminClient, admin_client, let_in


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[AdminClient]:
    async with admin_client(database_url) as client:
        await let_in(client)
        yield client


async def tasks_of(api: AdminClient, address: str) -> list[dict[str, Any]]:
    tasks = (await api.get("/tasks", params={"limit": "1000"})).json()["items"]
    return [task for task in tasks if task["parameters"].get("list", "").lower() == address]


async def test_a_list_that_turns_digests_on_has_a_daily_task_for_them(api: AdminClient) -> None:
    address = await api.new_list()
    assert await tasks_of(api, address) == []
    for is_on in (True, True, False, True):
        changed = await api.patch(f"/lists/{address}", json={"digests_enabled": is_on, "digest_size_bytes": 50_000})
        assert (changed.json()["digests_enabled"], changed.json()["digest_size_bytes"]) == (is_on, 50_000)
        [task] = await tasks_of(api, address)
    assert (task["kind"], task["is_enabled"], task["time_zone"]) == ("digest", True, "UTC")
    assert task["cron"].endswith(" 6 * * *")
    assert task["next_due_at"] is not None
    assert (await api.patch(f"/lists/{address}", json={"digest_size_bytes": None})).json()["digest_size_bytes"] is None


async def test_an_operators_own_task_is_enough(api: AdminClient) -> None:
    address = await api.new_list()
    own = {"name": "Weekly", "kind": "digest", "cron": "0 9 * * mon", "parameters": {"list": address.upper()}}
    assert (await api.post("/tasks", json={**own, "is_enabled": False})).status_code == 201
    await api.patch(f"/lists/{address}", json={"digests_enabled": True})
    assert [task["name"] for task in await tasks_of(api, address)] == ["Weekly"]


async def test_a_new_list_may_have_digests(api: AdminClient) -> None:
    made = await api.post("/lists", json={"name": "talk", "domain": "digests.example", "digests_enabled": True})
    assert made.json()["digests_enabled"] is True
    assert len(await tasks_of(api, "talk@digests.example")) == 1


@pytest.mark.parametrize("size", [0, 999, MAX_ISSUE_BYTES + 1, 1e6, "1000000"])
async def test_a_size_that_no_digest_can_have_is_refused(api: AdminClient, size: object) -> None:
    answer = await api.patch(f"/lists/{await api.new_list()}", json={"digest_size_bytes": size})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/digest_size_bytes"]


async def test_a_members_form_is_changed_and_an_import_leaves_it(api: AdminClient) -> None:
    address = await api.new_list()
    made = (await api.post(f"/lists/{address}/members", json={"email": "ann@example.com"})).json()
    assert made["digest_format"] == "mime"
    path = f"/lists/{address}/members/ann@example.com"
    changed = (await api.patch(path, json={"delivery_mode": "digest", "digest_format": "plain"})).json()
    assert (changed["delivery_mode"], changed["digest_format"]) == ("digest", "plain")
    assert (await api.patch(path, json={"digest_format": "html"})).status_code == 422
    changed = (await api.patch(path, json={"delivery_mode": "mail"})).json()
    assert (changed["delivery_mode"], changed["digest_format"]) == ("mail", "plain")


async def test_who_leaves_digests_is_known_whichever_way_it_is_said(api: AdminClient, connection: Any) -> None:
    address = await api.new_list()
    path = f"/lists/{address}/members/ann@example.com"
    await api.post(f"/lists/{address}/members", json={"email": "ann@example.com", "delivery_mode": "digest"})

    async def left() -> bool:
        return await connection.fetchval("SELECT left_digests_at IS NOT NULL FROM members")  # type: ignore[no-any-return]

    for mode in ("digest", "mail"):
        await api.patch(path, json={"delivery_mode": mode})
        assert await left() == (mode == "mail")
    await connection.execute("UPDATE members SET left_digests_at = NULL, delivery_mode = 'digest'")
    for mode in ("digest", "mail"):
        rows = f"email,delivery_mode\r\nann@example.com,{mode}\r\n"
        answer = await api.post(
            f"/lists/{address}/members/import", content=rows.encode(), headers={"Content-Type": "text/csv"}
        )
        assert answer.json()["updated"] == 1
        assert await left() == (mode == "mail")


async def test_a_lists_digests_are_shown_newest_first(api: AdminClient, connection: Any) -> None:
    address = await api.new_list()
    assert (await api.get(f"/lists/{address}/digests")).json() == {"items": [], "next": None}
    list_id = await connection.fetchval("SELECT id FROM mailing_lists")
    await connection.execute(
        """
        INSERT INTO digests (list_id, state, posts, size_bytes, volume, issue, closed_at, made_at)
        VALUES ($1, 'made', 2, 100, 1, 1, now(), now()), ($1, 'collecting', 1, 50, NULL, NULL, NULL, NULL)
        """,
        list_id,
    )
    answer = (await api.get(f"/lists/{address}/digests", params={"limit": "1"})).json()
    [newest] = answer["items"]
    assert (newest["state"], newest["volume"], newest["posts"], newest["mailing_ids"]) == ("collecting", None, 1, [])
    answer = (await api.get(f"/lists/{address}/digests", params={"after": answer["next"]})).json()
    assert [(found["state"], found["volume"], found["issue"]) for found in answer["items"]] == [("made", 1, 1)]
    assert answer["next"] is None
