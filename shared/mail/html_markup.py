"""HTML as a row of tags and of what stands between them: told apart as browsers do it, without building a tree, in one
pass whose time is linear (the standard library's parser takes time with the square of hostile HTML's length)."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

_MARKUP = re.compile(r"<!--|<[!?]|</?[a-z][^\s/>]*|</", re.IGNORECASE)
_ATTRIBUTE = re.compile(
    r"""[\s/]*+(?P<name>[^\s/>=]++)(?:\s*+=\s*+(?:"(?P<double>[^"]*+)"|'(?P<single>[^']*+)'|(?P<bare>(?!["'])[^\s>]*+)))?"""
)
_END_OF_TAG = re.compile(r"[\s/]*+>")
#: Elements whose content is text, whatever it looks like; it is not told.
_RAW = frozenset({"script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"})
_END_OF_RAW = {name: re.compile(rf"</{name}[\s/>]", re.IGNORECASE) for name in _RAW}
#: A decimal reference that means no character: the standard library's converter raises for long ones.
_HUGE_REFERENCE = re.compile(r"&#[0-9]{10,};?")


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute with a value."""

    #: Lower-case.
    name: str
    #: As it is meant, without character references.
    value: str
    #: Where it is written, without quotation marks.
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class StartTag:
    """`<name …>`; of attributes with one name the first counts."""

    #: Lower-case.
    name: str
    attributes: tuple[Attribute, ...]
    #: Lower-case names of attributes, with and without a value.
    attribute_names: tuple[str, ...]

    def value(self, name: str) -> str:
        """The attribute's value; empty when there is none."""
        return next((each.value for each in self.attributes if each.name == name), "")


@dataclass(frozen=True, slots=True)
class EndTag:
    """`</name>`, in lower case."""

    name: str


def unescaped(text: str) -> str:
    """`text` with its character references as characters."""
    return html.unescape(_HUGE_REFERENCE.sub("\ufffd", text))


def html_markup(text: str) -> Iterator[str | StartTag | EndTag]:
    """Tags, and the texts between them as they are written, in order.

    Comments, declarations and what is in scripts, styles and the like is left out; so is the rest of a text behind a
    tag or comment that has no end.
    """
    position = 0
    while found := _MARKUP.search(text, position):
        if found.start() > position:
            yield text[position : found.start()]
        markup = found.group().lower()
        if markup == "<!--":
            position = _behind(text, "-->", found.end())
        elif markup in ("<!", "<?", "</"):
            position = _behind(text, ">", found.end())
        elif markup.startswith("</"):
            position = _behind(text, ">", found.end())
            if position >= 0:
                yield EndTag(markup[2:])
        else:
            tag, position = _start_tag(text, markup[1:], found.end())
            if position >= 0:
                yield tag
            if position >= 0 and tag.name in _RAW:
                end = _END_OF_RAW[tag.name].search(text, position)
                position = end.start() if end else -1
        if position < 0:
            return
    if position < len(text):
        yield text[position:]


def _behind(text: str, mark: str, position: int) -> int:
    found = text.find(mark, position)
    return -1 if found < 0 else found + len(mark)


def _start_tag(text: str, name: str, position: int) -> tuple[StartTag, int]:
    """The tag, and where it ends; -1 when it does not."""
    attributes: list[Attribute] = []
    names: list[str] = []
    while not (end := _END_OF_TAG.match(text, position)):
        found = _ATTRIBUTE.match(text, position)
        if found is None:
            return StartTag(name, (), ()), -1
        names.append(found["name"].lower())
        if (group := found.lastgroup) in ("double", "single", "bare"):
            start, stop = found.span(group)
            attributes.append(Attribute(names[-1], unescaped(found[group]), start, stop))
        position = found.end()
    return StartTag(name, tuple(attributes), tuple(names)), end.end()
