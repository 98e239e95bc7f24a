from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.posting.patterns import matches


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("ann@example.org", "ann@example.org", True),
        ("ann@example.org", "joann@example.org", False),
        ("*@example.org", "ann@example.org", True),
        ("*@example.org", "ann@example.org.evil.test", False),
        ("ann*", "ann", True),
        ("a*a", "a", False),
        ("a*b*c", "aXbYc", True),
        ("a*b*c", "aXcYb", False),
        ("a.n@example.org", "ann@example.org", False),
        ("[a-z]@example.org", "a@example.org", False),
    ],
)
def test_a_star_is_any_run_and_all_else_is_itself(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected


@given(st.text("ab*", max_size=10), st.text("ab", max_size=12))
def test_it_agrees_with_the_shells_patterns(pattern: str, text: str) -> None:
    assert matches(pattern, text) == fnmatch.fnmatchcase(text, pattern)


def test_no_pattern_takes_long() -> None:
    assert not matches("*a" * 127, "a" * 126 + "b" * 100_000)
