"""Scheduled tasks through the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.contracts.commands import RunTask
from tests.fakes.admin_client import AdminClient, admin_client, let_in

PURGE = {"name": "Old runs", "kind": "purge", "parameters": {"run_days": 30}, "cron": "30 2 * * *"}


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[AdminClient]:
    async with admin_client(database_url, sync_places={"files.test"}) as client:
        await let_in(client)
        yield client
        for task in (await client.get("/tasks")).json()["items"]:
            await client.delete(f"/tasks/{task['id']}")


async def made(api: AdminClient, **changes: Any) -> Any:
    answer = await api.post("/tasks", json=PURGE | changes)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def execute(api: AdminClient, statement: str) -> None:
    async with api.database.raw() as connection:
        await connection.execute(statement)


async def test_a_task_is_made_shown_and_forgotten(api: AdminClient) -> None:
    task = await made(api, time_zone="Europe/Berlin")
    assert task["kind"] == "purge"
    assert task["parameters"] == {"run_days": 30}
    assert (task["is_enabled"], task["missed"], task["latest_run"]) == (True, "run_once", None)
    due_at = datetime.fromisoformat(task["next_due_at"])
    assert timedelta() < due_at - datetime.now(UTC) <= timedelta(hours=26)
    assert (await api.get(f"/tasks/{task['id']}")).json() == task
    assert (await api.get("/tasks")).json() == {"items": [task], "next": None}
    assert (await api.delete(f"/tasks/{task['id']}")).status_code == 204
    assert (await api.get(f"/tasks/{task['id']}")).status_code == 404
    assert (await api.get(f"/tasks/{task['id']}/runs")).status_code == 404


async def test_tasks_come_in_pages(api: AdminClient) -> None:
    ids = [(await made(api))["id"] for _ in range(3)]
    first = (await api.get("/tasks", params={"limit": 2})).json()
    second = (await api.get("/tasks", params={"limit": 2, "after": first["next"]})).json()
    assert [task["id"] for task in first["items"] + second["items"]] == ids


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"cron": "61 * * * *"}, "#/cron"),
        ({"cron": "0 0 30 2 *"}, "#/cron"),
        ({"time_zone": "Europe/Atlantis"}, "#/time_zone"),
        ({"time_zone": "../../etc/passwd"}, "#/time_zone"),
        ({"kind": "format_disk"}, "#/kind"),
        ({"at": "2126-01-01T00:00:00Z"}, "#"),
        ({"cron": None}, "#"),
        ({"cron": None, "at": "2020-01-01T00:00:00Z"}, "#/at"),
        ({"cron": None, "at": "2126-01-01T00:00:00"}, "#/at"),
        ({"parameters": {"run_days": 0}}, "#/parameters/run_days"),
        ({"parameters": {"run_days": "soon"}}, "#/parameters/run_days"),
        ({"parameters": {"everything": True}}, "#/parameters/everything"),
        ({"parameters": {}}, "#/parameters"),
        ({"kind": "member_sync", "parameters": {"list": "a@b.test", "url": "https://evil.test/"}}, "#/parameters/url"),
        ({"kind": "member_sync", "parameters": {"list": "a@b.test", "url": "file:///etc/passwd"}}, "#/parameters/url"),
        ({"kind": "member_sync", "parameters": {"list": "a b", "url": "https://files.test/"}}, "#/parameters/list"),
        ({"missed": "never"}, "#/missed"),
        ({"name": "two\nlines"}, "#/name"),
        ({"name": ""}, "#/name"),
        ({"node": "scheduler-1"}, "#/node"),
    ],
)
async def test_what_is_wrong_with_a_task_is_named(api: AdminClient, changes: dict[str, Any], pointer: str) -> None:
    answer = await api.post("/tasks", json=PURGE | changes)
    assert answer.status_code == 422
    assert pointer in [error.get("pointer") for error in answer.json()["errors"]], answer.text
    assert (await api.get("/tasks")).json()["items"] == []


async def test_members_are_read_from_hosts_that_the_operator_allows(api: AdminClient) -> None:
    parameters = {"list": "news@lists.test", "url": "https://files.test/members.csv", "preview": True}
    task = await made(api, kind="member_sync", parameters=parameters)
    assert task["parameters"] == parameters


async def test_a_task_is_paused_and_goes_on(api: AdminClient) -> None:
    task = await made(api)
    path = f"/tasks/{task['id']}"
    paused = (await api.patch(path, json={"is_enabled": False})).json()
    assert (paused["is_enabled"], paused["next_due_at"]) == (False, None)
    resumed = (await api.patch(path, json={"is_enabled": True})).json()
    assert resumed["next_due_at"] == task["next_due_at"]


async def test_a_tasks_schedule_and_parameters_are_changed(api: AdminClient) -> None:
    task = await made(api)
    path = f"/tasks/{task['id']}"
    at = "2126-01-01T00:00:00Z"
    changed = (await api.patch(path, json={"at": at, "name": "Once", "parameters": {"delivery_days": 90}})).json()
    assert (changed["cron"], changed["at"], changed["next_due_at"]) == (None, at, at)
    assert (changed["name"], changed["parameters"]) == ("Once", {"delivery_days": 90})
    changed = (await api.patch(path, json={"cron": "0 0 1 1 *", "time_zone": "America/New_York"})).json()
    assert changed["at"] is None
    assert changed["next_due_at"].endswith("-01-01T05:00:00Z")
    for wrong in (
        {"cron": None},
        {"cron": "x"},
        {"parameters": {"x": 1}},
        {"kind": "purge"},
        {"at": at, "cron": "* * * * *"},
    ):
        assert (await api.patch(path, json=wrong)).status_code == 422, wrong
    assert (await api.patch("/tasks/99999999", json={})).status_code == 404


async def test_what_ran_once_does_not_run_again_when_it_goes_on(api: AdminClient) -> None:
    at = (datetime.now(UTC) - timedelta(seconds=2)).isoformat()
    task = await made(api, cron=None, at=at)
    assert task["next_due_at"] is not None, "a client's clock may be a little behind"
    async with api.database.raw() as connection:
        await connection.execute(
            "INSERT INTO task_runs (task_id, due_at, state, ended_at) SELECT id, at, 'succeeded', now() FROM tasks"
        )
    path = f"/tasks/{task['id']}"
    await api.patch(path, json={"is_enabled": False})
    assert (await api.patch(path, json={"is_enabled": True})).json()["next_due_at"] is None


async def test_somebody_asks_for_a_run(api: AdminClient) -> None:
    task = await made(api, is_enabled=False)
    path = f"/tasks/{task['id']}"
    answer = await api.post(f"{path}/run")
    assert answer.status_code == 202
    run = answer.json()
    assert (run["state"], run["is_asked_for"], run["node"], run["failures"]) == ("waiting", True, None, 0)
    assert api.published == [("tasks.scheduled", RunTask(run["id"]))]
    assert (await api.post(f"{path}/run")).status_code == 409
    assert (await api.get(f"{path}/runs")).json() == {"items": [run], "next": None}
    assert (await api.get(path)).json()["latest_run"] == run
    assert (await api.post("/tasks/99999999/run")).status_code == 404


async def test_a_run_that_failed_is_shown_with_its_error_and_when_it_is_tried_again(api: AdminClient) -> None:
    task = await made(api)
    await api.post(f"/tasks/{task['id']}/run")
    await execute(
        api,
        "UPDATE task_runs SET failures = 1, error = 'There is no list.', node_name = 'scheduler-1',"
        " free_at = now() + interval '30 s'",
    )
    (run,) = (await api.get(f"/tasks/{task['id']}/runs")).json()["items"]
    assert (run["state"], run["error"], run["node"], run["failures"]) == (
        "waiting",
        "There is no list.",
        "scheduler-1",
        1,
    )
    assert run["again_at"] is not None


async def test_the_description_has_every_kinds_parameters(api: AdminClient) -> None:
    description = (await api.get("http://api/openapi.json")).json()
    schemas = description["components"]["schemas"]
    assert "days" in schemas["PurgeParameters"]["properties"]["run_days"]["description"]
    (reference,) = [
        option["$ref"]
        for option in schemas["NewTask"]["properties"]["parameters"]["anyOf"]
        if option["$ref"].endswith("/PurgeParameters")
    ]
    assert reference
