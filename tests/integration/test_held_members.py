"""Members who are held after bounces are reminded, and those who do not answer are let go."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from services.scheduler.kinds.held_members import HeldMembers
from shared.contracts.task_kinds.held_members import HeldMembersParameters
from shared.core.address import Address
from shared.core.links import Links
from shared.core.tokens import Tokens
from shared.runtime.consequences import Consequences
from shared.runtime.subscriptions import Subscriptions
from shared.store import members
from shared.store.engine import RawConnection
from tests.integration import stored
from tests.integration.test_held_posts import StepsOn

PARAMETERS = HeldMembersParameters(remind_after_days=7, max_reminders=2)


class House:
    """A list with one member, who is held."""

    def __init__(self, connection: RawConnection, list_id: int, member_id: int) -> None:
        self.connection = connection
        self.list_id = list_id
        self.member_id = member_id
        self.followed: list[Consequences] = []
        links = Links(Tokens(b"a secret of the tests"), None)
        self._kind = HeldMembers(Subscriptions(links), self._follow)

    async def _follow(self, what: Consequences) -> None:
        self.followed.append(what)

    async def run(self) -> dict[str, Any]:
        """What one run of the task did."""
        done = await self._kind(StepsOn(self.connection), PARAMETERS)  # type: ignore[arg-type]
        return asdict(done)

    async def days_pass(self, days: float) -> None:
        await self.connection.execute(
            """
            UPDATE members SET held_at = held_at - make_interval(secs => $1 * 86400),
                               held_reminded_at = held_reminded_at - make_interval(secs => $1 * 86400)
            """,
            days,
        )

    async def status(self) -> str:
        return str(await self.connection.fetchval("SELECT status FROM members WHERE id = $1", self.member_id))

    async def notices(self) -> int:
        return int(await self.connection.fetchval("SELECT count(*) FROM notices WHERE kind = 'held'"))


@pytest.fixture
async def house(connection: RawConnection) -> House:
    list_id = await stored.new_list(connection, 1)
    member_id = await connection.fetchval(
        "UPDATE members SET status = 'held', held_at = now(), held_because = 'no_such_user: 550' RETURNING id"
    )
    return House(connection, list_id, member_id)


async def test_a_held_member_is_reminded_so_often_and_then_let_go(house: House) -> None:
    assert await house.run() == {"reminded": 0, "removed": 0}
    for reminders in (1, 2):
        await house.days_pass(7.1)
        assert await house.run() == {"reminded": 1, "removed": 0}
        assert await house.run() == {"reminded": 0, "removed": 0}
        assert await house.notices() == reminders
    assert await house.status() == "held"
    await house.days_pass(7.1)
    assert await house.run() == {"reminded": 0, "removed": 1}
    assert await house.status() == "unsubscribed"
    assert [what.left for what in house.followed if what.left] == [(house.member_id,)]
    assert sum(len(what.batches) for what in house.followed) == 2


async def test_a_list_may_keep_its_held_members(house: House) -> None:
    await house.connection.execute("UPDATE mailing_lists SET removes_held_members = false")
    for _ in range(4):
        await house.days_pass(7.1)
        await house.run()
    assert (await house.status(), await house.notices()) == ("held", 2)


async def test_who_came_back_and_is_held_again_is_reminded_anew(house: House) -> None:
    await house.days_pass(7.1)
    await house.run()
    email = await house.connection.fetchval("SELECT email FROM members WHERE id = $1", house.member_id)
    await members.join(house.connection, house.list_id, Address.parse(email))
    assert await house.connection.fetchval("SELECT held_reminders FROM members") == 0
    await house.days_pass(100)
    assert await house.run() == {"reminded": 0, "removed": 0}
