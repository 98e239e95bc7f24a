from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator

import pytest

from tests.fakes.admin_client import AdminClient, admin_client, let_in


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[AdminClient]:
    async with admin_client(database_url) as client:
        await let_in(client)
        yield client


async def _members(api: AdminClient, address: str) -> dict[str, dict[str, object]]:
    page = (await api.get(f"/lists/{address}/members", params={"limit": 1000})).json()
    return {member["email"]: member for member in page["items"]}


async def test_a_bad_row_is_reported_with_its_line_and_the_good_ones_are_kept(api: AdminClient) -> None:
    address = await api.new_list()
    answer = await api.import_csv(
        address,
        "Email,display_name,status,City\r\n"
        "ann@example.com,Ann,,Köln\r\n"
        "no address,Bob,,\r\n"
        "\r\n"
        'carl@example.com,"Carl, the\r\nsecond",,x\r\n'
        "dora@example.com,Dora,gone,x\r\n"
        "emil@example.com,Emil\r\n"
        'fred@example.com,"Fred,,x\r\n'
        'gina@example.com,"Gina ""G"" Gray",subscribed,"two\r\nlines"\r\n'
        "hans@example.com,Hans,,y",
    )
    assert answer.status_code == 200
    report = answer.json()
    assert (report["added"], report["updated"], report["rejected"]) == (3, 0, 5)
    assert [error["line"] for error in report["errors"]] == [3, 5, 7, 8, 9]
    assert all(error["because"] for error in report["errors"])
    members = await _members(api, address)
    assert members.keys() == {"ann@example.com", "gina@example.com", "hans@example.com"}
    assert members["ann@example.com"]["fields"] == {"City": "Köln"}
    assert members["gina@example.com"]["display_name"] == 'Gina "G" Gray'
    assert members["gina@example.com"]["fields"] == {"City": "two\r\nlines"}


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\0"])
async def test_an_address_with_a_line_end_is_no_address(api: AdminClient, end: str) -> None:
    address = await api.new_list()
    rows = (
        f'email\r\n"evil@example.com{end}RCPT TO:<x@example.com>"\r\n"""a{end}b""@example.com"\r\nann@example.com\r\n'
    )
    report = (await api.import_csv(address, rows)).json()
    assert (report["added"], report["rejected"]) == (1, 2)
    assert (await _members(api, address)).keys() == {"ann@example.com"}


async def test_an_unclosed_quote_costs_one_row_and_not_the_rest_of_the_file(api: AdminClient) -> None:
    address = await api.new_list()
    rows = "".join(f"m{number}@example.com,x\n" for number in range(300))
    answer = await api.import_csv(address, 'email,note\nbad@example.com,"never closed\n' + rows)
    assert answer.json() | {"errors": None} == {
        "added": 300,
        "updated": 0,
        "left_alone": 0,
        "repeated": 0,
        "rejected": 1,
        "errors": None,
    }
    assert answer.json()["errors"][0]["line"] == 2


async def test_bad_lines_of_ndjson_are_reported_with_their_numbers(api: AdminClient) -> None:
    address = await api.new_list()
    lines = [
        b'\xef\xbb\xbf{"email": "ann@example.com", "fields": {"age": 42, "vip": true, "note": null}}',
        b'{"email": "bob@example.com", "node": "outbound-1"}',
        b"[1, 2]",
        b"{" * 1000,
        b'{"email": "carl@example.com", "display_name": "\xff"}',
        b'{"email": "x@example.com", "fields": {"n": NaN}}',
        b'{"email": "y@example.com", "display_name": "' + b"y" * 300_000 + b'"}',
        b'{"email": "dora@example.com", "role": "owner", "delivery_mode": "digest"}',
    ]
    report = (await api.import_ndjson(address, b"\n".join(lines))).json()
    assert (report["added"], [error["line"] for error in report["errors"]]) == (2, [2, 3, 4, 5, 6, 7])
    members = await _members(api, address)
    assert members["ann@example.com"]["fields"] == {"age": 42, "vip": True, "note": None}
    assert (members["dora@example.com"]["role"], members["dora@example.com"]["delivery_mode"]) == ("owner", "digest")


async def test_lines_that_are_not_utf8_are_reported_one_by_one(api: AdminClient) -> None:
    address = await api.new_list()
    report = (await api.import_csv(address, b"email,name\na@example.com,J\xf6rg\nb@example.com,J\xc3\xb6rg\n")).json()
    assert (report["added"], report["errors"]) == (1, [{"line": 2, "because": "The line is not UTF-8."}])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"name,city\nAnn,x\n",
        b"email;name\na@example.com;x\n",
        b"email,Email\na@example.com,x\n",
        b"email,a,a\na@example.com,x,y\n",
        b"email,\na@example.com,x\n",
        b"email,a\x00b\na@example.com,x\n",
        b'email,"never closed\na@example.com,x\n',
        "email\na@example.com\n".encode("utf-16"),
    ],
)
async def test_a_file_without_a_header_that_can_be_used_is_refused_whole(api: AdminClient, content: bytes) -> None:
    address = await api.new_list()
    answer = await api.import_csv(address, content)
    assert answer.status_code == 422
    assert answer.json()["detail"]
    assert await _members(api, address) == {}


async def test_an_import_never_brings_back_who_left_is_held_or_suppressed(api: AdminClient) -> None:
    address = await api.new_list()
    await api.import_csv(
        address, "email,status\nleft@example.com,unsubscribed\nheld@example.com,held\nhere@example.com,subscribed\n"
    )
    await api.post("/suppressions", json={"email": "never@example.com"})
    report = (
        await api.import_csv(
            address,
            "email,status\nLeft@example.com,subscribed\nHELD@example.com,\nNever@example.com,\nHere@Example.com,\n",
        )
    ).json()
    assert (report["added"], report["updated"], report["left_alone"], report["rejected"]) == (0, 1, 3, 0)
    members = await _members(api, address)
    assert {email: member["status"] for email, member in members.items()} == {
        "left@example.com": "unsubscribed",
        "held@example.com": "held",
        "Here@Example.com": "subscribed",
    }


async def test_an_address_that_a_file_names_twice_is_the_later_row_unless_the_earlier_says_it_left(
    api: AdminClient,
) -> None:
    address = await api.new_list()
    report = (
        await api.import_csv(
            address,
            "email,status,city\na@example.com,,old\nA@example.com,,new\n"
            "b@example.com,unsubscribed,\nb@example.com,subscribed,\n",
        )
    ).json()
    assert (report["added"], report["repeated"], report["left_alone"]) == (2, 1, 1)
    members = await _members(api, address)
    assert members["A@example.com"]["fields"] == {"city": "new"}
    assert members["b@example.com"]["status"] == "unsubscribed"


async def test_the_same_file_imported_again_changes_nothing(api: AdminClient) -> None:
    address = await api.new_list()
    file = "email,city\n" + "".join(f"m{number}@example.com,x\n" for number in range(4500))
    assert (await api.import_csv(address, file)).json()["added"] == 4500
    before = await api.export(address)
    report = (await api.import_csv(address, file)).json()
    assert (report["added"], report["updated"]) == (0, 4500)
    assert await api.export(address) == before


_AWKWARD = [
    {"email": "=cmd@example.com", "display_name": "=HYPERLINK(1)", "fields": {"a": "'=x", "b": "''-1", "c": "'plain"}},
    {"email": "Änn@Bücher.example", "status": "held", "fields": {"a": "@x", "n": -5, "e": "", "z": None, "t": False}},
    {"email": "c@example.com", "role": "owner", "fields": {"a": '"q", r', "b": "l1\nl2\r\nl3\tx", "n": "5", "f": 0.1}},
    {
        "email": "d@example.com",
        "delivery_mode": "nomail",
        "display_name": " spaces ",
        "fields": {"＝": "＝1", "=h": "+"},
    },
]


@pytest.mark.parametrize("file_format", ["csv", "ndjson"])
async def test_what_was_exported_is_imported_again_unchanged(api: AdminClient, file_format: str) -> None:
    first, second = await api.new_list(), await api.new_list()
    report = (await api.import_ndjson(first, "\n".join(json.dumps(row) for row in _AWKWARD))).json()
    assert report["added"] == len(_AWKWARD), report
    file = await api.export(first, file_format)
    send = api.import_csv if file_format == "csv" else api.import_ndjson
    report = (await send(second, file)).json()
    assert (report["added"], report["rejected"]) == (len(_AWKWARD), 0), report
    assert await api.export(second, file_format) == file
    assert await api.export(second, "ndjson") == await api.export(first, "ndjson")
    members = await _members(api, second)
    for row in _AWKWARD:
        assert row.items() <= members[str(row["email"])].items()


async def test_no_cell_of_an_export_is_a_formula(api: AdminClient) -> None:
    address = await api.new_list()
    await api.import_ndjson(address, "\n".join(json.dumps(row) for row in _AWKWARD))
    cells = [cell for row in csv.reader(io.StringIO(await api.export(address), newline="")) for cell in row]
    assert not [cell for cell in cells if cell[:1] in set("=+-@\t\r＝")]
    assert "'=HYPERLINK(1)" in cells


async def test_members_are_exported_in_the_order_they_came_and_as_they_were_given(api: AdminClient) -> None:
    address = await api.new_list()
    file = (
        "email,display_name,status,delivery_mode,role,City\r\n"
        "Zoë@Example.com,Zoë,subscribed,mail,member,Köln\r\n"
        "ANN@example.com,,unsubscribed,digest,moderator,\r\n"
    )
    await api.import_csv(address, file)
    assert await api.export(address) == file


async def test_only_the_first_hundred_errors_are_told_one_by_one(api: AdminClient) -> None:
    address = await api.new_list()
    report = (await api.import_csv(address, "email\n" + "nonsense\n" * 250)).json()
    assert (report["rejected"], len(report["errors"])) == (250, 100)


async def test_a_file_of_another_kind_is_refused(api: AdminClient) -> None:
    address = await api.new_list()
    path = f"/lists/{address}/members/import"
    for headers in ({"Content-Type": "application/json"}, {}, {"Content-Type": "text/csv", "Content-Encoding": "gzip"}):
        assert (await api.post(path, content=b"email\n", headers=headers)).status_code == 415
    assert (await api.import_csv("none@example.org", "email\n")).status_code == 404
