"""A member as it comes in: the body of a request, a line of an NDJSON file, a row of a CSV file."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator, StringConstraints, WithJsonSchema

from shared.contracts.bodies import (
    MAX_EXACT_INTEGER,
    Body,
    EmailAddress,
    OneLine,
    on_one_line,
    refuse,
    without_controls,
)
from shared.core.membership import DeliveryMode, MemberRole, MemberStatus
from shared.store.members import NewMember

#: The ending of a CSV column that holds JSON values, and so never of a field's own name.
JSON_COLUMN_ENDING = ":json"
#: The columns of a CSV file that are not custom fields.
FIXED_COLUMNS = ("email", "display_name", "status", "delivery_mode", "role")
MAX_FIELDS = 100
MAX_FIELD_NAME_CHARACTERS = 100
MAX_FIELD_CHARACTERS = 10_000


def field_name(name: str) -> str:
    """`name`, if a custom field may have it."""
    if not name or name != name.strip() or len(name) > MAX_FIELD_NAME_CHARACTERS:
        raise refuse(f"A field's name has 1 to {MAX_FIELD_NAME_CHARACTERS} characters and no spaces around it.")
    if name.lower() in FIXED_COLUMNS or name.endswith(JSON_COLUMN_ENDING):
        raise refuse(f"No custom field can be called {name!r}.")
    return on_one_line(name)


def _field_value(value: Any) -> Any:
    if isinstance(value, str):
        if len(value) > MAX_FIELD_CHARACTERS:
            raise refuse(f"A field's text has at most {MAX_FIELD_CHARACTERS:,} characters.")
        return without_controls(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and -MAX_EXACT_INTEGER <= value <= MAX_EXACT_INTEGER:
        return value
    raise refuse("A field's value is a text, a number up to 2^53, true, false or null.")


FieldName = Annotated[str, AfterValidator(field_name)]
FieldValue = Annotated[
    Any, PlainValidator(_field_value), WithJsonSchema({"type": ["string", "number", "boolean", "null"]})
]
Fields = Annotated[dict[FieldName, FieldValue], Field(max_length=MAX_FIELDS)]
DisplayName = Annotated[OneLine, StringConstraints(max_length=200)]


class NewMemberBody(Body):
    """A member to add: the body of a request, a line of an NDJSON import, a row of a CSV import."""

    email: EmailAddress
    """The address. Its spelling is kept; upper and lower case, and the two forms of a domain, are one address."""
    display_name: DisplayName = ""
    """The member's name. At most 200 characters on one line."""
    status: MemberStatus = MemberStatus.SUBSCRIBED
    """Whether the member gets mail: subscribed, unsubscribed, or held (set aside after bounces)."""
    delivery_mode: DeliveryMode = DeliveryMode.MAIL
    """How a subscribed member wants the posts: each as a mail, as digests, or not by mail."""
    role: MemberRole = MemberRole.MEMBER
    """Member, moderator or owner."""
    fields: Fields = Field(default_factory=dict)
    """Custom fields by name, at most 100; each a text of at most 10,000 characters, a number, true, false or null."""

    def row(self) -> NewMember:
        """The member as the store takes it."""
        return NewMember(
            email=self.email.spelling,
            email_key=self.email.key,
            display_name=self.display_name,
            status=self.status,
            delivery_mode=self.delivery_mode,
            role=self.role,
            fields_json=json.dumps(self.fields),
        )
