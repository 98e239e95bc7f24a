"""What would be run is never sent; what mail programs take out would be missed."""

from __future__ import annotations

import re

from shared.core.preflight.draft import Texts
from shared.core.preflight.finding import Finding, refused, warned

_RUN = frozenset({"script"})
# Browsers leave out controls and spaces before they look for the scheme.
_LEFT_OUT = re.compile(r"[\x00-\x20\x7f-\xa0]+")
_RUN_SCHEME = re.compile(r"(?:javascript|vbscript|livescript|data:text/html|data:application/xhtml)", re.IGNORECASE)


def elements(texts: Texts) -> list[Finding]:
    found = []
    for element in texts.elements:
        if element.is_attribute:
            mend = f"Take {element.name} out: a newsletter runs nothing."
            found.append(refused("script", element.place, mend))
        elif element.name in _RUN:
            found.append(refused("script", element.place, f"Take <{element.name}> out: a newsletter runs nothing."))
        else:
            mend = f"Mail programs take <{element.name}> out: link to a page that has it."
            found.append(warned("element_not_shown", element.place, mend))
    found += [
        refused("script", address.place, "Link to a page: this address would run something.")
        for address in texts.addresses
        if _RUN_SCHEME.match(_LEFT_OUT.sub("", address.address))
    ]
    return found
