"""What a list's settings make of a post: prefix, texts, whom it is from, and what of its signatures is still true."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.core.copies import AS_WRITTEN, CopySettings
from shared.mail.authorship import addressed, anonymous
from shared.mail.headers import Field, Header
from shared.mail.subject import prefixed
from shared.mail.surrounding import Surrounded, surrounded

_SIGNED_NAMES = re.compile(rb"(?:\A|;)\s*h\s*=([^;]*)")


@dataclass(frozen=True, slots=True)
class Sender:
    """The list, as its members' copies name it."""

    name: str
    address: str
    #: The Message-ID of an anonymous copy, and the moment that is its Date.
    message_id: str
    received_at: datetime


def as_settings_say(raw: bytes, header: Header, settings: CopySettings, sender: Sender) -> Surrounded:
    """The post `raw`, its lines ended by CR LF, with what the settings change; as it is without any.

    A DKIM-Signature stays unless it covers what was changed (RFC 6377 §5.7); on an anonymous list none does.
    """
    as_written = Surrounded(header.fields, (memoryview(raw)[header.body_at :],))
    if settings == AS_WRITTEN:
        return as_written
    has_texts = bool(settings.header_text or settings.footer_text)
    texts = surrounded(raw, header, settings.header_text, settings.footer_text) if has_texts else None
    copy = texts or as_written
    fields = list(copy.fields)
    if settings.is_anonymous:
        fields = anonymous(
            fields,
            list_name=sender.name,
            list_address=sender.address,
            message_id=sender.message_id,
            received_at=sender.received_at,
        )
    if settings.subject_prefix:
        fields = _with_prefix(fields, settings.subject_prefix)
    fields = addressed(fields, settings, list_name=sender.name, list_address=sender.address)
    changed = _changed(header.fields, fields)
    kept = [field for field in fields if not _is_broken(field, changed, is_body_changed=texts is not None)]
    return Surrounded(tuple(kept), copy.body)


def _with_prefix(fields: Sequence[Field], prefix: str) -> list[Field]:
    place = next((number for number, field in enumerate(fields) if field.name == "subject"), None)
    if place is None:
        return [*fields, Field("subject", prefixed(None, prefix))]
    return [*fields[:place], Field("subject", prefixed(fields[place], prefix)), *fields[place + 1 :]]


def _changed(before: Sequence[Field], after: Sequence[Field]) -> set[bytes]:
    """The names of the fields that are not what they were."""
    values: tuple[defaultdict[str, list[bytes]], ...] = (defaultdict(list), defaultdict(list))
    for fields, by_name in zip((before, after), values, strict=True):
        for field in fields:
            by_name[field.name].append(field.raw)
    names = values[0].keys() | values[1].keys()
    return {name.encode() for name in names if values[0].get(name) != values[1].get(name)}


def _is_broken(field: Field, changed: set[bytes], *, is_body_changed: bool) -> bool:
    """Whether the field is a signature that covered what was changed."""
    if field.name != "dkim-signature":
        return False
    found = _SIGNED_NAMES.search(field.value)
    signed = {name.strip().lower() for name in found.group(1).split(b":")} if found else set()
    return is_body_changed or not changed.isdisjoint(signed)
