"""Records made of tags, `v=DKIM1; k=rsa; p=…` (RFC 6376 §3.2): those of DKIM, DMARC and TLS reporting."""

from __future__ import annotations

import re


def tags(record: str) -> dict[str, str]:
    """Tag values without white space."""
    pairs = [tag.partition("=") for tag in record.split(";")]
    return {name.strip(): re.sub(r"\s+", "", value) for name, _, value in pairs if name.strip()}


def of_version(records: tuple[str, ...], version: str) -> tuple[str, ...]:
    """Those that begin with the tag `v=` of this version."""
    return tuple(record for record in records if re.match(rf"\s*v\s*=\s*{version}\s*(;|$)", record))
