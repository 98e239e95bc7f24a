from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

from shared.core import attachment
from tests.fakes.admin_client import AdminClient, admin_client, let_in


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[AdminClient]:
    async with admin_client(database_url) as client:
        await let_in(client)
        yield client


async def made(api: AdminClient, **more: Any) -> dict[str, Any]:
    new = {"name": "November", "lists": [await api.new_list()], "subject": "Hello", "text": "Hello.", **more}
    answer = await api.post("/newsletters", json=new)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"/api/v1/newsletters/{answer.json()['id']}"
    return answer.json()  # type: ignore[no-any-return]


async def set_state(api: AdminClient, newsletter_id: int, state: str) -> None:
    async with api.database.transaction() as session:
        connection = await session.connection()
        statement = text(f"UPDATE newsletters SET state = '{state}', approved_at = now() WHERE id = {newsletter_id}")
        await connection.execute(statement)


async def attached(api: AdminClient, newsletter_id: int, name: str, content: bytes = b"GIF89a", **more: str) -> Any:
    content_type = more.pop("content_type", "image/gif")
    return await api.post(
        f"/newsletters/{newsletter_id}/attachments",
        params={"file_name": name, **more},
        content=content,
        headers={"Content-Type": content_type},
    )


async def test_a_newsletter_is_written_read_changed_and_deleted(api: AdminClient) -> None:
    lists = [await api.new_list(), await api.new_list()]
    segment = {"field": "city", "equals": "Bonn"}
    newsletter = await made(
        api, lists=[lists[1], lists[0], lists[1].upper()], segment=segment, from_address="Ann@Bücher.example"
    )
    assert newsletter["lists"] == [lists[1], lists[0]]
    assert newsletter["state"] == "draft"
    assert newsletter["segment"] == segment
    assert newsletter["from_address"] == "Ann@xn--bcher-kva.example"
    path = f"/newsletters/{newsletter['id']}"
    assert (await api.get(path)).json() == newsletter

    changed = await api.patch(path, json={"subject": "Hello again", "segment": None, "lists": [lists[0]]})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["subject"], changed.json()["segment"], changed.json()["lists"]) == (
        "Hello again",
        None,
        [lists[0]],
    )
    assert changed.json()["updated_at"] > newsletter["updated_at"]
    rows = (await api.get("/newsletters", params={"limit": 1})).json()["items"]
    assert [(row["id"], row["subject"]) for row in rows] == [(newsletter["id"], "Hello again")]
    assert (await api.delete(path)).status_code == 204
    assert (await api.get(path)).status_code == 404
    assert (await api.delete(path)).status_code == 404


@pytest.mark.parametrize("state", ["approved", "scheduled"])
async def test_what_was_approved_is_a_draft_again_once_it_is_changed(api: AdminClient, state: str) -> None:
    newsletter = await made(api)
    path = f"/newsletters/{newsletter['id']}"
    await set_state(api, newsletter["id"], state)
    assert (await api.patch(path, json={"name": "Only what authors see"})).json()["state"] == "approved"
    assert (await api.delete(path)).status_code == 409
    answer = (await api.patch(path, json={"preheader": "More"})).json()
    assert (answer["state"], answer["approved_at"]) == ("draft", None)

    await set_state(api, newsletter["id"], state)
    added = await attached(api, newsletter["id"], "a.gif")
    assert added.status_code == 201
    assert (await api.get(path)).json()["state"] == "draft"
    await set_state(api, newsletter["id"], state)
    assert (await api.delete(f"{path}/attachments/{added.json()['id']}")).status_code == 204
    assert (await api.get(path)).json()["state"] == "draft"


@pytest.mark.parametrize("state", ["started", "cancelled"])
async def test_what_has_started_is_changed_no_more(api: AdminClient, state: str) -> None:
    newsletter = await made(api)
    await set_state(api, newsletter["id"], state)
    path = f"/newsletters/{newsletter['id']}"
    assert (await api.patch(path, json={"subject": "Too late"})).status_code == 409
    assert (await attached(api, newsletter["id"], "a.gif")).status_code == 409
    assert (await api.delete(path)).status_code == 409
    assert (await api.get(path)).json()["subject"] == "Hello"


async def test_a_newsletter_begins_with_a_template_and_keeps_its_texts(api: AdminClient) -> None:
    texts = {"subject": "From {{city|here}}", "preheader": "Soon", "text": "Text.", "html": "<p>HTML</p>"}
    template = (await api.post("/newsletter-templates", json={"name": "Monthly", **texts})).json()
    path = f"/newsletter-templates/{template['id']}"
    assert {name: template[name] for name in texts} == texts
    assert (await api.get(path)).json() == template
    assert (await api.post("/newsletter-templates", json={"name": "Monthly"})).status_code == 409
    other = (await api.post("/newsletter-templates", json={"name": "Weekly"})).json()
    taken = await api.patch(f"/newsletter-templates/{other['id']}", json={"name": "Monthly"})
    assert taken.status_code == 409

    new = {"name": "N", "lists": [await api.new_list()], "template_id": template["id"], "subject": "Its own"}
    newsletter = (await api.post("/newsletters", json=new)).json()
    assert (newsletter["subject"], newsletter["html"], newsletter["preheader"]) == ("Its own", "<p>HTML</p>", "Soon")
    changed = (await api.patch(path, json={"html": "<p>New</p>", "name": "Quarterly"})).json()
    assert (changed["html"], changed["subject"], changed["name"]) == ("<p>New</p>", texts["subject"], "Quarterly")
    assert [row["name"] for row in (await api.get("/newsletter-templates")).json()["items"]][-2:] == [
        "Quarterly",
        "Weekly",
    ]
    assert (await api.delete(path)).status_code == 204
    assert (await api.delete(path)).status_code == 404
    left = (await api.get(f"/newsletters/{newsletter['id']}")).json()
    assert (left["html"], left["template_id"]) == ("<p>HTML</p>", None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subject", "Hi\r\nBcc: evil@example.net"),
        ("preheader", "Hi\nthere"),
        ("from_name", "Ann\r\nBcc: evil@example.net"),
        ("from_address", "ann@example.org\r\nBcc: evil@example.net"),
        ("from_address", "bücher@example.org"),
        ("html", "<p>" + "x" * 10_000_000),
        ("html", "\x00"),
        ("lists", []),
        ("lists", ["nobody@example.org"]),
        ("lists", ["not an address"]),
        ("lists", ["a@example.org"] * 101),
        ("segment", "everybody"),
        ("segment", {"field": "city", "sql": "1=1"}),
        ("template_id", 9_999_999),
        ("unopened_of_mailing_id", 9_999_999),
        ("node", "outbound-1"),
        ("state", "approved"),
        ("name", ""),
    ],
)
async def test_what_cannot_be_sent_is_refused_where_it_stands(api: AdminClient, field: str, value: Any) -> None:
    before = len((await api.get("/newsletters", params={"limit": 1000})).json()["items"])
    new = {"name": "N", "lists": [await api.new_list()], field: value}
    answer = await api.post("/newsletters", json=new)
    assert answer.status_code == 422
    assert [error["pointer"].split("/")[1] for error in answer.json()["errors"]] == [field]
    assert len((await api.get("/newsletters", params={"limit": 1000})).json()["items"]) == before


async def test_a_body_larger_than_any_newsletter_is_not_read(api: AdminClient) -> None:
    answer = await api.post("/newsletters", json={"name": "N", "html": "x" * 13_000_000})
    assert answer.status_code == 413
    assert "12,582,912 bytes" in answer.json()["detail"]


async def test_files_are_added_listed_and_taken_away(api: AdminClient) -> None:
    newsletter = await made(api)
    path = f"/newsletters/{newsletter['id']}/attachments"
    report = await attached(api, newsletter["id"], "Bericht für alle.pdf", b"%PDF", content_type="application/pdf")
    logo = await attached(api, newsletter["id"], "logo.gif", content_id="logo")
    assert report.status_code == 201, report.text
    assert report.headers["Location"] == f"/api/v1{path}/{report.json()['id']}"
    assert report.json() == {
        "id": report.json()["id"],
        "file_name": "Bericht für alle.pdf",
        "content_type": "application/pdf",
        "content_id": "",
        "size_bytes": 4,
    }
    assert (await api.get(path)).json() == [report.json(), logo.json()]
    assert (await attached(api, newsletter["id"], "other.gif", content_id="logo")).status_code == 409
    assert (await api.delete(f"{path}/{report.json()['id']}")).status_code == 204
    assert (await api.delete(f"{path}/{report.json()['id']}")).status_code == 404
    other = await made(api)
    assert (await api.delete(f"/newsletters/{other['id']}/attachments/{logo.json()['id']}")).status_code == 404
    assert (await api.get(path)).json() == [logo.json()]
    assert (await api.delete(f"/newsletters/{newsletter['id']}")).status_code == 204
    assert (await api.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("parameter", "change"),
    [
        ("file_name", {"name": "a.pdf\r\nBcc: evil@example.net"}),
        ("file_name", {"name": "../../etc/passwd"}),
        ("file_name", {"name": "C:\\boot.ini"}),
        ("file_name", {"name": "annual\u202efdp.exe"}),
        ("file_name", {"name": "x" * 151}),
        ("file_name", {"name": ""}),
        ("file_name", {"name": ".."}),
        ("content_id", {"name": "a.gif", "content_id": "a b>"}),
        ("content_id", {"name": "a.pdf", "content_id": "a", "content_type": "text/html"}),
        ("Content-Type", {"name": "a.pdf", "content_type": "pdf"}),
        ("Content-Type", {"name": "a.pdf", "content_type": 'a/b"c'}),
    ],
)
async def test_a_file_that_is_not_what_it_says_is_refused(
    api: AdminClient, parameter: str, change: dict[str, Any]
) -> None:
    newsletter = await made(api)
    answer = await attached(api, newsletter["id"], **change)
    assert answer.status_code == 422
    assert [error["parameter"] for error in answer.json()["errors"]] == [parameter]
    assert (await api.get(f"/newsletters/{newsletter['id']}/attachments")).json() == []


async def test_a_newsletter_has_no_thousand_files_and_none_too_large(
    api: AdminClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    newsletter = await made(api)
    assert (await attached(api, newsletter["id"], "a.gif", b"")).status_code == 422
    assert (await attached(api, newsletter["id"], "a.gif", b"x" * (10 * 1024 * 1024 + 1))).status_code == 413
    monkeypatch.setattr(attachment, "MAX_ATTACHMENTS", 3)
    monkeypatch.setattr(attachment, "MAX_ATTACHMENTS_BYTES", 100)
    for number in range(2):
        assert (await attached(api, newsletter["id"], f"{number}.gif")).status_code == 201
    in_all = await attached(api, newsletter["id"], "large.gif", b"x" * 89)
    assert in_all.status_code == 422
    assert in_all.json()["errors"][0]["detail"] == "All attachments of a newsletter have at most 100 bytes."
    assert (await attached(api, newsletter["id"], "large.gif", b"x" * 88)).status_code == 201
    too_many = await attached(api, newsletter["id"], "one more.gif")
    assert too_many.status_code == 422
    assert too_many.json()["errors"][0]["detail"] == "A newsletter has at most 3 attachments."
    assert len((await api.get(f"/newsletters/{newsletter['id']}/attachments")).json()) == 3
