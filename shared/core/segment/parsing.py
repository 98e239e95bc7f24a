"""From JSON to a segment's tree, within bounds; what is wrong is told with its place."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TypeVar

from shared.core.address import Address, InvalidAddress
from shared.core.membership import DeliveryMode, MemberRole, MemberStatus
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

MAX_DEPTH = 10
MAX_CONDITIONS = 100
#: Each looks at other tables for each member.
MAX_ACTIVITIES = 10
MAX_VALUES = 1000
MAX_CHARACTERS = 1000
MAX_NAME_CHARACTERS = 100
MAX_DAYS = 3650
MAX_MAILING_ID = 2**63 - 1
#: Numbers beyond are not exact in every program.
MAX_NUMBER = 2**53

T = TypeVar("T")

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_CHOICES: Mapping[Property, frozenset[str]] = {
    Property.STATUS: frozenset(MemberStatus),
    Property.DELIVERY_MODE: frozenset(DeliveryMode),
    Property.ROLE: frozenset(MemberRole),
}
_TEXT_OPERATORS = ("equals", "in", *TextOperator)
_FIELD_OPERATORS = (*_TEXT_OPERATORS, *NumberOperator, *MomentOperator, "is_set")
_OPERATORS: Mapping[Property, tuple[str, ...]] = {
    Property.EMAIL: _TEXT_OPERATORS,
    Property.EMAIL_DOMAIN: _TEXT_OPERATORS,
    Property.DISPLAY_NAME: (*_TEXT_OPERATORS, "is_set"),
    Property.STATUS: ("equals", "in"),
    Property.DELIVERY_MODE: ("equals", "in"),
    Property.ROLE: ("equals", "in"),
    Property.JOINED_AT: (*MomentOperator, "in_last_days"),
}
_KINDS = ("and", "or", "not", "field", "property", *ActivityKind)


class InvalidSegment(ValueError):
    """What was given is no segment; the exception's words are one sentence that says why."""

    def __init__(self, path: Sequence[str | int], sentence: str) -> None:
        """`path` leads from the tree's root to what is wrong: keys of objects and places in arrays, from 0."""
        super().__init__(sentence)
        self.path = tuple(path)


def parse(value: object) -> Condition:
    """The tree that a JSON value says. Raises `InvalidSegment`."""
    return _Parser().condition(value, _Place(()))


class _Place:
    """Where in the tree we are."""

    def __init__(self, path: tuple[str | int, ...], depth: int = 1) -> None:
        self.path, self.depth = path, depth

    def at(self, *steps: str | int) -> _Place:
        return _Place((*self.path, *steps), self.depth)

    def below(self, *steps: str | int) -> _Place:
        return _Place((*self.path, *steps), self.depth + 1)

    def wrong(self, sentence: str) -> InvalidSegment:
        return InvalidSegment(self.path, sentence)


class _Parser:
    """One tree, and what has been counted of it."""

    def __init__(self) -> None:
        self._conditions = 0
        self._activities = 0

    def condition(self, value: object, place: _Place) -> Condition:
        if not isinstance(value, dict):
            raise place.wrong("A condition is an object.")
        self._conditions += 1
        if place.depth > MAX_DEPTH:
            raise place.wrong(f"Conditions are at most {MAX_DEPTH} deep.")
        if self._conditions > MAX_CONDITIONS:
            raise place.wrong(f"A segment has at most {MAX_CONDITIONS} conditions.")
        kinds = [kind for kind in _KINDS if kind in value]
        if len(kinds) != 1:
            raise place.wrong(f"A condition has one of {_named(_KINDS)}.")
        (kind,) = kinds
        if kind in ("field", "property"):
            return self._compared(kind, value, place)
        _refuse_others(value, [kind], place)
        below = place.below(kind)
        match kind:
            case "and":
                return And(self._parts(value[kind], below))
            case "or":
                return Or(self._parts(value[kind], below))
            case "not":
                return Not(self.condition(value[kind], below))
        return self._activity(ActivityKind(kind), value[kind], below)

    def _parts(self, value: object, place: _Place) -> tuple[Condition, ...]:
        if not isinstance(value, list) or not value:
            raise place.wrong("This is an array of at least one condition.")
        return tuple(self.condition(part, place.at(number)) for number, part in enumerate(value))

    def _activity(self, kind: ActivityKind, value: object, place: _Place) -> Activity:
        self._activities += 1
        if self._activities > MAX_ACTIVITIES:
            raise place.wrong(f"A segment has at most {MAX_ACTIVITIES} conditions on activity.")
        if not isinstance(value, dict):
            raise place.wrong("This is an object: {} for ever, or with in_last_days, of_mailing, or both.")
        _refuse_others(value, ["in_last_days", "of_mailing"], place)
        days, mailing_id = value.get("in_last_days"), value.get("of_mailing")
        return Activity(
            kind,
            _whole(days, place.at("in_last_days"), MAX_DAYS) if "in_last_days" in value else None,
            _whole(mailing_id, place.at("of_mailing"), MAX_MAILING_ID) if "of_mailing" in value else None,
        )

    def _compared(self, kind: str, value: Mapping[str, object], place: _Place) -> Condition:
        if kind == "field":
            name = _text(value["field"], place.at("field"), MAX_NAME_CHARACTERS)
            return _field(name, *_operation(value, kind, _FIELD_OPERATORS, place))
        try:
            which = Property(value["property"])  # type: ignore[arg-type] # what it raises for others is caught
        except (ValueError, TypeError) as error:
            raise place.at("property").wrong(f"This is one of {_named(tuple(Property))}.") from error
        return _trait(which, *_operation(value, kind, _OPERATORS[which], place))


def _operation(
    value: Mapping[str, object], kind: str, operators: Sequence[str], place: _Place
) -> tuple[str, object, _Place]:
    """The one operator, what it is given, and where that stands."""
    _refuse_others(value, [kind, *operators], place)
    found = [operator for operator in operators if operator in value]
    if len(found) != 1:
        raise place.wrong(f"Beside {kind} there is one of {_named(operators)}.")
    return found[0], value[found[0]], place.at(found[0])


def _field(name: str, operator: str, value: object, place: _Place) -> Condition:
    match operator:
        case "equals":
            return Field(name, IsOneOf((_scalar(value, place),)))
        case "in":
            return Field(name, IsOneOf(_each(value, place, _scalar)))
        case "is_set":
            return _set_or_not(Field(name, IsSet()), value, place)
    if operator in tuple(TextOperator):
        return Field(name, HasText(TextOperator(operator), _text(value, place)))
    if operator in tuple(NumberOperator):
        return Field(name, HasNumber(NumberOperator(operator), _number(value, place)))
    return Field(name, HasDay(MomentOperator(operator), _day(value, place)))


def _trait(which: Property, operator: str, value: object, place: _Place) -> Condition:
    kept = _AS_KEPT.get(which, _text)
    match operator:
        case "equals":
            return Trait(which, IsOneOf((_choice(which, value, place) if which in _CHOICES else kept(value, place),)))
        case "in":
            if which in _CHOICES:
                return Trait(which, IsOneOf(_each(value, place, lambda each, at: _choice(which, each, at))))
            return Trait(which, IsOneOf(_each(value, place, kept)))
        case "is_set":
            return _set_or_not(Trait(which, IsSet()), value, place)
        case "in_last_days":
            return Trait(which, IsWithinDays(_whole(value, place, MAX_DAYS)))
    if operator in tuple(MomentOperator):
        return Trait(which, HasMoment(MomentOperator(operator), _moment(value, place)))
    text = _text(value, place)
    return Trait(which, HasText(TextOperator(operator), text.lower() if which in _AS_KEPT else text))


def _set_or_not(condition: Condition, value: object, place: _Place) -> Condition:
    if not isinstance(value, bool):
        raise place.wrong("This is true or false.")
    return condition if value else Not(condition)


def _address(value: object, place: _Place) -> str:
    try:
        return Address.parse(_text(value, place)).key
    except InvalidAddress as error:
        raise place.wrong(str(error)) from error


def _domain(value: object, place: _Place) -> str:
    try:
        return Address.parse(f"x@{_text(value, place)}").ascii_domain
    except InvalidAddress as error:
        raise place.wrong(str(error)) from error


#: Where a text may be spelled in several ways, and the store keeps one.
_AS_KEPT: Mapping[Property, Callable[[object, _Place], str]] = {
    Property.EMAIL: _address,
    Property.EMAIL_DOMAIN: _domain,
}


def _choice(which: Property, value: object, place: _Place) -> str:
    if not isinstance(value, str) or value not in _CHOICES[which]:
        raise place.wrong(f"This is one of {_named(sorted(_CHOICES[which]))}.")
    return value


def _each(value: object, place: _Place, one: Callable[[object, _Place], T]) -> tuple[T, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_VALUES:
        raise place.wrong(f"This is an array of 1 to {MAX_VALUES:,} values.")
    return tuple(one(each, place.at(number)) for number, each in enumerate(value))


def _scalar(value: object, place: _Place) -> Scalar:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(value, place)
    if isinstance(value, str):
        return _text(value, place)
    raise place.wrong("This is a text, a number, true or false.")


def _text(value: object, place: _Place, max_characters: int = MAX_CHARACTERS) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= max_characters:
        raise place.wrong(f"This is a text of 1 to {max_characters:,} characters.")
    if found := _CONTROLS.search(value):
        raise place.wrong(f"The text holds the character U+{ord(found.group()):04X}, which is not allowed.")
    return value


def _number(value: object, place: _Place) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise place.wrong("This is a number.")
    if (isinstance(value, float) and not math.isfinite(value)) or abs(value) > MAX_NUMBER:
        raise place.wrong("This is a number between -2^53 and 2^53.")
    return Decimal(repr(value))


def _whole(value: object, place: _Place, at_most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= at_most:
        raise place.wrong(f"This is a whole number from 1 to {at_most:,}.")
    return value


def _day(value: object, place: _Place) -> str:
    text = _text(value, place)
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text).isoformat()
    except ValueError:
        pass
    raise place.wrong("This is a day: 2026-11-23.")


def _moment(value: object, place: _Place) -> datetime:
    text = _text(value, place)
    try:
        moment = datetime.fromisoformat(text)
        if _DAY.fullmatch(text):
            return moment.replace(tzinfo=UTC)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise place.wrong("This is a moment with its offset, 2026-11-23T20:00:00Z, or a day, which begins at 0:00 UTC.")


def _refuse_others(value: Mapping[str, object], known: Sequence[str], place: _Place) -> None:
    for key in value:
        if key not in known:
            # What no answer could hold is not repeated.
            raise (place if _CONTROLS.search(key) else place.at(key)).wrong(
                f"There is no such key here; there is {_named(known)}."
            )


def _named(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + f" or {words[-1]}" if len(words) > 1 else words[0]
