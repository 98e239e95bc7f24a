"""What is written in an HTML text, as lines: linear, never failing, and no more than a reader needs."""

from __future__ import annotations

import html
import re
from collections.abc import Set

# A comment that is never closed goes on to the end.
_TAG = re.compile(r"<!--(?:.*?-->|.*\Z)|<(/?)([A-Za-z][A-Za-z0-9]{0,20})[^<>]*>|<[^<>]*>", re.DOTALL)
_SPACES = re.compile(r"\s+")
#: Elements whose content nobody reads.
UNSEEN = frozenset({"style", "script", "head", "title"})
#: Elements that begin or end a line.
_BLOCKS = frozenset({"br", "p", "div", "li", "ul", "ol", "tr", "td", "table", "pre", "h1", "h2", "h3", "body"})


def text_of_html(source: str, *, hidden_elements: Set[str] = UNSEEN) -> str:
    """The text in lines, without what stands in hidden elements; what a line holds is separated by single spaces."""
    pieces: list[str] = []
    hidden, position = 0, 0
    for tag in _TAG.finditer(source):
        if not hidden:
            pieces.append(_SPACES.sub(" ", source[position : tag.start()]))
        position = tag.end()
        name = (tag[2] or "").lower()
        if name in hidden_elements:
            hidden = max(0, hidden - 1) if tag[1] else hidden + 1
            pieces.append("\n")
        elif name in _BLOCKS:
            pieces.append("\n")
    if not hidden:
        pieces.append(_SPACES.sub(" ", source[position:]))
    return html.unescape("".join(pieces))
