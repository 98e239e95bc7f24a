"""Keys that sign mail, as requests and answers say them."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from shared.contracts.bodies import Answer, Body, Moment
from shared.core.dkim import DkimAlgorithm, DkimKeyState

Selector = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]


class NewDkimKey(Body):
    """A key to make."""

    domain: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """The domain whose mail it signs: that of a list."""
    algorithm: DkimAlgorithm = DkimAlgorithm.RSA_SHA256
    """`rsa-sha256`, a key of 2,048 bits that every receiver verifies; or `ed25519-sha256`, for a second signature that
    only some receivers know."""
    selector: Selector | None = None
    """The key's name in the DNS: lower-case letters, digits and hyphens, at most 63. Drawn when it is absent."""


class DnsRecord(Answer):
    """The TXT record that verifiers look for. Leave a retired key's in the DNS for a week: mail is on its way."""

    name: str
    """The record's name, without the dot at its end."""
    text: str
    """The record's text. Most hosts of DNS take it as it is, though it is longer than 255 octets."""
    zone_line: str
    """The same as a line of a zone file, in strings of at most 255 octets."""


class DkimKeyAnswer(Answer):
    """A key that signs a domain's mail. Its private half never leaves the database unsealed."""

    id: int
    """The key's id in this API's paths."""
    domain: str
    """The domain whose mail it signs, in lower case and ASCII: the `d=` of its signatures."""
    selector: str
    """The `s=` of its signatures."""
    algorithm: DkimAlgorithm
    """The `a=` of its signatures."""
    state: DkimKeyState
    """Made: put its record into the DNS. Checked: the record was found, the key may be activated. Active: it signs.
    Retired: another took over, or nothing is signed any more."""
    record: DnsRecord
    """What is to stand in the DNS."""
    made_at: Moment
    """When it was made."""
    checked_at: Moment | None
    """When its record was last found in the DNS."""
    activated_at: Moment | None
    """Since when it signs, or signed."""
    retired_at: Moment | None
    """When it stopped signing."""


class DkimCheckAnswer(Answer):
    """What the DNS says about a key now."""

    is_published: bool
    """Whether verifiers find the key."""
    because: str | None
    """What is wrong when they do not, in one sentence."""
    found: list[str]
    """The texts of the TXT records at the key's name."""
    key: DkimKeyAnswer
    """The key after the check."""
