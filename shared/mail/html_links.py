"""Where an HTML text has its links: told apart as browsers do it, without building a tree, in one pass."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

_MARKUP = re.compile(r"<!--|<[!?/]|<[a-z][^\s/>]*", re.IGNORECASE)
_ATTRIBUTE = re.compile(
    r"""[\s/]*+(?P<name>[^\s/>=]++)(?:\s*+=\s*+(?:"(?P<double>[^"]*+)"|'(?P<single>[^']*+)'|(?P<bare>(?!["'])[^\s>]*+)))?"""
)
_END_OF_TAG = re.compile(r"[\s/]*+>")
#: Elements whose content is text, whatever it looks like.
_RAW = frozenset({"script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"})
_LINKING = frozenset({"a", "area"})


def html_links(text: str) -> Iterator[tuple[int, int, str]]:
    """Begin and end of each link's address as it is written, and the address itself, in order.

    Comments have none; the rest of a text whose last tag or comment has no end is none.
    """
    position = 0
    while found := _MARKUP.search(text, position):
        markup = found.group().lower()
        if markup == "<!--":
            position = text.find("-->", found.end())
        elif markup in ("<!", "<?", "</"):
            position = text.find(">", found.end())
        else:
            links: list[tuple[int, int, str]] = []
            position = _attributes(text, found.end(), links)
            if position >= 0 and markup[1:] in _LINKING:
                yield from links[:1]
            if position >= 0 and markup[1:] in _RAW:
                end = re.compile(rf"</{markup[1:]}[\s/>]", re.IGNORECASE).search(text, position)
                position = end.start() if end else -1
        if position < 0:
            return


def _attributes(text: str, position: int, links: list[tuple[int, int, str]]) -> int:
    """Where the tag ends; -1 when it does not. Its `href` values are put into `links`."""
    while True:
        if end := _END_OF_TAG.match(text, position):
            return end.end()
        attribute = _ATTRIBUTE.match(text, position)
        if attribute is None:
            return -1
        if attribute["name"].lower() == "href":
            group = attribute.lastgroup
            if group in ("double", "single", "bare"):
                start, stop = attribute.span(group)
                links.append((start, stop, html.unescape(attribute[group])))
        position = attribute.end()
