"""Messages as they should not be and are: more than a hundred, each with a name that says what is odd."""

from __future__ import annotations

import base64
import random

_FROM = b"From: Ann <ann@example.com>\r\n"
_TO = b"To: news@lists.test\r\n"
_DATE = b"Date: Mon, 23 Nov 2026 12:00:00 +0000\r\n"
_ID = b"Message-ID: <1@example.com>\r\n"
_SUBJECT = b"Subject: Hello\r\n"
_HEADER = _FROM + _TO + _DATE + _ID + _SUBJECT
_BODY = b"Hello.\r\n"

_BODIES = {
    "empty body": b"",
    "one empty line": b"\r\n",
    "many empty lines": b"\r\n" * 50,
    "only spaces": b"   \t  ",
    "lines of spaces only": b"  \r\n\t\r\n \t \r\n",
    "no last line end": b"Hello.",
    "no last line end and a space": b"Hello. ",
    "trailing empty lines": b"Hello.\r\n\r\n\r\n\r\n",
    "trailing lines of spaces": b"Hello.\r\n \r\n\t\r\n  ",
    "leading empty lines": b"\r\n\r\n\r\nHello.\r\n",
    "spaces before line ends": b"Hello. \t \r\nBye.  \r\n",
    "runs of spaces and tabs": b"a  b\t\tc \t d\r\n\te\r\n",
    "a bare dot": b".\r\n",
    "bare dots": b".\r\n..\r\n...\r\n.Hello\r\n. \r\n",
    "a bare dot without its line end": b"Hello.\r\n.",
    "a long line": b"x" * 5_000 + b"\r\n",
    "a long line of words": b"word " * 2_000 + b"\r\n",
    "a line of 998": b"y" * 998 + b"\r\n",
    "bare line feeds": b"one\ntwo\n\nthree\n",
    "bare carriage returns": b"one\rtwo\r\rthree\r",
    "mixed line ends": b"one\r\ntwo\nthree\rfour\n\rfive\r\r\nsix",
    "a smuggled end": b"Hello.\n.\r\nMAIL FROM:<evil@evil.test>\r\n",
    "another smuggled end": b"Hello.\r.\rQUIT\r\n",
    "null octets": b"a\x00b\x00\r\n\x00\r\n",
    "all octets": bytes(range(256)) * 4,
    "latin 1": b"caf\xe9\r\n",
    "utf-8": "Grüße, 你好 😀\r\n".encode(),
    "broken utf-8": b"\xc3\x28 \xff\xfe \xe2\x82\r\n",
    "form feeds and vertical tabs": b"a\x0cb\x0bc \x0c\r\n\x0b\r\n",
    "what looks like a header": b"From: other@example.com\r\nSubject: other\r\n\r\nBody.\r\n",
    "what looks like a signature": b"DKIM-Signature: v=1; b=AAAA; l=0\r\n",
    "a mailbox's From": b"From ann Mon Nov 23\r\n>From bob\r\n",
    "an old signature line": b"-- \r\nAnn\r\n",
    "a non-breaking space": "a\u00a0b\u00a0\r\n".encode(),
    "braces": b"{{first_name|friend}} {{ ''.__class__.__mro__ }} {% x %} {0.__class__} ${x}\r\n",
}

_FIELDS = {
    "an 8-bit subject": (b"Subject: caf\xe9 \xff\xfe\r\n", _FROM + _TO),
    "a utf-8 subject": ("Subject: Grüße 😀\r\n".encode(), _FROM + _TO),
    "a folded subject": (b"Subject: one\r\n two\r\n\tthree\r\n    four\r\n", _FROM + _TO),
    "a subject folded at once": (b"Subject:\r\n Hello\r\n", _FROM + _TO),
    "a subject with an empty continuation": (b"Subject: one\r\n \r\n two\r\n", _FROM + _TO),
    "a subject with spaces at its end": (b"Subject: Hello  \t \r\n", _FROM + _TO),
    "a subject without a space": (b"Subject:Hello\r\n", _FROM + _TO),
    "a space before the colon": (b"Subject : Hello\r\n", _FROM + _TO),
    "a tab before the colon": (b"Subject\t: Hello\r\n", _FROM + _TO),
    "an empty subject": (b"Subject:\r\n", _FROM + _TO),
    "a subject of spaces": (b"Subject:    \r\n", _FROM + _TO),
    "no subject": (b"", _FROM + _TO),
    "no to": (_SUBJECT, _FROM),
    "no to and no subject": (b"", _FROM),
    "only a from": (b"", _FROM),
    "two subjects": (b"Subject: one\r\nSubject: two\r\n", _FROM + _TO),
    "three subjects apart": (b"Subject: one\r\nX-A: b\r\nSUBJECT: two\r\nX-B: c\r\nsubject: three\r\n", _FROM + _TO),
    "two froms": (_SUBJECT + b"From: bob@example.com\r\n", _FROM + _TO),
    "two tos": (_SUBJECT + b"To: bob@example.com\r\n", _FROM + _TO),
    "two dates": (_DATE + b"Date: then\r\n", _FROM + _TO + _SUBJECT),
    "two message ids": (b"Message-ID: <2@example.com>\r\n", _FROM + _TO + _ID),
    "many to fields": (b"To: x@example.com\r\n" * 100, _FROM),
    "a field with colons": (b"Subject: a: b:: c\r\n", _FROM + _TO),
    "names in capitals": (b"SUBJECT: Hello\r\nMIME-VERSION: 1.0\r\n", _FROM.replace(b"From", b"FROM")),
    "a field called b": (b"B: b=AAAA\r\nbh: x\r\n", _FROM + _TO),
    "a long field": (b"X-Long: " + b"z" * 5_000 + b"\r\n", _FROM + _TO),
    "a long folded to": (b"To: " + b",\r\n ".join(b"m%d@example.com" % n for n in range(500)) + b"\r\n", _FROM),
    "five hundred fields": (b"".join(b"X-N%d: %d\r\n" % (n, n) for n in range(500)), _FROM + _TO),
    "a null octet in a field": (b"Subject: a\x00b\r\n", _FROM + _TO),
    "a bare carriage return in a field": (b"Subject: a\rBcc: evil@evil.test\r\n", _FROM + _TO),
    "a bare line feed in a field": (b"Subject: a\nBcc: evil@evil.test\r\n", _FROM + _TO),
    "a form feed in a field": (b"Subject: a\x0cb\r\n", _FROM + _TO),
    "a name of odd characters": (b"X-!#$%&'*+^_`{|}~: odd\r\n", _FROM + _TO),
    "a name that begins with a dot": (b".Hidden: x\r\n", _FROM + _TO),
    "an old signature": (b"DKIM-Signature: v=1; a=rsa-sha256; d=x; s=y; h=from; bh=; b=\r\n", _FROM + _TO),
    "fields of another list": (b"List-Id: <other.test>\r\nList-Unsubscribe: <mailto:x@y.test>\r\n", _FROM + _TO),
    "other list fields": (b"List-Software: other\r\nList-Foo: bar\r\n", _FROM + _TO),
    "an encoded line end": (b"Subject: =?utf-8?q?x=0ABcc:_evil=40x?=\r\n", _FROM + _TO),
    "broken encoded words": (b"Subject: =?utf-8?b?!!!?= =?x?q?a?= =?utf-8?q?=ZZ?=\r\n", _FROM + _TO),
    "a from with comments": (b"", b'From: "Ann (x)" (a (b) c) <ann@example.com> (d)\r\n' + _TO),
    "a from beyond ASCII": (b"", "From: Änn <ann@bücher.example>\r\n".encode() + _TO),
    "a folded from": (b"", b"From: Ann\r\n <ann@example.com>\r\n" + _TO),
    "received fields": (b"Received: from a by b; x\r\n\tid 7\r\n" * 20, _FROM + _TO),
    "a body without an empty line": (b"not a field\r\n", _FROM),
    "mixed line ends in the header": (b"X-A: b\nX-C: d\rX-E: f\r\n", _FROM + _TO),
}


def _mime(content_type: bytes, body: bytes, encoding: bytes = b"") -> bytes:
    transfer = b"Content-Transfer-Encoding: " + encoding + b"\r\n" if encoding else b""
    return _HEADER + b"MIME-Version: 1.0\r\nContent-Type: " + content_type + b"\r\n" + transfer + b"\r\n" + body


def _nested(depth: int) -> bytes:
    opened = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level) for level in range(depth)
    )
    closed = b"".join(b"--b%d--\r\n" % level for level in reversed(range(depth)))
    return _HEADER + opened + b"Content-Type: text/plain\r\n\r\ndeep {{city}}\r\n" + closed


_MIME = {
    "a broken boundary": _mime(b'multipart/mixed; boundary="never', b"--other\r\n\r\n=ZZ\r\n.\r\n"),
    "an empty boundary": _mime(b'multipart/mixed; boundary=""', b"--\r\n\r\nx\r\n----\r\n"),
    "a boundary within a boundary": _mime(
        b"multipart/mixed; boundary=b", b"--b1\r\nno\r\n--b\r\n\r\n{{city}}\r\n--b--\r\n"
    ),
    "no closing boundary": _mime(b"multipart/mixed; boundary=b", b"--b\r\n\r\nHello {{city}}"),
    "parts without a line between": _mime(b"multipart/mixed; boundary=b", b"--b\r\n--b\r\n--b\r\n\r\n--b--"),
    "text after the last boundary": _mime(
        b"multipart/mixed; boundary=b", b"pre\r\n--b\r\n\r\nx\r\n--b-- \r\npost {{x}}"
    ),
    "an unknown encoding": _mime(b"text/plain", b"Hello {{city}}\r\n", b"x-uuencode"),
    "an unknown character set": _mime(b"text/plain; charset=klingon", b"Hello {{city}}\r\n"),
    "the wrong character set": _mime(b"text/plain; charset=utf-8", b"caf\xe9 {{city}}\r\n", b"8bit"),
    "ascii that is not": _mime(b"text/plain; charset=us-ascii", b"caf\xe9 {{city}}\r\n", b"7bit"),
    "utf-16": _mime(b"text/plain; charset=utf-16", base64.encodebytes("Hé {{city}}\r\n".encode("utf-16")), b"base64"),
    "broken base64": _mime(b"text/plain; charset=utf-8", b"e3tjaXR5f!!!Q=\r\n==", b"base64"),
    "broken quoted-printable": _mime(b"text/plain", b"a=ZZ =\r\n\r\n= \r\n{{city=\r\n}}=", b"quoted-printable"),
    "html": _mime(b'text/html; charset="iso-8859-1"', b"<p>caf\xe9 {{city|nowhere}}</p>\r\n", b"8bit"),
    "a signed part": _mime(b"multipart/signed; boundary=b", b"--b\r\n\r\n{{city}}\r\n--b\r\n\r\nsig\r\n--b--\r\n"),
    "a message within": _mime(b"message/rfc822", b"From: x@y.test\r\n\r\n{{city}}\r\n"),
    "nested 50": _nested(50),
    "nested 500": _nested(500),
    "many parts": _mime(b"multipart/mixed; boundary=b", b"--b\r\n\r\n{{city}}\r\n" * 2_000 + b"--b--\r\n"),
    "a type that is none": _mime(b"?/=", b"{{city}}\r\n"),
}


def _drawn(seed: int) -> bytes:
    """Pieces put together at random, the same for the same seed."""
    draw = random.Random(seed)  # noqa: S311
    fields = [draw.choice(list(_FIELDS.values()))[0] for _ in range(draw.randint(1, 6))]
    bodies = [draw.choice(list(_BODIES.values())) for _ in range(draw.randint(0, 5))]
    readable = [field for field in fields if field != b"not a field\r\n"]
    return _FROM + b"".join(readable) + b"\r\n" + b"".join(bodies)


#: By what is odd about them.
ODD_MESSAGES: dict[str, bytes] = {
    **{name: _HEADER + b"\r\n" + body for name, body in _BODIES.items()},
    **{name: rest + odd + b"\r\n" + _BODY for name, (odd, rest) in _FIELDS.items()},
    **_MIME,
    **{f"drawn {seed}": _drawn(seed) for seed in range(60)},
}
