"""Where an HTML text has its links."""

from __future__ import annotations

from collections.abc import Iterator

from shared.mail.html_markup import StartTag, html_markup

_LINKING = frozenset({"a", "area"})


def html_links(text: str) -> Iterator[tuple[int, int, str]]:
    """Begin and end of each link's address as it is written, and the address itself, in order."""
    for tag in html_markup(text):
        if isinstance(tag, StartTag) and tag.name in _LINKING:
            link = next((each for each in tag.attributes if each.name == "href"), None)
            if link:
                yield link.start, link.end, link.value
