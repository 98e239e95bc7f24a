"""What everything that comes in from outside is checked by: strictness, the kinds of text, addresses, moments."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from shared.core.address import MAX_ADDRESS_OCTETS, Address, InvalidAddress

#: Integers that every JSON reader keeps exactly (RFC 7493 §2.2).
MAX_EXACT_INTEGER = 2**53 - 1

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
# What ends or hides a line, and halves of surrogate pairs, which no UTF-8 can hold.
_NOT_ON_ONE_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# The same without tabulator and line ends.
_NOT_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
# The same on lines that end in line feeds, and in nothing that only some programs take for a line's end.
_NOT_ON_LINES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def refuse(sentence: str) -> PydanticCustomError:
    """The error that puts `sentence`, as it is, into the problem document."""
    return PydanticCustomError("refused", "{sentence}", {"sentence": sentence})


def has_controls(text: str) -> bool:
    """Whether `text` would not stay on one line."""
    return _NOT_ON_ONE_LINE.search(text) is not None


def on_one_line(text: str) -> str:
    if found := _NOT_ON_ONE_LINE.search(text):
        raise refuse(f"The text holds the character U+{ord(found.group()):04X}, which is not allowed.")
    return text


def without_controls(text: str) -> str:
    if found := _NOT_IN_TEXT.search(text):
        raise refuse(f"The text holds the character U+{ord(found.group()):04X}, which is not allowed.")
    return text


def on_lines(text: str) -> str:
    """`text` with its lines ended by line feeds, no white space at their ends and no empty lines around them."""
    text = text.replace("\r\n", "\n")
    if found := _NOT_ON_LINES.search(text):
        raise refuse(f"The text holds the character U+{ord(found.group()):04X}, which is not allowed.")
    # "-- " begins a signature, and is known by its space.
    return "\n".join("-- " if line == "-- " else line.rstrip() for line in text.split("\n")).strip("\n")


def _address(value: Any) -> Address:
    if isinstance(value, Address):
        return value
    if not isinstance(value, str):
        raise refuse("This is an address, as text.")
    try:
        return Address.parse(value.strip(" \t"))
    except InvalidAddress as error:
        raise refuse(str(error)) from error


def _moment(value: Any) -> Any:
    # A number, in a text too, would be taken for seconds since 1970.
    if isinstance(value, datetime) or (isinstance(value, str) and _DATE.match(value)):
        return value
    raise refuse("This is a moment with its offset, as text: 2026-11-23T20:00:00Z.")


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise refuse("This moment is before the year 1 or after the year 9999.") from error


#: Text without line ends and other control characters.
OneLine = Annotated[str, AfterValidator(on_one_line)]
#: Text of several lines, without other control characters.
Lines = Annotated[str, AfterValidator(on_lines)]
#: A mailbox's address (RFC 5321 §4.1.2, RFC 6531 §3.3).
EmailAddress = Annotated[
    Address,
    PlainValidator(_address),
    WithJsonSchema({"type": "string", "format": "idn-email", "maxLength": MAX_ADDRESS_OCTETS}),
]
#: An aware moment.
Moment = Annotated[AwareDatetime, BeforeValidator(_moment), AfterValidator(_in_utc)]


def may_be_absent() -> Any:
    """The default of a field of which only `model_fields_set` tells whether it was there: null is something else."""
    return Field(default=None)


def _without_null_defaults(schema: dict[str, Any]) -> None:
    # The default of `may_be_absent` is none that a client could send.
    for field in schema.get("properties", {}).values():
        if field.get("default", ...) is None:
            del field["default"]


class Body(BaseModel):
    """The body of a request. A field that is not known is refused: nothing is ignored in silence."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        json_schema_extra=_without_null_defaults,
    )


class Answer(BaseModel):
    """The body of an answer."""

    model_config = ConfigDict(frozen=True, from_attributes=True, use_attribute_docstrings=True)
