"""A text's links and open image, made addresses that tell of clicks and opens: once a mailing.

What is not an http or https link stays as it is: mailto:, cid:, anchors. So do links to our own pages (whatever they
are for, and whoever's), and those with merge fields: their addresses would hold what is known of a person.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from shared.core.tokens import Purpose
from shared.core.tracking import CLICK_PATH, OPEN_PATH, OPEN_SUFFIX, Reader, TrackedLinks, TrackingPolicy, target_of
from shared.mail.html_links import html_links

#: What the recipient's tokens are called among the values: no merge field can be called so.
_VALUES = {Purpose.CLICK: ":click", Purpose.OPEN: ":open"}

# A condition ends what it stands behind.
_PLAIN_LINK = re.compile(r"https?://(?:(?!\{\{(?:[#/]|else\}\}))[^\s<>\"\x00-\x1f\x7f-\x9f])+", re.IGNORECASE)
_BEHIND_A_LINK = ".,;:!?'*_)]}"
_END_OF_BODY = re.compile(r"</body[\s>]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ReaderSlot:
    """The place of a recipient's token in a quoted-printable text; its filling is a line, with a soft line break."""

    purpose: Purpose

    def fill(self, values: Mapping[str, str]) -> bytes:
        return values[_VALUES[self.purpose]].encode("ascii") + b"=\r\n"


@dataclass(frozen=True, slots=True)
class Tracking:
    """How a mailing's copies tell that they are read."""

    links: TrackedLinks
    mailing_id: int
    #: All copies have the same addresses.
    is_anonymous: bool
    #: Links in plain text as well.
    includes_plain_text: bool = False

    @classmethod
    def of(
        cls, policy: TrackingPolicy, links: TrackedLinks | None, mailing_id: int, *, includes_plain_text: bool
    ) -> Tracking | None:
        """As a list wants it; `None` when nothing is tracked, or there are no pages for links to lead to."""
        if links is None or policy is TrackingPolicy.OFF:
            return None
        return cls(links, mailing_id, policy is TrackingPolicy.ANONYMOUS, includes_plain_text)

    def values(self, delivery_id: int, purposes: Collection[Purpose]) -> Mapping[str, str]:
        """What the slots of a recipient's copy that are for these purposes are filled with."""
        return {_VALUES[purpose]: self._token(purpose, delivery_id) for purpose in purposes}

    def pieces(self, text: str, *, is_html: bool, has_image: bool) -> list[str | ReaderSlot]:
        """`text` with its links tracked, and with an image at its end if it is to have one: literals, and slots between
        them. `[text]` when there is nothing to track."""
        edits = sorted(self._edits(text, is_html=is_html, has_image=has_image), key=lambda edit: edit[:2])
        pieces: list[str | ReaderSlot] = [""]
        position = 0
        for start, end, address in edits:
            if start < position:
                continue  # an image's place within what is a link's address
            _append(pieces, text[position:start])
            for piece in address:
                _append(pieces, piece)
            position = end
        _append(pieces, text[position:])
        return pieces

    def _edits(self, text: str, *, is_html: bool, has_image: bool) -> Iterator[tuple[int, int, list[str | ReaderSlot]]]:
        """Begin, end, and what stands there instead."""
        escape = html.escape if is_html else str
        if is_html or self.includes_plain_text:
            for start, end, url in html_links(text) if is_html else _plain_links(text):
                target = None if self._is_ours(url) or "{{" in url else target_of(url)
                if target is not None:
                    behind = "/" + self.links.target(self.mailing_id, target)
                    yield start, end, [escape(self.links.public_url) + CLICK_PATH, self._slot(Purpose.CLICK), behind]
        if is_html and has_image:
            ends = [found.start() for found in _END_OF_BODY.finditer(text)]
            at = ends[-1] if ends else len(text)
            before = f'<img src="{escape(self.links.public_url)}{OPEN_PATH}'
            behind = f'{OPEN_SUFFIX}" width="1" height="1" alt="" style="border:0">'
            yield at, at, [before, self._slot(Purpose.OPEN), behind]

    def _is_ours(self, url: str) -> bool:
        ours = self.links.public_url.lower()
        return url.strip().lower().startswith((f"{ours}/", f"{ours}?")) or url.strip().lower() == ours

    def _slot(self, purpose: Purpose) -> str | ReaderSlot:
        return self._token(purpose, 0) if self.is_anonymous else ReaderSlot(purpose)

    def _token(self, purpose: Purpose, delivery_id: int) -> str:
        return self.links.token(purpose, Reader(self.mailing_id, delivery_id))


def _append(pieces: list[str | ReaderSlot], piece: str | ReaderSlot) -> None:
    """Literals that follow one another become one."""
    last = pieces[-1]
    if isinstance(piece, str) and isinstance(last, str):
        pieces[-1] = last + piece
    else:
        pieces.append(piece)


def _plain_links(text: str) -> Iterator[tuple[int, int, str]]:
    for found in _PLAIN_LINK.finditer(text):
        url = found.group().rstrip(_BEHIND_A_LINK)
        if "(" in url and found.group()[len(url) : len(url) + 1] == ")":
            url += ")"
        yield found.start(), found.start() + len(url), url
