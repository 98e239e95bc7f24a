from __future__ import annotations

import csv
import io
import json

from hypothesis import given
from hypothesis import strategies as st

from shared.core.membership import DeliveryMode, MemberRole, MemberStatus
from shared.store.members import Member, UsedField
from shared.transfer.csv_format import CsvReader, CsvWriter, cell_text, safe_cell
from shared.transfer.lines import MAX_LINE_BYTES, LineSplitter
from shared.transfer.rows import Rejected, Row, Taken

# What a field may hold, with the characters that mean something to CSV and to spreadsheets more often than by chance.
_TEXTS = st.text(
    st.one_of(
        st.sampled_from("'=+-@|%\t\r\n\",; ＝"),
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029"),
    ),
    max_size=30,
)


def _read(file: bytes, chunk_bytes: int = 65536) -> list[Row]:
    splitter, reader = LineSplitter(), CsvReader()
    rows: list[Row] = []
    for start in range(0, len(file), chunk_bytes):
        for line in splitter.feed(file[start : start + chunk_bytes]):
            rows += reader.read(line)
    for line in splitter.finish():
        rows += reader.read(line)
    return [*rows, *reader.finish()]


@given(_TEXTS)
def test_a_safe_cell_is_no_formula_and_stands_for_its_text(text: str) -> None:
    cell = safe_cell(text)
    assert cell[:1] not in set("=+-@|%\t\r\n＝＋－＠") - {""}
    assert cell_text(cell) == text


@given(_TEXTS.filter(lambda text: len(text.splitlines()) < 90), st.integers(1, 40))
def test_any_text_comes_back_from_a_file_in_pieces_of_any_size(text: str, chunk_bytes: int) -> None:
    member = Member(
        list_id=1,
        email="ann@example.com",
        email_key="ann@example.com",
        display_name="Ann",
        status=MemberStatus.HELD,
        delivery_mode=DeliveryMode.DIGEST,
        role=MemberRole.OWNER,
        fields={"note": text, "n": 1.5},
    )
    writer = CsvWriter([UsedField("n", has_texts=False, has_others=True), UsedField("note", bool(text), not text)])
    (row,) = _read(writer.header() + writer.written([member]), chunk_bytes)
    assert isinstance(row, Taken), row
    assert row.member.status is MemberStatus.HELD
    assert row.member.role is MemberRole.OWNER
    assert _read(writer.header() + writer.written([member]))[0] == row
    assert json.loads(row.member.fields_json) == member.fields


def test_line_numbers_go_on_after_rows_of_several_lines_and_lines_that_are_too_long() -> None:
    long = b"x" * (MAX_LINE_BYTES + 1)
    file = b'email,note\na@example.com,"1\n2\n3"\n' + long + b"\nnonsense,\nb@example.com,"
    rows = _read(file)
    assert [(type(row), row.line) for row in rows] == [(Taken, 2), (Rejected, 5), (Rejected, 6), (Taken, 7)]


def test_a_line_that_is_too_long_is_not_kept_in_memory() -> None:
    splitter = LineSplitter()
    for _ in range(100):
        assert list(splitter.feed(b"x" * 65536)) == []
    (line,) = splitter.feed(b"\n")
    assert line.octets is None
    assert len(splitter._rest) == 0


def test_a_file_of_open_quotes_is_read_in_time_that_grows_with_its_length_only() -> None:
    rows = _read(b"email,note\n" + b'"' * 3 + b"x\n" * 3000 + b'a@example.com,"open\n' * 1000)
    assert all(isinstance(row, Rejected) for row in rows)
    assert len(rows) > 3000


def test_what_the_writer_writes_is_csv_to_others_too() -> None:
    member = Member(list_id=1, email="a@example.com", email_key="a@example.com", fields={"a": 'x,"\r\ny'})
    writer = CsvWriter([UsedField("a", has_texts=True, has_others=False)])
    file = (writer.header() + writer.written([member])).decode()
    (row,) = csv.DictReader(io.StringIO(file, newline=""))
    assert (row["email"], row["a"], row["status"]) == ("a@example.com", 'x,"\r\ny', "subscribed")
