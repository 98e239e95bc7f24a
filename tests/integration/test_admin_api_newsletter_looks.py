from __future__ import annotations

import email
import email.policy
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from shared.core.links import Links
from shared.core.tokens import Purpose, Tokens
from tests.fakes.admin_client import LINKS, TRACKED_LINKS, AdminClient, admin_client, let_in
from tests.fakes.dns import FakeResolver

REJECTING = FakeResolver(
    {
        ("_dmarc.strict.example", "TXT"): ["v=DMARC1; p=reject; psd=n"],
        ("strict.example", "MX"): ["10 mx.strict.example"],
        ("_dmarc.silent.example", "TXT"): ["FAILS"],
    }
)
HTML = """<html><body><p>Dear {{display_name|friend}} of {{city|somewhere}}</p>
{{#if city = "Bonn"}}<p>Come by!</p>{{/if}}
<a href="https://example.net/offer">Offer</a>
<a href="{{unsubscribe_url}}">Leave</a></body></html>"""


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[AdminClient]:
    async with admin_client(database_url, resolver=REJECTING) as client:
        await let_in(client)
        yield client


async def made(api: AdminClient, **more: Any) -> tuple[str, str]:
    """The path of a newsletter to a list with two members, and the list's address."""
    address = await api.new_list("announcement")
    await api.patch(f"/lists/{address}", json={"display_name": "The News", "tracking": "full"})
    for member in (
        {"email": "Ann@example.com", "display_name": "Ann <3", "fields": {"city": "Bonn"}},
        {"email": "bob@example.com", "fields": {"city": "Köln"}},
    ):
        assert (await api.post(f"/lists/{address}/members", json=member)).status_code == 201
    new = {"name": "N", "lists": [address], "subject": "News for {{display_name|you}}", "html": HTML, **more}
    answer = await api.post("/newsletters", json=new)
    assert answer.status_code == 201, answer.text
    return f"/newsletters/{answer.json()['id']}", address


async def found(api: AdminClient, path: str) -> dict[str, Any]:
    answer = await api.get(f"{path}/preflight")
    assert answer.status_code == 200, answer.text
    return {finding["code"]: finding for finding in answer.json()["findings"]}


async def test_a_preview_is_the_members_own_copy(api: AdminClient) -> None:
    path, address = await made(api)
    answer = await api.get(f"{path}/preview", params={"member": "ANN@example.com"})
    assert answer.status_code == 200, answer.text
    preview = answer.json()
    assert (preview["member"], preview["subject"]) == ("Ann@example.com", "News for Ann <3")
    assert "Dear Ann &lt;3 of Bonn" in preview["html"]
    assert "Come by!" in preview["html"]
    assert "Dear Ann <3 of Bonn" in preview["text"]
    message = email.message_from_string(preview["raw"], policy=email.policy.default)
    assert message["From"] == f"The News <{address}>"
    assert message["To"] == f"The News <{address}>"
    assert message["Subject"] == preview["subject"]
    assert message["List-Id"] == f"The News <{address.replace('@', '.')}>"
    assert message["List-Post"] == "NO"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert preview["size_bytes"] == len(preview["raw"])
    bob = (await api.get(f"{path}/preview", params={"member": "bob@example.com"})).json()
    assert bob["subject"] == "News for you"
    assert "of Köln" in bob["html"]
    assert "Come by!" not in bob["html"]


async def test_a_preview_without_a_member_has_the_defaults(api: AdminClient) -> None:
    path, _ = await made(api)
    preview = (await api.get(f"{path}/preview")).json()
    assert (preview["member"], preview["subject"]) == (None, "News for you")
    assert "Dear friend of somewhere" in preview["html"]


async def test_a_previews_links_lead_where_they_should_and_do_nothing_for_real(api: AdminClient) -> None:
    path, _ = await made(api)
    preview = (await api.get(f"{path}/preview", params={"member": "bob@example.com"})).json()
    tokens = Tokens(b"sixteen octets or more")
    leaving = re.findall(r"https://lists\.example\.org/leave/(\w+)", preview["html"] + preview["raw"])
    assert len(leaving) >= 2
    assert {tokens.read(Purpose.LEAVE, token, now=datetime.now(UTC)) for token in leaving} == {0}
    (click,) = re.findall(r"/c/(\w+)/([\w-]+)", preview["html"])
    read = TRACKED_LINKS.read_click(*click)
    assert read is not None
    assert (read.url, read.reader.mailing_id, read.reader.delivery_id) == ("https://example.net/offer", 0, None)
    (opened,) = re.findall(r"/o/(\w+)\.gif", preview["html"])
    assert TRACKED_LINKS.read_open(opened) == read.reader


async def test_a_preview_is_of_a_member_of_its_lists_by_address_or_number(api: AdminClient) -> None:
    path, _ = await made(api)
    other, _ = await made(api, lists=[await api.new_list()])
    async with api.database.transaction() as session:
        connection = await session.connection()
        member_id = await connection.execute(text("SELECT max(id) FROM members WHERE email_key = 'bob@example.com'"))
        number = member_id.scalar_one()
    for member in (str(number), "nobody@example.com", "no address", "9" * 30):
        refused = await api.get(f"{other}/preview", params={"member": member})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["parameter"] == "member"
    async with api.database.transaction() as session:
        connection = await session.connection()
        of_the_list = await connection.execute(
            text(
                "SELECT m.id FROM members m JOIN newsletters n ON m.list_id = n.list_ids[1]"
                f" WHERE n.id = {path.rpartition('/')[2]} AND m.email_key = 'bob@example.com'"
            )
        )
        number = of_the_list.scalar_one()
    assert (await api.get(f"{path}/preview", params={"member": str(number)})).json()["member"] == "bob@example.com"
    assert (await api.get("/newsletters/9999999/preview")).status_code == 404


async def test_a_test_goes_at_once_marked_and_counted_nowhere(api: AdminClient) -> None:
    path, _ = await made(api)
    to = ["Carol@example.net", "dave@example.net", "carol@example.net"]
    answer = await api.post(f"{path}/test", json={"to": to, "member": "ann@example.com"})
    assert answer.status_code == 202, answer.text
    assert answer.json()["subject"] == "[Test] News for Ann <3"
    assert answer.json()["to"] == ["carol@example.net", "dave@example.net"]
    mailing = (await api.get(f"/mailings/{answer.json()['mailing_id']}")).json()
    assert (mailing["kind"], mailing["lane"], mailing["list"], mailing["recipients"]) == ("notice", "express", None, 2)
    async with api.database.transaction() as session:
        connection = await session.connection()
        row = (
            await connection.execute(
                text(
                    "SELECT m.newsletter_id, m.tracking, s.content,"
                    " (SELECT count(*) FROM batches b WHERE b.mailing_id = m.id) AS batches"
                    f" FROM mailings m JOIN messages s ON s.id = m.message_id WHERE m.id = {mailing['id']}"
                )
            )
        ).one()
    assert (row.newsletter_id, row.tracking, row.batches) == (None, "off", 1)
    message = email.message_from_bytes(bytes(row.content), policy=email.policy.default)
    assert message["Subject"] == "[Test] News for Ann <3"
    assert (await api.get(path)).json()["state"] == "draft"


async def test_a_test_does_not_go_to_an_address_that_nobody_may_mail(api: AdminClient) -> None:
    path, _ = await made(api)
    assert (await api.post("/suppressions", json={"email": "Erin@Example.net"})).status_code == 201
    answer = await api.post(f"{path}/test", json={"to": ["ERIN@example.net", '"erin"@example.net', "fay@example.net"]})
    mailing = (await api.get(f"/mailings/{answer.json()['mailing_id']}")).json()
    assert (mailing["suppressed"], mailing["open"]) == (1, 1)


@pytest.mark.parametrize(
    "body",
    [
        {"to": []},
        {"to": [f"a{number}@example.net" for number in range(11)]},
        {"to": ["a@example.net\r\nRCPT TO:<b@example.net>"]},
        {"to": ["a@example.net"], "member": "nobody@example.net"},
        {"to": ["a@example.net"], "node": "outbound-1"},
        {},
    ],
)
async def test_a_test_goes_to_ten_addresses_at_most(api: AdminClient, body: dict[str, Any]) -> None:
    path, _ = await made(api)
    assert (await api.post(f"{path}/test", json=body)).status_code == 422


async def test_a_preflight_warns_and_refuses_nothing_of_a_good_newsletter(api: AdminClient) -> None:
    path, _ = await made(api)
    report = (await api.get(f"{path}/preflight")).json()
    assert report["is_refused"] is False
    assert {finding["code"] for finding in report["findings"]} == {"no_dkim_key", "text_is_made"}
    assert report["updated_at"] == (await api.get(path)).json()["updated_at"]
    assert (await api.get("/newsletters/9999999/preflight")).status_code == 404


async def test_a_preflight_lists_all_that_is_wrong(api: AdminClient) -> None:
    html = (
        '<p>{{cty}} {{ctry|here}}</p>\n<a href="www.example.org">x</a><a href="http://example.org">y</a>\n'
        '<img src="cid:logo">' + "<!-- -->" * 13_100
    )
    path, _ = await made(api, subject="", html=html, lists=[await api.new_list()])
    codes = await found(api, path)
    assert list(codes) == [
        "no_subject",
        "unknown_field",
        "text_is_made",
        "field_without_values",
        "no_unsubscribe_link",
        "no_dkim_key",
        "html_is_clipped",
        "broken_link",
        "http_link",
        "image_without_alt",
        "image_missing",
        "no_audience",
    ]
    unknown = codes["unknown_field"]
    assert (unknown["field"], unknown["line"], unknown["column"], unknown["severity"]) == ("html", 1, 4, "refuse")
    assert '"cty"' in unknown["mend"]
    assert codes["broken_link"]["line"] == 2


@pytest.mark.parametrize(
    ("from_address", "code", "severity"),
    [
        ("ann@strict.example", "unaligned_from", "refuse"),
        ("ann@sub.strict.example", "unaligned_from", "refuse"),
        ("ann@other.example", "unaligned_from", "warn"),
        ("ann@silent.example", "alignment_unknown", "warn"),
        ("ann@example.org", None, None),
    ],
)
async def test_a_sender_that_receivers_would_not_believe_is_told(
    api: AdminClient, from_address: str, code: str | None, severity: str | None
) -> None:
    path, _ = await made(api, from_address=from_address)
    codes = await found(api, path)
    told = [(finding["code"], finding["severity"]) for finding in codes.values() if "align" in finding["code"]]
    assert told == ([(code, severity)] if code else [])


async def test_a_segment_that_nobody_is_in_is_told(api: AdminClient) -> None:
    path, _ = await made(api, segment={"field": "city", "equals": "Bonn"})
    assert "no_audience" not in await found(api, path)
    assert (await api.patch(path, json={"segment": {"field": "city", "equals": "Ulm"}})).status_code == 200
    assert (await found(api, path))["no_audience"]["severity"] == "warn"


async def test_attachments_that_are_too_large_together_refuse_it(api: AdminClient) -> None:
    # A text of which each character has four octets has twelve in the mail.
    path, _ = await made(api, text="\U0001f600" * 300_000 + "{{unsubscribe_url}}")
    for name in ("a.bin", "b.bin"):
        added = await api.post(f"{path}/attachments", params={"file_name": name}, content=b"x" * 8_500_000)
        assert added.status_code == 201
    codes = await found(api, path)
    assert codes["too_large"]["severity"] == "refuse"


async def test_without_a_public_url_nobody_could_leave(database_url: str) -> None:
    async with admin_client(database_url, links=Links(LINKS.tokens, None)) as api:
        await let_in(api)
        path, _ = await made(api)
        assert (await found(api, path))["no_unsubscribe_page"]["severity"] == "refuse"
        assert (await api.get(f"{path}/preview")).json()["html"].count("https://lists.example.org") == 0
        changed = await api.patch(path, json={"html": "<p>No link</p>"})
        assert changed.status_code == 200
        assert (await found(api, path))["no_unsubscribe_link"]["severity"] == "refuse"


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("html", "<p>\n{{#if city}}", "Line 2, column 1: Mend the merge field: the condition"),
        ("subject", "Hello {{display_name", "Line 1, column 7: Mend the merge field: "),
        ("preheader", "{{/if}}", "Line 1, column 1: Mend the merge field: "),
        ("text", "{{name|{{other}}}}", "Line 1, column 1: Mend the merge field: "),
        ("text", "{{__class__.__mro__()}}", "Line 1, column 1: Mend the merge field: "),
        ("html", '<a href="JavaScript:alert(1)">x</a>', "Line 1, column 10: Link to a page: "),
        ("html", "<p onclick='x()'>", "Line 1, column 13: Take onclick out"),
        ("html", "<script>x()</script>", "Take <script> out"),
    ],
)
async def test_what_could_never_be_sent_is_refused_where_it_is_written(
    api: AdminClient, field: str, value: str, says: str
) -> None:
    path, address = await made(api)
    before = (await api.get(path)).json()
    answers = [
        await api.post("/newsletters", json={"name": "N", "lists": [address], field: value}),
        await api.patch(path, json={field: value}),
        await api.post("/newsletter-templates", json={"name": f"{field} {says}", field: value}),
    ]
    for answer in answers:
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert error["pointer"] == f"#/{field}"
        assert error["detail"].startswith(says)
    assert (await api.get(path)).json() == before
