"""What an author writes is checked for its form when it is written."""

from __future__ import annotations

from collections.abc import Mapping


def check_texts(texts: Mapping[str, object]) -> None:
    """`Problem` 422 for texts that could never be sent, with the place of each fault."""
