"""Merge fields: `{{name}}` or `{{name|default}}`, in links `{{url:name|default}}`.

A name is that of a custom field, or `email` or `display_name`. A member without a value, or with an empty one, gets the
default, and without a default nothing. This is all there is: a value is text that is put in, and never looked at again;
braces with anything else between them stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

#: A member's texts by name.
Values = Mapping[str, str]

_MERGE_FIELD = re.compile(
    r"\{\{[ \t]*(?P<url>url:)?(?P<name>\w[\w .-]{0,98}\w|\w)[ \t]*(?:\|(?P<default>[^{}\r\n]{0,1000}))?\}\}"
)


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
        pieces.append(text[end : found.start()])
        default = (found["default"] or "").strip()
        pieces.append(MergeField(found["name"], default, is_in_url=found["url"] is not None))
        end = found.end()
    return [*pieces, text[end:]] if pieces else [text]
