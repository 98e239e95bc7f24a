"""DKIM signatures (RFC 6376, relaxed/relaxed; RFC 8301; RFC 8463).

What is the same for all recipients of a message is canonicalised and hashed once (`Canonical`); a recipient costs what
differs, and the signature. There is never an `l=`: a body of which only the beginning is signed can be given any end.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from shared.core.dkim import DkimAlgorithm
from shared.mail.segments import CompiledMessage, FieldSlot, TokenSlot

#: Signed wherever they stand, each instance; and every field that begins with one of the prefixes.
SIGNED_FIELDS = frozenset(
    {"from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id", "in-reply-to", "references"}
)
SIGNED_PREFIXES = ("mime-", "content-", "list-")
#: Signed once more than they stand there: one that is added on the way breaks the signature (RFC 6376 §8.15).
OVERSIGNED_FIELDS = ("from", "to", "subject", "reply-to", "list-unsubscribe", "list-unsubscribe-post")

_WSP_RUN = re.compile(rb"[ \t]{2,}|\t")
_B64_LINE = 72


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A domain's private key, and where its public half is published: `SELECTOR._domainkey.DOMAIN`."""

    domain: str
    selector: str
    private: RSAPrivateKey | Ed25519PrivateKey

    @property
    def algorithm(self) -> DkimAlgorithm:
        is_rsa = isinstance(self.private, RSAPrivateKey)
        return DkimAlgorithm.RSA_SHA256 if is_rsa else DkimAlgorithm.ED25519_SHA256

    def sign(self, digest: bytes) -> bytes:
        """The signature of a SHA-256 digest; the interpreter is free meanwhile."""
        if isinstance(self.private, RSAPrivateKey):
            return self.private.sign(digest, _PADDING, _PREHASHED)
        return self.private.sign(digest)


_PADDING, _PREHASHED = PKCS1v15(), Prehashed(SHA256())


@dataclass(frozen=True, slots=True)
class Digests:
    """What the signatures of one copy sign."""

    #: SHA-256 of the canonical header, its own field excepted; not to be changed.
    header: hashlib._Hash
    #: The `bh=` of the copy, in base64.
    body_base64: bytes


class Canonical:
    """A compiled message as its signatures see it."""

    def __init__(self, message: CompiledMessage) -> None:
        self._field_slots = sum(not isinstance(piece, bytes) for piece in message.fields)
        fixed, varying = _signed_fields(message.fields)
        missing = [(name, b"") for name in OVERSIGNED_FIELDS]
        #: The `h=` of every signature.
        self.signed_names = [name for name, _ in (*fixed, *varying, *missing)]
        self._fixed = hashlib.sha256(b"".join([field for _, field in fixed if isinstance(field, bytes)]))
        #: Canonical fields, and the number of the slot where a field differs.
        self._varying = [field for _, field in varying]
        literals: list[bytes] = [b""]
        for piece in message.body:
            if isinstance(piece, bytes):
                literals[-1] = piece
            else:
                literals.append(b"")
        # A filling is never blank, so empty lines at the body's end are all in its last literal.
        canonical = [relaxed_lines(literal) for literal in literals[:-1]] + [relaxed_body(literals[-1])]
        self._body_begin, self._body_rest = hashlib.sha256(canonical[0]), canonical[1:]

    def digests(self, fillings: Sequence[bytes] = ()) -> Digests:
        """What is signed of the copy with these fillings, one a slot."""
        fields, texts = fillings[: self._field_slots], fillings[self._field_slots :]
        header = self._fixed.copy()
        for piece in self._varying:
            header.update(piece if isinstance(piece, bytes) else relaxed_field(fields[piece]))
        body = self._body_begin.copy()
        for text, literal in zip(texts, self._body_rest, strict=True):
            body.update(relaxed_lines(text))
            body.update(literal)
        return Digests(header, base64.b64encode(body.digest()))


def _signed_fields(
    fields: Sequence[bytes | FieldSlot | TokenSlot],
) -> tuple[list[tuple[str, bytes | int]], list[tuple[str, bytes | int]]]:
    """The fields that are signed, canonical or as the number of their slot: those all copies share, and the rest.

    Of fields with one name, the last is the first that a verifier takes (RFC 6376 §5.4.2); they stay together.
    """
    numbers = count()
    named: list[tuple[str, bytes | int]] = []
    for field in fields:
        if isinstance(field, bytes):
            name = field.partition(b":")[0].rstrip(b" \t").decode("latin-1").lower()
            named.append((name, relaxed_field(field)))
        else:
            named.append((field.name.lower(), next(numbers)))
    varying_names = {name for name, field in named if isinstance(field, int)}
    signed = [(name, field) for name, field in reversed(named) if _is_signed(name)]
    return (
        [(name, field) for name, field in signed if name not in varying_names],
        [(name, field) for name, field in signed if name in varying_names],
    )


def _is_signed(name: str) -> bool:
    return name in SIGNED_FIELDS or name.startswith(SIGNED_PREFIXES)


class Signer:
    """Signs copies of one message with one key."""

    def __init__(self, key: SigningKey, canonical: Canonical, signed_at: datetime) -> None:
        """`signed_at` becomes the `t=` of the signatures."""
        self._key = key
        tags = (
            f"DKIM-Signature: v=1; a={key.algorithm}; c=relaxed/relaxed; d={key.domain}; s={key.selector};"
            f" t={int(signed_at.timestamp())}; h={':'.join(canonical.signed_names)};"
        )
        self._prefix = _folded_tags(tags) + b"\r\n\tbh="
        self._canonical_prefix = relaxed_field(self._prefix)[: -len(b"\r\n")]

    def field(self, digests: Digests) -> bytes:
        """The DKIM-Signature field of the copy with these digests."""
        header = digests.header.copy()
        header.update(b"%b%b; b=" % (self._canonical_prefix, digests.body_base64))
        signature = base64.b64encode(self._key.sign(header.digest()))
        lines = [signature[at : at + _B64_LINE] for at in range(0, len(signature), _B64_LINE)]
        return b"%b%b;\r\n\tb=%b\r\n" % (self._prefix, digests.body_base64, b"\r\n\t".join(lines))


def _folded_tags(tags: str) -> bytes:
    """The tags in lines; where a line may break within `h=` is behind a colon."""
    lines = [""]
    for word in re.findall(r"[^ :]*[ :]?", tags):
        if len(lines[-1]) + len(word) > _B64_LINE:
            lines.append("")
        lines[-1] += word
    return "\r\n\t".join(line.rstrip(" ") for line in lines).encode("ascii")


def relaxed_field(raw: bytes) -> bytes:
    """A field in the canonical form `relaxed` (RFC 6376 §3.4.2)."""
    name, _, value = raw.partition(b":")
    value = _WSP_RUN.sub(b" ", value.replace(b"\r\n", b"")).strip(b" ")
    return b"%b:%b\r\n" % (name.rstrip(b" \t").lower(), value)


def relaxed_lines(lines: bytes) -> bytes:
    """Whole lines in the canonical form `relaxed`, but for empty ones at the end; the same object if they have it."""
    # Passes of replacing are many times faster than one of a regular expression, and a run of n takes log n of them.
    if b"\t" in lines:
        lines = lines.replace(b"\t", b" ")
    while b"  " in lines:
        lines = lines.replace(b"  ", b" ")
    return lines.replace(b" \r\n", b"\r\n") if b" \r\n" in lines else lines


def relaxed_body(body: bytes) -> bytes:
    """A body, or what it ends with, in the canonical form `relaxed` (RFC 6376 §3.4.4)."""
    body = relaxed_lines(body)
    if not body.endswith(b"\r\n"):
        body = body.rstrip(b" ") + b"\r\n"
    if body.endswith(b"\r\n\r\n") or body == b"\r\n":
        body = body.rstrip(b"\r\n")
        body += b"\r\n" if body else b""
    return body
