"""The formats that flufl.bounce knows, as far as it can be asked without harm.

It reads by the `email` package, so it gets the beginning of the message only, and only one with few parts; it raises on
some ordinary mail, which then is one that it does not know.
"""

from __future__ import annotations

import email
import logging

from flufl.bounce import all_failures

MAX_BYTES = 16 * 1024
MAX_DELIMITERS = 60

# It writes a line for each of its readers.
logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL)


def failures(raw: bytes) -> tuple[list[str], list[str]]:
    """The recipients that wait, and those that failed, sorted; both empty when it knows nothing or may not be asked."""
    beginning = raw[:MAX_BYTES]
    if beginning.count(b"\n--") > MAX_DELIMITERS or b"message/rfc822" in beginning[: beginning.find(b"\n\n") + 1]:
        return [], []
    try:
        temporary, permanent = all_failures(email.message_from_bytes(beginning))
    except Exception:  # noqa: BLE001 - whatever it stumbles over, the message is one that it does not know
        return [], []
    return _texts(temporary), _texts(permanent)


def _texts(addresses: frozenset[bytes]) -> list[str]:
    return sorted(address.decode("ascii", "replace") for address in addresses if b"@" in address)
