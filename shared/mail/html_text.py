"""Plain text made from HTML, for an author who gives none."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from urllib.parse import unquote

from shared.mail.html_markup import EndTag, StartTag, html_markup, unescaped
from shared.mail.text_blocks import CELL_END, FIXED_SPACE, Block, conditions_of, is_blank, joined

_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)
#: Nothing of them is text.
_UNREAD = frozenset({"head", "template", "script", "style", "svg", "math", "object", "audio", "video", "select"})
_BLOCKS = (
    frozenset({"address", "article", "aside", "blockquote", "body", "caption", "center", "details", "div", "fieldset"})
    | {"figcaption", "figure", "footer", "form", "header", "hr", "legend", "main", "nav", "p", "pre", "section"}
    | {"h1", "h2", "h3", "h4", "h5", "h6", "summary", "table", "tr", "dd", "dl", "dt", "li", "menu", "ol", "ul"}
)
_LISTS = frozenset({"ul", "ol", "menu"})
_UNDERLINES = {"h1": "=", "h2": "-"}
#: What a tag ends without saying so, and what it does not reach beyond.
_ENDED_BY = {
    "li": (frozenset({"li"}), _LISTS),
    "dt": (frozenset({"dt", "dd"}), frozenset({"dl"})),
    "dd": (frozenset({"dt", "dd"}), frozenset({"dl"})),
    "tr": (frozenset({"tr"}), frozenset({"table"})),
    "td": (frozenset({"td", "th"}), frozenset({"tr", "table"})),
    "th": (frozenset({"td", "th"}), frozenset({"tr", "table"})),
    "a": (frozenset({"a"}), _BLOCKS | {"td", "th"}),
}
_P_ENDED = (frozenset({"p"}), _BLOCKS | {"td", "th", "a"})
#: Where a head that was not closed has ended.
_IN_BODY = _BLOCKS | {"a", "img", "span"}
#: So far up it is looked for.
_NEAR = 20
#: Deeper ones are indented no further.
_MAX_INDENTS = 5

_HIDDEN = re.compile(r"(?:display\s*+:\s*+none|visibility\s*+:\s*+hidden|mso-hide\s*+:\s*+all)\b", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\r\n\f]+")
_TAGS = re.compile(r"(\{\{[^{}]*+\}\})")
#: Control characters, and what takes no room: soft hyphens, and the fillers of preview texts.
_DROPPED = dict.fromkeys([*range(9), 11, *range(14, 32), *range(127, 160), 0xAD, 0x34F, 0x200B, 0x2060, 0xFEFF])
_LINE_SEPARATORS = str.maketrans("\u2028\u2029", "  ")
_SCHEME = re.compile(r"https?://", re.IGNORECASE)


def text_of_html(html: str) -> str:
    """The HTML's text, in lines of 76 characters or so that end with `\\n`; empty when there is nothing to read.

    Links become `text (URL)`, images their alternative text, items of lists lines, a row of a table a line with its
    cells. What is hidden is left out. Merge fields and conditions stay as they are, each condition before the block
    that it begins or ends before. Linear in the HTML's length.
    """
    reader = _Reader()
    for piece in html_markup(html):
        if isinstance(piece, StartTag):
            reader.start(piece)
        elif isinstance(piece, EndTag):
            reader.end(piece.name)
        else:
            reader.text(piece)
    return reader.finished()


@dataclass(slots=True)
class _List:
    is_ordered: bool
    items: int = 0


@dataclass(slots=True)
class _Row:
    #: How many blocks there were before it.
    blocks: int
    cells: int = 0


@dataclass(slots=True)
class _Link:
    url: str
    #: How many blocks there were before it, and how many pieces the current one had.
    blocks: int
    pieces: int
    has_image: bool = False


class _Reader:
    def __init__(self) -> None:
        self._blocks: list[Block] = []
        #: The block that is read: conditions before its lead, its lead, conditions behind it, and its text.
        self._outer: list[str] = []
        self._lead = ""
        self._inner: list[str] = []
        self._pieces: list[str] = []
        #: Elements that are open, and whether each is hidden by itself.
        self._open: list[tuple[str, bool]] = []
        self._names: Counter[str] = Counter()
        self._hidden = 0
        self._lists: list[_List] = []
        self._rows: list[_Row] = []
        self._link: _Link | None = None

    def start(self, tag: StartTag) -> None:
        if tag.name in _ENDED_BY:
            self._end_near(*_ENDED_BY[tag.name])
        elif tag.name in _BLOCKS:
            self._end_near(*_P_ENDED)
        if tag.name in _IN_BODY and self._open and self._open[-1][0] == "head":
            self.end("head")
        is_hidden = tag.name in _UNREAD or "hidden" in tag.attribute_names or bool(_HIDDEN.search(tag.value("style")))
        if tag.name not in _VOID:
            self._open.append((tag.name, is_hidden))
            self._names[tag.name] += 1
            self._hidden += is_hidden
        if not self._hidden and not is_hidden:
            self._begun(tag)

    def end(self, name: str) -> None:
        while self._names[name]:
            innermost, is_hidden = self._open[-1]
            if not self._hidden:
                self._ended(innermost)
            self._open.pop()
            self._names[innermost] -= 1
            self._hidden -= is_hidden
            if innermost == name:
                return

    def text(self, written: str) -> None:
        """What stands between two tags."""
        if self._hidden:
            return
        for number, part in enumerate(_TAGS.split(written)):
            plain = unescaped(part)
            if number % 2:
                self._add(part if "{" in plain[2:-2] or "}" in plain[2:-2] else plain)
            else:
                # Braces by reference are no merge field, and must not become one.
                self._add(plain if "{{" in part else plain.replace("{{", "{ {"))

    def finished(self) -> str:
        while self._open:
            self.end(self._open[-1][0])
        self._flush()
        if self._blocks:
            # What ends behind the last block.
            self._blocks[-1].text += "".join([*self._outer, *self._inner])
        return joined(self._blocks)

    def _end_near(self, names: frozenset[str], bounds: frozenset[str]) -> None:
        for name, _ in reversed(self._open[-_NEAR:]):
            if name in names:
                return self.end(name)
            if name in bounds:
                return None
        return None

    def _begun(self, tag: StartTag) -> None:
        name = tag.name
        if name in _BLOCKS:
            self._flush()
        if name == "br":
            self._pieces.append("\n")
        elif name == "hr":
            self._add("-" * 20)
            self._flush()
        elif name == "img":
            self._add(tag.value("alt"))
            if self._link:
                self._link.has_image = True
        elif name == "a":
            self._link = _Link(_shown(tag.value("href")), len(self._blocks), len(self._pieces))
        elif name in _LISTS:
            self._lists.append(_List(name == "ol"))
        elif name == "li":
            self._begin_item()
        elif name == "tr":
            self._rows.append(_Row(len(self._blocks)))
        elif name in ("td", "th") and self._rows:
            self._rows[-1].cells += 1
            if self._rows[-1].cells > 1:
                self._pieces.append(CELL_END)

    def _ended(self, name: str) -> None:
        if name == "a":
            self._end_link()
        if name not in _BLOCKS:
            return
        self._flush(underline=_UNDERLINES.get(name, ""))
        if name in _LISTS and self._lists:
            self._lists.pop()
        elif name == "li":
            self._drop_lead()
        elif name == "tr" and self._rows:
            row = self._rows.pop()
            if row.cells > 1 and len(self._blocks) == row.blocks + 1:
                self._blocks[-1].is_close = True

    def _begin_item(self) -> None:
        self._drop_lead()  # what stands before the item, and an item before it that was not closed
        innermost = self._lists[-1] if self._lists else _List(is_ordered=False)
        innermost.items += 1
        self._lead = f"{innermost.items}. " if innermost.is_ordered else "* "

    def _drop_lead(self) -> None:
        """Of an item without text only the conditions stay."""
        self._outer += self._inner
        self._lead, self._inner = "", []

    def _add(self, text: str) -> None:
        text = text.translate(_DROPPED).translate(_LINE_SEPARATORS)
        if self._names["pre"]:
            text = text.replace("\r\n", "\n").replace("\t", " " * 4).replace(" ", FIXED_SPACE)
            self._pieces.append(text)
        else:
            self._pieces.append(_SPACES.sub(" ", text))

    def _flush(self, underline: str = "") -> None:
        """What was read becomes a block, unless there is nothing to read in it."""
        text = "".join(self._pieces)
        if is_blank(text):
            self._inner += conditions_of(text)
            self._pieces = []
            if self._link:
                self._link.pieces = 0
            return
        indent = "  " * min(len(self._lists) - 1, _MAX_INDENTS) if self._lists else ""
        lead = indent + (self._lead or ("  " if self._lists else ""))
        quote = "> " * min(self._names["blockquote"], _MAX_INDENTS)
        inner = "".join(self._inner) + text
        self._blocks.append(Block(inner, quote, lead, "".join(self._outer), underline, is_close=bool(self._lead)))
        self._outer, self._lead, self._inner, self._pieces = [], "", [], []

    def _end_link(self) -> None:
        link, self._link = self._link, None
        if link is None or not link.url:
            return
        is_within_block = len(self._blocks) == link.blocks
        label = "".join(self._pieces[link.pieces :]) if is_within_block else ""
        words = label.replace(CELL_END, " ").strip()
        if not is_within_block:
            # It goes around whole blocks.
            if is_blank("".join(self._pieces)):
                self._blocks[-1].text += f" ({link.url})"
            else:
                self._pieces.append(f" ({link.url})")
        elif is_blank(words):
            if link.has_image:
                self._pieces.append(link.url)
        elif _SCHEME.sub("", words).rstrip("/") == _SCHEME.sub("", link.url).rstrip("/"):
            self._pieces[link.pieces :] = [link.url]
        else:
            self._pieces.append(f" ({link.url})")


def _shown(href: str) -> str:
    """A link's address as readers of plain text need it; empty when it is of no use to them."""
    url = href.strip()
    if url[:7].lower() == "mailto:":
        return unquote(url[7:].partition("?")[0])
    if url[:4].lower() == "tel:":
        return url[4:]
    is_useful = _SCHEME.match(url) or url.startswith("{{")
    return url if is_useful and url.count("{{") == url.count("}}") else ""
