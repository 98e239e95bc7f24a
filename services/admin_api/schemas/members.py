"""Members, as requests, imported rows and answers say them."""

from __future__ import annotations

import json
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, Field, PlainValidator, StringConstraints, WithJsonSchema

from services.admin_api.schemas.base import (
    MAX_EXACT_INTEGER,
    Answer,
    Body,
    EmailAddress,
    Moment,
    OneLine,
    may_be_absent,
    on_one_line,
    refuse,
    without_controls,
)
from shared.core.bounce import BounceClass
from shared.core.membership import BounceKind, DeliveryMode, MemberRole, MemberStatus
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


class MemberChange(Body):
    """What to change of a member; what is absent stays as it is. Only this makes somebody a subscriber again."""

    display_name: DisplayName = may_be_absent()
    """The member's name. At most 200 characters on one line."""
    status: MemberStatus = may_be_absent()
    """Subscribed, unsubscribed or held."""
    delivery_mode: DeliveryMode = may_be_absent()
    """Mail, digest or nomail."""
    role: MemberRole = may_be_absent()
    """Member, moderator or owner."""
    fields: Fields = may_be_absent()
    """All custom fields from now on; those that are not named are gone."""


class MemberAnswer(Answer):
    """A member of a list."""

    email: str
    """The address, in the spelling it was given in."""
    display_name: str
    """The member's name."""
    status: MemberStatus
    """Whether the member gets mail: subscribed, unsubscribed, or held."""
    delivery_mode: DeliveryMode
    """How a subscribed member gets the posts: mail, digest or nomail."""
    role: MemberRole
    """Member, moderator or owner."""
    fields: dict[str, Any]
    """Custom fields by name."""
    joined_at: Moment
    """When the address came to the list."""
    bounce_score: float
    """Points of the bounces that count; at the list's `bounce_limit` the member is held."""
    bounced_at: Moment | None
    """When the last bounce that counted came; null when none did."""
    held_at: Moment | None
    """When the member was held for bounces; null when it was not."""
    held_because: str | None
    """The class of the bounce that held the member, and the remote's words; null when it was not."""


class BounceAnswer(Answer):
    """What was reported of one delivery to a member."""

    kind: BounceKind
    """A bounce, in the session or later; a delay; or a complaint."""
    bounce_class: BounceClass | None
    """What stood in the way; null for complaints, and for a second until it is known."""
    is_hard: bool
    """Whether it proves that the address is bad."""
    status: str | None
    """The enhanced status code (RFC 3463) of the report; null when it gives none."""
    reply: str
    """The remote's words, at most 1,000 characters."""
    points: float
    """What it added to the member's score."""
    delivery_id: int | None
    """The delivery that failed; null for a complaint that names its member and not which mail."""
    message_id: UUID | None
    """The message that reported it, `GET /messages/{id}`; null for a refusal in our own session."""
    is_probe: bool
    """Whether the mail was a probe, sent to find out whether mail arrives; its bounce counts on any day."""
    happened_at: Moment
    """When it was reported."""


class RejectedRow(Answer):
    """A row of an import that was not taken."""

    line: int
    """The line of the file on which the row begins; the first is 1."""
    because: str
    """What is wrong with it."""


class ImportAnswer(Answer):
    """What became of the rows of an import."""

    added: int
    """Rows that made a new member."""
    updated: int
    """Rows that changed a subscribed member: spelling, name, status, mode, role and fields are the row's."""
    left_alone: int
    """Rows of addresses that are unsubscribed, held or suppressed: an import never brings anybody back."""
    repeated: int
    """Rows in whose place a later row with the same address was taken."""
    rejected: int
    """Rows that were not taken because something is wrong with them."""
    errors: list[RejectedRow]
    """The first 100 rejected rows, in the file's order."""
