"""Patterns that an operator writes: `*` is any run of characters, every other character is itself."""

from __future__ import annotations


def matches(pattern: str, text: str) -> bool:
    """Whether the whole of `text` is what `pattern` says, both in lower case.

    Each piece between stars is taken where it first stands, which is all that one star can ask for: the work is bounded
    by the product of the two lengths, whatever they hold.
    """
    first, *others = pattern.split("*")
    if not others:
        return text == first
    last = others.pop()
    if not text.startswith(first) or len(text) < len(first) + len(last):
        return False
    end = len(text) - len(last)
    if text[end:] != last:
        return False
    position = len(first)
    for piece in others:
        found = text.find(piece, position, end)
        if found < 0:
            return False
        position = found + len(piece)
    return True
