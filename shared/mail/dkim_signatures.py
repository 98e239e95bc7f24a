"""DKIM signatures that came with a message, checked (RFC 6376 §6, RFC 8301, RFC 8463).

Only what protects the whole message counts: a signature with `l=`, one that leaves From out, one by SHA-1 or by a short
key is as none. Everything is bounded, for the message and the key's record are anybody's to write.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from shared.mail.dkim import relaxed_body, relaxed_field
from shared.mail.headers import Field, Header

#: Of one message, the first so many that may be of use are looked at.
MAX_SIGNATURES = 5
_MAX_SIGNED_NAMES = 500
#: RFC 8301 §3.2; and no key that would take long to use.
_MIN_RSA_BITS, _MAX_RSA_BITS = 1024, 4096
_MAX_EXPONENT = 2**32
_MAX_KEY_CHARACTERS = 4096

_ALGORITHMS = {"rsa-sha256": "rsa", "ed25519-sha256": "ed25519"}
_FORMS = frozenset({"simple", "relaxed"})
_DOMAIN = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+")
_SELECTOR = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_WHITE_SPACE = re.compile(r"\s+")
# The value of the tag b, which is empty while the field signs itself (RFC 6376 §3.7).
_B_TAG = re.compile(rb"((?:\A|;)[ \t\r\n]*b[ \t\r\n]*=)[^;]*")


@dataclass(frozen=True, slots=True)
class Signature:
    """One DKIM-Signature field that is worth a look."""

    field: Field
    #: `d=` and `s=`, lower-case.
    domain: str
    selector: str
    #: The domain of `i=`.
    identity_domain: str
    key_kind: str
    header_form: str
    body_form: str
    signed_names: tuple[str, ...]
    body_hash: bytes
    value: bytes

    @property
    def key_name(self) -> str:
        """Where the key's record is."""
        return f"{self.selector}._domainkey.{self.domain}"


def signatures(header: Header, now: datetime) -> list[Signature]:
    """The signatures of a message that are well formed and not expired, in the order they stand."""
    read = (_read(field, now) for field in header.all("dkim-signature")[: 4 * MAX_SIGNATURES])
    return [signature for signature in read if signature is not None]


def is_signed_by(signature: Signature, header: Header, content: bytes, key_records: Sequence[str]) -> bool:
    """Whether the holder of a key in `key_records` (the TXT records at `key_name`) signed the message as it is.

    Takes some milliseconds a megabyte: not for the event loop.
    """
    key = _key(key_records, signature)
    if key is None:
        return False
    body = content[header.body_at :]
    canonical = relaxed_body(body) if signature.body_form == "relaxed" else _simple_body(body)
    if hashlib.sha256(canonical).digest() != signature.body_hash:
        return False
    digest = hashlib.sha256(_signed_header(signature, header)).digest()
    try:
        if isinstance(key, RSAPublicKey):
            key.verify(signature.value, digest, PKCS1v15(), Prehashed(SHA256()))
        else:
            key.verify(signature.value, digest)
    except (InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _read(field: Field, now: datetime) -> Signature | None:
    tags = read_tags(field.value.decode("latin-1"))
    if tags is None:
        return None
    domain, selector = tags.get("d", "").lower(), tags.get("s", "").lower()
    identity_domain = tags.get("i", f"@{domain}").rpartition("@")[2].lower()
    header_form, _, body_form = tags.get("c", "simple/simple").lower().partition("/")
    body_form = body_form or "simple"
    names = tuple(_WHITE_SPACE.sub("", tags.get("h", "")).lower().split(":"))
    key_kind = _ALGORITHMS.get(tags.get("a", "").lower())
    body_hash, value = _base64(tags.get("bh", "")), _base64(tags.get("b", ""))
    if (
        tags.get("v") != "1"
        or key_kind is None
        or "l" in tags
        or not _DOMAIN.fullmatch(domain)
        or not _SELECTOR.fullmatch(selector)
        or not f".{identity_domain}".endswith(f".{domain}")
        or not {header_form, body_form} <= _FORMS
        or "from" not in names
        or len(names) > _MAX_SIGNED_NAMES
        or body_hash is None
        or not value
        or _is_over(tags.get("x", ""), now)
    ):
        return None
    return Signature(
        field, domain, selector, identity_domain, key_kind, header_form, body_form, names, body_hash, value
    )


def read_tags(text: str) -> dict[str, str] | None:
    """A list of tags (RFC 6376 §3.2); `None` when one stands twice, or is none."""
    tags: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        name = name.strip()
        if not name and not equals:
            continue
        if not equals or not name or name in tags:
            return None
        tags[name] = value.strip()
    return tags


def _is_over(expiry: str, now: datetime) -> bool:
    if not expiry:
        return False
    return not expiry.isdecimal() or len(expiry) > 12 or int(expiry) < now.timestamp()


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(_WHITE_SPACE.sub("", text), validate=True)
    except (binascii.Error, ValueError):
        return None


def _signed_header(signature: Signature, header: Header) -> bytes:
    """What the signature signs (§3.7): of fields with one name, the last first; then its own field."""
    left = {name: header.all(name) for name in set(signature.signed_names)}
    form = relaxed_field if signature.header_form == "relaxed" else bytes
    signed = [form(left[name].pop().raw) for name in signature.signed_names if left[name]]
    name, _, value = signature.field.raw.partition(b":")
    own = form(name + b":" + _B_TAG.sub(rb"\1", value, count=1))
    return b"".join(signed) + own.removesuffix(b"\r\n")


def _simple_body(body: bytes) -> bytes:
    """RFC 6376 §3.4.3; `body` has its lines ended by CR LF."""
    end = len(body)
    while body.endswith(b"\r\n", 0, end):
        end -= 2
    return body[:end] + b"\r\n"


def _key(records: Sequence[str], signature: Signature) -> RSAPublicKey | Ed25519PublicKey | None:
    """The first usable key among the records (§3.6.1, §6.1.2)."""
    for record in records[:MAX_SIGNATURES]:
        tags = read_tags(record[: 2 * _MAX_KEY_CHARACTERS])
        if tags is None or tags.get("v", "DKIM1") != "DKIM1" or not _serves(tags, signature):
            continue
        octets = _base64(tags.get("p", "")[:_MAX_KEY_CHARACTERS])
        key = _public_key(signature.key_kind, octets) if octets else None
        if key is not None:
            return key
    return None


def _serves(tags: dict[str, str], signature: Signature) -> bool:
    hashes = _listed(tags.get("h", "sha256"))
    services = _listed(tags.get("s", "*"))
    is_strict = "s" in _listed(tags.get("t", ""))
    return (
        tags.get("k", "rsa").lower() == signature.key_kind
        and "sha256" in hashes
        and bool({"*", "email"} & services)
        and (not is_strict or signature.identity_domain == signature.domain)
    )


def _listed(value: str) -> set[str]:
    return {word.strip().lower() for word in value.split(":")}


def _public_key(kind: str, octets: bytes) -> RSAPublicKey | Ed25519PublicKey | None:
    try:
        if kind == "ed25519":
            return Ed25519PublicKey.from_public_bytes(octets)
        key = load_der_public_key(octets)
    except (ValueError, UnsupportedAlgorithm):
        return None
    if not isinstance(key, RSAPublicKey) or not _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
        return None
    numbers: RSAPublicNumbers = key.public_numbers()
    return key if numbers.e < _MAX_EXPONENT else None
