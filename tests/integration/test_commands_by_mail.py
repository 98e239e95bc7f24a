"""Commands by mail, from the stored message to the one mail that answers it."""

from __future__ import annotations

import email
import email.policy
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import cast
from uuid import uuid4

import pytest

from services.scheduler.tasks.authors import Authors
from services.scheduler.tasks.commands import NOT_SHOWN, ObeyCommands
from services.scheduler.tasks.post import HandlePost
from services.scheduler.tasks.reports import ReadReports
from shared.contracts.events import DeliveriesCancelled, MailReceived
from shared.contracts.topology import Lane
from shared.core.courtesy import MAX_COMMANDS_A_PEER, MAX_CONFIRMATIONS_BY_A_LIST
from shared.core.links import Links
from shared.core.mailing import TargetKind
from shared.core.tokens import Purpose, Tokens
from shared.dns.dmarc import Records
from shared.runtime.moderation import Telling
from shared.runtime.subscriptions import Subscriptions
from shared.store import messages, subscription_requests
from shared.store.engine import Database, RawConnection
from shared.store.messages import NewMessage, NewTarget
from tests.fakes.kept_publisher import KeptPublisher
from tests.integration import stored

ANN = "Ann@example.com"
TOKENS = Tokens(b"a secret of the tests")
NOW = datetime(2026, 11, 23, tzinfo=UTC)


class House:
    """A list, what is written to it, and what it answers."""

    def __init__(self, connection: RawConnection, handle: HandlePost, publisher: KeptPublisher, list_id: int) -> None:
        self.connection = connection
        self.publisher = publisher
        self.handle = handle
        self.list_id = list_id
        self.name = ""

    async def write(
        self,
        door: str,
        text: str = "",
        *,
        author: str = ANN,
        sender: str | None = None,
        header: str = "",
        names_list: bool = True,
        is_proven: bool = True,
    ) -> str:
        """A mail to one of the list's addresses; what became of it."""
        local, list_id = (f"{self.name}-{door}", self.list_id) if names_list else (door, None)
        key = "ann@example.com" if is_proven else "?ann@example.com"
        target = NewTarget(f"{local}@lists.example.org", TargetKind.COMMAND, list_id, author_key=key)
        content = f"From: {author}\n{header}Subject: Please\n\n{text}\n".replace("\n", "\r\n").encode()
        message = NewMessage(
            uuid4(),
            content,
            author if sender is None else sender,
            "<1@example.com>",
            "Please",
            b"f" * 32,
            "192.0.2.1",
            (target,),
        )
        await messages.store(self.connection, message)
        await self.handle(MailReceived(str(message.id)))
        await self.handle(MailReceived(str(message.id)))  # A second copy of the event changes nothing.
        return str(
            await self.connection.fetchval("SELECT state FROM message_targets WHERE message_id = $1", message.id)
        )

    async def mails(self, to: str = ANN.lower()) -> list[EmailMessage]:
        """What was written to the address, oldest first."""
        rows = await self.connection.fetch(
            "SELECT m.content FROM deliveries d JOIN mailings ON mailings.id = d.mailing_id"
            " JOIN messages m ON m.id = mailings.message_id WHERE d.recipient_key = $1 AND kind = 'notice'"
            " ORDER BY mailings.id",
            to,
        )
        parsed = [email.message_from_bytes(row["content"], policy=email.policy.default) for row in rows]
        return [mail for mail in parsed if isinstance(mail, EmailMessage)]

    async def only_mail(self) -> EmailMessage:
        (mail,) = await self.mails()
        return mail

    async def status(self, key: str = ANN.lower()) -> str | None:
        return await self.connection.fetchval(  # type: ignore[no-any-return]
            "SELECT status::text FROM members WHERE list_id = $1 AND email_key = $2", self.list_id, key
        )

    async def policy(self, policy: str) -> None:
        await self.connection.execute(
            "UPDATE mailing_lists SET subscription_policy = $2 WHERE id = $1", self.list_id, policy
        )

    async def days_pass(self, days: float) -> None:
        for table, column in (("notices", "created_at"), ("subscription_requests", "expires_at")):
            await self.connection.execute(
                f"UPDATE {table} SET {column} = {column} - make_interval(hours => $1)", int(24 * days)
            )


@pytest.fixture
async def house(connection: RawConnection, database_url: str) -> AsyncIterator[House]:
    database, publisher = Database(database_url, name="test"), KeptPublisher()
    links = Links(TOKENS, "https://lists.example.org/web")
    subscriptions = Subscriptions(links)
    handle = HandlePost(
        database,
        publisher,
        Authors(database, cast("Records", None)),  # no list asks what domains publish
        ObeyCommands(subscriptions, TOKENS),
        ReadReports(b"sixteen octets or more", TOKENS, subscriptions),
        Telling(links, None),
        operator_address=None,
        publish_within_seconds=5,
        give_up_after_seconds=1000,
    )
    house = House(connection, handle, publisher, await stored.new_list(connection, 3))
    house.name = await connection.fetchval("SELECT name FROM mailing_lists WHERE id = $1", house.list_id)
    yield house
    await database.close()


def door_of(mail: EmailMessage) -> str:
    """The local part that an answer to the mail goes to, without the list's name."""
    return str(mail["Reply-To"]).partition("@")[0].split("-", 2)[2]


async def test_joining_by_mail_takes_a_confirmation(house: House) -> None:
    assert await house.write("join", "Hello, I sell watches: http://evil.example") == "obeyed"
    asked = await house.only_mail()
    assert "confirm" in asked["Subject"]
    assert "watches" not in asked.as_string()
    assert asked["Auto-Submitted"] == "auto-replied"
    assert "https://lists.example.org/web/confirm/" in asked.get_content()
    assert await house.status() is None
    assert {queue for queue, _ in house.publisher.published} == {Lane.EXPRESS.queue}
    # From whatever address: whoever has the token reads Ann's mail.
    assert await house.write(door_of(asked), author="ann.at.work@example.net") == "obeyed"
    assert await house.status() == "subscribed"
    assert [mail["Subject"].split()[0] for mail in await house.mails()] == ["Please", "Welcome"]
    # Once: what is used up does nothing.
    await house.connection.execute("UPDATE members SET status = 'unsubscribed'")
    assert await house.write(door_of(asked)) == "obeyed"
    assert await house.status() == "unsubscribed"
    assert len(await house.mails()) == 2


async def test_a_confirmation_that_is_too_late_forged_or_another_lists_is_none(house: House) -> None:
    await house.write("join")
    door = door_of(await house.only_mail())
    other_id = await stored.new_list(house.connection, 0)
    other = await house.connection.fetchval("SELECT name FROM mailing_lists WHERE id = $1", other_id)
    own, own_id = house.name, house.list_id
    house.name, house.list_id = other, other_id
    assert await house.write(door) == "kept"
    house.name, house.list_id = own, own_id
    assert await house.write(door[:-1] + ("0" if door[-1] != "0" else "1")) == "kept"
    assert await house.write("confirm+" + TOKENS.make(Purpose.LEAVE, 1)) == "kept"
    await house.days_pass(8)
    assert await house.write(door) == "kept"
    assert await house.status() is None


async def test_a_long_name_confirms_at_an_address_without_it(house: House) -> None:
    await house.connection.execute("UPDATE mailing_lists SET name = $1 WHERE id = $2", "n" * 50, house.list_id)
    house.name = "n" * 50
    await house.write("join")
    local = str((await house.only_mail())["Reply-To"]).partition("@")[0]
    assert local.startswith("confirm+")
    assert await house.write(local, names_list=False) == "obeyed"
    assert await house.status() == "subscribed"


async def test_leaving_by_mail_takes_a_confirmation_since_anybody_can_write_a_from(house: House) -> None:
    await house.connection.execute(
        "INSERT INTO members (list_id, email, email_key, status, delivery_mode, role, display_name)"
        " VALUES ($1, $2, lower($2), 'subscribed', 'mail', 'member', '')",
        house.list_id,
        ANN,
    )
    await house.write("unsubscribe")
    assert await house.status() == "subscribed"
    await house.write(door_of(await house.only_mail()))
    assert await house.status() == "unsubscribed"
    assert (await house.mails())[-1]["Subject"].startswith("You have left")


async def test_all_commands_of_a_message_are_answered_in_one_mail(house: House) -> None:
    await house.policy("open")
    await house.write("join")
    assert await house.status() == "subscribed"
    await house.days_pass(1.1)
    before = len(await house.mails())
    await house.write("request", "WHICH\nset digest\n\n> leave\nhelp\nend\nleave")
    mail = (await house.mails())[-1]
    assert len(await house.mails()) == before + 1
    text = mail.get_content()
    assert f"{house.name}@lists.example.org: each post as a mail" in text
    assert "set nomail" in text
    assert "digests" in text
    await house.write(door_of(mail))
    mode = "SELECT delivery_mode::text FROM members WHERE email_key = $1"
    assert await house.connection.fetchval(mode, ANN.lower()) == "digest"
    assert await house.status() == "subscribed"


@pytest.mark.parametrize(
    ("command", "digest_format", "words"),
    [("set digest plain", "plain", "digests, as plain text"), ("set digest mime", "mime", "digests, each post whole")],
)
async def test_a_member_says_what_digests_shall_look_like(
    house: House, command: str, digest_format: str, words: str
) -> None:
    await house.policy("open")
    await house.write("join")
    await house.days_pass(1.1)
    await house.write("request", command)
    mail = (await house.mails())[-1]
    assert words in " ".join(mail.get_content().split())
    await house.write(door_of(mail))
    chosen = "SELECT delivery_mode::text || ' ' || digest_format::text FROM members WHERE email_key = $1"
    assert await house.connection.fetchval(chosen, ANN.lower()) == f"digest {digest_format}"


async def test_lists_of_an_address_are_told_only_to_who_is_shown_to_have_it(house: House) -> None:
    await house.policy("open")
    await house.write("join")
    await house.write("request", "which", is_proven=False)
    text = (await house.mails())[-1].get_content()
    assert NOT_SHOWN in text
    assert "each post as a mail" not in text


async def test_a_request_without_commands_is_told_of_them(house: House) -> None:
    await house.write("request", "Dear Sir,\nhow does this work?")
    text = (await house.only_mail()).get_content()
    assert "set nomail" in text
    assert "Lines that are no commands: 2." in text
    assert "Sir" not in text


@pytest.mark.parametrize(
    ("sender", "header"),
    [
        ("", ""),
        (ANN, "Auto-Submitted: auto-replied\n"),
        (ANN, "auto-submitted: Auto-Generated; owner-email=x\n"),
        (ANN, "Precedence: bulk\n"),
        (ANN, "List-Id: <other.example.net>\n"),
        (ANN, "X-Loop: dev@lists.example.net\n"),
        (ANN, "From: bob@example.com\n"),
    ],
)
async def test_nothing_is_answered_that_no_person_wrote(house: House, sender: str, header: str) -> None:
    for door in ("join", "leave", "request"):
        assert await house.write(door, "help", sender=sender, header=header) == "kept"
    assert await house.connection.fetchval("SELECT count(*) FROM mailings") == 0
    assert await house.connection.fetchval("SELECT count(*) FROM subscription_requests") == 0


async def test_a_vacation_notice_confirms_nothing(house: House) -> None:
    await house.write("join")
    door = door_of(await house.only_mail())
    assert await house.write(door, header="Auto-Submitted: auto-replied\n") == "kept"
    assert await house.status() is None


async def test_an_address_gets_one_confirmation_a_list_and_three_in_all_within_a_day(house: House) -> None:
    variants = (ANN, "ann+news@EXAMPLE.com", "a.n.n@example.com", "ann@example.com", '"ann"@example.com')
    for variant in variants:
        await house.write("join", author=variant)
    assert await house.connection.fetchval("SELECT count(*) FROM notices") == 1
    for _ in range(5):
        house.list_id = await stored.new_list(house.connection, 0)
        house.name = await house.connection.fetchval("SELECT name FROM mailing_lists WHERE id = $1", house.list_id)
        await house.write("join")
    assert await house.connection.fetchval("SELECT count(*) FROM notices") == 3
    await house.days_pass(1.1)
    await house.write("join")
    assert await house.connection.fetchval("SELECT count(*) FROM notices") == 4


async def test_a_list_asks_only_so_many_strangers_a_day(house: House) -> None:
    await house.connection.execute(
        """
        INSERT INTO notices (cause, kind, list_id, counting_key, counted_as)
        SELECT 'flood ' || n, CASE WHEN n = 0 THEN 'invitation' ELSE 'confirm-join' END, $1, 'victim' || n,
               'confirmation'
        FROM generate_series(0, $2 - 1) n
        """,
        house.list_id,
        MAX_CONFIRMATIONS_BY_A_LIST,
    )
    await house.write("join")
    assert len(await house.mails()) == 1, "what owners asked for does not count"
    await house.write("join", author="ben@example.com")
    assert await house.mails("ben@example.com") == []


async def test_a_request_that_nobody_decides_about_expires(house: House) -> None:
    await house.policy("approve")
    await house.write("join")
    assert await subscription_requests.is_pending(house.connection, house.list_id, ANN.lower())
    for age_days, is_pending in ((89, True), (91, False)):
        changed_at = "UPDATE subscription_requests SET changed_at = now() - make_interval(days => $1)"
        await house.connection.execute(changed_at, age_days)
        await subscription_requests.expire_pending(house.connection)
        assert is_pending is await subscription_requests.is_pending(house.connection, house.list_id, ANN.lower())


async def test_what_else_a_message_asks_is_answered_when_it_may_not_ask_to_confirm_again(house: House) -> None:
    await house.write("request", "join\nhelp")
    await house.write("request", "join\nhelp")
    await house.write("request", "join")
    first, second = await house.mails()
    assert first["Subject"].startswith("Please confirm")
    assert "set nomail" in first.get_content()
    assert second["Subject"].startswith("Your message")
    assert "set nomail" in second.get_content()


async def test_answers_end_when_somebody_asks_for_too_many(house: House) -> None:
    for _ in range(12):
        await house.write("request", "help")
    assert len(await house.mails()) == 10


async def test_one_server_brings_only_so_many_commands(house: House) -> None:
    await stored.not_at_the_hours_end(house.connection)
    await house.write("join", author="bob@example.com")
    await house.connection.execute("UPDATE form_tallies SET uses = $1", MAX_COMMANDS_A_PEER - 1)
    assert await house.write("join") == "obeyed"
    assert await house.write("join", author="cid@example.com") == "kept"
    assert await house.connection.fetchval("SELECT count(*) FROM notices") == 2


async def test_one_address_in_two_forms_is_one_member(house: House) -> None:
    await house.policy("open")
    for form in ("ann@bücher.example", "Ann@XN--BCHER-KVA.example", "ANN@BÜCHER.example"):
        await house.write("join", author=form)
    assert await house.connection.fetchval("SELECT array_agg(email_key) FROM members WHERE email LIKE 'ann%'") == [
        "ann@xn--bcher-kva.example"
    ]


@pytest.mark.parametrize("policy", ["closed", "invite"])
async def test_a_list_that_is_closed_says_so_to_who_writes(house: House, policy: str) -> None:
    await house.policy(policy)
    await house.write("join")
    assert "cannot join" in (await house.only_mail()).get_content()
    assert await house.status() is None


async def test_owners_approve_where_the_list_says_so(house: House) -> None:
    await house.policy("confirm_and_approve")
    await house.connection.execute("UPDATE members SET role = 'owner' WHERE email_key = 'member-1@example.com'")
    await house.write("join")
    assert not await house.mails("member-1@example.com")
    await house.write(door_of(await house.only_mail()))
    assert await house.status() is None
    (wanted,) = await house.mails("member-1@example.com")
    assert wanted["Subject"].startswith("Ann@example.com asks to join")
    assert await house.connection.fetchval("SELECT state::text FROM subscription_requests") == "pending"
    # Asking again meanwhile makes no second request.
    await house.days_pass(1.1)
    await house.write("join")
    await house.write(door_of((await house.mails())[-1]))
    assert len(await house.mails("member-1@example.com")) == 1


async def test_the_members_own_address_ends_the_membership_at_once(house: House) -> None:
    """Also for what is released, and without a mail."""
    await house.policy("open")
    await house.write("join")
    member_id = await house.connection.fetchval("SELECT id FROM members WHERE email_key = $1", ANN.lower())
    mailing_id = await stored.mailing_to(house.connection, house.list_id)
    (batch_id,) = await stored.release_all(house.connection, mailing_id)
    claimed = await stored.claim(house.connection, batch_id, await stored.new_lease(house.connection))
    assert claimed is not None
    (delivery_id,) = [each.delivery_id for each in claimed.recipients if each.address == ANN]
    later_id = await stored.mailing_to(house.connection, house.list_id)
    (later_batch,) = await stored.release_all(house.connection, later_id)

    door = "leave+" + TOKENS.make(Purpose.LEAVE, member_id)
    other = await house.connection.fetchval(
        "SELECT name FROM mailing_lists WHERE id = $1", await stored.new_list(house.connection, 0)
    )
    own, own_id, house.name = house.name, house.list_id, other
    house.list_id += 1
    # A newsletter to several lists names the first one's address in all of its copies.
    assert await house.write(door, sender="", header="Auto-Submitted: auto-generated\n") == "obeyed"
    house.name, house.list_id = own, own_id
    assert await house.status() == "unsubscribed"
    assert DeliveriesCancelled(batch_id, (delivery_id,)) in house.publisher.broadcasts
    later = await stored.claim(house.connection, later_batch, await stored.new_lease(house.connection))
    assert later is not None
    assert ANN not in {each.address for each in later.recipients}
    assert await stored.states(house.connection, later_id) == {"open": 3, "cancelled": 1}
    assert [mail["Subject"].split()[0] for mail in await house.mails()] == ["Welcome"]
    assert await house.write("leave+" + TOKENS.make(Purpose.PREFERENCES, member_id, ends_at=NOW + timedelta(1))) == (
        "kept"
    )


async def test_who_left_while_deliveries_were_made_is_found_by_the_claim(house: House) -> None:
    mailing_id = await stored.mailing_to(house.connection, house.list_id)
    (batch_id,) = await stored.release_all(house.connection, mailing_id)
    await house.connection.execute("UPDATE members SET status = 'unsubscribed' WHERE email_key LIKE 'member-1@%'")
    claimed = await stored.claim(house.connection, batch_id, await stored.new_lease(house.connection))
    assert claimed is not None
    assert [each.address for each in claimed.recipients] == ["Member-2@example.com", "Member-3@example.com"]
    assert await stored.states(house.connection, mailing_id) == {"open": 2, "cancelled": 1}


async def test_mail_to_the_owner_goes_to_the_owners_or_else_to_the_operator(house: House) -> None:
    target = NewTarget(f"{house.name}-owner@lists.example.org", TargetKind.OPERATOR, house.list_id)

    async def readers() -> list[str]:
        message = stored.new_message(target)
        await messages.store(house.connection, message)
        await house.handle(MailReceived(str(message.id)))
        rows = await house.connection.fetch(
            "SELECT recipient FROM deliveries d JOIN mailings m ON m.id = d.mailing_id WHERE m.message_id = $1"
            " ORDER BY recipient",
            message.id,
        )
        return [row["recipient"] for row in rows]

    assert await readers() == []
    await house.connection.execute("UPDATE members SET role = 'moderator' WHERE email_key LIKE 'member-3@%'")
    assert await readers() == ["Member-3@example.com"]
    await house.connection.execute("UPDATE members SET role = 'owner' WHERE email_key SIMILAR TO 'member-(1|2)@%'")
    assert await readers() == ["Member-1@example.com", "Member-2@example.com"]
