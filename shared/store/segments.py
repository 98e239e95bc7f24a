"""A segment's tree as a condition in SQL. Whatever came from outside is a parameter, never text of the statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

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
    Scalar,
    TextOperator,
    Trait,
)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A condition that is true or false of each row, never null, and the values of its parameters."""

    text: str
    values: tuple[object, ...]


def compiled(condition: Condition, *, row: str, after: int) -> Compiled:
    """The condition on a row of `members` that the statement calls `row`, its parameters numbered from `after` + 1."""
    compiler = _Compiler(row, after)
    text = compiler.condition(condition)
    return Compiled(text, tuple(compiler.values))


_COLUMNS = {
    Property.EMAIL: "email_key",
    Property.EMAIL_DOMAIN: "email_key",
    Property.DISPLAY_NAME: "display_name",
    Property.STATUS: "status",
    Property.DELIVERY_MODE: "delivery_mode",
    Property.ROLE: "role",
    Property.JOINED_AT: "joined_at",
}
_NUMBER_SIGNS = {
    NumberOperator.LESS: "<",
    NumberOperator.AT_MOST: "<=",
    NumberOperator.GREATER: ">",
    NumberOperator.AT_LEAST: ">=",
}
_MOMENT_SIGNS = {MomentOperator.BEFORE: "<", MomentOperator.SINCE: ">="}
#: Texts that are taken for numbers: a longer one might be none that PostgreSQL can hold.
_NUMBER = "'^-?[0-9]{1,20}([.][0-9]{1,20})?$'"
_DAY = "'^[0-9]{4}-[0-9]{2}-[0-9]{2}($|[T ])'"


class _Compiler:
    """One condition, and the values that its text refers to."""

    def __init__(self, row: str, after: int) -> None:
        self._row = row
        self._after = after
        self.values: list[object] = []

    def condition(self, condition: Condition) -> str:
        match condition:
            case And(parts):
                return f"({' AND '.join(map(self.condition, sorted(parts, key=_looks_elsewhere)))})"
            case Or(parts):
                return f"({' OR '.join(map(self.condition, sorted(parts, key=_looks_elsewhere)))})"
            case Not(part):
                return f"NOT {self.condition(part)}"
            case Field(name, test):
                return f"({self._field(name, test)}) IS TRUE"
            case Trait(which, test):
                return f"({self._trait(which, test)}) IS TRUE"
            case Activity():
                return f"({self._activity(condition)}) IS TRUE"

    def _parameter(self, value: object, type_name: str) -> str:
        self.values.append(value)
        return f"${self._after + len(self.values)}::{type_name}"

    def _field(self, name: str, test: IsOneOf | HasText | HasNumber | HasDay | IsSet) -> str:
        key = self._parameter(name, "text")
        value, kind = f"({self._row}.fields ->> {key})", f"jsonb_typeof({self._row}.fields -> {key})"
        text = f"CASE WHEN {kind} = 'string' THEN {value} END"
        number = f"CASE WHEN {kind} = 'number' OR {value} ~ {_NUMBER} THEN {value}::numeric END"
        match test:
            case IsOneOf(values):
                return self._one_of(values, text=text, number=number, value=value)
            case HasText():
                return self._has_text(text, test)
            case HasNumber(operator, wanted):
                return f"{number} {_NUMBER_SIGNS[operator]} {self._parameter(wanted, 'numeric')}"
            case HasDay(operator, day):
                begin = f'left({value}, 10) COLLATE "C"'
                return f"{value} ~ {_DAY} AND {begin} {_MOMENT_SIGNS[operator]} {self._parameter(day, 'text')}"
            case IsSet():
                return f"{value} <> ''"

    def _one_of(self, values: Sequence[Scalar], *, text: str, number: str, value: str) -> str:
        texts = [each for each in values if isinstance(each, str)]
        numbers = [each for each in values if isinstance(each, Decimal)]
        truths = ["true" if each else "false" for each in values if isinstance(each, bool)]
        ways = []
        if texts:
            ways.append(f"{text} = ANY({self._parameter(texts, 'text[]')})")
        if numbers:
            ways.append(f"{number} = ANY({self._parameter(numbers, 'numeric[]')})")
        if truths:
            ways.append(f"{value} = ANY({self._parameter(truths, 'text[]')})")
        return " OR ".join(f"({way}) IS TRUE" for way in ways)

    def _has_text(self, text: str, test: HasText) -> str:
        wanted = self._parameter(test.text, "text")
        match test.operator:
            case TextOperator.CONTAINS:
                return f"strpos({text}, {wanted}) > 0"
            case TextOperator.STARTS_WITH:
                return f"starts_with({text}, {wanted})"
            case TextOperator.ENDS_WITH:
                return f"right({text}, length({wanted})) = {wanted}"

    def _trait(self, which: Property, test: IsOneOf | HasText | HasMoment | IsWithinDays | IsSet) -> str:
        column = f"{self._row}.{_COLUMNS[which]}"
        if which is Property.EMAIL_DOMAIN:
            column = f"split_part({column}, '@', -1)"
        match test:
            case IsOneOf(values):
                return f"{column}::text = ANY({self._parameter(list(values), 'text[]')})"
            case HasText():
                return self._has_text(column, test)
            case HasMoment(operator, moment):
                return f"{column} {_MOMENT_SIGNS[operator]} {self._parameter(moment, 'timestamptz')}"
            case IsWithinDays(days):
                return f"{column} > {self._days_ago(days)}"
            case IsSet():
                return f"{column} <> ''"

    def _days_ago(self, days: int) -> str:
        return f"now() - make_interval(hours => 24 * {self._parameter(days, 'int')})"

    def _activity(self, activity: Activity) -> str:
        """One row for the address at least.

        A sub-select that ends at its first row: an EXISTS may be planned as a walk through all that ever happened.
        """
        happening = _HAPPENINGS[activity.kind]
        conditions = [happening.what]
        if activity.mailing_id is None:
            # Who is on several lists got one copy, by one of them.
            rows = f"members same JOIN {happening.rows} ON {happening.of_member}"
            conditions.append(f"same.email_key = {self._row}.email_key")
            if activity.kind is ActivityKind.RECEIVED:
                conditions.append("d.is_newsletter")
        else:
            rows = (
                f"deliveries d JOIN {happening.rows} ON {happening.of_delivery}" if happening.of_delivery else _RECEIVED
            )
            mailing_id = self._parameter(activity.mailing_id, "bigint")
            conditions += [
                f"d.mailing_id = {mailing_id}",
                f"d.recipient_key = {self._row}.email_key",
                # Its partition alone.
                f"d.mailing_created_at = (SELECT created_at FROM mailings WHERE id = {mailing_id})",
            ]
        if activity.within_days is not None:
            conditions.append(f"{happening.at} > {self._days_ago(activity.within_days)}")
        return f"SELECT true FROM {rows} WHERE {' AND '.join(conditions)} LIMIT 1"


def _looks_elsewhere(condition: Condition) -> bool:
    """Whether other tables are asked, which is worth it only where the rest leaves it open."""
    match condition:
        case And(parts) | Or(parts):
            return any(map(_looks_elsewhere, parts))
        case Not(part):
            return _looks_elsewhere(part)
    return isinstance(condition, Activity)


@dataclass(frozen=True, slots=True)
class _Happening:
    """Where an activity is written down."""

    rows: str
    of_member: str
    #: Null where the rows are the deliveries themselves.
    of_delivery: str | None
    what: str
    at: str


_READ = _Happening("tracking_events e", "e.member_id = same.id", "e.delivery_id = d.id", "e.judged IS NULL", "e.at")
_RECEIVED = "deliveries d"
_HAPPENINGS = {
    ActivityKind.OPENED: _READ,
    ActivityKind.CLICKED: replace(_READ, what=f"{_READ.what} AND e.link_id <> 0"),
    # By the age of the mailing, which is what the index knows.
    ActivityKind.RECEIVED: _Happening(
        _RECEIVED, "d.member_id = same.id", None, "d.state = 'delivered'", "d.mailing_created_at"
    ),
    ActivityKind.BOUNCED: _Happening(
        "bounce_events b", "b.member_id = same.id", "b.delivery_id = d.id", "b.kind = 'bounce'", "b.happened_at"
    ),
}
