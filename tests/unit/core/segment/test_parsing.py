"""Segments from JSON: trees within bounds, and errors that tell their place."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.segment.parsing import MAX_ACTIVITIES, MAX_CONDITIONS, MAX_DEPTH, MAX_VALUES, InvalidSegment, parse
from shared.core.segment.tree import (
    Activity,
    ActivityKind,
    And,
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

CITY: dict[str, Any] = {"field": "city", "equals": "Berlin"}
PARSED_CITY = Field("city", IsOneOf(("Berlin",)))


def nested(depth: int) -> object:
    value: object = CITY
    for _ in range(depth - 1):
        value = {"not": value}
    return value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (CITY, PARSED_CITY),
        ({"and": [CITY, {"not": CITY}]}, And((PARSED_CITY, Not(PARSED_CITY)))),
        ({"or": [CITY]}, Or((PARSED_CITY,))),
        ({"field": "a", "in": ["x", 2, 0.1, True]}, Field("a", IsOneOf(("x", Decimal(2), Decimal("0.1"), True)))),
        ({"field": "a", "contains": "x"}, Field("a", HasText(TextOperator.CONTAINS, "x"))),
        ({"field": "a", "at_most": -3.5}, Field("a", HasNumber(NumberOperator.AT_MOST, Decimal("-3.5")))),
        ({"field": "a", "since": "2026-11-23"}, Field("a", HasDay(MomentOperator.SINCE, "2026-11-23"))),
        ({"field": "a", "is_set": True}, Field("a", IsSet())),
        ({"field": "a", "is_set": False}, Not(Field("a", IsSet()))),
        ({"property": "email", "equals": "Ann@EXAMPLE.com"}, Trait(Property.EMAIL, IsOneOf(("ann@example.com",)))),
        (
            {"property": "email_domain", "in": ["Bücher.example"]},
            Trait(Property.EMAIL_DOMAIN, IsOneOf(("xn--bcher-kva.example",))),
        ),
        (
            {"property": "email_domain", "ends_with": ".DE"},
            Trait(Property.EMAIL_DOMAIN, HasText(TextOperator.ENDS_WITH, ".de")),
        ),
        (
            {"property": "display_name", "starts_with": "Ann"},
            Trait(Property.DISPLAY_NAME, HasText(TextOperator.STARTS_WITH, "Ann")),
        ),
        ({"property": "role", "in": ["owner"]}, Trait(Property.ROLE, IsOneOf(("owner",)))),
        ({"property": "joined_at", "in_last_days": 30}, Trait(Property.JOINED_AT, IsWithinDays(30))),
        (
            {"property": "joined_at", "before": "2026-11-23T01:00:00+01:00"},
            Trait(Property.JOINED_AT, HasMoment(MomentOperator.BEFORE, datetime(2026, 11, 23, tzinfo=UTC))),
        ),
        (
            {"property": "joined_at", "since": "2026-11-23"},
            Trait(Property.JOINED_AT, HasMoment(MomentOperator.SINCE, datetime(2026, 11, 23, tzinfo=UTC))),
        ),
        ({"opened": {}}, Activity(ActivityKind.OPENED)),
        ({"bounced": {"in_last_days": 9, "of_mailing": 4}}, Activity(ActivityKind.BOUNCED, 9, 4)),
    ],
)
def test_json_says_a_tree(value: object, expected: object) -> None:
    assert parse(value) == expected


@pytest.mark.parametrize(
    ("value", "path", "words"),
    [
        (None, (), "object"),
        ([], (), "object"),
        ({}, (), "one of and, or, not, field"),
        ({"and": [CITY], "or": [CITY]}, (), "one of"),
        ({"and": []}, ("and",), "at least one"),
        ({"and": {}}, ("and",), "array"),
        ({"and": [CITY], "x": 1}, ("x",), "no such key"),
        ({"or": [CITY, {"not": {"nor": 1}}]}, ("or", 1, "not"), "one of"),
        ({"field": "city"}, (), "Beside field there is one of equals"),
        ({"field": "city", "equals": "a", "contains": "b"}, (), "Beside field"),
        ({"field": "city", "like": "%"}, ("like",), "no such key"),
        ({"field": "", "equals": "a"}, ("field",), "1 to 100 characters"),
        ({"field": 1, "equals": "a"}, ("field",), "text"),
        ({"field": "a", "equals": None}, ("equals",), "text, a number, true or false"),
        ({"field": "a", "equals": {"$ne": 1}}, ("equals",), "text, a number, true or false"),
        ({"field": "a", "equals": "x\0"}, ("equals",), "U+0000"),
        ({"field": "a", "equals": "\ud800"}, ("equals",), "U+D800"),
        ({"field": "a", "equals": "x" * 1001}, ("equals",), "1,000"),
        ({"field": "a", "in": []}, ("in",), "1 to 1,000"),
        ({"field": "a", "in": ["x"] * (MAX_VALUES + 1)}, ("in",), "1 to 1,000"),
        ({"field": "a", "in": ["x", []]}, ("in", 1), "text, a number"),
        ({"field": "a", "less": "3"}, ("less",), "number"),
        ({"field": "a", "less": True}, ("less",), "number"),
        ({"field": "a", "less": math.nan}, ("less",), "2^53"),
        ({"field": "a", "less": 10**400}, ("less",), "2^53"),
        ({"field": "a", "before": "2026-02-30"}, ("before",), "day"),
        ({"field": "a", "before": "20260228"}, ("before",), "day"),
        ({"field": "a", "is_set": 1}, ("is_set",), "true or false"),
        ({"property": "password", "equals": "x"}, ("property",), "email"),
        ({"property": ["email"], "equals": "x"}, ("property",), "email"),
        ({"property": "email", "less": 3}, ("less",), "no such key"),
        ({"property": "email", "equals": "x"}, ("equals",), "no @"),
        ({"property": "email_domain", "equals": "a b"}, ("equals",), "not well formed"),
        ({"property": "status", "equals": "gone"}, ("equals",), "held, subscribed or unsubscribed"),
        ({"property": "role", "in": ["owner", "king"]}, ("in", 1), "member, moderator or owner"),
        ({"property": "joined_at", "before": "2026-11-23T00:00:00"}, ("before",), "offset"),
        ({"property": "joined_at", "before": "0001-01-01T00:00:00+23:59"}, ("before",), "offset"),
        ({"property": "joined_at", "in_last_days": 0}, ("in_last_days",), "1 to 3,650"),
        ({"opened": None}, ("opened",), "object"),
        ({"opened": {"days": 3}}, ("opened", "days"), "in_last_days or of_mailing"),
        ({"opened": {"in_last_days": None}}, ("opened", "in_last_days"), "whole number"),
        ({"opened": {"in_last_days": 1.0}}, ("opened", "in_last_days"), "whole number"),
        ({"clicked": {"of_mailing": 2**63}}, ("clicked", "of_mailing"), "whole number"),
        ({"not": CITY, "x\ud800": 1}, (), "no such key"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(value: object, path: tuple[str | int, ...], words: str) -> None:
    with pytest.raises(InvalidSegment) as raised:
        parse(value)
    assert raised.value.path == path
    assert words in str(raised.value)


def test_trees_are_bounded_in_depth_and_size() -> None:
    parse(nested(MAX_DEPTH))
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(InvalidSegment, match=f"{MAX_DEPTH} deep"):
            parse(nested(depth))
    parse({"or": [CITY] * (MAX_CONDITIONS - 1)})
    with pytest.raises(InvalidSegment, match=f"{MAX_CONDITIONS} conditions"):
        parse({"or": [CITY] * MAX_CONDITIONS})
    opened: dict[str, object] = {"opened": {}}
    parse({"or": [opened] * MAX_ACTIVITIES})
    with pytest.raises(InvalidSegment, match="on activity"):
        parse({"or": [opened] * (MAX_ACTIVITIES + 1)})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.sampled_from(["and", "or", "not", "field", "equals", "opened"]), inner)
    ),
)


@given(_JSON)
def test_whatever_is_given_becomes_a_tree_or_an_error_with_a_place_in_it(value: object) -> None:
    try:
        parse(value)
    except InvalidSegment as error:
        for step in error.path[:-1]:
            value = value[step]  # type: ignore[index] # a place that is not there would raise
        json.dumps(error.path, ensure_ascii=False).encode()
