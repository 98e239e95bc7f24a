"""Keys for DKIM: made, written down, read, and their records in the DNS (RFC 6376 §3.6.1)."""

from __future__ import annotations

import base64
import re

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from shared.core.dkim import DkimAlgorithm
from shared.mail.dkim import SigningKey

#: RFC 8301 §3.2 asks for 1024 at least and recommends this; longer keys do not fit into one DNS packet everywhere.
RSA_BITS = 2048
_STRING_OCTETS = 255


def make_key(domain: str, selector: str, algorithm: DkimAlgorithm) -> SigningKey:
    """A new key. An RSA key takes a tenth of a second or more: not for the event loop."""
    if algorithm is DkimAlgorithm.RSA_SHA256:
        return SigningKey(domain, selector, generate_private_key(65537, RSA_BITS))
    return SigningKey(domain, selector, Ed25519PrivateKey.generate())


def to_der(key: SigningKey) -> bytes:
    """The private key as PKCS #8."""
    return key.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def from_der(domain: str, selector: str, der: bytes) -> SigningKey:
    """The key whose private half is `der`. Raises `ValueError` for any other kind of key."""
    private = load_der_private_key(der, password=None)
    if not isinstance(private, RSAPrivateKey | Ed25519PrivateKey):
        raise ValueError(f"no key of a kind that signs mail: {type(private).__name__}")
    return SigningKey(domain, selector, private)


def record_text(key: SigningKey) -> str:
    """The text of the TXT record with the public half."""
    public = key.private.public_key()
    if isinstance(key.private, RSAPrivateKey):
        kind, octets = "rsa", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        kind, octets = "ed25519", public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return f"v=DKIM1; k={kind}; p={base64.b64encode(octets).decode('ascii')}"


def zone_line(name: str, text: str) -> str:
    """The record as a line of a zone file, in strings of at most 255 octets."""
    strings = [text[at : at + _STRING_OCTETS] for at in range(0, len(text), _STRING_OCTETS)]
    quoted = " ".join(f'"{string}"' for string in strings)
    return f"{name}. IN TXT ( {quoted} )"


def fault_of_records(found: tuple[str, ...], expected: str) -> str | None:
    """What is wrong with the TXT records found at a key's name, in one sentence; `None` when its record is there."""
    if not found:
        return "There is no TXT record at this name."
    if len(found) > 1:
        return f"There are {len(found)} TXT records at this name; verifiers want one (RFC 6376 §3.6.2.2)."
    tags, wanted = _tags(found[0]), _tags(expected)
    if tags.get("v", "DKIM1") != "DKIM1":
        return "The record's v= is not DKIM1."
    if tags.get("k", "rsa") != wanted["k"]:
        return f"The record's k= is not {wanted['k']}."
    if not tags.get("p"):
        return "The record has no key in p=, which says that the key is revoked."
    if tags["p"] != wanted["p"]:
        return "The record's p= is another key."
    if "sha256" not in tags.get("h", "sha256").split(":"):
        return "The record's h= does not allow sha256."
    if not {"*", "email"}.intersection(tags.get("s", "*").split(":")):
        return "The record's s= does not allow email."
    return None


def _tags(record: str) -> dict[str, str]:
    """Tag values without white space (RFC 6376 §3.2)."""
    pairs = [tag.partition("=") for tag in record.split(";")]
    return {name.strip(): re.sub(r"\s+", "", value) for name, _, value in pairs if name.strip()}
