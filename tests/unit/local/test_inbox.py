"""The demo inbox: exact counts in bounded memory, and a page on which hostile mail stays text."""

from __future__ import annotations

import httpx
import pytest

from deploy.local.catching_smtp import CaughtMessage, Session
from deploy.local.inbox import Inbox
from deploy.local.inbox_page import application


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


def _catch(
    inbox: Inbox, recipient: str, *, message_id: str = "<1@demo>", subject: str = "News", body: str = ""
) -> None:
    content = f"Message-ID: {message_id}\r\nSubject: {subject}\r\n\r\n{body}".encode()
    inbox.caught(CaughtMessage(Session(1, "sender-1.demo"), "b+1@demo", [recipient], content))


async def _get(inbox: Inbox, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(application(inbox))
    async with httpx.AsyncClient(transport=transport, base_url="http://inbox.test") as client:
        return await client.get(path)


async def test_the_summary_counts_copies_by_recipient(inbox: Inbox) -> None:
    for recipient in ("one@members", "two@members", "two@members"):
        _catch(inbox, recipient)

    summary = (await _get(inbox, "/api/summary")).json()

    assert summary["total"] == 3
    assert summary["messages"][0]["recipients_by_copies"] == {"1": 1, "2": 1}
    assert summary["messages"][0]["copies_by_client"] == {"sender-1.demo": 3}


async def test_one_message_can_be_asked_for(inbox: Inbox) -> None:
    _catch(inbox, "one@members")
    _catch(inbox, "one@members", message_id="<2@demo>")

    summary = (await _get(inbox, "/api/summary?message_id=%3C2@demo%3E")).json()

    assert [message["copies_per_recipient"] for message in summary["messages"]] == [{"one@members": 1}]


def test_only_the_newest_mail_is_kept(inbox: Inbox) -> None:
    for number in range(1_000):
        _catch(inbox, f"member-{number}@members", message_id=f"<{number}@demo>")

    assert inbox.total == 1_000
    assert inbox.mail(1) is None
    assert inbox.mail(1_000) is not None
    assert len(inbox.counted) < 100


@pytest.mark.parametrize("path", ["/", "/mail/1"])
async def test_markup_in_mail_stays_text(inbox: Inbox, path: str) -> None:
    attack = "<script>alert(1)</script>"
    _catch(inbox, f'"{attack}"@members', subject=attack, body=attack)

    page = await _get(inbox, path)

    assert "<script" not in page.text
    assert "&lt;script&gt;" in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


async def test_a_header_that_cannot_be_decoded_is_no_obstacle(inbox: Inbox) -> None:
    inbox.caught(CaughtMessage(Session(1), "", ["one@members"], b"Subject: =?nowhere?b?!!?=\xff\r\n\r\n"))

    assert (await _get(inbox, "/")).status_code == 200


async def test_mail_that_is_not_kept_is_not_found(inbox: Inbox) -> None:
    assert (await _get(inbox, "/mail/7")).status_code == 404
