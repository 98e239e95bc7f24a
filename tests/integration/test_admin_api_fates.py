"""What became of each recipient: filtered, as a file, and sent again to those that a filter names."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.admin_api.routes import delivery_exports
from shared.core.delivery import Outcome, OutcomeKind
from shared.core.smtp_reply import Reply
from shared.store.claims import ClaimedBatch
from shared.store.engine import RawConnection
from tests.fakes.admin_client import AdminClient, admin_client, let_in
from tests.integration import stored
from tests.integration.stored import DEFERRED, DELIVERED, REFUSED, record, report

FULL = Outcome(OutcomeKind.REFUSED, "552 to RCPT", Reply(552, "5.2.2 mailbox full"), "mx.example.net")
FORMULA = Outcome(
    OutcomeKind.REFUSED, "554 to DATA", Reply(554, "=cmd|' /C calc'!A0\nand more, \"said\""), "mx.example.net"
)
TENTH = Outcome(OutcomeKind.REFUSED, "550 to RCPT", Reply(550, "5.1.10 nobody"), "mx.example.net")


@pytest.fixture
async def api(database_url: str, connection: RawConnection) -> AsyncIterator[AdminClient]:
    async with admin_client(database_url) as client:
        await let_in(client)
        yield client


@pytest.fixture
async def batch(connection: RawConnection) -> ClaimedBatch:
    """Eight recipients: delivered (and bounced later), refused in four ways, deferred, and two without an outcome."""
    claimed = await stored.claimed_mailing(connection, 8, await stored.new_lease(connection))
    outcomes = [DELIVERED, REFUSED, FULL, FORMULA, TENTH, DEFERRED]
    pairs = zip(claimed.recipients, outcomes, strict=False)
    await record(connection, [report(claimed, *pair) for pair in pairs], {claimed.id: 2})
    await connection.execute(
        """
        INSERT INTO bounce_events (delivery_id, member_id, kind, bounce_class, reply)
        SELECT id, member_id, 'bounce', 'mailbox_full', 'over quota' FROM deliveries WHERE id = $1
        """,
        claimed.recipients[0].delivery_id,
    )
    return claimed


def number_of(recipient: str) -> int:
    return int(recipient.removeprefix("Member-").removesuffix("@example.com"))


@pytest.mark.parametrize(
    ("filters", "numbers"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"state": "refused"}, [2, 3, 4, 5]),
        ({"state": ["delivered", "open"]}, [1, 6, 7, 8]),
        ({"outcome": "deferred"}, [6]),
        ({"reply": "5"}, [2, 3, 4, 5]),
        ({"reply": "55"}, [2, 3, 4, 5]),
        ({"reply": "550"}, [2, 5]),
        ({"reply": "5.1"}, [2, 5]),
        ({"reply": "5.1.1"}, [2]),
        ({"reply": "4.2"}, [6]),
        ({"reply": "250"}, [1]),
        ({"bounce_class": "mailbox_full"}, [1]),
        ({"domain": "EXAMPLE.com", "reply": "552"}, [3]),
        ({"domain": "example.org"}, []),
    ],
)
async def test_recipients_are_found_by_what_became_of_them(
    api: AdminClient, batch: ClaimedBatch, filters: dict[str, Any], numbers: list[int]
) -> None:
    path = f"/mailings/{batch.mailing_id}/deliveries"
    page = (await api.get(path, params=filters)).json()
    assert [number_of(item["recipient"]) for item in page["items"]] == numbers
    file = csv.DictReader(io.StringIO((await api.get(f"{path}.csv", params=filters)).text))
    assert [number_of(row["recipient"]) for row in file] == numbers


@pytest.mark.parametrize("wrong", [{"reply": "6"}, {"reply": "5.1.1.1"}, {"bounce_class": "bad"}, {"domain": "a b"}])
async def test_what_is_no_filter_is_refused(api: AdminClient, batch: ClaimedBatch, wrong: dict[str, str]) -> None:
    for path in ("deliveries", "deliveries.csv"):
        assert (await api.get(f"/mailings/{batch.mailing_id}/{path}", params=wrong)).status_code == 422
    assert (await api.post(f"/mailings/{batch.mailing_id}/deliveries/retry", json=wrong)).status_code == 422


async def test_the_file_has_the_remotes_words_and_nothing_that_a_spreadsheet_runs(
    api: AdminClient, batch: ClaimedBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_exports, "PAGE_ROWS", 3)
    answer = await api.get(f"/mailings/{batch.mailing_id}/deliveries.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))
    assert len(rows) == 8
    delivered, refused, full, formula = rows[:4]
    assert (delivered["state"], delivered["reply_code"], delivered["enhanced_status"]) == ("delivered", "250", "2.0.0")
    assert (delivered["bounce_class"], delivered["bounce_reply"]) == ("mailbox_full", "over quota")
    assert (refused["reply_text"], refused["remote_host"]) == ("5.1.1 nobody", "mx.example.net")
    assert (refused["node_name"], refused["attempts"], refused["round"]) == ("outbound-1", "1", "1")
    assert refused["attempted_at"] and refused["ended_at"]
    assert (full["because"], full["enhanced_status"]) == ("552 to RCPT", "5.2.2")
    assert formula["reply_text"] == "'=cmd|' /C calc'!A0\nand more, \"said\""
    assert (rows[7]["state"], rows[7]["reply_code"], rows[7]["ended_at"]) == ("open", "", "")
    assert (await api.get("/mailings/999999/deliveries.csv")).status_code == 404


async def test_it_is_sent_again_to_these(api: AdminClient, batch: ClaimedBatch, connection: RawConnection) -> None:
    path = f"/mailings/{batch.mailing_id}/deliveries/retry"
    assert (await api.post(path, json={"reply": "5.2"})).json() == {"deliveries": 1}
    assert (await api.post(path, json={"reply": "550", "domain": "example.com"})).json() == {"deliveries": 2}
    again = {"bounce_class": "mailbox_full", "state": ["delivered"]}
    assert (await api.post(path, json=again)).json() == {"deliveries": 1}
    rounds = await connection.fetch("SELECT recipient FROM deliveries WHERE round = 2 ORDER BY recipient")
    assert [number_of(row["recipient"]) for row in rounds] == [1, 2, 3, 5]
