"""What PostgreSQL finds for a segment is what the tree says, read member by member."""

from __future__ import annotations

import json
import random
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.core.segment.tree import (
    Activity,
    ActivityKind,
    And,
    Condition,
    Field,
    HasDay,
    HasMoment,
    HasNumber,
    HasText,
    IsOneOf,
    IsSet,
    IsWithinDays,
    MomentOperator,
    Not,
    NumberOperator,
    Or,
    Property,
    TextOperator,
    Trait,
)
from shared.store import segments
from shared.store.engine import RawConnection
from tests.integration import stored

NAMES = ("city", "age", "odd 'name\"; --", "nobody's")
TEXTS = ("Berlin", "berlin", "Ber", "42", "-3.5", "0.10", "1e5", " 42", "NaN", "true", "2026-02-31", "%", "'; --", "É")
DAYS = ("2025-12-31", "2026-02-28", "2026-03-01")
NUMBERS = (Decimal(42), Decimal("-3.5"), Decimal("0.1"), Decimal(100000), Decimal(0))
VALUES = (*TEXTS, *DAYS, "2026-03-01T10:00:00Z", "2026-03-015", "", None, True, False, 42, -3.5, 0.1, 100000)
EMAILS = ("ann@example.com", "bob@example.com", "cid@de.example.org", "d_e@example.org", "xn@xn--bcher-kva.example")
AGES_DAYS = (0.5, 1.5, 3.5, 10.5)
MAILINGS = 3


@dataclass(frozen=True, slots=True)
class Happening:
    kind: ActivityKind
    email: str
    mailing_id: int
    age_days: float


@dataclass(frozen=True, slots=True)
class Known:
    """A member as a tree is read on it."""

    id: int
    traits: Mapping[Property, str]
    fields: Mapping[str, object]
    age_days: float


@dataclass(slots=True)
class World:
    now: datetime
    members: list[Known] = field(default_factory=list)
    happenings: list[Happening] = field(default_factory=list)
    mailing_ids: list[int] = field(default_factory=list)


def holds(condition: Condition, member: Known, world: World) -> bool:
    """What a tree says of a member, without SQL."""
    match condition:
        case And(parts):
            return all(holds(part, member, world) for part in parts)
        case Or(parts):
            return any(holds(part, member, world) for part in parts)
        case Not(part):
            return not holds(part, member, world)
        case Field(name, test):
            return _passes(member.fields.get(name), test)
        case Trait(Property.JOINED_AT, IsWithinDays(days)):
            return member.age_days < days
        case Trait(Property.JOINED_AT, HasMoment(operator, moment)):
            joined_at = world.now - timedelta(days=member.age_days)
            return joined_at < moment if operator is MomentOperator.BEFORE else joined_at >= moment
        case Trait(which, test):
            return _passes(member.traits[which], test)
        case Activity(kind, within_days, mailing_id):
            return any(
                (each.kind is kind or (kind is ActivityKind.OPENED and each.kind is ActivityKind.CLICKED))
                and each.email == member.traits[Property.EMAIL]
                and (within_days is None or each.age_days < within_days)
                and (mailing_id is None or each.mailing_id == mailing_id)
                for each in world.happenings
            )


def _passes(value: object, test: object) -> bool:
    if isinstance(value, bool):
        text, number, day = None, None, None
    elif isinstance(value, int | float):
        text, number, day = None, Decimal(repr(value)), None
    else:
        text = value if isinstance(value, str) else None
        number = Decimal(text) if text and re.fullmatch(r"-?[0-9]{1,20}([.][0-9]{1,20})?", text) else None
        day = text[:10] if text and re.match(r"\d{4}-\d\d-\d\d($|[T ])", text) else None
    match test:
        case IsOneOf(values):
            truth = {True: True, False: False, "true": True, "false": False}.get(value) if value in _TRUTHS else None
            return any(
                (truth is each if isinstance(each, bool) else each == (number if isinstance(each, Decimal) else text))
                for each in values
            )
        case HasText(TextOperator.CONTAINS, wanted):
            return text is not None and wanted in text
        case HasText(TextOperator.STARTS_WITH, wanted):
            return text is not None and text.startswith(wanted)
        case HasText(TextOperator.ENDS_WITH, wanted):
            return text is not None and text.endswith(wanted)
        case HasNumber(operator, wanted):
            return (
                number is not None
                and {
                    NumberOperator.LESS: number < wanted,
                    NumberOperator.AT_MOST: number <= wanted,
                    NumberOperator.GREATER: number > wanted,
                    NumberOperator.AT_LEAST: number >= wanted,
                }[operator]
            )
        case HasDay(MomentOperator.BEFORE, wanted):
            return day is not None and day < wanted
        case HasDay(MomentOperator.SINCE, wanted):
            return day is not None and day >= wanted
        case IsSet():
            return value is not None and value != ""
    raise AssertionError(test)


_TRUTHS = (True, False, "true", "false")


@pytest.fixture(scope="module")
async def connected(database_url: str) -> AsyncIterator[RawConnection]:
    async with stored.connected(database_url) as connection:
        # Whatever the day is, what happened days ago has its partition.
        await connection.execute("CREATE TABLE deliveries_rest PARTITION OF deliveries DEFAULT")
        yield connection


@pytest.fixture(scope="module")
async def world(connected: RawConnection) -> World:
    chance = random.Random(5)  # noqa: S311 - which members there are
    world = World(await connected.fetchval("SELECT now()"))
    lists = [await stored.new_list(connected, 0) for _ in range(2)]
    for list_id in lists:
        for email in EMAILS:
            for number in range(8):
                await _add_member(connected, world, chance, list_id, f"{number}{email}")
    for age_days in AGES_DAYS[:MAILINGS]:
        mailing_id = await stored.mailing_to(connected, lists[0], expand=False)
        world.mailing_ids.append(mailing_id)
        created_at = world.now - timedelta(days=age_days)
        await connected.execute("UPDATE mailings SET created_at = $2 WHERE id = $1", mailing_id, created_at)
        for email in {member.traits[Property.EMAIL] for member in world.members}:
            members = [member for member in world.members if member.traits[Property.EMAIL] == email]
            await _mail(connected, world, chance, mailing_id, age_days, chance.choice(members), email)
    await connected.execute("ANALYZE")
    return world


async def _add_member(connection: RawConnection, world: World, chance: random.Random, list_id: int, email: str) -> None:
    fields = {name: chance.choice(VALUES) for name in NAMES if chance.random() < 0.6}
    age_days, name = chance.choice(AGES_DAYS), chance.choice(("", "Ann", "ann", "É"))
    status, mode, role = (
        chance.choice(choices)
        for choices in (("subscribed", "held"), ("mail", "digest", "nomail"), ("member", "moderator", "owner"))
    )
    member_id = await connection.fetchval(
        """
        INSERT INTO members (list_id, email, email_key, display_name, status, delivery_mode, role, fields, joined_at)
        VALUES ($1, $2, $2, $3, $4, $5, $6, $7, $8) RETURNING id
        """,
        list_id,
        email,
        name,
        status,
        mode,
        role,
        json.dumps(fields),
        world.now - timedelta(days=age_days),
    )
    traits = {
        Property.EMAIL: email,
        Property.EMAIL_DOMAIN: email.partition("@")[2],
        Property.DISPLAY_NAME: name,
        Property.STATUS: status,
        Property.DELIVERY_MODE: mode,
        Property.ROLE: role,
    }
    world.members.append(Known(member_id, traits, fields, age_days))


async def _mail(
    connection: RawConnection,
    world: World,
    chance: random.Random,
    mailing_id: int,
    age_days: float,
    member: Known,
    email: str,
) -> None:
    """A delivery to the address, by one of its members, and what came of it."""
    state = chance.choice(("delivered", "delivered", "refused"))
    delivery_id = await connection.fetchval(
        """
        INSERT INTO deliveries (mailing_id, mailing_created_at, member_id, recipient, recipient_key, state, ended_at,
                                is_newsletter)
        SELECT id, created_at, $2, $3, $3, $4, created_at, true FROM mailings WHERE id = $1 RETURNING id
        """,
        mailing_id,
        member.id,
        email,
        state,
    )
    if state == "delivered":
        world.happenings.append(Happening(ActivityKind.RECEIVED, email, mailing_id, age_days))
    if chance.random() < 0.4:
        event_age = chance.choice(AGES_DAYS)
        await connection.execute(
            "INSERT INTO bounce_events (delivery_id, member_id, kind, reply, happened_at) VALUES ($1, $2, $3, '', $4)",
            delivery_id,
            member.id,
            kind := chance.choice(("bounce", "delay")),
            world.now - timedelta(days=event_age),
        )
        if kind == "bounce":
            world.happenings.append(Happening(ActivityKind.BOUNCED, email, mailing_id, event_age))
    for _ in range(chance.randrange(3)):
        event_age, link_id, judged = chance.choice(AGES_DAYS), chance.choice((0, 7)), chance.choice((None, "scanner"))
        await connection.execute(
            "INSERT INTO tracking_events (id, mailing_id, delivery_id, member_id, link_id, at, judged)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7)",
            UUID(int=chance.getrandbits(128)),
            mailing_id,
            delivery_id,
            member.id,
            link_id,
            world.now - timedelta(days=event_age),
            judged,
        )
        if judged is None:
            kind_of_event = ActivityKind.CLICKED if link_id else ActivityKind.OPENED
            world.happenings.append(Happening(kind_of_event, email, mailing_id, event_age))


_texts = st.sampled_from((*TEXTS, *DAYS, "er", "4", ".5"))
_scalars = _texts | st.sampled_from(NUMBERS) | st.booleans()
_one_of = st.builds(IsOneOf, st.lists(_scalars, min_size=1, max_size=4).map(tuple))
_has_text = st.builds(HasText, st.sampled_from(TextOperator), _texts)
_fields = st.builds(
    Field,
    st.sampled_from(NAMES),
    _one_of
    | _has_text
    | st.builds(HasNumber, st.sampled_from(NumberOperator), st.sampled_from(NUMBERS))
    | st.builds(HasDay, st.sampled_from(MomentOperator), st.sampled_from(DAYS))
    | st.just(IsSet()),
)
_words = st.sampled_from(["1ann@example.com", "example.org", "xn--bcher-kva.example", "Ann", "held", "owner", "nomail"])
_moments = st.sampled_from([2.0, 5.0]).map(lambda days: datetime.now(UTC) - timedelta(days=days))
_traits = st.builds(
    Trait,
    st.sampled_from([each for each in Property if each is not Property.JOINED_AT]),
    st.builds(IsOneOf, st.lists(_words, min_size=1, max_size=3).map(tuple)),
) | st.builds(
    Trait,
    st.sampled_from([Property.EMAIL, Property.EMAIL_DOMAIN, Property.DISPLAY_NAME]),
    st.builds(HasText, st.sampled_from(TextOperator), _words | st.sampled_from(["a", "1", "org", ".", "_"]))
    | st.just(IsSet()),
)
_joined = st.builds(
    Trait,
    st.just(Property.JOINED_AT),
    st.builds(IsWithinDays, st.integers(1, 12)) | st.builds(HasMoment, st.sampled_from(MomentOperator), _moments),
)
#: The mailing's place among those that there are; the last is none.
_activities = st.builds(
    Activity,
    st.sampled_from(ActivityKind),
    st.none() | st.integers(1, 12),
    st.none() | st.integers(0, MAILINGS),
)
_conditions: st.SearchStrategy[Condition] = st.recursive(
    _fields | _traits | _joined | _activities,
    lambda parts: (
        st.builds(Not, parts)
        | st.builds(And, st.lists(parts, min_size=1, max_size=3).map(tuple))
        | st.builds(Or, st.lists(parts, min_size=1, max_size=3).map(tuple))
    ),
    max_leaves=8,
)


def with_mailings(condition: Condition, mailing_ids: Sequence[int]) -> Condition:
    """The tree with the numbers of the mailings in the place of their places."""
    match condition:
        case And(parts):
            return And(tuple(with_mailings(part, mailing_ids) for part in parts))
        case Or(parts):
            return Or(tuple(with_mailings(part, mailing_ids) for part in parts))
        case Not(part):
            return Not(with_mailings(part, mailing_ids))
        case Activity(kind, days, int(place)):
            return Activity(kind, days, mailing_ids[place] if place < len(mailing_ids) else 4711)
    return condition


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(_conditions)
async def test_postgresql_finds_whom_the_tree_means(
    connected: RawConnection, world: World, condition: Condition
) -> None:
    condition = with_mailings(condition, world.mailing_ids)
    compiled = segments.compiled(condition, row="m", after=1)
    rows = await connected.fetch(
        f"SELECT id, {compiled.text} AS is_meant FROM members m WHERE list_id = ANY($1)",
        list(await connected.fetchval("SELECT array_agg(id) FROM mailing_lists")),
        *compiled.values,
    )
    found = {row["id"]: row["is_meant"] for row in rows}
    assert found == {member.id: holds(condition, member, world) for member in world.members}


def test_no_value_stands_in_the_statement() -> None:
    marked = (
        Field("mark1", IsOneOf(("mark2", Decimal(987654), True))),
        Field("mark3", HasText(TextOperator.CONTAINS, "mark4")),
        Field("mark5", HasDay(MomentOperator.SINCE, "2026-11-23")),
        Trait(Property.EMAIL, IsOneOf(("mark6",))),
        Trait(Property.JOINED_AT, IsWithinDays(9876)),
        Activity(ActivityKind.OPENED, 9876, 98765),
    )
    compiled = segments.compiled(And(marked), row="m", after=0)
    assert "mark" not in compiled.text
    assert "9876" not in compiled.text
    assert "2026" not in compiled.text
    numbers = [int(number) for number in re.findall(r"\$(\d+)", compiled.text)]
    assert set(numbers) == set(range(1, len(compiled.values) + 1))
