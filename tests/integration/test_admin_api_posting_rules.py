from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.ingress_smtp.shelf import Shelf
from shared.core.posting.post import ListRules, Moderation, NonMemberAction
from shared.store.engine import Database, RawConnection
from tests.fakes.admin_client import AdminClient, admin_client, let_in

RULES_BANNED = ["*@spam.test", "@worse.test"]
RULES = {
    "non_member_action": "hold",
    "moderation": "everybody",
    "emergency": True,
    "max_post_bytes": 50_000,
    "banned": ["Evil@Example.org", *RULES_BANNED],
    "requires_explicit_destination": True,
    "other_addresses": ["dev-*@lists.test"],
    "refuses_commands": False,
    "refused_attachments": ["*.EXE", "application/zip"],
    "max_posts_a_day": 100,
    "max_posts_a_day_per_author": 5,
    "one_copy_across_lists": False,
    "tells_held_authors": False,
}


@pytest.fixture
async def client(connection: RawConnection, database_url: str) -> AsyncIterator[AdminClient]:
    async with admin_client(database_url) as made:
        await let_in(made)
        yield made


async def test_a_list_is_made_with_its_rules_and_ingress_judges_by_them(client: AdminClient, database_url: str) -> None:
    made = await client.post("/lists", json={"name": "strict", "domain": "lists.test", **RULES})
    assert made.status_code == 201, made.text
    shown = {name: made.json()[name] for name in RULES}
    lowered = {"banned": ["evil@example.org", *RULES_BANNED], "refused_attachments": ["*.exe", "application/zip"]}
    assert shown == {**RULES, **lowered}
    database = Database(database_url, name="test ingress")
    known = await Shelf(database).find_list("strict", "lists.test")
    await database.close()
    assert known is not None
    assert known.rules == ListRules(
        non_member_action=NonMemberAction.HOLD,
        moderation=Moderation.EVERYBODY,
        emergency=True,
        max_post_bytes=50_000,
        banned=("evil@example.org", "*@spam.test", "@worse.test"),
        requires_explicit_destination=True,
        other_addresses=("dev-*@lists.test",),
        refuses_commands=False,
        refused_attachments=("*.exe", "application/zip"),
        max_posts_a_day=100,
        max_posts_a_day_per_author=5,
    )


async def test_a_list_that_says_nothing_has_the_defaults_and_a_change_is_one_field(client: AdminClient) -> None:
    address = await client.new_list()
    before = (await client.get(f"/lists/{address}")).json()
    assert (before["non_member_action"], before["moderation"], before["max_post_bytes"]) == ("refuse", "flagged", None)
    changed = (await client.patch(f"/lists/{address}", json={"emergency": True})).json()
    assert changed == {**before, "emergency": True}


@pytest.mark.parametrize(
    "wrong",
    [
        {"banned": ["*"]},
        {"banned": [""]},
        {"banned": ["a\nb"]},
        {"banned": ["x@example.org"] * 1001},
        {"max_post_bytes": 10},
        {"max_posts_a_day": 0},
        {"non_member_action": "accept"},
        {"moderation": None},
        {"emergency": "perhaps"},
        {"is_moderated": True},
    ],
)
async def test_a_rule_that_makes_no_sense_is_refused(client: AdminClient, wrong: dict[str, Any]) -> None:
    address = await client.new_list()
    assert (await client.patch(f"/lists/{address}", json=wrong)).status_code == 422


async def test_a_member_is_moderated(client: AdminClient) -> None:
    address = await client.new_list()
    added = await client.post(f"/lists/{address}/members", json={"email": "ann@example.org"})
    assert added.json()["is_moderated"] is False
    changed = await client.patch(f"/lists/{address}/members/ann@example.org", json={"is_moderated": True})
    assert changed.json()["is_moderated"] is True
    # An import of the same address leaves that as it is.
    await client.import_csv(address, "email,display_name\nann@example.org,Ann\n")
    assert (await client.get(f"/lists/{address}/members/ann@example.org")).json()["is_moderated"] is True
