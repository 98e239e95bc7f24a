"""What a list says about its members' copies: set by the API, kept by each mailing, joined with published policies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import cast

import pytest

from services.scheduler.tasks.authors import Authors
from services.scheduler.tasks.commands import ObeyCommands
from services.scheduler.tasks.post import HandlePost
from services.scheduler.tasks.reports import ReadReports
from shared.broker.publisher import Publisher
from shared.contracts.events import MailReceived
from shared.core.copies import AS_WRITTEN, CopySettings, DmarcMitigation, ReplyToPolicy
from shared.core.mailing import TargetKind
from shared.dns.resolver import LookupFailedError, MxRecord, NoSuchDomainError
from shared.runtime.moderation import Telling
from shared.store import contents, messages
from shared.store.engine import Database, RawConnection
from shared.store.messages import NewTarget
from tests.fakes.admin_client import LINKS, AdminClient, admin_client, let_in
from tests.integration import stored

SETTINGS = {
    "subject_prefix": "[dev] ",
    "header_text": "Welcome\r\n\r\nto <dev>  \r\n",
    "footer_text": "\n-- \nGrüße\n\n",
    "reply_to": "address",
    "reply_to_address": "help@Bücher.example",
    "keeps_authors_reply_to": False,
    "anonymous": True,
    "dmarc_mitigation": "always",
}
KEPT = {
    "subject_prefix": "[dev]",
    "header_text": "Welcome\n\nto <dev>",
    "footer_text": "-- \nGrüße",
    "reply_to_address": "help@xn--bcher-kva.example",
}
NOTHING = {
    "subject_prefix": "",
    "header_text": "",
    "footer_text": "",
    "reply_to": "author",
    "reply_to_address": None,
    "keeps_authors_reply_to": True,
    "anonymous": False,
    "dmarc_mitigation": "never",
}
COPIES = CopySettings(
    subject_prefix="[dev]",
    header_text="Welcome\n\nto <dev>",
    footer_text="-- \nGrüße",
    reply_to=ReplyToPolicy.ADDRESS,
    reply_to_address="help@xn--bcher-kva.example",
    keeps_authors_reply_to=False,
    is_anonymous=True,
    is_from_list=True,
)


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[AdminClient]:
    async with admin_client(database_url) as client:
        await let_in(client)
        yield client


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[RawConnection]:
    async with stored.connected(database_url) as connection:
        yield connection


async def copies_of(connection: RawConnection, mailing_id: int) -> CopySettings:
    content = await contents.load(connection, mailing_id)
    assert content is not None
    return content.copies


async def test_a_list_that_says_nothing_changes_nothing(api: AdminClient, connection: RawConnection) -> None:
    made = (await api.get(f"/lists/{await api.new_list()}")).json()
    assert {name: made[name] for name in SETTINGS} == NOTHING
    assert await copies_of(connection, await stored.new_mailing(connection, 0)) == AS_WRITTEN


async def test_settings_are_kept_and_a_mailing_keeps_those_it_was_made_with(
    api: AdminClient, connection: RawConnection
) -> None:
    made = await api.post("/lists", json={"name": "kept", "domain": "example.org", **SETTINGS})
    assert made.status_code == 201
    assert {name: made.json()[name] for name in SETTINGS} == SETTINGS | KEPT
    list_id = await connection.fetchval("SELECT id FROM mailing_lists WHERE name = 'kept'")
    first = await stored.mailing_to(connection, list_id)
    assert await copies_of(connection, first) == COPIES
    changed = await api.patch("/lists/kept@example.org", json={"anonymous": False, "dmarc_mitigation": "never"})
    assert changed.json() == made.json() | {"anonymous": False, "dmarc_mitigation": "never"}
    assert await copies_of(connection, first) == COPIES
    second = await stored.mailing_to(connection, list_id)
    assert await copies_of(connection, second) == replace(COPIES, is_anonymous=False, is_from_list=False)


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"subject_prefix": "[dev]\r\nBcc: e@x"}, "#/subject_prefix"),
        ({"subject_prefix": "[dev]\n"}, "#/subject_prefix"),
        ({"subject_prefix": "[dev]\u2028x"}, "#/subject_prefix"),
        ({"subject_prefix": "x" * 101}, "#/subject_prefix"),
        ({"subject_prefix": None}, "#/subject_prefix"),
        ({"header_text": "a\rb"}, "#/header_text"),
        ({"header_text": "a\u2029b"}, "#/header_text"),
        ({"footer_text": "a\x00b"}, "#/footer_text"),
        ({"footer_text": "a\x1b[2Jb"}, "#/footer_text"),
        ({"footer_text": "a\x85b"}, "#/footer_text"),
        ({"footer_text": "x" * 10_001}, "#/footer_text"),
        ({"reply_to": "nobody"}, "#/reply_to"),
        ({"reply_to": "address"}, "#/reply_to_address"),
        ({"reply_to_address": "help@example.org\r\nBcc: e@x"}, "#/reply_to_address"),
        ({"reply_to_address": "Help <help@example.org>"}, "#/reply_to_address"),
        ({"reply_to_address": "hälp@example.org"}, "#/reply_to_address"),
        ({"dmarc_mitigation": "sometimes"}, "#/dmarc_mitigation"),
        ({"anonymous": "maybe"}, "#/anonymous"),
    ],
)
async def test_what_would_break_a_copy_is_refused(api: AdminClient, wrong: dict[str, object], pointer: str) -> None:
    address = await api.new_list()
    for answer in (
        await api.post("/lists", json={"name": "wrong", "domain": "example.org", **wrong}),
        await api.patch(f"/lists/{address}", json=wrong),
    ):
        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert (await api.get(f"/lists/{address}")).json()["reply_to"] == "author"


async def test_an_address_for_answers_cannot_be_taken_away_while_it_is_used(api: AdminClient) -> None:
    address = await api.new_list()
    both = {"reply_to": "address", "reply_to_address": "help@example.org"}
    assert (await api.patch(f"/lists/{address}", json=both)).status_code == 200
    assert (await api.patch(f"/lists/{address}", json={"reply_to_address": None})).status_code == 422
    gone = {"reply_to": "list", "reply_to_address": None}
    assert (await api.patch(f"/lists/{address}", json=gone)).json()["reply_to_address"] is None


class Policies:
    """DMARC records by domain; "fails" is not answered."""

    def __init__(self, **texts: str) -> None:
        self.texts = {name.replace("_", "."): text for name, text in texts.items()}
        self.asked = 0

    async def txt(self, name: str) -> tuple[str, ...]:
        self.asked += 1
        text = self.texts.get(name.removeprefix("_dmarc."))
        if text is None:
            raise NoSuchDomainError(name)
        if text == "fails":
            raise LookupFailedError(name)
        return (text,)

    async def mx(self, domain: str) -> tuple[MxRecord, ...]:
        raise NotImplementedError(domain)


class NoPublisher:
    async def publish_all(self, queue: str, payloads: Sequence[object]) -> None:
        """Nobody is told."""


@pytest.mark.parametrize(
    ("mitigation", "author", "is_from_list"),
    [
        (DmarcMitigation.NEVER, "ann@strict.test", False),
        (DmarcMitigation.WHEN_PUBLISHED, "ann@strict.test", True),
        (DmarcMitigation.WHEN_PUBLISHED, "ann@deep.below.strict.test", True),
        (DmarcMitigation.WHEN_PUBLISHED, "ann@lax.test", False),
        (DmarcMitigation.WHEN_PUBLISHED, "ann@silent.test", False),
        (DmarcMitigation.WHEN_PUBLISHED, "bob@lax.test, ann@STRICT.test", True),
        (DmarcMitigation.WHEN_PUBLISHED, "ann@broken.test", True),
        (DmarcMitigation.WHEN_PUBLISHED, "ann@lists.example.org", False),
        (DmarcMitigation.ALWAYS, "ann@lax.test", True),
    ],
)
async def test_copies_are_from_the_list_when_it_says_so(
    connection: RawConnection, database_url: str, mitigation: DmarcMitigation, author: str, *, is_from_list: bool
) -> None:
    policies = Policies(
        strict_test="v=DMARC1; p=quarantine",
        lax_test="v=DMARC1; p=none",
        broken_test="fails",
        lists_example_org="v=DMARC1; p=reject",
    )
    list_id = await stored.new_list(connection, 0)
    await connection.execute("UPDATE mailing_lists SET dmarc_mitigation = $2 WHERE id = $1", list_id, mitigation.value)
    message = stored.new_message(NewTarget("list@lists.example.org", TargetKind.LIST, list_id))
    message = replace(message, content=f"From: {author}\r\n\r\nHello.\r\n".encode())
    await messages.store(connection, message)
    database = Database(database_url, name="test", pool_size=2)
    handle = HandlePost(
        database,
        cast("Publisher", NoPublisher()),
        Authors(database, policies),
        cast("ObeyCommands", None),  # neither commands nor reports come in here
        cast("ReadReports", None),
        Telling(LINKS, None),
        operator_address=None,
        publish_within_seconds=5,
        give_up_after_seconds=60,
    )
    try:
        await handle(MailReceived(str(message.id)))
    finally:
        await database.close()
    mailing_id = await connection.fetchval("SELECT id FROM mailings WHERE message_id = $1", message.id)
    assert (await copies_of(connection, mailing_id)).is_from_list is is_from_list
    assert bool(policies.asked) == (mitigation is DmarcMitigation.WHEN_PUBLISHED), "nobody is asked without need"
