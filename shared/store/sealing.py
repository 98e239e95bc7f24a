"""Secrets at rest: encrypted with AES-256-GCM under a key derived from the cluster's secret."""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE_OCTETS = 12


class CannotBeOpened(Exception):
    """What was sealed is damaged, belongs elsewhere, or was sealed with another secret."""


def seal(plain: bytes, *, secret: bytes, belongs_to: str) -> bytes:
    """`plain` encrypted: a nonce, and then text and tag. Only what names the same owner opens it."""
    nonce = os.urandom(_NONCE_OCTETS)
    return nonce + _cipher(secret).encrypt(nonce, plain, belongs_to.encode())


def unseal(sealed: bytes, *, secret: bytes, belongs_to: str) -> bytes:
    """What was sealed for this owner. Raises `CannotBeOpened`."""
    nonce, text = sealed[:_NONCE_OCTETS], sealed[_NONCE_OCTETS:]
    try:
        return _cipher(secret).decrypt(nonce, text, belongs_to.encode())
    except (InvalidTag, ValueError) as error:
        raise CannotBeOpened(f"what belongs to {belongs_to} cannot be opened with this secret") from error


def _cipher(secret: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), length=32, salt=None, info=b"listfleet sealing").derive(secret))
