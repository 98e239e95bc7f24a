"""Keys for DKIM: made, written down, read, and the texts of their records (RFC 6376 §3.6.1)."""

from __future__ import annotations

import base64

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
