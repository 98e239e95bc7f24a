"""A merge field that nobody has a value for is most likely a slip of the pen, and empty in every copy."""

from __future__ import annotations

from shared.core.preflight.draft import Draft
from shared.core.preflight.finding import Finding, refused, warned


def merge_fields(draft: Draft) -> list[Finding]:
    found = []
    for field in draft.texts.unknown_fields:
        if field.has_default:
            mend = f"Everybody gets the default: {field.because}."
            found.append(warned("field_without_values", field.place, mend))
        else:
            mend = f"Mend the name, or give it a default: {field.because}."
            found.append(refused("unknown_field", field.place, mend))
    return found
