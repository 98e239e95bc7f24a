"""Line ends: a message's lines end in CR LF, and neither of the two stands alone (RFC 5321 §2.3.8)."""

from __future__ import annotations

#: RFC 5321 §4.5.3.1.6: 1000 octets with the CR LF.
MAX_LINE_OCTETS = 998
#: What ends the content (RFC 5321 §4.1.1.4).
LONE_DOT = b".\r\n"


def with_crlf(content: bytes) -> bytes:
    """`content` with every bare CR and every bare LF made a CR LF; the same object when there was none."""
    pairs = content.count(b"\r\n")
    if content.count(b"\n") == pairs and content.count(b"\r") == pairs:
        return content
    # Three passes of replacing are many times faster than one of a regular expression.
    return content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def dot_stuff(content: bytes) -> bytes:
    """`content` as it follows DATA, the final CR LF . CR LF included (RFC 5321 §4.5.2).

    What comes out holds that sequence once, at its end, whatever `content` holds: a bare CR or LF, which some servers
    take for a line end and so can be made to see a second message, is made a CR LF first.
    """
    return double_dots(ended(with_crlf(content))) + LONE_DOT


def ended(content: bytes) -> bytes:
    """`content` with its last line ended; the same object when it is, or is empty."""
    return content if not content or content.endswith(b"\r\n") else content + b"\r\n"


def double_dots(lines: bytes) -> bytes:
    """Whole lines with the dots doubled that begin them; the same object when none does."""
    if lines.startswith(b"."):
        lines = b"." + lines
    return lines.replace(b"\r\n.", b"\r\n..") if b"\r\n." in lines else lines


def has_line_longer_than(octets: int, content: bytes) -> bool:
    """Whether a line of `content`, without its CR LF, is longer than `octets`; a few steps a kilobyte at most."""
    start = 0
    longest = octets + len(b"\r\n")
    while start + octets < len(content):
        newline = content.rfind(b"\n", start, start + longest)
        if newline < 0:
            # The last line may be without an end; then only what it holds counts.
            return len(content) - start > octets
        start = newline + 1
    return False
