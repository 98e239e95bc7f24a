"""Octets of a text in seven bits (RFC 2045 §6.7 and §6.8), in lines that end in CR LF."""

from __future__ import annotations

import base64
import binascii
import re

#: RFC 2045 §6.7 (5).
QUOTED_PRINTABLE_LINE = 76

_LONG_FOR_A_SPACE = re.compile(rb"^(.{74,})(=20|=09)$", re.MULTILINE)


def quoted_printable_octets(octets: bytes) -> bytes:
    """A text's octets in quoted-printable; each of its line ends, whatever it was, is a line end."""
    encoded = binascii.b2a_qp(octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n"), istext=True)
    # It does not count what a space at the end of a line becomes.
    return _LONG_FOR_A_SPACE.sub(rb"\1=\n\2", encoded).replace(b"\n", b"\r\n")


def quoted_printable(text: str) -> bytes:
    """`text` as UTF-8 in quoted-printable (RFC 2045 §6.7)."""
    return quoted_printable_octets(text.encode("utf-8", "replace"))


def base64_octets(octets: bytes) -> bytes:
    """Any octets in base64."""
    return base64.encodebytes(octets).replace(b"\n", b"\r\n")
