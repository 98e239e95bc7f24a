"""The language of newsletters: merge fields, and conditions on them.

    {{#if city = "Bonn"}} … {{else}} … {{/if}}

`{{#if name}}` asks whether a member has a value that is neither empty nor `false`; `=` and `!=` compare it with a text
in quotation marks. A condition that stands alone on its line takes the line with it. What is written is read once, in
one pass, and becomes a tree; a member's value only decides which branch is taken. There is no expression, no loop, no
call, and nothing that leads out of the member's own texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from shared.mail.conditions import Choice, Condition
from shared.mail.html_markup import unescaped
from shared.mail.merge import NAME, MergeField, field_of
from shared.mail.merge_faults import Fault, FaultKind, fault_at
from shared.mail.words import clean

#: Conditions within conditions.
MAX_DEPTH = 10
#: Merge fields and conditions of one text.
MAX_TAGS = 2_000
#: No more are looked for.
MAX_FAULTS = 100

_TAG = re.compile(r"(?P<open>\{{2,}+)(?P<inside>[^{}]*+)(?P<close>\}{0,2}+)")
_IF = re.compile(
    rf"#if\s+(?P<name>{NAME})\s*+(?:(?P<not>!)?==?\s*+(?:\"(?P<double>[^\"]{{0,1000}})\"|'(?P<single>[^']{{0,1000}})')\s*+)?"
)
_KEYWORD = re.compile(r"[#/]\s*+\w*|else(?=\s+if\b|\Z)")
_BEGIN_OF_NAME = re.compile(rf"(?:#\w+\s+|url:)?(?P<name>{NAME})")
_LINE_ENDS = re.compile(r"[\r\n]\s*+")
_REST_OF_LINE = re.compile(r"[ \t]*+(?:\r?\n|\Z)")

_FIELD_FORMS = "{{name}}, {{name|default}} or {{url:name}}"
_IF_FORMS = '{{#if name}}, {{#if name = "text"}} or {{#if name != "text"}}'

Leaf = TypeVar("Leaf")
#: What stands between the literals of a text, and is not looked at.
Other = TypeVar("Other")


@dataclass(frozen=True, slots=True)
class Use:
    """A place where a field's name stands."""

    offset: int
    name: str


@dataclass(frozen=True, slots=True)
class Parsed(Generic[Leaf]):
    """A text as its literals, merge fields and conditions; to be used only when there are no faults."""

    pieces: tuple[Leaf | Choice[Leaf], ...]
    uses: tuple[Use, ...]
    #: In the text's order.
    faults: tuple[Fault, ...]


def parse(pieces: Sequence[str | Other], *, is_html: bool = False) -> Parsed[str | MergeField | Other]:
    """The text whose literals these are, `Other` things between them; in linear time.

    In HTML the quotation marks and what is between them may be character references.
    """
    return _Parser[Other](pieces, is_html).parsed()


@dataclass(slots=True)
class _Open(Generic[Leaf]):
    """A condition whose end is not read yet, or the whole text."""

    condition: Condition | None = None
    offset: int = 0
    then: list[Leaf | Choice[Leaf]] = field(default_factory=list)
    otherwise: list[Leaf | Choice[Leaf]] | None = None

    def add(self, piece: Leaf | Choice[Leaf]) -> None:
        (self.then if self.otherwise is None else self.otherwise).append(piece)


class _Parser(Generic[Other]):
    def __init__(self, pieces: Sequence[str | Other], is_html: bool) -> None:
        self._pieces = pieces
        self._is_html = is_html
        self._text = "".join([piece for piece in pieces if isinstance(piece, str)])
        self._open: list[_Open[str | MergeField | Other]] = [_Open()]
        self._uses: list[Use] = []
        self._faults: list[tuple[int, Fault]] = []
        self._tags = 0
        self._is_over = False

    def parsed(self) -> Parsed[str | MergeField | Other]:
        base = 0
        for number, piece in enumerate(self._pieces):
            if isinstance(piece, str):
                self._read(piece, base, is_first=number == 0, is_last=number + 1 == len(self._pieces))
                base += len(piece)
            else:
                self._open[-1].add(piece)
        if not self._is_over:
            for left in self._open[1:]:
                name = left.condition.name if left.condition else ""
                because = f'the condition on "{name}" has no {{{{/if}}}}'
                self._fault(FaultKind.UNCLOSED, left.offset, name or None, because)
        faults = tuple([fault for _, fault in sorted(self._faults, key=lambda each: each[0])])
        return Parsed(tuple(self._open[0].then), tuple(self._uses), faults)

    def _read(self, text: str, base: int, *, is_first: bool, is_last: bool) -> None:
        end = 0
        begins_line = is_first
        for found in _TAG.finditer(text):
            if self._is_over:
                return
            literal, end = text[end : found.start()], found.end()
            inside = found["inside"].strip()
            rest = _REST_OF_LINE.match(text, end) if _KEYWORD.match(inside) else None
            before = literal.rstrip(" \t")
            stands_alone = (
                rest is not None
                and (before.endswith("\n") or (begins_line and not before))
                and (is_last or text.endswith("\n", end, rest.end()))
            )
            if rest is not None and stands_alone:
                literal, end = before, rest.end()
            begins_line = stands_alone
            if literal:
                self._open[-1].add(literal)
            self._tag(found["open"], inside, found["close"], base + found.start())
        if text[end:]:
            self._open[-1].add(text[end:])

    def _tag(self, opening: str, inside: str, closing: str, offset: int) -> None:
        self._tags += 1
        begin = _BEGIN_OF_NAME.match(inside)
        name = begin["name"] if begin else None
        if self._tags > MAX_TAGS:
            self._is_over = True
            self._fault(FaultKind.TOO_MANY, offset, None, f"there are more than {MAX_TAGS} merge fields and conditions")
        elif len(opening) > 2:
            because = f"{len(opening)} braces stand together; a merge field begins with two"
            self._fault(FaultKind.BRACES, offset, name, because)
        elif len(closing) < 2:
            because = "{{" + _excerpt(inside) + " is not ended by }}; no other brace may stand in it"
            self._fault(FaultKind.BRACES, offset, name, because)
        elif keyword := _KEYWORD.match(inside):
            if "".join(keyword.group().split()) == "#if":
                self._if(inside, name, offset)
            else:
                self._else_or_end(inside, offset)
        elif merge_field := field_of(_LINE_ENDS.sub(" ", inside)):
            self._uses.append(Use(offset, merge_field.name))
            self._open[-1].add(merge_field)
        else:
            because = "{{" + _excerpt(inside) + "}} is no merge field: it is written " + _FIELD_FORMS
            self._fault(FaultKind.NO_FIELD, offset, name, because)

    def _if(self, inside: str, name: str | None, offset: int) -> None:
        found = _IF.fullmatch(unescaped(inside) if self._is_html else inside)
        if found is None:
            # It is open all the same, so that its end is no second fault.
            condition = Condition(name or "")
            because = "{{" + _excerpt(inside) + "}} is no condition: it is written " + _IF_FORMS
            self._fault(FaultKind.NO_CONDITION, offset, name, because)
        else:
            text = found["single"] if found["double"] is None else found["double"]
            condition = Condition(found["name"], text and text.strip(), is_negated=found["not"] is not None)
            self._uses.append(Use(offset, condition.name))
        if len(self._open) > MAX_DEPTH:
            self._is_over = True
            because = f"conditions stand in one another more than {MAX_DEPTH} deep"
            self._fault(FaultKind.TOO_DEEP, offset, condition.name or None, because)
        self._open.append(_Open(condition, offset))

    def _else_or_end(self, inside: str, offset: int) -> None:
        current = self._open[-1]
        if inside not in ("else", "/if"):
            because = "{{" + _excerpt(inside) + "}} means nothing: there are {{#if name}}, {{else}} and {{/if}}"
            self._fault(FaultKind.UNKNOWN_WORD, offset, None, because)
        elif current.condition is None:
            self._fault(FaultKind.UNOPENED, offset, None, "{{" + inside + "}} has no {{#if}} before it")
        elif inside == "/if":
            self._open.pop()
            self._open[-1].add(Choice(current.condition, tuple(current.then), tuple(current.otherwise or ())))
        elif current.otherwise is None:
            current.otherwise = []
        else:
            name = current.condition.name
            because = f'the condition on "{name}" has a second {{{{else}}}}'
            self._fault(FaultKind.UNOPENED, offset, name or None, because)

    def _fault(self, kind: FaultKind, offset: int, name: str | None, because: str) -> None:
        self._faults.append((offset, fault_at(self._text, offset, kind, name, because)))
        self._is_over = self._is_over or len(self._faults) >= MAX_FAULTS


def _excerpt(inside: str) -> str:
    """What the author wrote, short enough for a sentence."""
    short = clean(inside[:61])
    return short if len(inside) <= 60 else f"{short[:60]}…"
