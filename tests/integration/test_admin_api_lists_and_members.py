from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from tests.fakes.admin_client import AdminClient, admin_client, let_in


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[AdminClient]:
    async with admin_client(database_url) as client:
        await let_in(client)
        yield client


async def test_a_list_is_found_by_its_address_in_any_spelling(api: AdminClient) -> None:
    made = await api.post("/lists", json={"name": "Team", "domain": "Bücher.Example", "display_name": "The team"})
    assert made.status_code == 201
    assert made.json()["address"] == "team@xn--bcher-kva.example"
    assert made.json()["posting_policy"] == "members"
    for spelling in ("team@xn--bcher-kva.example", "TEAM@bücher.example"):
        assert (await api.get(f"/lists/{spelling}")).json() == made.json()


async def test_a_list_is_made_once(api: AdminClient) -> None:
    address = await api.new_list()
    name, _, domain = address.partition("@")
    again = await api.post("/lists", json={"name": name.upper(), "domain": domain})
    assert again.status_code == 409
    assert address in again.json()["detail"]


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"name": "a b"}, "#/name"),
        ({"name": "postmaster"}, "#/name"),
        ({"domain": "127.0.0.1"}, "#/domain"),
        ({"display_name": "x\r\nBcc: victim@example.org"}, "#/display_name"),
        ({"display_name": "x\u2028y"}, "#/display_name"),
        ({"description": "a\x00b"}, "#/description"),
        ({"posting_policy": "nobody"}, "#/posting_policy"),
        ({"node": "outbound-1"}, "#/node"),
    ],
)
async def test_a_wrong_list_is_refused_with_the_place_of_the_fault(
    api: AdminClient, wrong: dict[str, str], pointer: str
) -> None:
    answer = await api.post("/lists", json={"name": "team", "domain": "example.org", **wrong})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_a_list_is_changed_where_the_request_says_so(api: AdminClient) -> None:
    address = await api.new_list()
    changed = await api.patch(f"/lists/{address}", json={"posting_policy": "announcement"})
    assert changed.json()["posting_policy"] == "announcement"
    changed = await api.patch(f"/lists/{address}", json={"display_name": "News"})
    assert (changed.json()["display_name"], changed.json()["posting_policy"]) == ("News", "announcement")
    assert (await api.patch(f"/lists/{address}", json={"name": "other"})).status_code == 422


async def test_a_list_is_personal_and_without_verp_only_when_that_is_said(api: AdminClient) -> None:
    address = await api.new_list()
    made = (await api.get(f"/lists/{address}")).json()
    assert (made["personal"], made["verp_enabled"]) == (False, True)
    changed = await api.patch(f"/lists/{address}", json={"personal": True, "verp_enabled": False})
    assert (changed.json()["personal"], changed.json()["verp_enabled"]) == (True, False)
    assert (await api.get(f"/lists/{address}")).json() == changed.json()
    assert (await api.patch(f"/lists/{address}", json={"personal": None})).status_code == 422
    new = {"name": "personal", "domain": "example.org", "personal": True, "verp_enabled": False}
    other = (await api.post("/lists", json=new)).json()
    assert (other["personal"], other["verp_enabled"]) == (True, False)


async def test_lists_come_a_page_at_a_time_each_once(api: AdminClient) -> None:
    made = {await api.new_list() for _ in range(5)}
    seen: list[str] = []
    after = ""
    while True:
        page = (await api.get("/lists", params={"limit": 2, "after": after})).json()
        assert len(page["items"]) <= 2
        seen += [item["address"] for item in page["items"]]
        if page["next"] is None:
            break
        after = page["next"]
    assert len(seen) == len(set(seen))
    assert made <= set(seen)


async def test_members_come_a_page_at_a_time_and_the_last_page_says_so(api: AdminClient) -> None:
    address = await api.new_list()
    for number in range(4):
        await api.post(f"/lists/{address}/members", json={"email": f"m{number}@example.com"})
    first = (await api.get(f"/lists/{address}/members", params={"limit": 2})).json()
    last = (await api.get(f"/lists/{address}/members", params={"limit": 2, "after": first["next"]})).json()
    emails = [item["email"] for page in (first, last) for item in page["items"]]
    assert emails == [f"m{number}@example.com" for number in range(4)]
    assert last["next"] is None


@pytest.mark.parametrize(
    ("parameter", "value"), [("limit", "0"), ("limit", "1001"), ("limit", "ten"), ("after", "x"), ("after", "9" * 30)]
)
async def test_a_page_that_cannot_be_is_refused(api: AdminClient, parameter: str, value: str) -> None:
    answer = await api.get("/lists", params={parameter: value})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == parameter


async def test_a_member_keeps_the_spelling_and_is_known_by_any(api: AdminClient) -> None:
    address = await api.new_list()
    new = {"email": "Ann.O/Neil@Bücher.example", "display_name": "Änn", "fields": {"city": "Köln", "age": 42}}
    made = await api.post(f"/lists/{address}/members", json=new)
    assert made.status_code == 201
    assert {name: made.json()[name] for name in new} == new
    again = await api.post(f"/lists/{address}/members", json={"email": "ann.o/neil@xn--bcher-kva.example"})
    assert again.status_code == 409
    assert "subscribed" in again.json()["detail"]
    found = await api.get(f"/lists/{address}/members/ANN.O%2FNEIL@bücher.example")
    assert found.json() == made.json()


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"email": "no address"}, "#/email"),
        ({"email": "a@example.com\r\nRCPT TO:<b@example.com>"}, "#/email"),
        ({"email": 7}, "#/email"),
        ({"display_name": "Ann\nBcc: b@example.com"}, "#/display_name"),
        ({"display_name": "\ud800"}, "#/display_name"),
        ({"fields": {"a/b": "\x00"}}, "#/fields/a~1b"),
        ({"fields": {"x": [1]}}, "#/fields/x"),
        ({"fields": {"email": "x"}}, "#/fields/email"),
        ({"fields": {"n": 2**60}}, "#/fields/n"),
        ({"status": "gone"}, "#/status"),
        ({"sending_node": "outbound-1"}, "#/sending_node"),
    ],
)
async def test_a_wrong_member_is_refused_with_the_place_of_the_fault(
    api: AdminClient, wrong: dict[str, object], pointer: str
) -> None:
    address = await api.new_list()
    content = json.dumps({"email": "ann@example.com", **wrong})
    headers = {"Content-Type": "application/json"}
    answer = await api.post(f"/lists/{address}/members", content=content, headers=headers)
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert (await api.get(f"/lists/{address}/members")).json()["items"] == []


async def test_who_is_removed_stays_on_the_list_as_unsubscribed(api: AdminClient) -> None:
    address = await api.new_list()
    await api.post(f"/lists/{address}/members", json={"email": "ann@example.com"})
    assert (await api.delete(f"/lists/{address}/members/ann@example.com")).status_code == 204
    assert (await api.get(f"/lists/{address}/members/ann@example.com")).json()["status"] == "unsubscribed"
    again = await api.post(f"/lists/{address}/members", json={"email": "ann@example.com"})
    assert again.status_code == 409
    assert "unsubscribed" in again.json()["detail"]


async def test_the_operator_brings_a_member_back_by_saying_so(api: AdminClient) -> None:
    address = await api.new_list()
    await api.post(f"/lists/{address}/members", json={"email": "ann@example.com", "status": "held", "role": "owner"})
    path = f"/lists/{address}/members/ann@example.com"
    changed = await api.patch(path, json={"status": "subscribed", "fields": {"a": "b"}})
    assert (changed.json()["status"], changed.json()["fields"]) == ("subscribed", {"a": "b"})
    assert changed.json()["role"] == "owner"
    assert (await api.get(path)).json() == changed.json()
    assert (await api.patch(path, json={"status": None})).status_code == 422
    assert (await api.patch(path, json={"email": "b@example.com"})).status_code == 422


async def test_a_suppressed_address_is_not_added_until_the_suppression_is_taken_away(api: AdminClient) -> None:
    address = await api.new_list()
    made = await api.post("/suppressions", json={"email": "Gone@Example.com", "reason": "complaint"})
    assert made.status_code == 201
    refused = await api.post(f"/lists/{address}/members", json={"email": "gone@example.com"})
    assert refused.status_code == 409
    assert "complaint" in refused.json()["detail"]
    listed = (await api.get("/suppressions")).json()["items"]
    assert [(item["email"], item["reason"]) for item in listed] == [("Gone@Example.com", "complaint")]
    assert (await api.delete("/suppressions/gone@example.com")).status_code == 204
    assert (await api.delete("/suppressions/gone@example.com")).status_code == 404
    assert (await api.post(f"/lists/{address}/members", json={"email": "gone@example.com"})).status_code == 201


async def test_a_suppression_that_ends_in_the_past_is_refused(api: AdminClient) -> None:
    answer = await api.post("/suppressions", json={"email": "a@example.com", "ends_at": "2001-01-01T00:00:00Z"})
    assert answer.json()["errors"][0]["pointer"] == "#/ends_at"
    without_zone = await api.post("/suppressions", json={"email": "a@example.com", "ends_at": "2101-01-01T00:00:00"})
    assert without_zone.status_code == 422
    assert (await api.get("/suppressions")).json()["items"] == []


async def test_what_is_not_there_is_404(api: AdminClient) -> None:
    address = await api.new_list()
    for path in (
        "/lists/none@example.org",
        "/lists/nonsense",
        "/lists/none@example.org/members",
        "/lists/none@example.org/members/export",
        f"/lists/{address}/members/nobody@example.com",
        f"/lists/{address}/members/no address",
    ):
        assert (await api.get(path)).status_code == 404, path
