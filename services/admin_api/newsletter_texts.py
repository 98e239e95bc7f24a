"""What an author writes is checked for its form when it is written."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from services.admin_api.problems import Problem
from shared.core.preflight import faults_of
from shared.core.preflight.finding import Finding
from shared.mail.newsletter_reading import read


async def check_texts(texts: Mapping[str, str]) -> None:
    """`Problem` 422 for texts that could never be sent, with the place of each fault. `texts` are a request's."""
    # Not on the loop: hostile HTML of a million characters takes a while.
    found = await asyncio.to_thread(_faults, texts)
    if found:
        errors = [{"pointer": f"#/{finding.place.field}", "detail": _sentence(finding)} for finding in found]
        raise Problem(422, "The request is not well formed: see errors.", errors=errors)


def _faults(texts: Mapping[str, str]) -> list[Finding]:
    return faults_of(read(*(texts.get(name) or "" for name in ("subject", "preheader", "text", "html"))))


def _sentence(finding: Finding) -> str:
    if finding.place.line is None:
        return finding.mend
    return f"Line {finding.place.line}, column {finding.place.column}: {finding.mend}"
