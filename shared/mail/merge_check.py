"""What is wrong with a newsletter's text, told to its author before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Collection

from shared.mail.merge import NAME
from shared.mail.merge_faults import Fault, FaultKind, fault_at
from shared.mail.merge_language import MAX_FAULTS, parse

#: What every member has.
ALWAYS_KNOWN = frozenset({"email", "display_name"})

# Two braces at an end are no fault by themselves: style sheets have them.
_BEGUN_WITH_ONE = re.compile(
    rf"(?<!\{{)(?<!\{{ )\{{(?!\{{)\s*+(?:url:)?(?P<name>{NAME})\s*+(?:\|[^{{}}]{{0,1000}})?\}}\}}(?!\}})"
)
_SEPARATORS = re.compile(r"[\s._-]+")


def check(text: str, known_fields: Collection[str], *, is_html: bool = False) -> list[Fault]:
    """The faults of a subject, preheader, plain text or HTML, in the text's order; empty when it may be sent.

    `known_fields` are the names of the members' custom fields; `email` and `display_name` are known anyway. Linear in
    the text's length; after `MAX_FAULTS` no more are looked for.
    """
    known = ALWAYS_KNOWN | frozenset(known_fields)
    similar = {_plain(name): name for name in sorted(known)}
    parsed = parse([text], is_html=is_html)
    faults = [*parsed.faults]
    unknown = [use for use in parsed.uses if use.name not in known]
    for use in unknown[:MAX_FAULTS]:
        meant = similar.get(_plain(use.name))
        hint = f'; "{meant}" is one' if meant else ""
        because = f'no member has a field called "{use.name}"{hint}'
        faults.append(fault_at(text, use.offset, FaultKind.UNKNOWN_FIELD, use.name, because))
    for found in _BEGUN_WITH_ONE.finditer(text):
        if found["name"] in known:
            because = f'"{found["name"]}" has one brace before it, and two behind it'
            faults.append(fault_at(text, found.start(), FaultKind.BRACES, found["name"], because))
            if len(faults) > 2 * MAX_FAULTS:
                break
    return sorted(faults, key=lambda fault: (fault.line, fault.column))[:MAX_FAULTS]


def _plain(name: str) -> str:
    return _SEPARATORS.sub("", name).casefold()
