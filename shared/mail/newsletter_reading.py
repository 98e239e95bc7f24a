"""What stands in a newsletter's texts, for the rules that judge it; in linear time, whatever stands there."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator

from shared.core.links import UNSUBSCRIBE_FIELD
from shared.core.preflight.draft import (
    Address,
    Element,
    Fault,
    Image,
    Texts,
    UnknownField,
)
from shared.core.preflight.finding import Place
from shared.mail.html_markup import StartTag, html_markup
from shared.mail.merge_check import check
from shared.mail.merge_faults import Fault as MergeFault
from shared.mail.merge_faults import FaultKind
from shared.mail.merge_language import parse

#: Of one kind, no more are looked for.
MOST = 1_000

_LINKING = frozenset({"a", "area"})
_ADDRESSES = frozenset({"href", "src", "action", "formaction", "background", "poster", "data", "xlink:href"})
_NOT_SHOWN = frozenset({"script", "iframe", "frame", "object", "embed", "applet", "form", "video", "audio"})


def read(subject: str, preheader: str, text: str, html: str, *, known_fields: Collection[str] | None = None) -> Texts:
    """What is to be judged. `known_fields` are all names that members' values have; without them only the form of
    merge fields is looked at."""
    written = {"subject": subject, "preheader": preheader, "text": text, "html": html}
    faults: list[Fault] = []
    unknown: list[UnknownField] = []
    with_unsubscribe = set()
    for name, value in written.items():
        for fault in check(value, known_fields or (), is_html=name == "html"):
            if fault.kind is not FaultKind.UNKNOWN_FIELD:
                faults.append(Fault(Place(name, fault.line, fault.column), fault.because))
            elif known_fields is not None:
                unknown.append(_unknown(name, value, fault))
        if any(use.name == UNSUBSCRIBE_FIELD for use in parse([value], is_html=name == "html").uses):
            with_unsubscribe.add(name)
    markup = _Markup(html)
    return Texts(
        subject,
        preheader,
        text,
        html,
        faults=tuple(faults),
        unknown_fields=tuple(unknown),
        with_unsubscribe_field=frozenset(with_unsubscribe),
        addresses=tuple(markup.addresses[:MOST]),
        links=tuple(markup.links[:MOST]),
        images=tuple(markup.images[:MOST]),
        elements=tuple(markup.elements[:MOST]),
    )


def _unknown(name: str, value: str, fault: MergeFault) -> UnknownField:
    line = value.split("\n", fault.line)[fault.line - 1]
    inside = line[fault.column - 1 :].partition("}}")[0]
    has_default = "|" in inside or inside.startswith("{{#")
    return UnknownField(Place(name, fault.line, fault.column), fault.field or "", has_default, fault.because)


class _Markup:
    """What stands in an HTML text."""

    def __init__(self, html: str) -> None:
        self.addresses: list[Address] = []
        self.links: list[Address] = []
        self.images: list[Image] = []
        self.elements: list[Element] = []
        self._line_starts = [0, *_line_ends(html)]
        for tag in html_markup(html):
            if isinstance(tag, StartTag):
                self._read(tag)

    def _read(self, tag: StartTag) -> None:
        if tag.name in _NOT_SHOWN:
            self.elements.append(Element(self._place_of(tag), tag.name, is_attribute=False))
        for attribute in tag.attributes:
            place = self._place(attribute.start)
            if attribute.name.startswith("on") and attribute.name.isalpha():
                self.elements.append(Element(place, attribute.name, is_attribute=True))
            elif attribute.name in _ADDRESSES:
                address = Address(place, attribute.value)
                self.addresses.append(address)
                if tag.name in _LINKING and attribute.name == "href":
                    self.links.append(address)
                elif tag.name == "img" and attribute.name == "src":
                    self.images.append(Image(place, attribute.value, "alt" in tag.attribute_names))

    def _place_of(self, tag: StartTag) -> Place:
        return self._place(tag.attributes[0].start) if tag.attributes else Place("html")

    def _place(self, offset: int) -> Place:
        line = bisect_right(self._line_starts, offset)
        return Place("html", line, offset - self._line_starts[line - 1] + 1)


def _line_ends(text: str) -> Iterator[int]:
    """Where the second line begins, and those that follow."""
    position = text.find("\n")
    while position >= 0:
        yield position + 1
        position = text.find("\n", position + 1)
