"""What an author is told of a newsletter's text before anything is sent."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.mail.merge_check import check
from shared.mail.merge_faults import FaultKind
from shared.mail.merge_language import MAX_DEPTH, MAX_FAULTS, MAX_TAGS, parse

FIELDS = {"first_name", "city"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Dear {{first_name|friend}}, {{email}}, {{display_name}}, {{url:city}}",
        '{{#if city = "Bonn"}}a{{else}}b{{/if}}',
        "{{#if first_name}}{{#if city}}x{{/if}}{{/if}}",
        "<style>@media x{.a{color:red}}</style> } }} { a }",
        "{first_name} {city} is text, and so is {% if %}",
    ],
)
def test_a_text_that_may_be_sent_has_no_faults(text: str) -> None:
    assert check(text, FIELDS) == []
    assert check(text, FIELDS, is_html=True) == []


@pytest.mark.parametrize(
    ("text", "kind", "place", "field", "because"),
    [
        ("a\nbc {{citty}}", "unknown_field", (2, 4), "citty", 'no member has a field called "citty"'),
        ("{{First Name}}", "unknown_field", (1, 1), "First Name", '"first_name" is one'),
        ("a\r\n{{#if citty}}x{{/if}}", "unknown_field", (2, 1), "citty", 'no member has a field called "citty"'),
        ("x\n\n{{#if city}}x", "unclosed", (3, 1), "city", 'the condition on "city" has no {{/if}}'),
        ("x{{/if}}", "unopened", (1, 2), None, "{{/if}} has no {{#if}} before it"),
        ("é💥{{else}}", "unopened", (1, 3), None, "{{else}} has no {{#if}} before it"),
        ("{{#if city}}{{else}}{{else}}{{/if}}", "unopened", (1, 21), "city", "has a second {{else}}"),
        ("{{#each city}}", "unknown_word", (1, 1), None, "{{#each city}} means nothing: there are {{#if name}}"),
        ("{{/unless}}", "unknown_word", (1, 1), None, "{{/unless}} means nothing"),
        ("{{#if city}}{{else if city}}{{/if}}", "unknown_word", (1, 13), None, "{{else if city}} means nothing"),
        ("{{#if}}{{/if}}", "no_condition", (1, 1), None, "{{#if}} is no condition: it is written {{#if name}}"),
        ("{{#if city = Bonn}}{{/if}}", "no_condition", (1, 1), "city", "{{#if city = Bonn}} is no condition"),
        ("{{#if city = “Bonn”}}{{/if}}", "no_condition", (1, 1), "city", '{{#if name = "text"}}'),
        ('{{#if city > "Bonn"}}{{/if}}', "no_condition", (1, 1), "city", "is no condition"),
        ("{{city}", "braces", (1, 1), "city", "{{city is not ended by }}"),
        ("{{city|a{b}}", "braces", (1, 1), "city", "no other brace may stand in it"),
        ("{{{city}}}", "braces", (1, 1), "city", "3 braces stand together"),
        ("{city}}", "braces", (1, 1), "city", '"city" has one brace before it, and two behind it'),
        ("{{", "braces", (1, 1), None, "is not ended by }}"),
        ("{{}}", "no_field", (1, 1), None, "{{}} is no merge field: it is written {{name}}"),
        ("{{ ''.__class__.__mro__ }}", "no_field", (1, 1), None, "is no merge field"),
        ("{{city.__class__()}}", "no_field", (1, 1), "city.__class__", "is no merge field"),
        ("{{#if city}}" * (MAX_DEPTH + 1), "too_deep", (1, 12 * MAX_DEPTH + 1), "city", "more than 10 deep"),
        ("{{city}}" * (MAX_TAGS + 1), "too_many", (1, 8 * MAX_TAGS + 1), None, "more than 2000 merge fields"),
    ],
)
def test_a_fault_names_its_line_its_column_and_its_field(
    text: str, kind: str, place: tuple[int, int], field: str | None, because: str
) -> None:
    (fault,) = check(text, FIELDS)
    assert (fault.kind, (fault.line, fault.column), fault.field) == (FaultKind(kind), place, field)
    assert because in fault.because
    assert str(fault).startswith(f"line {place[0]}, column {place[1]}: ")


def test_all_faults_are_told_in_the_texts_order() -> None:
    faults = check("{{x}} {city}} {{#if city}}\n{{y}} {{/each}}\n{{#if z}}{{{q}}}", FIELDS)
    assert [(fault.line, fault.column, fault.kind.value) for fault in faults] == [
        (1, 1, "unknown_field"),
        (1, 7, "braces"),
        (1, 15, "unclosed"),
        (2, 1, "unknown_field"),
        (2, 7, "unknown_word"),
        (3, 1, "unclosed"),
        (3, 1, "unknown_field"),
        (3, 10, "braces"),
    ]


HOSTILE = {
    "a megabyte of braces": "{{" * 500_000,
    "as many that are not closed": "{{ " * 333_333,
    "conditions in one another": "{{#if city}}" * 80_000,
    "ends of nothing": "{{/if}}" * 140_000,
    "spaces in braces": "{{" + " " * 1_000_000,
    "spaces in a condition": "{{#if city" + " " * 1_000_000 + "!}}",
    "spaces before conditions": (" " * 1000 + "{{else}}") * 1000,
    "line ends": "\n" * 500_000 + "{{#x}}\n" * 70_000,
    "a long word": "{{#" + "w" * 1_000_000 + "}}",
    "a long text to compare with": '{{#if city = "' + "x" * 1_000_000,
    "unknown fields": "{{x}}" * 200_000,
    "single braces": "{city " * 170_000 + "{city}}" * 1000,
    "characters from everywhere": "{{é|\u202e💥\u2028" * 100_000,
    "references": "{{#if city = '" + "&#" + "9" * 1_000_000 + "'}}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_has_a_clear_fault_at_once(name: str) -> None:
    begin = time.process_time()
    faults = check(HOSTILE[name], FIELDS, is_html=True)
    seconds = time.process_time() - begin
    assert 1 <= len(faults) <= MAX_FAULTS
    assert all(fault.because.isprintable() or "\u202e" in fault.because for fault in faults)
    assert max(len(fault.because) for fault in faults) < 300
    assert seconds < 5, "it takes some tenths of a second; with the square of its length it would take minutes"


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["{{", "}}", "{", "}", "#if ", "city", "/if", "else", "=", '"', " ", "\n", "|", "é"])).map(
        "".join
    )
)
def test_a_text_without_faults_can_be_compiled_and_faults_stand_where_they_say(text: str) -> None:
    faults = check(text, FIELDS)
    lines = text.split("\n")
    for fault in faults:
        assert lines[fault.line - 1][fault.column - 1] == "{"
    if not faults:
        assert parse([text]).faults == ()
