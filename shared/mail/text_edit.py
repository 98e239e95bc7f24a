"""Lines put before and behind a text, in the text's own character set and encoding where they fit."""

from __future__ import annotations

import binascii
import html
import re
from dataclasses import dataclass

from shared.mail.headers import Field
from shared.mail.lines import MAX_LINE_OCTETS, has_line_longer_than
from shared.mail.parts import FORMAT, Part, parameter, retyped
from shared.mail.transfer_encoding import base64_octets, quoted_printable_octets
from shared.mail.words import codec_of

_IDENTITIES = frozenset({"7bit", "8bit"})
# An equals sign that encodes nothing: some readers show it, others do not.
_STRAY_EQUALS = re.compile(rb"=(?!(?:[0-9A-Fa-f]{2}|\r\n|\Z))")
# PGP inline and its relatives: what stands between such lines is signed, or not to be read by us.
_ARMOUR = re.compile(r"^-----BEGIN [A-Z0-9 ,]+-----", re.MULTILINE)
# Comments, scripts and styles are passed over; a tag is found outside of them.
_PASSED_OVER = r"<!--(?:.*?-->|.*\Z)|<(script|style|title|textarea)\b(?:.*?</\1\s*>|.*\Z)"
_HTML_TAGS = re.compile(
    rf"{_PASSED_OVER}|<(/?(?:body|html|head))(?:\s[^<>]*)?>|<(!doctype)\b[^<>]*>", re.IGNORECASE | re.DOTALL
)
#: RFC 3676 §4.4.
_TO_BE_STUFFED = (" ", ">", "From ")
_WIDE = ("utf-16", "utf-32")


@dataclass(frozen=True, slots=True)
class EditedText:
    """A text part written anew."""

    fields: tuple[Field, ...]
    body: bytes


def edited_text(raw: bytes, part: Part, above: str, below: str) -> EditedText | None:
    """The part with lines before and behind its text; `None` when it cannot be read for sure or must not be changed.

    A plain text whose character set has no room for the lines becomes UTF-8; in HTML they are character references.
    """
    octets = _decoded(raw[part.body_at : part.end], part.transfer_encoding)
    if octets is None:
        return None
    codec = codec_of(part.charset or "us-ascii")
    if codec == "ascii" and not octets.isascii():
        codec = "utf-8"  # undeclared: if it can be UTF-8 it is
    if codec is None:
        return None
    try:
        text = octets.decode(codec)
    except UnicodeError:
        return None
    if _ARMOUR.search(text):
        return None
    line_end = "\n" if "\n" in text and "\r\n" not in text else "\r\n"
    if part.is_html:
        text = _html(text, above, below, line_end)
    else:
        is_flowed = parameter(FORMAT, part.content_type).lower() == "flowed"
        text = _plain(text, above, below, line_end, is_flowed=is_flowed)
    encoded, new_codec = _encoded(text, codec, is_html=part.is_html)
    return _written(part, encoded, None if new_codec == codec_of(part.charset or "us-ascii") else new_codec)


def _decoded(octets: bytes, transfer_encoding: str) -> bytes | None:
    """`None`: it says something that two readers could read in two ways."""
    if transfer_encoding in _IDENTITIES:
        return octets
    if transfer_encoding == "quoted-printable":
        is_clean = octets.isascii() and not _STRAY_EQUALS.search(octets)
        return binascii.a2b_qp(octets) if is_clean else None
    if transfer_encoding == "base64":
        try:
            return binascii.a2b_base64(octets.replace(b"\r\n", b""), strict_mode=True)
        except binascii.Error:
            return None
    return None


def _plain(text: str, above: str, below: str, line_end: str, *, is_flowed: bool) -> str:
    """An empty line between: it ends a paragraph that flows (RFC 3676 §4.1), too."""
    if above:
        text = _lines(above, line_end, is_flowed=is_flowed) + line_end + text
    if below:
        if text and not text.endswith("\n"):
            text += line_end
        text += line_end + _lines(below, line_end, is_flowed=is_flowed)
    return text


def _lines(text: str, line_end: str, *, is_flowed: bool) -> str:
    lines = [f" {line}" if is_flowed and line.startswith(_TO_BE_STUFFED) else line for line in text.split("\n")]
    return "".join(line + line_end for line in lines)


def _html(text: str, above: str, below: str, line_end: str) -> str:
    """The lines as blocks: at the beginning and at the end of the body, or where that would be if it were marked."""
    begin, end = 0, len(text)
    is_marked = False
    for tag in _HTML_TAGS.finditer(text):
        name = (tag.group(2) or tag.group(3) or "").lower()
        if name in ("!doctype", "html", "head", "/head", "body") and not is_marked:
            begin, is_marked = tag.end(), name == "body"
        elif name in ("/body", "/html") and (end == len(text) or name == "/body"):
            end = tag.start()
    end = max(begin, end)
    before = _block(above, line_end) if above else ""
    behind = _block(below, line_end) if below else ""
    return text[:begin] + before + text[begin:end] + behind + text[end:]


def _block(text: str, line_end: str) -> str:
    lines = f"<br>{line_end}".join(html.escape(line) for line in text.split("\n"))
    return f"{line_end}<div>{line_end}{lines}{line_end}</div>{line_end}"


def _encoded(text: str, codec: str, *, is_html: bool) -> tuple[bytes, str]:
    """The octets, and the codec that they are in."""
    if not codec.startswith(_WIDE):
        try:
            return text.encode(codec, "xmlcharrefreplace" if is_html else "strict"), codec
        except UnicodeError:
            pass
    return text.encode("utf-8"), "utf-8"


def _written(part: Part, octets: bytes, new_codec: str | None) -> EditedText:
    """In the part's transfer encoding, unless the text has outgrown it."""
    encoding = part.transfer_encoding
    if encoding == "base64":
        body = base64_octets(octets)
    elif encoding == "quoted-printable":
        body = quoted_printable_octets(octets)
    elif (octets.isascii() or encoding == "8bit") and not has_line_longer_than(MAX_LINE_OCTETS, octets):
        body = octets
    else:
        encoding, body = "quoted-printable", quoted_printable_octets(octets)
    new_encoding = None if encoding == part.transfer_encoding else encoding
    if new_codec is None and new_encoding is None:
        return EditedText(part.header.fields, body)
    return EditedText(tuple(retyped(part, charset=new_codec, transfer_encoding=new_encoding)), body)
