from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.fakes.admin_client import AdminClient, admin_client, let_in

WELCOME = {"subject": "Welcome, {{recipient}}", "body": "This is {{list_name|a list}}.\nLeave: {{leave_address}}"}


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[AdminClient]:
    async with admin_client(database_url) as client:
        await let_in(client)
        yield client


async def test_what_a_notice_says_is_read_written_and_taken_back(api: AdminClient) -> None:
    address = await api.new_list()
    path = f"/lists/{address}/templates/welcome"
    default = (await api.get(path)).json()
    assert default["written_for"] is None
    assert default["updated_at"] is None
    assert "leave_address" in default["placeholders"]

    everywhere = await api.put("/templates/welcome", json={"subject": "Hello", "body": "Hello."})
    assert everywhere.status_code == 200, everywhere.text
    assert (await api.get(path)).json()["written_for"] == "*"
    own = (await api.put(path, json=WELCOME)).json()
    assert (own["subject"], own["body"], own["written_for"]) == (WELCOME["subject"], WELCOME["body"], address)
    assert (await api.put(path, json={**WELCOME, "subject": "Again"})).json()["subject"] == "Again"
    assert {row["name"]: row["written_for"] for row in (await api.get(f"/lists/{address}/templates")).json()}[
        "welcome"
    ] == address
    assert (await api.get("/templates/welcome")).json()["subject"] == "Hello"

    assert (await api.delete(path)).status_code == 204
    assert (await api.delete(path)).status_code == 404
    assert (await api.get(path)).json()["subject"] == "Hello"
    assert (await api.delete("/templates/welcome")).status_code == 204
    assert (await api.get(path)).json() == default
    assert len((await api.get("/templates")).json()) >= 13


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("welcome", "{{leave_adress}}", "{{leave_adress}} is none of this notice's placeholders."),
        ("confirm-join", "Please.", "This notice is of no use without {{confirm_address}} or {{confirm_url}}."),
    ],
)
async def test_a_template_that_would_not_do_is_refused(api: AdminClient, name: str, body: str, says: str) -> None:
    address = await api.new_list()
    answer = await api.put(f"/lists/{address}/templates/{name}", json={"subject": "S", "body": body})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"pointer": "#/body", "detail": says}]


async def test_a_subject_has_one_line_and_a_notice_one_of_the_known_names(api: AdminClient) -> None:
    address = await api.new_list()
    evil = {"subject": "Hi\r\nBcc: evil@example.net", "body": "Hi"}
    assert (await api.put(f"/lists/{address}/templates/welcome", json=evil)).status_code == 422
    assert (await api.put(f"/lists/{address}/templates/hello", json=WELCOME)).status_code == 422
    assert (await api.put("/lists/nobody@example.org/templates/welcome", json=WELCOME)).status_code == 404
