"""Merge fields: `{{name}}` or `{{name|default}}`, in links `{{url:name|default}}`.

A name is that of a custom field, or `email` or `display_name`. A member without a value, or with an empty one, gets the
default, and without a default nothing. A value is text that is put in, and never looked at again. This is all there is
in a post: braces with anything else between them stay as they are there. Newsletters know conditions, too
(`shared/mail/merge_language.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

#: A member's texts by name.
Values = Mapping[str, str]

#: What a field may be called.
NAME = r"\w[\w .-]{0,98}\w|\w"
_INSIDE = rf"[ \t]*(?P<url>url:)?(?P<name>{NAME})[ \t]*(?:\|(?P<default>[^{{}}\r\n]{{0,1000}}))?"
_MERGE_FIELD = re.compile(rf"\{{\{{{_INSIDE}\}}\}}")
_ALONE = re.compile(_INSIDE)


@dataclass(frozen=True, slots=True)
class MergeField:
    """A place in a text where a member's value stands."""

    name: str
    default: str
    #: The value is part of a URL: percent-encoded (RFC 3986 §2.1).
    is_in_url: bool

    def text(self, values: Values, escape: Callable[[str], str] = str) -> str:
        """What stands here for the member with these values. `escape` is for values: the default is the author's."""
        value = values.get(self.name, "")
        if not value.strip():
            value, escape = self.default, str
        return quote(value.encode("utf-8", "replace"), safe="") if self.is_in_url else escape(value)


def split(text: str) -> list[str | MergeField]:
    """`text` as its literal pieces and merge fields, in order; one piece when it has no merge field."""
    pieces: list[str | MergeField] = []
    end = 0
    for found in _MERGE_FIELD.finditer(text):
        pieces += [text[end : found.start()], _field(found)]
        end = found.end()
    return [*pieces, text[end:]] if pieces else [text]


def field_of(inside: str) -> MergeField | None:
    """The merge field that has `inside` between its braces; `None` when that is none."""
    found = _ALONE.fullmatch(inside)
    return None if found is None else _field(found)


def _field(found: re.Match[str]) -> MergeField:
    return MergeField(found["name"], (found["default"] or "").strip(), is_in_url=found["url"] is not None)
