"""Segments, as requests and answers say them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, ValidationError, core_schema

from services.admin_api.schemas.base import MAX_ID
from shared.contracts.bodies import Answer, Body, EmailAddress, refuse
from shared.core.segment import parsing
from shared.core.segment.parsing import InvalidSegment, parse
from shared.core.segment.tree import ActivityKind, Property

MAX_LISTS = 100


def _checked(value: Any) -> Any:
    try:
        parse(value)
    except InvalidSegment as error:
        wrong = InitErrorDetails(type=refuse(str(error)), loc=error.path, input=None)
        raise ValidationError.from_exception_data("Segment", [wrong]) from error
    return value


class _IsSegment:
    """Has pydantic check a segment, and describe it as one schema that refers to itself."""

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        # A described definition of its own, which its parts can refer to.
        return core_schema.no_info_plain_validator_function(
            _checked, ref="Segment", metadata={"pydantic_js_functions": [_json_schema]}
        )


def _json_schema(_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
    return _described(handler(core_schema.definition_reference_schema("Segment")))


def _described(condition: JsonSchemaValue) -> JsonSchemaValue:
    parts = {"type": "array", "items": condition, "minItems": 1}
    text = {"type": "string", "minLength": 1, "maxLength": parsing.MAX_CHARACTERS}
    scalar = {"type": ["string", "number", "boolean"]}
    number, day = {"type": "number"}, {"type": "string", "format": "date"}
    days = {"type": "integer", "minimum": 1, "maximum": parsing.MAX_DAYS}
    texts = {
        "equals": scalar,
        "in": {"type": "array", "items": scalar, "minItems": 1, "maxItems": parsing.MAX_VALUES},
        "contains": text,
        "starts_with": text,
        "ends_with": text,
        "is_set": {"type": "boolean"},
    }
    field = texts | dict.fromkeys(("less", "at_most", "greater", "at_least"), number) | {"before": day, "since": day}
    moment = {"type": "string", "description": "A moment with its offset, or a day, which begins at 0:00 UTC."}
    properties = texts | {"before": moment, "since": moment, "in_last_days": days}
    activity = _object(
        {"in_last_days": days, "of_mailing": {"type": "integer", "minimum": 1, "maximum": MAX_ID}}, required=()
    )
    return {
        "title": "Segment",
        "description": "A condition that members meet or do not: an object with one of `and`, `or`, `not`, `field`, "
        "`property`, `opened`, `clicked`, `received` and `bounced`; beside `field` and `property` stands one operator. "
        f"At most {parsing.MAX_CONDITIONS} conditions, {parsing.MAX_DEPTH} deep.",
        "oneOf": [
            _object({"and": parts}) | {"description": "All of these are true."},
            _object({"or": parts}) | {"description": "One of these is true, or more."},
            _object({"not": condition}) | {"description": "This is not true."},
            _object({"field": text | {"maxLength": parsing.MAX_NAME_CHARACTERS}} | field, required=("field",))
            | {
                "description": "A custom field of the member. A number is compared with numbers, and with texts that "
                "are written like one; true and false also with the texts of that name; a text with texts, in which "
                "upper and lower case differ; a day with texts that begin with one. What a member does not have meets "
                "no operator.",
                "examples": [{"field": "city", "equals": "Berlin"}, {"field": "age", "at_least": 18}],
            },
            _object({"property": {"enum": list(Property)}} | properties, required=("property",))
            | {
                "description": "What every member has: `email`, `email_domain` and `display_name` take the operators "
                "of texts (`is_set` with `display_name` only); `status`, `delivery_mode` and `role` take `equals` and "
                "`in`; `joined_at` takes `before`, `since` and `in_last_days`.",
                "examples": [{"property": "joined_at", "in_last_days": 30}],
            },
            *(
                _object({kind.value: activity})
                | {"description": _ACTIVITIES[kind], "examples": [{kind.value: {"in_last_days": 30}}]}
                for kind in ActivityKind
            ),
        ],
    }


_ACTIVITIES = {
    ActivityKind.OPENED: "A person opened list mail to this address, or followed a link of it: ever, in the last so "
    "many days, of one mailing. Only lists whose `tracking` is full know.",
    ActivityKind.CLICKED: "A person followed a link of list mail to this address.",
    ActivityKind.RECEIVED: "A newsletter to this address was delivered; with `in_last_days`, one that is not older.",
    ActivityKind.BOUNCED: "List mail to this address failed for good.",
}


def _object(properties: JsonSchemaValue, *, required: tuple[str, ...] | None = None) -> JsonSchemaValue:
    needed = list(properties if required is None else required)
    described = {"type": "object", "properties": properties, "additionalProperties": False}
    return described | {"required": needed} if needed else described


#: A segment as JSON, which `shared.core.segment.parsing.parse` takes.
Segment = Annotated[dict[str, Any], _IsSegment]
Lists = Annotated[list[EmailAddress], Field(min_length=1, max_length=MAX_LISTS)]
MailingNumber = Annotated[int, Field(strict=True, ge=1, le=MAX_ID)]


class AudienceBody(Body):
    """Whom a newsletter would go to."""

    lists: Lists
    """The lists' posting addresses: at most 100."""
    segment: Segment | None = None
    """What is asked of their members; null or absent asks nothing."""
    unopened_of_mailing: MailingNumber | None = None
    """Only who got this mailing, and neither opened it nor followed a link of it as a person."""


class AudienceAnswer(Answer):
    """How many that are, now."""

    members: int
    """Different addresses that would get a copy; one that is on several of the lists counts once. What limits on
    newsletters lately would hold back is counted too."""
    sample: list[str]
    """Up to 20 of the addresses."""
