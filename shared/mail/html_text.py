"""HTML as plain text."""

from __future__ import annotations

import html
import re


def text_of_html(text: str) -> str:
    """What a reader without HTML sees."""
    return html.unescape(re.sub(r"<[^<>]*>", "", text))
