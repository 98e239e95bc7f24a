"""Posts as mail programs write them, each with a name that says what it is made of."""

from __future__ import annotations

import base64

FIELDS = (
    b"Received: from a.example.org ([192.0.2.1]) by mx.lists.test; Mon, 23 Nov 2026 12:00:00 +0000\r\n"
    b"From: Ann <ann@example.org>\r\nTo: dev@lists.test\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\n"
    b"Message-ID: <1@example.org>\r\nSubject: Hello\r\n"
)
MIME = FIELDS + b"MIME-Version: 1.0\r\n"

PLAIN = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n"
HTML = (
    b"Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"<!DOCTYPE html>\r\n<html><head><title>x</title></head><BODY class=3D'a'>\r\n"
    b"<!-- </body> --><p>Gr=FC=DFe von hier und von dort und auch noch von ganz woanders</p></bo=\r\ndy></html>\r\n"
)
PDF = (
    b'Content-Type: application/pdf; name="a.pdf"\r\nContent-Disposition: attachment; filename="a.pdf"\r\n'
    b"Content-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjQK\r\n"
)
PATCH = (
    b'Content-Type: text/plain; name="a.patch"\r\nContent-Disposition: inline; filename="a.patch"\r\n\r\n'
    b"--- a\r\n+++ b\r\n"
)


def multipart(subtype: bytes, *parts: bytes, boundary: bytes = b"=_b", rest: bytes = b"") -> bytes:
    """A multipart's fields and body."""
    delimited = b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts)
    return b'Content-Type: multipart/%b; boundary="%b"%b\r\n\r\n%b--%b--\r\n' % (
        *(subtype, boundary, rest),
        *(delimited, boundary),
    )


#: What an S/MIME or PGP signature covers: trailing spaces and odd cases among it.
SIGNED_PART = (
    b"Content-type: TEXT/plain;\r\n\tCharset=us-ascii; format=flowed\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Signed =46rom Ann. \r\n-- \r\n\r\n.\r\nAnn=20\r\n\r\n"
)
SMIME = MIME + multipart(
    b"signed",
    SIGNED_PART,
    b"Content-Type: application/pkcs7-signature; name=smime.p7s\r\nContent-Transfer-Encoding: base64\r\n\r\nMIIB\r\n",
    boundary=b"----=_Sign",
    rest=b'; protocol="application/pkcs7-signature"; micalg=sha-256',
)
PGP_MIME = MIME + multipart(
    b"signed",
    SIGNED_PART,
    b"Content-Type: application/pgp-signature\r\n\r\n"
    b"-----BEGIN PGP SIGNATURE-----\r\n\r\niQEz\r\n-----END PGP SIGNATURE-----\r\n",
    rest=b'; protocol="application/pgp-signature"; micalg=pgp-sha512',
)
ENCRYPTED = MIME + multipart(
    b"encrypted",
    b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n",
    b"Content-Type: application/octet-stream\r\n\r\n"
    b"-----BEGIN PGP MESSAGE-----\r\n\r\nhQIM\r\n-----END PGP MESSAGE-----\r\n",
    rest=b'; protocol="application/pgp-encrypted"',
)
OPAQUE = MIME + (
    b"Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m\r\n"
    b"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=smime.p7m\r\n\r\nMIIB\r\n"
)
PGP_INLINE = FIELDS + (
    b"\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA512\r\n\r\nHello.\r\n"
    b"-----BEGIN PGP SIGNATURE-----\r\n\r\niQEz\r\n-----END PGP SIGNATURE-----\r\n"
)

#: Where the lists' texts stand within what the author wrote.
READABLE: dict[str, bytes] = {
    "no MIME": FIELDS + b"\r\nHello.\r\n",
    "no MIME and 8 bits of UTF-8": FIELDS + b"\r\nGr\xc3\xbc\xc3\x9fe\r\n",
    "no last line end": FIELDS + b"\r\nHello.",
    "empty": FIELDS + b"\r\n",
    "UTF-8 in 8 bits": MIME + PLAIN,
    "ISO-8859-1 in 8 bits": MIME
    + b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\ncaf\xe9\r\n",
    "UTF-8 in base64": MIME
    + b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.encodebytes("Grüße, 你好 😀\r\n".encode() * 20).replace(b"\n", b"\r\n"),
    "UTF-16 in base64": MIME
    + b"Content-Type: text/plain; charset=utf-16\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.encodebytes("Grüße\r\n".encode("utf-16")).replace(b"\n", b"\r\n"),
    "ISO-2022-JP in 7 bits": MIME
    + b"Content-Type: text/plain; charset=ISO-2022-JP\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
    + "こんにちは\r\n".encode("iso-2022-jp"),
    "ISO-2022-JP in quoted-printable": MIME
    + b"Content-Type: text/plain; charset=ISO-2022-JP\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    + b"=1B$B$3$s$K$A$O=1B(B\r\n",
    "KOI8-R in quoted-printable": MIME
    + b"Content-Type: text/plain; charset=koi8-r\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    + b"=F0=D2=C9=D7=C5=D4=\r\n",
    "a flowed text": MIME
    + b"Content-Type: text/plain; charset=us-ascii; format=flowed; delsp=no\r\n\r\n"
    + b"A line that flows \r\non here.\r\n> quoted \r\n> here\r\n-- \r\nAnn ",
    "HTML": MIME + HTML,
    "HTML without a body's tags": MIME + b"Content-Type: text/html; charset=utf-8\r\n\r\n<p>Hello",
    "plain and HTML": MIME + multipart(b"alternative", PLAIN, HTML),
    "plain, and HTML with images": MIME
    + multipart(b"alternative", PLAIN, multipart(b"related", HTML, PDF, boundary=b"inner"), boundary=b"outer"),
    "an invitation": MIME
    + multipart(b"alternative", PLAIN, HTML, b"Content-Type: text/calendar\r\n\r\nBEGIN:VCALENDAR\r\n"),
    "an attachment": MIME + multipart(b"mixed", PLAIN, PDF),
    "two forms and an attachment": MIME
    + multipart(b"mixed", multipart(b"alternative", PLAIN, HTML, boundary=b"=_b2"), PDF),
    "the footer of a list before": MIME + multipart(b"mixed", PLAIN, PDF, PLAIN),
    "a preamble and an epilogue": MIME
    + multipart(b"mixed", PLAIN).replace(b"\r\n\r\n--", b"\r\n\r\nThis is MIME.\r\n--", 1)
    + b"The end.\r\n",
}

#: What is put beside the lists' texts with every byte as it was.
SEALED: dict[str, bytes] = {
    "S/MIME": SMIME,
    "PGP/MIME": PGP_MIME,
    "encrypted": ENCRYPTED,
    "opaque S/MIME": OPAQUE,
    "PGP inline": PGP_INLINE,
    "PGP inline in a part": MIME + multipart(b"mixed", PGP_INLINE[len(FIELDS) :], PDF),
    "a signed part among others": MIME + multipart(b"mixed", SMIME[len(MIME) :], PDF, boundary=b"outer"),
    "a signed form among others": MIME + multipart(b"alternative", PLAIN, SMIME[len(MIME) :], boundary=b"outer"),
    "a file first": MIME + multipart(b"mixed", PATCH, PLAIN),
    "only a file": MIME + PDF,
    "a text as a file": MIME + PATCH,
    "a message": MIME + b"Content-Type: message/rfc822\r\n\r\nFrom: bob@example.org\r\n\r\nHello.\r\n",
    "a digest": MIME + multipart(b"digest", b"\r\nFrom: bob@example.org\r\n\r\nHello.\r\n"),
    "a report": MIME + multipart(b"report", PLAIN, b"Content-Type: message/delivery-status\r\n\r\nAction: failed\r\n"),
    "no closing boundary": MIME + multipart(b"mixed", PLAIN).removesuffix(b"--=_b--\r\n"),
    "no boundary at all": MIME + b"Content-Type: multipart/mixed\r\n\r\nHello.\r\n",
    "another boundary": MIME + b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--b\r\n\r\nHello.\r\n--b--\r\n",
    "an unknown character set": MIME + b"Content-Type: text/plain; charset=klingon\r\n\r\nHello.\r\n",
    "the wrong character set": MIME
    + b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\ncaf\xe9\r\n",
    "8 bits of nobody knows what": FIELDS + b"\r\ncaf\xe9\r\n",
    "an unknown encoding": MIME
    + b"Content-Type: text/plain\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nHello.\r\n",
    "broken base64": MIME
    + b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nSGV!sbG8\r\n-- x\r\n",
    "stray equals signs": MIME
    + b"Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na=b and =ZZ\r\n",
    "two types": MIME + b"Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\n<p>Hello.</p>\r\n",
    "two types of a part": MIME + multipart(b"mixed", b"Content-Type: text/html\r\n" + PLAIN),
    "an encoded multipart": MIME
    + b"Content-Transfer-Encoding: quoted-printable\r\n"
    + multipart(b"mixed", PLAIN, boundary=b"b"),
    "a very long text": FIELDS + b"\r\n" + b"Hello, hello, hello.\r\n" * 60_000,
}
