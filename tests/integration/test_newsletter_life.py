"""A newsletter is scheduled, becomes exactly one mailing for each occurrence, and is taken back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.scheduler.clock import Clock
from services.scheduler.tasks.run_task import RunTasks
from shared.contracts.commands import ExpandMailing, RunTask
from shared.core.delivery import DeliveryState
from shared.store import expansion, leaving, member_imports, stops, task_runs
from shared.store.engine import Database, RawConnection, Record
from tests.fakes.admin_client import AdminClient, admin_client, let_in
from tests.fakes.kept_publisher import KeptPublisher
from tests.integration import stored
from tests.integration.newsletters_made import Composing, new_newsletter, starting


@pytest.fixture
async def api(database_url: str, connection: RawConnection) -> AsyncIterator[AdminClient]:
    async with admin_client(database_url) as client:
        await let_in(client)
        yield client


@pytest.fixture
def database(api: AdminClient) -> Database:
    return api.database


@pytest.fixture
def publisher() -> KeptPublisher:
    return KeptPublisher()


@pytest.fixture
def compose(database: Database) -> Composing:
    return Composing(database)


@pytest.fixture
def scheduler(database: Database, publisher: KeptPublisher, compose: Composing) -> RunTasks:
    return starting(database, publisher, compose)


@pytest.fixture
def clock(database: Database, publisher: KeptPublisher) -> Clock:
    return Clock(database, publisher, publish_within_seconds=5, republish_after_seconds=30)


async def asked(api: AdminClient, newsletter_id: int, what: str, status: int = 200, **body: Any) -> Any:
    """What the API answers to a step of the newsletter's life."""
    path = f"/newsletters/{newsletter_id}/{what}"
    answer = await (api.post(path, json=body) if body else api.post(path))
    assert answer.status_code == status, answer.text
    return answer.json()


async def due_runs(connection: RawConnection, clock: Clock) -> list[RunTask]:
    """The occurrences that are due now."""
    return [RunTask(run_id) for run_id in await clock.make_runs()]


async def run_row(connection: RawConnection, run: RunTask) -> Record:
    row = await connection.fetchrow("SELECT * FROM task_runs WHERE id = $1", run.run_id)
    assert row is not None
    return row


async def mailings(connection: RawConnection, newsletter_id: int) -> list[Record]:
    rows = await connection.fetch("SELECT * FROM mailings WHERE newsletter_id = $1 ORDER BY id", newsletter_id)
    return list(rows)


async def shown(api: AdminClient, newsletter_id: int) -> str:
    return str((await api.get(f"/newsletters/{newsletter_id}")).json()["state"])


def later(**how: float) -> str:
    return (datetime.now(UTC) + timedelta(**how)).isoformat()


async def test_a_draft_is_approved_unless_the_preflight_refuses_it(api: AdminClient, connection: RawConnection) -> None:
    newsletter_id = await new_newsletter(connection, await stored.new_list(connection, 1), state="draft")
    await connection.execute("UPDATE newsletters SET subject = 'For {{name'")
    refused = await asked(api, newsletter_id, "approve", 409)
    assert [error["pointer"] for error in refused["errors"]] == ["#/subject"]
    await connection.execute("UPDATE newsletters SET subject = 'For {{display_name|you}}'")
    approved = await asked(api, newsletter_id, "approve")
    assert (approved["state"], approved["approved_at"] is None) == ("approved", False)
    assert (await asked(api, newsletter_id, "approve"))["approved_at"] == approved["approved_at"]
    await asked(api, newsletter_id, "schedule", at=later(hours=1))
    assert (await asked(api, newsletter_id, "approve"))["state"] == "scheduled"
    await asked(api, newsletter_id, "cancel")
    await asked(api, newsletter_id, "approve", 409)
    await asked(api, 999_999, "approve", 404)


async def test_a_newsletter_that_is_started_becomes_a_mailing_to_its_members(
    api: AdminClient, connection: RawConnection, clock: Clock, scheduler: RunTasks, publisher: KeptPublisher
) -> None:
    list_id = await stored.new_list(connection, 3)
    await connection.execute("UPDATE mailing_lists SET tracking = 'full', subject_prefix = '[x] '")
    newsletter_id = await new_newsletter(connection, list_id)
    asked_for = await asked(api, newsletter_id, "start", 202)
    assert (asked_for["state"], asked_for["mailings"]) == ("scheduled", [])
    (run,) = await due_runs(connection, clock)
    await scheduler(run)
    (mailing,) = await mailings(connection, newsletter_id)
    assert publisher.published == [("tasks", ExpandMailing(mailing["id"]))]
    assert (mailing["kind"], mailing["lane"], mailing["tracking"]) == ("newsletter", "bulk", "full")
    assert (mailing["personal"], mailing["verp_enabled"], mailing["one_click"]) == (True, True, True)
    assert (mailing["list_ids"], mailing["subject_prefix"]) == ([list_id], "")
    result = json.loads((await run_row(connection, run))["result"])
    address = await connection.fetchval("SELECT name || '@' || domain FROM mailing_lists")
    assert result == {
        "mailing_id": mailing["id"],
        "lists": [address],
        "segment": None,
        "unopened_of_mailing_id": None,
    }
    await stored.expand_all(connection, mailing["id"])
    assert await stored.states(connection, mailing["id"]) == {"open": 3}
    assert (await asked(api, newsletter_id, "start", 409))["detail"].endswith("it is started.")


async def test_two_schedulers_at_one_occurrence_make_one_mailing(
    api: AdminClient,
    connection: RawConnection,
    clock: Clock,
    database: Database,
    publisher: KeptPublisher,
    compose: Composing,
) -> None:
    newsletter_id = await new_newsletter(connection, await stored.new_list(connection, 1))
    await asked(api, newsletter_id, "start", 202)
    (run,) = await due_runs(connection, clock)
    schedulers = [starting(database, publisher, compose, f"scheduler-{number}") for number in range(1, 5)]
    await asyncio.gather(*(each(run) for each in schedulers for _ in range(3)))
    assert len(await mailings(connection, newsletter_id)) == 1
    assert (await run_row(connection, run))["state"] == "succeeded"


@pytest.mark.parametrize("died", ["before the mailing", "after the mailing"])
async def test_a_scheduler_that_dies_in_between_leaves_one_mailing_to_the_next(
    api: AdminClient, connection: RawConnection, clock: Clock, scheduler: RunTasks, died: str
) -> None:
    newsletter_id = await new_newsletter(connection, await stored.new_list(connection, 1))
    await asked(api, newsletter_id, "start", 202)
    (run,) = await due_runs(connection, clock)
    if died == "before the mailing":
        await task_runs.claim(connection, run.run_id, token=uuid4(), node_name="scheduler-9", lease_seconds=30)
    else:
        await scheduler(run)
        # As if the word of its end had never come.
        await connection.execute(
            "UPDATE task_runs SET state = 'running', ended_at = NULL, result = NULL WHERE id = $1", run.run_id
        )
    before = await mailings(connection, newsletter_id)
    await connection.execute("UPDATE task_runs SET free_at = now() WHERE id = $1", run.run_id)
    await scheduler(run)
    after = await mailings(connection, newsletter_id)
    assert len(after) == 1
    assert [row["id"] for row in before] in ([], [after[0]["id"]])
    row = await run_row(connection, run)
    assert (row["state"], json.loads(row["result"])["mailing_id"]) == ("succeeded", after[0]["id"])


async def test_one_that_recurs_stays_scheduled_and_makes_a_mailing_each_time(
    api: AdminClient, connection: RawConnection, clock: Clock, scheduler: RunTasks
) -> None:
    newsletter_id = await new_newsletter(connection, await stored.new_list(connection, 1))
    scheduled = await asked(
        api, newsletter_id, "schedule", cron="0 9 * * *", time_zone="Europe/Berlin", not_after_seconds=7200
    )
    schedule = scheduled["schedule"]
    assert (schedule["time_zone"], schedule["not_after_seconds"]) == ("Europe/Berlin", 7200)
    for hours in (1, 0):
        await connection.execute("UPDATE tasks SET next_due_at = now() - make_interval(hours => $1)", hours)
        await connection.execute("UPDATE tasks SET cron = '* * * * *'")
        for run in await due_runs(connection, clock):
            await scheduler(run)
            await connection.execute("UPDATE task_runs SET due_at = due_at - interval '1 hour'")
            await connection.execute("UPDATE mailings SET occurrence_at = occurrence_at - interval '1 hour'")
    first, second = await mailings(connection, newsletter_id)
    assert first["message_id"] != second["message_id"]
    assert second["not_after_at"] - second["occurrence_at"] == timedelta(hours=3), "two, and the hour it was moved"
    standing = await asked(api, newsletter_id, "unschedule")
    assert (standing["state"], standing["schedule"]) == ("approved", None)
    assert [sent["mailing_id"] for sent in standing["mailings"]] == [second["id"], first["id"]]
    assert await connection.fetchval("SELECT count(*) FROM tasks") == 0


async def test_what_is_shown_follows_the_mailing(
    api: AdminClient, connection: RawConnection, clock: Clock, scheduler: RunTasks
) -> None:
    newsletter_id = await new_newsletter(connection, await stored.new_list(connection, 1))
    await asked(api, newsletter_id, "start", 202)
    for run in await due_runs(connection, clock):
        await scheduler(run)
    (mailing,) = await mailings(connection, newsletter_id)

    path = f"/mailings/{mailing['id']}"
    assert await shown(api, newsletter_id) == "running"
    await api.post(f"{path}/pause")
    assert await shown(api, newsletter_id) == "paused"
    await api.post(f"{path}/resume")
    assert await shown(api, newsletter_id) == "running"
    await connection.execute("UPDATE mailings SET state = 'finished'")
    assert await shown(api, newsletter_id) == "finished"
    await connection.execute("UPDATE mailings SET state = 'running'")
    await api.post(f"{path}/cancel")
    assert await shown(api, newsletter_id) == "cancelled"
    assert (await asked(api, newsletter_id, "cancel", 409))["detail"] == "It has started: cancel its mailing."


async def test_a_task_that_is_paused_or_deleted_leaves_the_newsletter_approved(
    api: AdminClient, connection: RawConnection, clock: Clock, scheduler: RunTasks
) -> None:
    newsletter_id = await new_newsletter(connection, await stored.new_list(connection, 1))
    scheduled = await asked(api, newsletter_id, "schedule", at=later(hours=1))
    task = f"/tasks/{scheduled['schedule']['task_id']}"
    await api.patch(task, json={"is_enabled": False})
    assert await shown(api, newsletter_id) == "approved"
    await api.patch(task, json={"is_enabled": True})
    assert await shown(api, newsletter_id) == "scheduled"
    assert (await api.delete(task)).status_code == 204
    assert await shown(api, newsletter_id) == "approved"
    await asked(api, newsletter_id, "start", 202)
    for run in await due_runs(connection, clock):
        await scheduler(run)
    assert len(await mailings(connection, newsletter_id)) == 1


async def test_a_schedule_takes_the_place_of_the_one_before(
    api: AdminClient, connection: RawConnection, clock: Clock, scheduler: RunTasks
) -> None:
    newsletter_id = await new_newsletter(connection, await stored.new_list(connection, 1))
    await asked(api, newsletter_id, "start", 202)
    (run,) = await due_runs(connection, clock)
    # It was due already, and nobody had begun: it is not sent now.
    await asked(api, newsletter_id, "schedule", at=later(hours=1), not_after_at=later(hours=2))
    await scheduler(run)
    assert await due_runs(connection, clock) == []
    assert await mailings(connection, newsletter_id) == []
    assert await connection.fetchval("SELECT count(*) FROM tasks") == 1


async def test_a_newsletter_that_is_not_approved_any_more_is_not_sent(
    api: AdminClient, connection: RawConnection, clock: Clock, scheduler: RunTasks
) -> None:
    newsletter_id = await new_newsletter(connection, await stored.new_list(connection, 1))
    await asked(api, newsletter_id, "start", 202)
    (run,) = await due_runs(connection, clock)
    await connection.execute("UPDATE newsletters SET state = 'draft'")
    await scheduler(run)
    row = await run_row(connection, run)
    assert (row["state"], row["failures"]) == ("failed", 1), "to try again is of no use"
    assert row["error"] == "The newsletter is not approved: it is draft."
    assert await mailings(connection, newsletter_id) == []


async def test_a_task_made_by_hand_sends_a_newsletter_that_has_none(
    api: AdminClient, connection: RawConnection, clock: Clock, scheduler: RunTasks
) -> None:
    newsletter_id = await new_newsletter(connection, await stored.new_list(connection, 1))
    task = {"name": "Now", "kind": "start_newsletter", "parameters": {"newsletter_id": newsletter_id}}
    for at in (later(), later(seconds=-2)):
        assert (await api.post("/tasks", json=task | {"at": at})).status_code == 201
    runs = await due_runs(connection, clock)
    for run in runs:
        await scheduler(run)
    first, second = [await run_row(connection, run) for run in runs]
    assert (first["state"], second["state"]) == ("succeeded", "failed")
    assert second["error"] == "The newsletter is not approved: it is started."
    assert len(await mailings(connection, newsletter_id)) == 1
    assert await shown(api, newsletter_id) == "running"
    wrong = await api.post("/tasks", json=task | {"at": later(), "parameters": {"newsletter_id": 0}})
    assert wrong.status_code == 422


async def test_an_edit_takes_the_schedule_away(api: AdminClient, connection: RawConnection) -> None:
    newsletter_id = await new_newsletter(connection, await stored.new_list(connection, 1))
    path = f"/newsletters/{newsletter_id}"
    await asked(api, newsletter_id, "schedule", at=later(hours=1))
    renamed = (await api.patch(path, json={"name": "Of October"})).json()
    assert (renamed["state"], renamed["schedule"] is None) == ("scheduled", False)
    edited = (await api.patch(path, json={"subject": "Another"})).json()
    assert (edited["state"], edited["schedule"]) == ("draft", None)
    assert await connection.fetchval("SELECT count(*) FROM tasks") == 0


async def test_what_is_too_late_is_not_sent(
    api: AdminClient, connection: RawConnection, clock: Clock, scheduler: RunTasks
) -> None:
    newsletter_id = await new_newsletter(connection, await stored.new_list(connection, 1))
    await asked(api, newsletter_id, "start", 202, not_after_at=later(hours=1))
    await connection.execute("UPDATE newsletters SET not_after_at = now() - interval '1 s'")
    (run,) = await due_runs(connection, clock)
    await scheduler(run)
    assert (await run_row(connection, run))["error"] == "It was not to be sent any more at this time."
    assert await mailings(connection, newsletter_id) == []


async def test_one_that_is_changed_while_it_is_composed_is_composed_anew(
    api: AdminClient, connection: RawConnection, clock: Clock, database: Database, publisher: KeptPublisher
) -> None:
    newsletter_id = await new_newsletter(connection, await stored.new_list(connection, 1))

    class Meddled(Composing):
        async def __call__(self, newsletter_id: int) -> Any:
            composed = await super().__call__(newsletter_id)
            if self.times == 1:
                await connection.execute("UPDATE newsletters SET updated_at = clock_timestamp()")
            return composed

    compose = Meddled(database)
    await asked(api, newsletter_id, "start", 202)
    (run,) = await due_runs(connection, clock)
    await starting(database, publisher, compose)(run)
    assert (compose.times, len(await mailings(connection, newsletter_id))) == (2, 1)


async def test_a_cancelled_newsletter_is_given_up_for_good(
    api: AdminClient, connection: RawConnection, clock: Clock
) -> None:
    newsletter_id = await new_newsletter(connection, await stored.new_list(connection, 1))
    await asked(api, newsletter_id, "schedule", at=later(hours=1))
    assert (await asked(api, newsletter_id, "cancel"))["state"] == "cancelled"
    assert await connection.fetchval("SELECT count(*) FROM tasks") == 0
    for what in ("start", "unschedule"):
        await asked(api, newsletter_id, what, 409)
    assert (await asked(api, newsletter_id, "cancel"))["state"] == "cancelled"
    draft = await new_newsletter(connection, await stored.new_list(connection, 1), state="draft")
    await asked(api, draft, "schedule", 409, at=later(hours=1))
    await asked(api, 999_999, "start", 404)


@pytest.mark.parametrize(
    ("schedule", "pointer"),
    [
        ({}, "#"),
        ({"at": "2020-01-01T00:00:00Z"}, "#/at"),
        ({"at": "2126-01-01T00:00:00Z", "cron": "0 9 * * *"}, "#"),
        ({"at": "2126-01-01T00:00:00Z", "not_after_at": "2125-01-01T00:00:00Z"}, "#/not_after_at"),
        ({"at": "2126-01-01T00:00:00Z", "not_after_seconds": 60}, "#"),
        ({"cron": "0 9 * * *", "not_after_at": "2126-01-01T00:00:00Z"}, "#"),
        ({"cron": "0 25 * * *"}, "#/cron"),
        ({"cron": "0 9 * * *", "time_zone": "Europe/Atlantis"}, "#/time_zone"),
        ({"cron": "0 9 * * *", "missed": "never"}, "#/missed"),
        ({"cron": "0 9 * * *", "node": "scheduler-1"}, "#/node"),
    ],
)
async def test_what_is_wrong_with_a_schedule_is_named(
    api: AdminClient, connection: RawConnection, schedule: dict[str, Any], pointer: str
) -> None:
    newsletter_id = await new_newsletter(connection, await stored.new_list(connection, 1))
    answer = await api.post(f"/newsletters/{newsletter_id}/schedule", json=schedule)
    assert answer.status_code == 422
    assert pointer in [error.get("pointer") for error in answer.json()["errors"]], answer.text
    assert await connection.fetchval("SELECT state FROM newsletters") == "approved"


async def test_it_is_sent_again_to_those_who_did_not_open_it(
    api: AdminClient, connection: RawConnection, clock: Clock, scheduler: RunTasks
) -> None:
    list_id = await stored.new_list(connection, 2)
    newsletter_id = await new_newsletter(connection, list_id)
    await connection.execute(
        "INSERT INTO newsletter_attachments (newsletter_id, file_name, content_type, content_id, content)"
        " VALUES ($1, 'a.txt', 'text/plain', '', 'hello')",
        newsletter_id,
    )
    await asked(api, newsletter_id, "resend-to-unopened", 409)
    await asked(api, newsletter_id, "start", 202)
    for run in await due_runs(connection, clock):
        await scheduler(run)
    (mailing,) = await mailings(connection, newsletter_id)
    assert "nobody knows" in (await asked(api, newsletter_id, "resend-to-unopened", 409))["detail"]
    await connection.execute("UPDATE mailings SET tracking = 'full'")
    made = await asked(api, newsletter_id, "resend-to-unopened", 201, subject="Did you see it?")
    assert made["state"] == "draft"
    row = await connection.fetchrow("SELECT * FROM newsletters WHERE id = $1", made["id"])
    assert row is not None
    assert (row["unopened_of_mailing_id"], row["list_ids"], row["text"]) == (mailing["id"], [list_id], "Hello.")
    assert (row["name"], row["subject"]) == ("October, again", "Did you see it?")
    assert await connection.fetchval("SELECT count(*) FROM newsletter_attachments WHERE file_name = 'a.txt'") == 2
    await asked(api, newsletter_id, "resend-to-unopened", 409, mailing_id=999_999)


async def to_two_lists(
    api: AdminClient, connection: RawConnection, clock: Clock, scheduler: RunTasks
) -> tuple[int, int]:
    """A newsletter's mailing to two members, each on a list of its own, and the second one's member."""
    lists = [await stored.new_list(connection, 0) for _ in range(2)]
    for number, list_id in enumerate(lists, start=1):
        member = stored.new_member(number, fields_json=json.dumps({"from": number}), display_name=f"Of {number}")
        await member_imports.import_rows(connection, list_id, [member])
    newsletter_id = await new_newsletter(connection, *lists)
    await asked(api, newsletter_id, "start", 202, not_after_at=later(hours=1))
    for run in await due_runs(connection, clock):
        await scheduler(run)
    (mailing,) = await mailings(connection, newsletter_id)
    member_id = await connection.fetchval("SELECT id FROM members WHERE list_id = $1", lists[1])
    return mailing["id"], member_id


async def test_each_copy_has_the_values_of_the_member_it_is_for(
    api: AdminClient, connection: RawConnection, clock: Clock, scheduler: RunTasks
) -> None:
    mailing_id, _ = await to_two_lists(api, connection, clock, scheduler)
    await stored.expand_all(connection, mailing_id)
    (batch_id,) = await stored.release_all(connection, mailing_id)
    claimed = await stored.claim(connection, batch_id, await stored.new_lease(connection))
    assert claimed is not None
    found = {each.address: (each.display_name, json.loads(each.fields_json)) for each in claimed.recipients}
    assert found == {
        "Member-1@example.com": ("Of 1", {"from": 1}),
        "Member-2@example.com": ("Of 2", {"from": 2}),
    }


async def test_who_leaves_the_second_list_gets_nothing_more_of_it(
    api: AdminClient, connection: RawConnection, clock: Clock, scheduler: RunTasks
) -> None:
    mailing_id, member_id = await to_two_lists(api, connection, clock, scheduler)
    await stored.expand_all(connection, mailing_id)
    await connection.execute("UPDATE members SET status = 'unsubscribed' WHERE id = $1", member_id)
    await leaving.stop_deliveries(connection, [member_id])
    assert await stored.states(connection, mailing_id) == {"open": 1, "cancelled": 1}


async def test_pause_cancel_and_the_last_moment_hold_for_a_newsletter(
    api: AdminClient, connection: RawConnection, clock: Clock, scheduler: RunTasks
) -> None:
    mailing_id, _ = await to_two_lists(api, connection, clock, scheduler)
    await connection.execute("UPDATE mailings SET expand_due_at = NULL")
    path = f"/mailings/{mailing_id}"
    assert await stops.stopped_mailings(connection) == []
    await api.post(f"{path}/pause")
    assert await stops.stopped_mailings(connection) == [mailing_id]
    await api.post(f"{path}/resume")
    await connection.execute("UPDATE mailings SET not_after_at = now()")
    assert await stops.mailings_to_end(connection) == [(mailing_id, DeliveryState.EXPIRED)]
    assert (await api.post(f"{path}/deliveries/retry")).status_code == 409
    async with connection.transaction():
        page = await expansion.expand_page(connection, mailing_id, page_size=1, expand_again_after_seconds=5)
    assert page is not None and not page.is_last
    await api.post(f"{path}/cancel")
    assert await stops.mailings_to_end(connection) == [(mailing_id, DeliveryState.CANCELLED)]
    async with connection.transaction():
        page = await expansion.expand_page(connection, mailing_id, page_size=1, expand_again_after_seconds=5)
    assert page is None, "who had no delivery by then gets none"
