"""The limit of signing: how many RSA-2048 signatures a second all cores make, with nothing else to do."""

from __future__ import annotations

import os
import threading
import time

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

_BITS = 2048
_SECONDS = 2.0
#: As long as a post's header, which is what a DKIM signature is made of.
_HEADER = b"x" * 1000


def signatures_per_second() -> float:
    """By a thread a core, as the sender has them; the library releases the lock of the interpreter while it signs."""
    key = generate_private_key(65537, _BITS)
    counts: list[int] = []
    began_seconds = time.monotonic()
    threads = [
        threading.Thread(target=_sign, args=(key, began_seconds + _SECONDS, counts)) for _ in range(os.cpu_count() or 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - began_seconds)


def _sign(key: RSAPrivateKey, until_seconds: float, counts: list[int]) -> None:
    count = 0
    while time.monotonic() < until_seconds:
        key.sign(_HEADER, PKCS1v15(), SHA256())
        count += 1
    counts.append(count)
