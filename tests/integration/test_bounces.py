"""Reports that come back, and what they do to members: read, scored, held, unsubscribed; on the real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from services.scheduler.scoring import Scoring
from services.scheduler.tasks.reports import ReadReports
from shared.core.links import Links
from shared.core.mailing import TargetKind
from shared.core.tokens import Purpose, Tokens
from shared.core.verp import VALID_DAYS, mailing_return_path_local, return_path_local
from shared.runtime.subscriptions import Confirmed, Subscriptions
from shared.store import bounce_scores, bounces, handling, messages
from shared.store.bounce_scores import Scored
from shared.store.engine import Database, RawConnection
from shared.store.messages import NewTarget
from tests.fakes.admin_client import AdminClient, admin_client, let_in
from tests.fakes.kept_publisher import KeptPublisher
from tests.integration import stored
from tests.integration.stored import REFUSED

SECRET = b"sixteen octets or more"
LINKS = Links(Tokens(SECRET), "https://lists.example.org")
SUBSCRIPTIONS = Subscriptions(LINKS)
READ = ReadReports(SECRET, LINKS.tokens, SUBSCRIPTIONS)

DSN = """Return-Path: <>
From: MAILER-DAEMON@mx.example
Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type=delivery-status; boundary=q

--q
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

Final-Recipient: rfc822; {recipient}
Action: {action}
Status: {status}
Diagnostic-Code: smtp; 550 {status} {words}

--q--
"""
COMPLAINT = """From: staff@feedback.example
Subject: complaint
Content-Type: multipart/report; report-type=feedback-report; boundary=q

--q
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: Loop/1.0
Version: 1
Original-Rcpt-To: {recipient}

--q
Content-Type: message/rfc822

Return-Path: <{return_path}@lists.example.org>
From: x@lists.example.org
To: list@lists.example.org

hello
--q--
"""


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[RawConnection]:
    async with stored.connected(database_url) as connection:
        await stored.empty(connection)
        yield connection


def dsn(
    recipient: str = "member-1@example.com",
    *,
    action: str = "failed",
    status: str = "5.1.1",
    words: str = "unknown user",
) -> bytes:
    return DSN.format(recipient=recipient, action=action, status=status, words=words).replace("\n", "\r\n").encode()


async def arrive(
    connection: RawConnection, local: str, content: bytes, kind: TargetKind = TargetKind.RETURN_PATH
) -> str:
    """The message is received at `local` and read; what was said of it."""
    target = NewTarget(f"{local}@lists.example.org", kind)
    await messages.store(connection, stored.new_message(target))
    message_id = await connection.fetchval("SELECT id FROM messages ORDER BY received_at DESC LIMIT 1")
    await connection.execute("UPDATE messages SET content = $2 WHERE id = $1", message_id, content)
    async with connection.transaction():
        message = await handling.take(connection, message_id)
        assert message is not None
        kept = await READ.keep(connection, message, target)
        await handling.mark_handled(connection, message_id)
    return kept.because


async def score(connection: RawConnection) -> Scored:
    async with connection.transaction():
        return await bounce_scores.score(connection)


async def deliveries_of(connection: RawConnection, list_id: int, member: str = "member-1@example.com") -> int:
    """A new mailing to the list; its delivery to the member."""
    mailing_id = await stored.mailing_to(connection, list_id)
    return await connection.fetchval(  # type: ignore[no-any-return]
        "SELECT id FROM deliveries WHERE mailing_id = $1 AND recipient_key = $2", mailing_id, member
    )


async def days_pass(connection: RawConnection, days: int) -> None:
    """Everything that happened, happened so many days earlier."""
    earlier = timedelta(days=days)
    await connection.execute("UPDATE bounce_events SET happened_at = happened_at - $1::interval", earlier)
    await connection.execute("UPDATE members SET bounced_at = bounced_at - $1::interval", earlier)


async def standing(connection: RawConnection, email_key: str = "member-1@example.com") -> tuple[str, float]:
    row = await connection.fetchrow("SELECT status, bounce_score FROM members WHERE email_key = $1", email_key)
    assert row is not None
    return row["status"], row["bounce_score"]


async def bounce_once(connection: RawConnection, list_id: int, **words: str) -> None:
    """A bounce of a mailing of its own, scored."""
    delivery_id = await deliveries_of(connection, list_id)
    await arrive(connection, return_path_local(delivery_id, SECRET), dsn(**words))
    await score(connection)


async def test_bounces_on_five_days_hold_the_member(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 2)
    for day in range(1, 6):
        await bounce_once(connection, list_id)
        assert await standing(connection) == ("held" if day == 5 else "subscribed", day)
        await days_pass(connection, 1)
    row = await connection.fetchrow("SELECT held_at, held_because FROM members WHERE status = 'held'")
    assert row is not None
    assert row["held_because"] == "no_such_user: 550 5.1.1 unknown user"
    assert await standing(connection, "member-2@example.com") == ("subscribed", 0)


async def test_ten_bounces_on_one_day_count_as_one(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 1)
    # Not the moment of the test, which may be midnight.
    noon = datetime.now(UTC).replace(hour=12)
    for _ in range(10):
        delivery_id = await deliveries_of(connection, list_id)
        await arrive(connection, return_path_local(delivery_id, SECRET), dsn())
        await connection.execute("UPDATE bounce_events SET happened_at = $1", noon)
        await score(connection)
    assert await standing(connection) == ("subscribed", 1)
    assert await connection.fetchval("SELECT sum(points) FROM bounce_events") == 1


async def test_after_quiet_days_counting_begins_anew(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 1)
    for _ in range(4):
        await bounce_once(connection, list_id)
        await days_pass(connection, 1)
    await days_pass(connection, 7)
    await bounce_once(connection, list_id)
    assert await standing(connection) == ("subscribed", 1)


async def test_a_bounce_after_quiet_days_tells_all_that_it_added(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 1)
    await bounce_once(connection, list_id, status="5.2.2", words="mailbox full")
    await days_pass(connection, 9)
    await bounce_once(connection, list_id)
    assert await standing(connection) == ("subscribed", 1)
    assert [row["points"] for row in await connection.fetch("SELECT points FROM bounce_events ORDER BY id")] == [0.5, 1]


async def test_the_lists_own_limit_counts_and_without_one_nobody_is_held(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 1)
    await connection.execute("UPDATE mailing_lists SET bounce_limit = NULL")
    for _ in range(6):
        await bounce_once(connection, list_id)
        await days_pass(connection, 1)
    assert await standing(connection) == ("subscribed", 6)
    await connection.execute("UPDATE mailing_lists SET bounce_limit = 1")
    await bounce_once(connection, list_id)
    assert await standing(connection) == ("held", 7)


async def test_the_same_report_five_times_is_one_bounce(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 1)
    delivery_id = await deliveries_of(connection, list_id)
    for _ in range(5):
        await arrive(connection, return_path_local(delivery_id, SECRET), dsn())
        # A delay that comes after the bounce it announced.
        await arrive(connection, return_path_local(delivery_id, SECRET), dsn(action="delayed", status="4.4.1"))
        await score(connection)
        await days_pass(connection, 1)
    assert await standing(connection) == ("subscribed", 1)
    kinds = await connection.fetch("SELECT kind, points FROM bounce_events ORDER BY kind")
    assert [tuple(row) for row in kinds] == [("bounce", 1), ("delay", 0)]


async def test_the_return_path_says_who_bounced_whatever_the_report_says(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 2)
    delivery_id = await deliveries_of(connection, list_id)
    await arrive(connection, return_path_local(delivery_id, SECRET).upper(), dsn("member-2@example.com"))
    await score(connection)
    assert await standing(connection) == ("subscribed", 1)
    assert await standing(connection, "member-2@example.com") == ("subscribed", 0)


async def test_a_forged_return_path_changes_nothing(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 1)
    delivery_id = await deliveries_of(connection, list_id)
    for local in (return_path_local(delivery_id, b"another secret, quite"), "list-bounces", "b+" + "0" * 40):
        assert await arrive(connection, local, dsn()) == "Read: nothing that concerns a member."
    assert await connection.fetchval("SELECT count(*) FROM bounce_events") == 0


async def test_an_old_return_path_is_ignored(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 1)
    delivery_id = await deliveries_of(connection, list_id)
    async with connection.transaction():
        concerned = await bounces.concerned_by(connection, delivery_id, valid_days=VALID_DAYS)
        stale = await bounces.concerned_by(connection, delivery_id, valid_days=0)
    assert concerned is not None and not concerned.is_stale
    assert stale is not None and stale.is_stale


async def test_what_says_nothing_of_the_address_is_kept_and_not_counted(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 1)
    await bounce_once(connection, list_id, status="5.7.1", words="Message rejected as spam")
    assert await standing(connection) == ("subscribed", 0)
    assert await connection.fetchval("SELECT bounce_class FROM bounce_events") == "spam"


@pytest.mark.parametrize("subject", ["Out of office", "Lunch"])
async def test_an_answer_to_the_return_path_is_no_bounce(connection: RawConnection, subject: str) -> None:
    list_id = await stored.new_list(connection, 1)
    delivery_id = await deliveries_of(connection, list_id)
    content = f"From: Member <member-1@example.com>\r\nSubject: {subject}\r\n\r\nI am away.\r\n".encode()
    await arrive(connection, return_path_local(delivery_id, SECRET), content)
    assert await connection.fetchval("SELECT count(*) FROM bounce_events") == 0


async def test_a_mailings_return_path_leaves_it_to_the_report_who_bounced(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 2)
    mailing_id = await stored.mailing_to(connection, list_id)
    local = mailing_return_path_local(mailing_id, SECRET)
    await arrive(connection, local, dsn("MEMBER-2@example.com"))
    await arrive(connection, local, dsn("stranger@example.com"))
    await score(connection)
    assert await standing(connection) == ("subscribed", 0)
    assert await standing(connection, "member-2@example.com") == ("subscribed", 1)


async def test_a_refusal_in_our_own_session_counts_like_a_bounce(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 1)
    await deliveries_of(connection, list_id)
    row = await connection.fetchrow("SELECT id, mailing_created_at FROM deliveries")
    assert row is not None
    await connection.execute("UPDATE deliveries SET state = 'refused'")
    words = str(REFUSED.reply)
    for _ in range(3):
        await bounces.record_refusals(connection, [(row["id"], row["mailing_created_at"], words)])
    await arrive(connection, return_path_local(row["id"], SECRET), dsn())
    await score(connection)
    assert await standing(connection) == ("subscribed", 1)
    assert await connection.fetchval("SELECT bounce_class FROM bounce_events") == "no_such_user"


async def test_two_schedulers_score_a_bounce_once(connection: RawConnection, database_url: str) -> None:
    list_id = await stored.new_list(connection, 50)
    mailing_id = await stored.mailing_to(connection, list_id)
    await connection.execute(
        "INSERT INTO bounce_events (delivery_id, member_id, kind, reply)"
        " SELECT id, member_id, 'bounce', '550 5.1.1 unknown user' FROM deliveries WHERE mailing_id = $1",
        mailing_id,
    )
    async with stored.connected(database_url) as left, stored.connected(database_url) as right:
        await asyncio.gather(score(left), score(right))
    await score(connection)
    assert await connection.fetchval("SELECT array_agg(DISTINCT bounce_score) FROM members") == [1]
    assert await connection.fetchval("SELECT count(*) FROM bounce_events WHERE scored_at IS NULL") == 0


@pytest.mark.parametrize("kind", [TargetKind.OPERATOR, TargetKind.RETURN_PATH])
async def test_a_complaint_unsubscribes_and_suppresses_whom_the_returned_message_names(
    connection: RawConnection, kind: TargetKind
) -> None:
    list_id = await stored.new_list(connection, 2)
    delivery_id = await deliveries_of(connection, list_id)
    content = COMPLAINT.format(recipient="member-2@example.com", return_path=return_path_local(delivery_id, SECRET))
    for _ in range(3):
        await arrive(connection, "abuse", content.replace("\n", "\r\n").encode(), kind)
    assert await standing(connection) == ("unsubscribed", 0)
    assert await standing(connection, "member-2@example.com") == ("subscribed", 0)
    row = await connection.fetchrow("SELECT email_key, reason FROM suppressions")
    assert row is not None
    assert tuple(row) == ("member-1@example.com", "complaint")
    assert await connection.fetchval("SELECT count(*) FROM bounce_events WHERE kind = 'complaint'") == 1


async def test_a_complaint_that_shows_no_message_of_ours_changes_nothing(connection: RawConnection) -> None:
    list_id = await stored.new_list(connection, 1)
    delivery_id = await deliveries_of(connection, list_id)
    for forged in ("x", return_path_local(delivery_id, b"another secret, quite")):
        content = COMPLAINT.format(recipient="member-1@example.com", return_path=forged).replace("\n", "\r\n").encode()
        said = await arrive(connection, return_path_local(delivery_id, SECRET), content)
        assert said == "A complaint that returns no message of ours, or of somebody who left: ignored."
    assert await standing(connection) == ("subscribed", 0)
    assert await connection.fetchval("SELECT count(*) FROM suppressions") == 0


async def test_a_complaint_that_shows_the_members_link_for_leaving_counts_too(connection: RawConnection) -> None:
    await stored.new_list(connection, 2)
    member_id = await connection.fetchval("SELECT id FROM members WHERE email_key = 'member-1@example.com'")
    token = LINKS.leave_token(member_id)
    content = COMPLAINT.format(recipient="member-2@example.com", return_path="x").replace(
        "From: x@lists", f"List-Unsubscribe: <https://lists.example.org/leave/{token}>\nFrom: x@lists"
    )
    for _ in range(2):
        await arrive(connection, "abuse", content.replace("\n", "\r\n").encode(), TargetKind.OPERATOR)
    assert await standing(connection) == ("unsubscribed", 0)
    assert await standing(connection, "member-2@example.com") == ("subscribed", 0)
    assert await connection.fetchval("SELECT email_key FROM suppressions") == "member-1@example.com"
    assert await connection.fetchval("SELECT count(*) FROM bounce_events") == 1


async def test_before_a_member_is_held_a_probe_is_sent_and_its_bounce_holds_at_once(
    connection: RawConnection, scoring: Scoring
) -> None:
    list_id = await stored.new_list(connection, 1)
    for _ in range(3):
        await bounce_once(connection, list_id)
        await days_pass(connection, 1)
    assert await connection.fetchval("SELECT count(*) FROM notices") == 0
    delivery_id = await deliveries_of(connection, list_id)
    await arrive(connection, return_path_local(delivery_id, SECRET), dsn())
    await scoring.step()
    assert await standing(connection) == ("subscribed", 4)
    probe = await connection.fetchrow(
        "SELECT d.id, d.recipient FROM notices n JOIN deliveries d USING (mailing_id) WHERE n.kind = 'probe'"
    )
    assert probe is not None
    assert probe["recipient"] == "Member-1@example.com"
    for _ in range(2):
        await arrive(connection, return_path_local(probe["id"], SECRET), dsn())
        await scoring.step()
    assert await standing(connection) == ("held", 5)


async def test_a_held_member_is_told_and_an_answer_lets_it_in(connection: RawConnection, scoring: Scoring) -> None:
    list_id = await stored.new_list(connection, 1)
    await connection.execute("UPDATE mailing_lists SET bounce_limit = 1")
    delivery_id = await deliveries_of(connection, list_id)
    await arrive(connection, return_path_local(delivery_id, SECRET), dsn())
    await scoring.step()
    assert await standing(connection) == ("held", 1)
    [content] = [
        row["content"]
        for row in await connection.fetch(
            "SELECT content FROM notices n JOIN mailings ON mailings.id = n.mailing_id"
            " JOIN messages ON messages.id = mailings.message_id WHERE n.kind = 'held'"
        )
    ]
    request_id = await connection.fetchval("SELECT id FROM subscription_requests")
    assert LINKS.tokens.make(Purpose.CONFIRM, request_id).encode() in content
    assert b"550 5.1.1 unknown user" in content
    async with connection.transaction():
        confirmed, _ = await SUBSCRIPTIONS.confirm(connection, request_id)
    assert confirmed is Confirmed.DONE
    assert await standing(connection) == ("subscribed", 0)
    assert await connection.fetchval("SELECT count(*) FROM members WHERE held_at IS NOT NULL") == 0


@pytest.fixture
async def scoring(database_url: str, connection: RawConnection) -> AsyncIterator[Scoring]:
    database = Database(database_url, name="scoring", pool_size=1)
    yield Scoring(database, KeptPublisher(), SUBSCRIPTIONS)
    await database.close()


@pytest.fixture
async def api(database_url: str, connection: RawConnection) -> AsyncIterator[AdminClient]:
    async with admin_client(database_url) as client:
        await let_in(client)
        yield client


async def test_the_members_page_tells_why_and_letting_in_forgets(connection: RawConnection, api: AdminClient) -> None:
    await api.post(
        "/lists", json={"name": "bouncy", "domain": "example.org", "bounce_limit": 1, "bounce_quiet_days": 3}
    )
    list_id = await connection.fetchval("SELECT id FROM mailing_lists")
    path = "/lists/bouncy@example.org/members/Ann@example.com"
    await api.post("/lists/bouncy@example.org/members", json={"email": "Ann@example.com"})
    assert (await api.get(path)).json()["held_because"] is None
    delivery_id = await deliveries_of(connection, list_id, "ann@example.com")
    await arrive(connection, return_path_local(delivery_id, SECRET), dsn())
    await score(connection)
    member = (await api.get(path)).json()
    assert (member["status"], member["bounce_score"]) == ("held", 1)
    assert member["held_because"] == "no_such_user: 550 5.1.1 unknown user"
    [told] = (await api.get(f"{path}/bounces")).json()["items"]
    assert (told["kind"], told["bounce_class"], told["is_hard"]) == ("bounce", "no_such_user", True)
    assert (told["status"], told["points"], told["delivery_id"]) == ("5.1.1", 1, delivery_id)
    assert (await api.get(f"/messages/{told['message_id']}")).status_code == 200
    let_in_again = (await api.patch(path, json={"status": "subscribed"})).json()
    assert (let_in_again["status"], let_in_again["bounce_score"]) == ("subscribed", 0)
    assert (let_in_again["held_at"], let_in_again["held_because"]) == (None, None)


async def test_a_lists_limits_are_checked(api: AdminClient) -> None:
    made = (await api.post("/lists", json={"name": "plain", "domain": "example.org"})).json()
    assert (made["bounce_limit"], made["bounce_quiet_days"]) == (5, 7)
    for wrong in ({"bounce_limit": 0}, {"bounce_quiet_days": 0}, {"bounce_quiet_days": None}):
        assert (await api.patch("/lists/plain@example.org", json=wrong)).status_code == 422
    changed = (await api.patch("/lists/plain@example.org", json={"bounce_limit": None})).json()
    assert changed["bounce_limit"] is None
